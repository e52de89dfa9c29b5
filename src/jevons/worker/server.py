"""The worker's socket and its clockwork: frames in and out, writing every second, retention, the lease, its end.

What it decides: what is answered late or not at all, and when the store is written. What it must not know: what is
looked up, or how.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from jevons.core.errors import SettingsError
from jevons.engines.worker_link import Find, Found, Keep, Look, Reply, Request, Wrong, frame, read_frame, read_request
from jevons.store import semantic
from jevons.store.db import Database
from jevons.store.migrate import open_database
from jevons.worker.service import Batch, Service

log = logging.getLogger("jevons.worker")
T = TypeVar("T")

LATE_S: Final = 1.0
"""A look-up whose asker went on so long ago teaches nothing that is worth delaying the others: it is skipped."""
FLUSH_S: Final = 1.0
"""Between two writes: what a killed worker forgets."""
FLUSH_SHARE: Final = 20
"""A write is followed by a rest of so many times what its encoding took: at most a twentieth of this core."""
LEASE: Final = "semantic"
LEASE_S: Final = 15.0
"""How long a machine that went away keeps the others out."""
PRUNE_S: Final = 600.0
PRUNE_STEPS: Final = 20
MAX_RESIDENT_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Beyond it the worker ends and is started again, with the newest entries only."""


class Server:
    """See the module's first lines. `holder` names this worker's machine and socket in the lease."""

    def __init__(self, service: Service, url: str, *, holder: str, keep_days: float):
        self.leads = False
        self._service, self._url, self._holder = service, url, holder
        self._keep_s = keep_days * 86_400
        self._stop = asyncio.Event()
        self.listening = asyncio.Event()
        self._writer: Database | None = None
        self._pool = ThreadPoolExecutor(1, "store")  # one thread, so one connection does
        self._rest_s = FLUSH_S
        self._last_lead = 0.0

    def stop(self) -> None:
        """End soon: for the loop's thread."""
        self._stop.set()

    async def serve(self, path: Path) -> None:
        """Listen until `stop`, then write what is left."""
        await self._renew()
        server = await asyncio.start_unix_server(self._talk, sock=_listen(path))
        self.listening.set()
        work = [asyncio.create_task(each()) for each in (self._flush, self._hold, self._prune)]
        try:
            await self._stop.wait()
        finally:
            server.close()
            _leave(path)
            for task in work:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            self._service.close()
            await self._write()
            self._pool.shutdown()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                reply = self._answer(read_request(await read_frame(reader)))
                if reply is not None:
                    writer.write(frame(reply))
                    await writer.drain()
                await asyncio.sleep(0)  # a reader with more at hand never waits, and the other tasks must come to turn
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except msgspec.DecodeError as error:
            log.warning("a connection sent what is no message: %s", error)
        finally:
            writer.close()

    def _answer(self, request: Request) -> Reply | None:
        try:
            if isinstance(request, Find):
                skip = not self.leads or time.monotonic() > request.until + LATE_S
                return Found(request.number, None if skip else self._service.find(request.key))
            if isinstance(request, Look):
                return self._service.standing(leads=self.leads)
            if self.leads:
                self._take(request)
        except msgspec.DecodeError as error:
            log.warning("%s: %s", type(request).__name__, error)
        except self._away as error:
            log.warning("%s failed, the store is away: %s", type(request).__name__, error)
        return Found(request.number, None) if isinstance(request, Find) else None

    def _take(self, request: Keep | Wrong) -> None:
        if isinstance(request, Keep):
            self._service.keep(request.key, request.stored)
        else:
            log.info("%d entries left on a complaint", self._service.wrong(request.tenant, request.operation))

    @property
    def _away(self) -> tuple[type[Exception], ...]:
        return self._writer.away if self._writer is not None else (SettingsError,)

    # --- the store

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(self._rest_s)
            await self._write()
            if _resident_bytes() > MAX_RESIDENT_BYTES:
                log.warning("more memory than %d bytes: the worker starts anew", MAX_RESIDENT_BYTES)
                self.stop()

    async def _write(self) -> None:
        if not self.leads:
            return
        began = time.monotonic()
        batch = self._service.take()
        self._rest_s = max(FLUSH_S, FLUSH_SHARE * (time.monotonic() - began))
        if not batch.changes and not batch.states:
            return
        try:
            await asyncio.shield(self._off(lambda: self._store(batch)))
        except self._away as error:
            log.warning("what was learned could not be written, it is tried again: %s", error)
            self._service.untake(batch)

    def _store(self, batch: Batch) -> None:
        self._open().retried(lambda db: semantic.write(db, batch.changes, batch.states, time.time()))

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            await self._renew()

    async def _renew(self) -> None:
        try:
            held = await self._off(self._lease)
        except self._away as error:
            log.warning("the lease could not be renewed: %s", error)
            held = self.leads and time.monotonic() < self._last_lead + LEASE_S
        if held and not self.leads and self._last_lead:
            log.warning("another machine had the lease meanwhile: the worker starts anew from the store")
            self.stop()
            return
        self.leads = held
        if held:
            self._last_lead = time.monotonic()

    def _lease(self) -> bool:
        now = time.time()
        return self._open().retried(lambda db: semantic.lease(db, LEASE, self._holder, now, now + LEASE_S))

    async def _prune(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_S)
            if not self.leads:
                continue
            with contextlib.suppress(*self._away):
                await self._off(self._prune_all)

    def _prune_all(self) -> None:
        """In short transactions; what is left after so many is for the next time."""
        for _ in range(PRUNE_STEPS):
            if not self._open().retried(lambda db: semantic.prune(db, time.time() - self._keep_s)):
                return

    def _off(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _open(self) -> Database:
        if self._writer is None:
            self._writer = open_database(self._url)
        return self._writer


def _listen(path: Path) -> socket.socket:
    """A socket at the path, for this user alone. One that a killed worker left there makes room."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen()
    return listening


def _leave(path: Path) -> None:
    path.unlink(missing_ok=True)  # the next worker binds it only when this one's lock is gone


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:  # no /proc on this system: the bound is then the machine's
        return 0
