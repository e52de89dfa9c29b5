"""The local models as a part of the gateway: started beside it, listed when they answer, taken off when they are gone.

What lives here: which file is served under which name, when the catalogue knows it, and how one file takes another's
place: the new engine starts beside the old one, the name moves when it answers, and the old one ends when its last
call has. What it must not know: how an engine works.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from jevons.core.errors import JevonsError, SettingsError
from jevons.core.route import Route
from jevons.engines import served
from jevons.engines.catalogue import Catalogue
from jevons.engines.local import KEY_VARIABLE, LocalEngine
from jevons.engines.modelfile import default_path
from jevons.engines.served import Served
from jevons.engines.upstream import Upstream
from jevons.prices.cost import Rates
from jevons.settings import Local

log = logging.getLogger("jevons.local")

NAME = "local"
"""The provider's name, and a public name of the model besides its own."""
SURFACES = ("chat", "count_tokens")
"""Messages and Responses are translated to chat; what counts tokens is the model's own tokenizer."""
FOLLOW_S = 2.0
"""How often the file of served models is looked at: one stat."""
DRAIN_S = 900.0
"""A replaced engine is ended after so long at the latest: the longest that a call may take by default."""
DRAIN_LOOK_S = 0.25
PICO_PER_USD_PER_MTOK = 1_000_000
"""A dollar per million tokens is 10^12 / 10^6 pico-dollars a token."""
WARM_GAIN = 20
"""A token of a warm prefix costs at least so many times less CPU than a cold one (docs/performance/local.md)."""

Quote = Callable[[str, str, Rates | None, str], None]
"""quote(provider, model, rates or None, who measured them): the price book's ear."""


class Tier(msgspec.Struct):
    """A served file: what was asked for, and the engine that answers."""

    wanted: Served
    engine: LocalEngine
    upstream: Upstream


class LocalPart:
    """See the module's first lines. `error` says why there is no local model, when there is none."""

    def __init__(
        self,
        settings: Local,
        catalogue: Catalogue,
        upstreams: dict[str, Upstream],
        quote: Quote | None = None,
        file: Path = served.FILE,
    ):
        self.error = ""
        self.model = ""
        self.engine: LocalEngine | None = None
        self.tiers: dict[str, Tier] = {}
        self.tier_errors: dict[str, str] = {}
        self._settings = settings
        self._catalogue = catalogue
        self._upstreams = upstreams
        self._quote = quote
        self._file = file
        self._seen = (0, 0)
        self._task: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Task[None]] = set()

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
        if self._settings.enabled:
            self._follower = asyncio.create_task(self._follow())

    async def started(self) -> None:
        """Wait until the model answers or can't."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        for task in (self._task, self._follower, *self._draining):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        engines = [tier.engine for tier in self.tiers.values()] + ([self.engine] if self.engine is not None else [])
        for engine in engines:
            await engine.stop()

    @property
    def state(self) -> str:
        """For /readyz."""
        if self.tier_errors:
            return "; ".join(f"{name}: {error}" for name, error in sorted(self.tier_errors.items()))
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

    # --- the served files besides

    async def _follow(self) -> None:
        while True:
            await self.follow()
            await asyncio.sleep(FOLLOW_S)

    async def follow(self) -> None:
        """Take in the file of served models when it has changed. What can't be served leaves what is served."""
        stamp = await asyncio.to_thread(_stamp, self._file)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            wanted = await asyncio.to_thread(served.read, self._file)
        except SettingsError as error:
            self.tier_errors = {str(self._file): error.message}
            log.warning("the served models stay as they are: %s", error.message)
            return
        self.tier_errors = {}
        for name in [name for name in self.tiers if name not in wanted]:
            self._drop(name)
        for name, one in wanted.items():
            held = self.tiers.get(name)
            if held is None or held.wanted != one:
                await self._serve(name, one)

    async def _serve(self, name: str, wanted: Served) -> None:
        """Start a file's engine, then move the name to it."""
        held = self.tiers.get(name)
        if held is not None and _same_engine(held.wanted, wanted):
            held.wanted = wanted
            self._price(name, wanted)
            return
        engine = LocalEngine(
            wanted.path,
            threads=self._settings.threads,
            slots=wanted.slots,
            ctx=wanted.context_tokens,
            cache_ram_mib=self._settings.cache_ram_mib,
            kv_type=wanted.kv_type,
            log_path=Path(".jevons") / f"local-{name}.log",
        )
        try:
            await engine.start()
        except JevonsError as error:
            self.tier_errors[name] = error.message
            log.warning("%s is not served from %s: %s", name, wanted.path, error.message)
            return
        except asyncio.CancelledError:
            await engine.stop()
            raise
        provider = msgspec.structs.replace(engine.provider(f"{NAME}-{name}"), surfaces=SURFACES)
        upstream = Upstream(provider, {KEY_VARIABLE: engine.key})
        self._upstreams[provider.name] = upstream
        self._catalogue.add(provider)
        self._catalogue.name(name, (Route(provider=provider, upstream_model=name),))
        self._price(name, wanted)
        self.tiers[name] = Tier(wanted, engine, upstream)
        log.info("%s is served from %s", name, wanted.path)
        if held is not None:
            self._drain(held)

    def _drop(self, name: str) -> None:
        """The name leads nowhere from now on; calls under way end well."""
        tier = self.tiers.pop(name)
        self._catalogue.unname(name)
        self._catalogue.providers.pop(f"{NAME}-{name}", None)
        self._price(name, None)
        self._drain(tier)

    def _price(self, name: str, wanted: Served | None) -> None:
        if self._quote is None:
            return
        rates = None
        if wanted is not None and wanted.usd_per_mtok_in and wanted.usd_per_mtok_out:
            into = round(wanted.usd_per_mtok_in * PICO_PER_USD_PER_MTOK)
            out = round(wanted.usd_per_mtok_out * PICO_PER_USD_PER_MTOK)
            rates = Rates(input=into, cached=into // WARM_GAIN, output=out)
        self._quote(f"{NAME}-{name}", name, rates.completed() if rates else None, wanted.priced_by if wanted else "")

    def _drain(self, tier: Tier) -> None:
        task = asyncio.create_task(_end(tier))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


async def _end(tier: Tier) -> None:
    """End an engine when its last call has ended, or after DRAIN_S; also when this is cancelled."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await asyncio.sleep(DRAIN_LOOK_S)  # a call that has just looked its upstream up is sent by now
            while tier.upstream.pool.busy_connections:  # noqa: ASYNC110 - a pool tells nobody, and this is rare
                await asyncio.sleep(DRAIN_LOOK_S)
    except TimeoutError:
        log.warning("a replaced engine (%s) is ended with calls still running", tier.wanted.path)
    finally:
        tier.upstream.pool.close()
        await tier.engine.stop()


def _same_engine(one: Served, other: Served) -> bool:
    """Whether only the price differs."""
    return msgspec.structs.replace(one, usd_per_mtok_in=0.0, usd_per_mtok_out=0.0, priced_by="") == (
        msgspec.structs.replace(other, usd_per_mtok_in=0.0, usd_per_mtok_out=0.0, priced_by="")
    )


def _stamp(file: Path) -> tuple[int, int]:
    """(nanoseconds of the last change, size); (0, 0) when there is none."""
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
