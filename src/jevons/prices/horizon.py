"""How many calls a session still has before it: the survival estimate that every investment is priced over.

What lives here: the mean residual life of sessions, from how long earlier ones of the call site were, shrunk towards
all sites. What it must not know: what is invested in, and where the history is kept.
"""

from collections.abc import Iterable
from importlib import resources

import msgspec

MAX_CALLS = 1024
"""Sessions are counted up to this length; a longer one counts as this long. The longest of 524 real ones had 514."""

SITE_WEIGHT = 8
"""Sessions of its own that a call site needs to outweigh what is known of all sites."""


class Horizon(msgspec.Struct, frozen=True):
    """`remaining[k]`: expected calls after the k-th, in thousandths, for a session that has had k calls. Bounded."""

    remaining: tuple[int, ...]
    sessions: int

    def after(self, calls: int) -> int:
        """Expected further calls, in thousandths, once `calls` have been made (this one included)."""
        return self.remaining[min(max(calls, 0), len(self.remaining) - 1)]


NOTHING_KNOWN = Horizon((0,), 0)
"""Without history no investment is promised a future call: only what pays on this call is done."""


def shipped() -> Horizon:
    """What is assumed of a call site without history: it may be a one-shot, with an even chance, or an agent like
    those of 524 recorded sessions (kv-cache-tester traces, Apache-2.0). 8 sessions of its own outweigh it."""
    raw = resources.files("jevons.prices").joinpath("data/session_calls.json").read_bytes()
    lengths = msgspec.json.decode(raw, type=list[int])
    return learn([*lengths, *(1 for _ in lengths)])


def learn(lengths: Iterable[int], prior: Horizon = NOTHING_KNOWN) -> Horizon:
    """From the numbers of calls of finished sessions. E[N - k | N >= k] over the sessions that reached k, with
    `SITE_WEIGHT` sessions' worth of the prior mixed in. Sessions of length 0 are left out."""
    counts = [0] * (MAX_CALLS + 1)
    for length in lengths:
        if length > 0:
            counts[min(length, MAX_CALLS)] += 1
    total = sum(counts)
    top = max((k for k in range(MAX_CALLS + 1) if counts[k]), default=0)
    size = max(top, len(prior.remaining) - 1) + 1
    remaining, reached, further = [0] * size, 0, 0
    weight = SITE_WEIGHT if prior.sessions else 0
    for k in range(size - 1, -1, -1):
        further += reached  # each session that goes past k has one call more to go than seen from k + 1
        reached += counts[k] if k <= MAX_CALLS else 0
        base = reached + weight
        remaining[k] = (further * 1000 + weight * prior.after(k)) // base if base else 0
    return Horizon(tuple(remaining), total)
