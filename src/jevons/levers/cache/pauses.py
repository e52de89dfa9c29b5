"""How likely a session is to pause for longer than five minutes and come back within the hour.

What it decides: one chance, from a table of counts with shrinkage: among tokens written by sessions like this one, the
share whose next pause was bridged by a one-hour cache and would not have been by a five-minute one. Tokens whose
session ended, went away for longer, or was cut before that count against. What it must not know: prices, wire formats,
where the table is kept. The features are those that told anything in 524 real sessions (docs/decisions/0040): whether
it is a sub-agent, how large its first prompt was, whether it starts, resumes or runs, and its own rate of pauses.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

import msgspec

SHORT_S, LONG_S = 300.0, 3600.0
"""The two lives that a marked cache sells."""

SMALL_FIRST_PROMPT = 16_384
"""Tokens. A coding client's system prompt and tools take about 17,000: what starts below is a helper or a one-off."""

PRIOR_TOKENS = 1_000_000
"""Tokens of its own that a cell needs to outweigh the coarser cell above it."""

PRIOR_CALLS = 50
"""Calls that the even chance of a further call weighs before any history."""

RATE_BOUNDS = (0.03, 0.06)
"""Pauses per call, shrunk towards 1 in 24, at which a session counts as rarely, sometimes, often paused."""

MILLION = 1_000_000


class Pace(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a session has shown so far. `calls` and `pauses` count what came before the call at hand."""

    calls: int = 0
    pauses: int = 0
    """Of more than five minutes and up to an hour."""
    first_tokens: int = 0
    """Prompt tokens of its first call."""
    sub: bool = False
    """It is a sub-agent of another session."""
    resumed: bool = False
    """More than five minutes went by before the call at hand."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request of a finished session: when, how long, and how many tokens of the prompt before it repeats."""

    at: float
    prompt: int
    kept: int


Counts = Mapping[str, tuple[int, int]]
"""Cell -> (tokens, bridged tokens). A cell is named from coarse to fine: `main`, `main/runs`, `main/runs/often`.
`main/next` holds (calls, calls followed by another within five minutes)."""

SITE_SESSIONS = 8
"""Sessions of its own that a call site needs to outweigh what is known of all sites (as in prices.horizon)."""

SITE_CALLS = 50
"""The same in calls, for the chance of a further one."""


class SiteTable:
    """What one call site has shown, over the table of all sites. Filled by `sites.Sites`."""

    __slots__ = ("counts", "prior", "sessions", "tokens")

    def __init__(self, prior: Counts):
        self.prior = prior
        self.counts: dict[str, tuple[int, int]] = {}
        self.sessions = 0
        self.tokens = 0

    @property
    def weight(self) -> int:
        """Tokens that the prior weighs: SITE_SESSIONS sessions of this site's usual size."""
        return max(1, SITE_SESSIONS * self.tokens // max(1, self.sessions))


Table = Counts | SiteTable


def step(pace: Pace, gap_s: float | None, prompt: int, *, sub: bool = False) -> Pace:
    """The pace for the next call, `gap_s` after the one before (None: the session's first)."""
    if gap_s is None:
        return Pace(first_tokens=prompt, sub=sub)
    return Pace(
        calls=pace.calls + 1,
        pauses=pace.pauses + (SHORT_S < gap_s <= LONG_S),
        first_tokens=pace.first_tokens,
        sub=pace.sub,
        resumed=gap_s > SHORT_S,
    )


def cells(pace: Pace) -> tuple[str, str, str]:
    """The cells that a call belongs to, coarse to fine."""
    kind = "sub" if pace.sub else "small" if pace.first_tokens < SMALL_FIRST_PROMPT else "main"
    phase = "starts" if pace.calls == 0 else "resumes" if pace.resumed else "runs"
    rate = (pace.pauses + 0.5) / (pace.calls + 12)
    often = "rarely" if rate < RATE_BOUNDS[0] else "sometimes" if rate < RATE_BOUNDS[1] else "often"
    return kind, f"{kind}/{phase}", f"{kind}/{phase}/{often}"


def chance(table: Table, pace: Pace) -> int:
    """Parts per million: the share of tokens like these that an hour will bridge. Half where nothing is known."""
    counts: Counts
    if isinstance(table, SiteTable):
        share, weight, counts = chance(table.prior, pace), table.weight, table.counts
    else:
        share, weight, counts = MILLION // 2, PRIOR_TOKENS, table
    for cell in cells(pace):
        tokens, bridged = counts.get(cell, (0, 0))
        share = (bridged * MILLION + weight * share) // (tokens + weight)
    return share


def survival(table: Table, pace: Pace) -> int:
    """Parts per million: the chance that another call follows within five minutes and finds the prefix alive."""
    counts: Counts
    if isinstance(table, SiteTable):
        share, weight, counts = survival(table.prior, pace), SITE_CALLS, table.counts
    else:
        share, weight, counts = MILLION // 2, PRIOR_CALLS, table
    calls, followed = counts.get(f"{cells(pace)[0]}/next", (0, 0))
    return (followed * MILLION + weight * share) // (calls + weight)


def fit(sessions: Iterable[tuple[bool, Sequence[Request]]], prior: Counts | None = None) -> dict[str, tuple[int, int]]:
    """The table from finished sessions, each (is a sub-agent, its requests), added to a prior table."""
    table = dict(prior or {})
    for sub, requests in sessions:
        pace = Pace()
        for index, request in enumerate(requests):
            gap = request.at - requests[index - 1].at if index else None
            pace = step(pace, gap, request.prompt, sub=sub)
            tokens, bridged = fate(requests, index)
            for cell in cells(pace):
                count(table, cell, tokens, bridged)
            followed = index + 1 < len(requests) and requests[index + 1].at - request.at <= SHORT_S
            count(table, f"{cells(pace)[0]}/next", 1, followed)
    return table


def count(table: dict[str, tuple[int, int]], cell: str, size: int, hits: int) -> None:
    """Add to a cell."""
    before = table.get(cell, (0, 0))
    table[cell] = (before[0] + size, before[1] + hits)


def fate(requests: Sequence[Request], index: int) -> tuple[int, int]:
    """(tokens that this request had to write, those of them still in use at a next pause that an hour bridges)."""
    here = requests[index]
    fresh = index == 0 or here.at - requests[index - 1].at > SHORT_S
    start, end = (0 if fresh else min(here.kept, here.prompt)), here.prompt
    before, kept = here.at, here.prompt
    for later in requests[index + 1 :]:
        gap, before = later.at - before, later.at
        kept = min(kept, later.kept)
        if kept <= start:
            break
        if gap > SHORT_S:
            return end - start, (min(kept, end) - start if gap <= LONG_S else 0)
    return end - start, 0


def shipped() -> dict[str, tuple[int, int]]:
    """The prior that comes with this version: 524 sessions of coding agents (kv-cache-tester traces, Apache-2.0)."""
    raw = resources.files("jevons.levers.cache").joinpath("data/pauses.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, tuple[int, int]])
