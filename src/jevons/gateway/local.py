"""The local model as a part of the gateway: started beside it, listed when it answers, taken off when it is gone.

What lives here: which file is served under which name, and when the catalogue knows it. What it must not know: how
the engine works.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

import msgspec

from jevons.core.errors import JevonsError
from jevons.engines.catalogue import Catalogue
from jevons.engines.local import KEY_VARIABLE, LocalEngine
from jevons.engines.modelfile import default_path
from jevons.engines.upstream import Upstream
from jevons.settings import Local

log = logging.getLogger("jevons.local")

NAME = "local"
"""The provider's name, and a public name of the model besides its own."""
SURFACES = ("chat", "count_tokens")
"""Messages and Responses are translated to chat; what counts tokens is the model's own tokenizer."""


class LocalPart:
    """See the module's first lines. `error` says why there is no local model, when there is none."""

    def __init__(self, settings: Local, catalogue: Catalogue, upstreams: dict[str, Upstream]):
        self.error = ""
        self.model = ""
        self.engine: LocalEngine | None = None
        self._settings = settings
        self._catalogue = catalogue
        self._upstreams = upstreams
        self._task: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path | None:
        """The file to serve, or None when there is none to serve."""
        if not self._settings.enabled:
            return None
        if self._settings.model:
            return Path(self._settings.model)
        path = default_path()
        return path if path.exists() else None

    def start(self) -> None:
        """Begin to start; the gateway serves meanwhile."""
        path = self.path
        if path is not None:
            self._task = asyncio.create_task(self._start(path))

    async def started(self) -> None:
        """Wait until the model answers or can't."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.engine is not None:
            await self.engine.stop()

    @property
    def state(self) -> str:
        """For /readyz."""
        if self._task is None:
            return "ok"
        if self.error:
            return self.error
        return "ok" if self.engine is not None and self.engine.ready else "starting"

    async def _start(self, path: Path) -> None:
        settings = self._settings
        self.engine = engine = LocalEngine(
            path,
            threads=settings.threads,
            slots=settings.slots,
            ctx=settings.context_tokens,
            cache_ram_mib=settings.cache_ram_mib,
            log_path=Path(".jevons") / "local.log",
        )
        try:
            await engine.start()
        except JevonsError as error:
            self.error = error.message
            log.warning("no local model: %s", error.message)
            return
        provider = msgspec.structs.replace(engine.provider(NAME), surfaces=SURFACES)
        self._upstreams[NAME] = Upstream(provider, {KEY_VARIABLE: engine.key})
        self.model = settings.alias or path.stem.lower()
        self._catalogue.add(provider, models=(self.model, NAME))
