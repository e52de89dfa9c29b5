"""Counters in memory: what was spent and what is reserved, per window, with a lease on every reservation.

What lives here: the in-process form of reserve and settle, atomic because one event loop owns it and nothing here
awaits. What it must not know: what a counter means, or where a cap comes from. Spent amounts come back from the ledger
after a start (`seed`); reservations die with the process, so a kill leaks none.
"""

from collections.abc import Callable, Mapping, Sequence

from jevons.plans.budget import Claim, Denied, Granted

MAX_COUNTERS = 200_000
"""Counters held; closed windows are dropped first. About 40 MB at the bound."""


class _Counter:
    __slots__ = ("ends", "reserved", "spent")

    def __init__(self, spent: int, ends: float):
        self.spent = spent
        self.reserved = 0
        self.ends = ends


class Counters:
    """All counters of one gateway process. Times are Unix seconds, given by the caller.

    `seed(counter)` tells what was spent in a window before this process saw it.
    """

    def __init__(self, seed: Callable[[str], int] = lambda _counter: 0):
        self._seed = seed
        self._counters: dict[str, _Counter] = {}
        self._held: dict[str, tuple[float, tuple[Claim, ...]]] = {}

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def reservations(self) -> int:
        return len(self._held)

    def reserve(self, operation: str, claims: Sequence[Claim], lease_ends: float) -> Granted | Denied:
        """All claims or none. The reservation lives until it is settled, released, or its lease ends."""
        fullest, whose = 0.0, None
        counters = [self._counter(claim) for claim in claims]
        for claim, counter in zip(claims, counters, strict=True):
            used = counter.spent + counter.reserved
            if used + claim.amount > claim.cap:
                return Denied(claim=claim, spent=counter.spent, reserved=counter.reserved)
            share = (used + claim.amount) / claim.cap if claim.cap else 1.0
            if share >= claim.limit.warn_at and share > fullest:
                fullest, whose = share, claim
        for claim, counter in zip(claims, counters, strict=True):
            counter.reserved += claim.amount
        self._held[operation] = (lease_ends, tuple(claims))
        return Granted(fullest=fullest, claim=whose)

    def settle(self, operation: str, took: Mapping[str, int]) -> None:
        """Replace a reservation by what was really taken. What came after its lease ended is still spent."""
        _, claims = self._held.pop(operation, (0.0, ()))
        for claim in claims:
            counter = self._counters.get(claim.counter)
            if counter is not None:
                counter.reserved -= claim.amount
        for name, amount in took.items():
            counter = self._counters.get(name)
            if counter is not None:
                counter.spent += amount

    def renew(self, operation: str, lease_ends: float) -> None:
        """A long stream keeps what it reserved."""
        held = self._held.get(operation)
        if held is not None:
            self._held[operation] = (lease_ends, held[1])

    def expire(self, now: float) -> int:
        """Release reservations whose lease is over, and forget windows that closed. Returns how many leases ended."""
        late = [operation for operation, (ends, _) in self._held.items() if ends < now]
        for operation in late:
            self.settle(operation, {})
        for name in [
            name for name, counter in self._counters.items() if 0 < counter.ends < now and not counter.reserved
        ]:
            del self._counters[name]
        return len(late)

    def spent(self, counter: str) -> tuple[int, int]:
        """(spent, reserved) of a counter; zeros when it is not known."""
        found = self._counters.get(counter)
        return (found.spent, found.reserved) if found else (0, 0)

    def _counter(self, claim: Claim) -> _Counter:
        counter = self._counters.get(claim.counter)
        if counter is None:
            if len(self._counters) >= MAX_COUNTERS:
                self._make_room()
            counter = self._counters[claim.counter] = _Counter(self._seed(claim.counter), claim.ends)
        return counter

    def _make_room(self) -> None:
        """The oldest counters without a reservation go; what they held is in the ledger and is seeded again."""
        for name in [name for name, counter in self._counters.items() if not counter.reserved][: MAX_COUNTERS // 10]:
            del self._counters[name]
