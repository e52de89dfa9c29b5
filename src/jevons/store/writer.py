"""The ledger's one writer: a thread that books operations in batches, and never loses one that it took.

What lives here: the queue, the window, durability, and what happens when the disk stalls. What it must not know: rows
(booking.py). The caller's thread only appends to a queue; encoding and the database are the thread's.

Two promises. *batched*: an operation is committed within the window (50 ms) plus one commit, well inside 100 ms.
*strict*: `booked` and `durable` are done once the operation is committed and synced; whatever came while one commit
ran is the next batch, so waiting callers share a sync.

When the disk stalls the queue grows. From `max_queue` on the writer is not ready: the gateway refuses new calls and
lets running ones book, for which as much room again is kept; past that `book` raises. A batch that fails for now (a
lock, a full disk, a lost connection) is tried again until it is written; one that can never be written is split, and
what is wrong is put aside whole in `rejected`.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

import msgspec

from jevons.core.errors import OurError, SettingsError
from jevons.ledger.operation import Operation
from jevons.store.booking import Bookkeeper, reject
from jevons.store.migrate import open_database

WINDOW_S = 0.05
"""How long a batched writer gathers: half of the 100 ms within which an answered call is on disk."""
MAX_QUEUE = 20_000
"""Operations waiting before the writer says that it is not ready: about 30 MB, 20 s of a stall at 1,000 calls/s."""
MAX_BATCH = 2_000
"""Operations in one transaction: bounds how long the CLI and the dashboard wait for the write lock."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
"""Between tries of a batch that failed for now; doubled each time."""

Waiter = Future[None] | asyncio.Future[None] | threading.Event


class Health(msgspec.Struct, frozen=True):
    """What /readyz and the metrics show."""

    ready: bool
    queued: int
    written: int
    """Operations that this writer has committed."""
    retries: int
    rejected: int
    refused: int
    """Operations that `book` would not take, its reserve being full. Anything but 0 is a lost booking."""
    stalled_s: float
    """For how long the database has not taken the batch at hand; 0 when it does."""
    error: str = ""
    """Why the database does not take the batch at hand; empty when it does."""


class Writer:
    """See the module's first lines. Thread-safe; `close` writes what is queued."""

    def __init__(
        self, url: str, durability: str = "batched", window_s: float = WINDOW_S, max_queue: int = MAX_QUEUE
    ) -> None:
        if durability not in {"batched", "strict"}:
            raise SettingsError(f"durability is {durability!r}; use batched or strict")
        self._db = open_database(url, durability=durability)
        self._books = Bookkeeper()
        self._window_s = 0.0 if durability == "strict" else window_s
        self._max_queue = max_queue
        self._queue: deque[tuple[Operation | None, Waiter | None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._in_hand = 0
        self._since = 0.0
        self._written = self._retries = self._rejected = self._refused = 0
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="jevons-ledger", daemon=True)
        self._thread.start()

    def book(self, operation: Operation) -> None:
        """Take an operation for the next batch. Returns at once. Raises OurError when even the reserve is full."""
        self._put(operation, None)

    def booked(self, operation: Operation) -> "Future[None]":
        """Like `book`; the future is done when the operation is committed. For threads."""
        future: Future[None] = Future()
        self._put(operation, future)
        return future

    def durable(self, operation: Operation) -> "asyncio.Future[None]":
        """Like `booked`, for the running event loop, which is woken once for all of a batch's callers."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(operation, future)
        return future

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was booked before is committed. False when that took too long."""
        reached = threading.Event()
        self._put(None, reached)
        return reached.wait(timeout_s)

    def close(self, timeout_s: float = 30.0) -> bool:
        """Write what is queued and stop. False when the database did not take it in time: `health` says why."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._drain()  # what was put while the thread looked for the last time
        self._db.close()
        return True

    @property
    def ready(self) -> bool:
        """Whether new calls may begin; asked before each."""
        return len(self._queue) + self._in_hand < self._max_queue

    @property
    def health(self) -> Health:
        queued = len(self._queue) + self._in_hand
        return Health(
            ready=self.ready,
            queued=queued,
            written=self._written,
            retries=self._retries,
            rejected=self._rejected,
            refused=self._refused,
            stalled_s=time.monotonic() - self._since if self._since else 0.0,
            error=self._error,
        )

    def _put(self, operation: Operation | None, waiter: Waiter | None) -> None:
        if self._closing or len(self._queue) >= 2 * self._max_queue:
            self._refused += 1
            raise OurError("the ledger takes no more operations: " + (self._error or "it is closing"), status=503)
        self._queue.append((operation, waiter))
        if not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        while not (self._closing and not self._queue):
            self._wake.wait()
            if self._window_s and not self._closing:
                time.sleep(self._window_s)
            self._wake.clear()  # before the drain: what comes during it wakes the next round
            self._drain()

    def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            operations = [operation for operation, _ in batch if operation is not None]
            self._in_hand = len(operations)
            self._write(operations)
            self._in_hand = 0
            _tell(waiter for _, waiter in batch if waiter is not None)

    def _write(self, operations: list[Operation]) -> None:
        """Write all of them, however long it takes. What cannot be written as a whole is split; see `_put_aside`."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                self._books.write(self._db, operations)
                break
            except Exception as error:
                # Whatever one row may hold, the others must be written, and this thread must live.
                self._error = f"{type(error).__name__}: {error}"
                if not isinstance(error, self._db.transient):
                    self._books.forget()
                    if len(operations) > 1:
                        middle = len(operations) // 2
                        self._write(operations[:middle])
                        self._write(operations[middle:])
                        return
                    if self._put_aside(operations[0], self._error):
                        return
            self._since = self._since or time.monotonic()
            self._retries += 1
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            self._reconnect()
        self._error, self._since = "", 0.0
        self._written += len(operations)

    def _put_aside(self, operation: Operation, reason: str) -> bool:
        """Into `rejected`, whole. False when the database does not even take that: then it is the database."""
        try:
            reject(self._db, operation, reason, time.time())
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
            return False
        self._rejected += 1
        self._error, self._since = "", 0.0
        return True

    def _reconnect(self) -> None:
        """Postgres may have been restarted; SQLite's connection outlives a lock and a full disk."""
        if self._db.postgres:
            try:
                self._db.connect()
            except SettingsError as error:
                self._error = error.message


def _tell(waiters: Iterable[Waiter]) -> None:
    """The batch is on disk: whoever waits may go on."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if isinstance(waiter, threading.Event):
            waiter.set()
        elif isinstance(waiter, asyncio.Future):
            loops.setdefault(waiter.get_loop(), []).append(waiter)
        elif waiter.set_running_or_notify_cancel():
            waiter.set_result(None)
    for loop, futures in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_finish, futures)


def _finish(futures: list["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():  # its caller may have been cancelled; the booking was not
            future.set_result(None)
