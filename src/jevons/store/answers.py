"""Whole answers in memory, per tenant, bounded in bytes and time; and identical calls in flight, which wait.

What lives here: the in-process form of what `Find` and `Keep` ask for. What it must not know: what makes two calls the
same, or which answers deserve keeping.
"""

import asyncio
from collections import OrderedDict, deque

import msgspec

from jevons.core.ask import Stored

MAX_WAITERS = 1024
"""Identical calls that wait for one leader; a further one burns by itself."""
ENTRY_OVERHEAD_BYTES = 600
"""Keys, the struct and its slots, as measured with sys.getsizeof over an entry without its body."""

Key = tuple[str, bytes]


class Answers:
    """An LRU of Stored by (tenant, key), with leaders. One event loop owns it."""

    def __init__(self, *, max_bytes: int, max_entry_bytes: int, ttl_s: float):
        self._max_bytes = max_bytes
        self._max_entry_bytes = max_entry_bytes
        self._ttl_s = ttl_s
        self._entries: OrderedDict[Key, tuple[float, Stored]] = OrderedDict()
        self._bytes = 0
        self._leaders: dict[Key, deque[asyncio.Future[Stored | None]]] = {}

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def find(self, tenant: str, key: bytes, now: float, *, wait: bool) -> Stored | None:
        """The answer, or None: then, with `wait`, the asker leads and must `keep` (an answer, or None to let go)."""
        at = (tenant, key)
        found = self._entries.get(at)
        if found is not None:
            if found[0] > now:
                self._entries.move_to_end(at)
                return found[1]
            self._drop(at)
        if not wait:
            return None
        waiting = self._leaders.get(at)
        if waiting is None:
            self._leaders[at] = deque()
            return None
        if len(waiting) >= MAX_WAITERS:
            return None
        future: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()
        waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() is None:
                self._pass_on(at)  # the lead came to one who was leaving
            raise

    def keep(self, tenant: str, key: bytes, stored: Stored | None, now: float) -> None:
        """End a lead. With an answer all who wait get it; without one the next in line leads and burns by itself."""
        at = (tenant, key)
        if stored is None:
            self._pass_on(at)
            return
        size = len(stored.body) + len(key) + ENTRY_OVERHEAD_BYTES
        if size <= self._max_entry_bytes:
            self._drop(at)
            self._entries[at] = (now + self._ttl_s, stored)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))
        joined = msgspec.structs.replace(stored, joined=True)
        for future in self._leaders.pop(at, ()):
            if not future.done():
                future.set_result(joined)

    def purge(self, tenant: str) -> int:
        """Forget all that a tenant has here; how many answers that was."""
        mine = [at for at in self._entries if at[0] == tenant]
        for at in mine:
            self._drop(at)
        return len(mine)

    def _pass_on(self, at: Key) -> None:
        waiting = self._leaders.get(at)
        while waiting:
            future = waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._leaders.pop(at, None)

    def _drop(self, at: Key) -> None:
        entry = self._entries.pop(at, None)
        if entry is not None:
            self._bytes -= len(entry[1].body) + len(at[1]) + ENTRY_OVERHEAD_BYTES
