"""The simulator's books: every request as it was received, and every line that it will bill.

What lives here: facts, in memory, bounded. What does not: how they are exported (`invoice.py`) or what caused them.
"""

import threading
from collections import deque
from collections.abc import Callable

import msgspec

from jevons.engines.simulated import prices
from jevons.engines.simulated.prompt import Counts

MAX_REQUESTS = 20_000
MAX_REQUEST_BYTES = 256 * 1024 * 1024
"""Beyond either bound the oldest request's bytes are dropped."""


class Received(msgspec.Struct, kw_only=True):
    """One request and how it went. `head` and `body` are the bytes as they came."""

    number: int
    at: float
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes
    key: str = ""
    request_id: str = ""
    status: int = 0
    fault: str = ""
    billed: int | None = None
    """The number of its line in the books."""
    finished: bool = False
    client_gone: bool = False
    """The client left before the reply's end."""
    gone_after_s: float | None = None
    """Seconds from the request's receipt until the client's leaving was noticed."""
    events_sent: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One billed request."""

    number: int
    at: float
    provider: str
    org: str
    key: str
    model: str
    surface: str
    tier: str
    """standard | flex | priority | batch"""
    counts: Counts
    pico: dict[str, int]
    """Pico-dollars by token kind."""
    complete: bool
    request_id: str

    @property
    def total_pico(self) -> int:
        return sum(self.pico.values())


class Books:
    """Written by the server's thread, read by tests' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Received] = deque()
        self._bytes = 0
        self._count = 0
        self._lines: list[Line] = []

    @property
    def requests(self) -> list[Received]:
        with self._lock:
            return list(self._requests)

    @property
    def lines(self) -> list[Line]:
        with self._lock:
            return list(self._lines)

    @property
    def total_pico(self) -> int:
        """The whole bill in pico-dollars."""
        return sum(line.total_pico for line in self.lines)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()
            self._lines.clear()
            self._bytes = 0

    def receive(self, build: Callable[[int], Received]) -> Received:
        with self._lock:
            self._count += 1
            received = build(self._count)
            self._requests.append(received)
            self._bytes += len(received.body)
            while len(self._requests) > MAX_REQUESTS or self._bytes > MAX_REQUEST_BYTES:
                self._bytes -= len(self._requests.popleft().body)
            return received

    def bill(
        self,
        received: Received | None,
        *,
        model: str,
        org: str,
        surface: str,
        tier: str,
        counts: Counts,
        at: float,
        complete: bool,
        key: str = "",
    ) -> None:
        """Write a line. `tier`: '' (standard), flex, priority or batch. `key` where no request stands behind it."""
        known = prices.table()[model]
        with self._lock:
            number = len(self._lines)
            self._lines.append(
                Line(
                    number=number,
                    at=at,
                    provider=known.provider,
                    org=org,
                    key=received.key if received else key,
                    model=model,
                    surface=surface,
                    tier=tier or "standard",
                    counts=counts,
                    pico=prices.amounts(known, counts, tier),
                    complete=complete,
                    request_id=received.request_id if received else "",
                )
            )
            if received is not None:
                received.billed = number
