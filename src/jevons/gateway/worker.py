"""The worker seen from the gateway: started at the first look-up, asked with a deadline, missed without harm.

What it decides: how long a look-up may take, and that late, away and failing are all a miss. A caller never waits
longer than the deadline, and a fresh answer is handed over behind the caller's own. What it must not know: what a
question means, or why an answer may be served.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from jevons.core.ask import Stored
from jevons.core.errors import JevonsError, OurError
from jevons.engines.worker_link import (
    Find,
    Found,
    Keep,
    Look,
    Options,
    Request,
    Standing,
    WorkerProcess,
    Wrong,
    frame,
    installed,
    read_frame,
    read_reply,
)
from jevons.settings import Semantic
from jevons.store.db import Database

log = logging.getLogger("jevons.worker")

MOST_ASKED = 256
"""Look-ups in flight: at 10 ms each the worker is seconds behind, so a further one would be late anyway."""
MOST_UNSENT_BYTES = 4 * 1024 * 1024
"""Answers on their way to a worker that does not read; beyond it they are dropped and counted."""
MAX_KEPT_BYTES = 1024 * 1024
"""A larger answer is not kept: its question was short, and a frame is bounded."""
MOST_COMPLAINTS = 1_024
"""Complaints that wait for a worker that is away."""
CONNECT_S = (0.05, 0.5)
"""First and longest pause between two attempts to connect; it doubles."""
START_AGAIN_S = 30.0
"""After a start that failed: a reason like a missing package does not go away by itself."""
LOOK_S = 1.0
"""Between two looks at the worker's standing, for metrics."""
COUNTED = ("hits", "misses", "late", "away", "full", "kept", "dropped")


class WorkerPart:
    """See the module's first lines. One event loop owns it; `wrong` too is called there."""

    def __init__(self, settings: Semantic, url: str):
        self.offered = settings.enabled and installed()
        self.counts: Counter[str] = Counter()
        self.standing = Standing(leads=False)
        self.process: WorkerProcess | None = None
        self._settings, self._url = settings, url
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: dict[int, asyncio.Future[Stored | None]] = {}
        self._number = 0
        self._complaints: deque[Wrong] = deque(maxlen=MOST_COMPLAINTS)

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def find(self, key: bytes) -> Stored | None:
        """The kept answer, within the deadline; None otherwise, whatever is wrong."""
        self._begin()
        if self._writer is None or len(self._asked) >= MOST_ASKED:
            self.counts["away" if self._writer is None else "full"] += 1
            return None
        self._number = number = self._number + 1
        future: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            self._send(Find(number, key, time.monotonic() + self._settings.deadline_s))
            async with asyncio.timeout(self._settings.deadline_s):
                stored = await future
        except TimeoutError:
            self.counts["late"] += 1
            return None
        finally:
            self._asked.pop(number, None)
        self.counts["misses" if stored is None else "hits"] += 1
        return stored

    def keep(self, key: bytes, stored: Stored | None) -> None:
        """Hand a fresh answer over, or say that none will come. Returns at once; dropped when the worker is away."""
        fits = stored is None or len(stored.body) <= MAX_KEPT_BYTES
        sent = self._send(Keep(key, stored if fits else None))
        self.counts["kept" if sent and fits else "dropped"] += 1

    def wrong(self, tenant: str, operation: str) -> None:
        """A tenant says that an operation's answer was wrong. Waits for a worker that is away, and starts one."""
        if not self.offered:
            return
        self._begin()
        complaint = Wrong(tenant, operation)
        if not self._send(complaint):
            self._complaints.append(complaint)

    async def stop(self) -> None:
        """End the worker; it writes what it has learned."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self.process is not None:
            await self.process.stop()

    def gauges(self, gauge: Callable[[str, str, Callable[[], float]], None]) -> None:
        """What is counted here, and the standing that the worker told last."""
        for what in COUNTED:
            gauge(f"jevons_semantic_{what}", f"Semantic look-ups and answers: {what}", partial(self._count, what))
        gauge("jevons_semantic_up", "1 while the worker is connected", lambda: self.connected)
        gauge("jevons_semantic_restarts", "How often the worker was started again", self._restarts)
        for name, text in STANDING.items():
            gauge(f"jevons_semantic_{name}", text, partial(self._standing, name))

    def _count(self, what: str) -> int:
        return self.counts[what]

    def _restarts(self) -> int:
        return self.process.restarts if self.process is not None else 0

    def _standing(self, name: str) -> float:
        return float(getattr(self.standing, name))

    def _send(self, message: Request) -> bool:
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            return False
        writer.write(frame(message))
        return True

    # --- the worker's life

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                path = socket_path(self._url)
                options = Options(socket=str(path), database=self._url, keep_days=self._settings.keep_days)
                self.process = WorkerProcess(options, Path(".jevons") / "worker.log")
                await self.process.start()
                break
            except (JevonsError, OSError) as error:
                log.warning("no semantic cache: %s", error)
                await asyncio.sleep(START_AGAIN_S)
        first, longest = CONNECT_S
        pause = first
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(path))
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                continue
            pause = first
            await self._talk(reader, writer)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        self._writer = writer
        while self._complaints:
            self._send(self._complaints.popleft())
        looking = asyncio.create_task(self._look())
        try:
            while True:
                self._told(read_reply(await read_frame(reader)))
        except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            log.warning("the worker is away, look-ups are misses: %s", error or type(error).__name__)
        finally:
            self._writer = None
            looking.cancel()
            writer.close()
            for future in self._asked.values():
                if not future.done():
                    future.set_result(None)

    def _told(self, reply: Found | Standing) -> None:
        if isinstance(reply, Standing):
            self.standing = reply
            return
        future = self._asked.get(reply.number)
        if future is not None and not future.done():
            future.set_result(reply.stored)

    async def _look(self) -> None:
        while True:
            self._send(Look())
            await asyncio.sleep(LOOK_S)


STANDING = {
    "scopes": "Tenants and policies with an index of their own",
    "open": "Of these, those whose bound leaves room to serve",
    "entries": "Answered questions that are kept",
    "requests": "Look-ups that were weighed",
    "would_be": "Look-ups that had an answer under the threshold",
    "served": "Answers served",
    "audits": "Would-be hits that were answered afresh, to learn whether they would have been wrong",
    "known_wrong": "Would-be hits that were seen to be wrong",
    "served_wrong": "At most so many wrong answers were served, with probability .95 in each scope",
    "threshold": "The highest risk that is served in any scope",
}
"""Fields of Standing -> what they say."""


def socket_path(url: str) -> Path:
    """Where the worker of a database listens on this machine: in a folder that is this user's alone, since a socket's
    path may have 107 bytes at most. Raises OurError when somebody else made that folder.
    """
    file = Database.path_of(url)
    name = hashlib.blake2b((str(file.absolute()) if file else url).encode(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"jevons-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise OurError(f"{folder} must be a folder of this user with mode 700: remove it")
    return folder / f"{name}.sock"
