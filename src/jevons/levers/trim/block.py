"""Which results to take out of a prompt in one block, and whether now is the time.

What lives here: who is a candidate (long unquoted, unpinned, its tool's results seldom needed so late), how many calls
are still to come, and the search for the first edit with the highest expected gain. The expected bill is at or
below the untouched one at every decision; with too little to go by, nothing is offered.
"""

from collections.abc import Sequence

import msgspec

from jevons.levers.trim.need import Need
from jevons.levers.trim.rates import Rates, Trim, gain, reread
from jevons.levers.trim.session import Session, pinned

MIN_CALLS = 12
"""A shorter run has shown too little of its length and of its tools."""
MIN_IDLE = 8
MIN_TOKENS = 120.0
STUB_TOKENS = 22.0
RECALL_OUTPUT = 60.0
REMAINING_SHARE = 0.5
"""Calls still expected after an expiry, as a share of those made; there a wrong guess costs nothing up front."""
REMAINING_SHARE_WARM = 0.1
"""The same where the trim has to be paid for first: at .25 and above such trims lost as often as they won."""
MAX_REMAINING = 60.0
CONTEXT_TOKENS = 160_000.0
"""Where clients compact their history by themselves: what is kept in cache does not outlive it."""
MAX_CHANCE = 0.2
"""Of being quoted again at all. Above it, recall fell below .98 on the first coding session."""
MARGIN = 1.25
"""The gain must exceed the expected recalls by this factor."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Items (by number) to remove; tokens as the provider counts them; the gain in plain input tokens."""

    items: tuple[int, ...]
    removed: float
    retained: float
    gain: float
    recalls: float
    """Expected number of recalls."""
    later_calls: float
    expired: bool


def later_calls(session: Session, prompt: float, *, expired: bool) -> float:
    """Calls still to come, by the session's own length, and not beyond the point where the context is full."""
    growth = max(1.0, prompt / max(1, session.calls))
    room = max(0.0, CONTEXT_TOKENS - prompt) / growth
    share = REMAINING_SHARE if expired else REMAINING_SHARE_WARM
    return min(share * session.calls, MAX_REMAINING, room)


def candidates(session: Session, need: Need) -> list[tuple[int, float]]:
    """(item number, chance that it is needed again) of what may go, in the prompt's order."""
    kept = pinned(session.items)
    found: list[tuple[int, float]] = []
    for number, item in enumerate(session.items):
        idle = session.calls - item.quoted
        if idle < MIN_IDLE or item.removed or item.error or item.turn in kept or item.sent < MIN_TOKENS:
            continue
        if item.turn >= session.cached_turns:
            continue
        chance = need.chance(item.tool, idle)
        if chance <= MAX_CHANCE:
            found.append((number, chance))
    return found


def choose(session: Session, need: Need, rates: Rates, now: float, overhead: float) -> Block | None:
    """The block with the highest expected gain; None when none gains. `overhead` is the tokens before the turns."""
    if session.calls < MIN_CALLS or need.off:
        return None
    expired = rates.expired(now - session.last_at)
    scale = session.scale.factor
    prompt = overhead + scale * sum(session.sent)
    later = later_calls(session, prompt, expired=expired)
    behind = _behind(session.sent, session.cached_turns)
    best: Block | None = None
    removed = recall_cost = recalls = 0.0
    chosen: list[int] = []
    for number, chance in reversed(candidates(session, need)):
        item = session.items[number]
        cost = chance * reread(scale * item.sent, prompt, rates, later / 2, RECALL_OUTPUT)
        saved = scale * (item.sent - STUB_TOKENS)
        if gain(Trim(removed=saved, retained=0.0), rates, later, expired=expired) <= MARGIN * cost:
            continue
        removed, recall_cost, recalls = removed + saved, recall_cost + cost, recalls + chance
        chosen.append(number)
        retained = scale * behind[item.turn] - removed
        won = gain(Trim(removed=removed, retained=max(0.0, retained)), rates, later, expired=expired)
        if won <= MARGIN * recall_cost or (best is not None and won - recall_cost <= best.gain):
            continue
        best = Block(
            items=tuple(chosen), removed=removed, retained=max(0.0, retained), gain=won - recall_cost,
            recalls=recalls, later_calls=later, expired=expired,
        )  # fmt: skip
    return best


def _behind(sent: Sequence[float], cached: int) -> list[float]:
    """For each turn, the tokens from it to the end of what is cached."""
    sums = [0.0] * (len(sent) + 1)
    for turn in range(min(cached, len(sent)) - 1, -1, -1):
        sums[turn] = sums[turn + 1] + sent[turn]
    return sums
