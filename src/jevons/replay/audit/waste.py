"""What a call paid for again: prefixes that were held and not found, and prefixes that had expired.

What it decides: for two consecutive calls of a session at one model, how many tokens the second repeats of the first
and, of those, how many it did not read from the cache though the first had put them there, and why. Where the bodies
were recorded the gateway's prefix doctor names the reason; else the counts do: a prefix that was held and written again
is `rewritten` (its cause cannot be seen), a prompt that became shorter is `history cut`. What it must not know: money.
"""

import msgspec

from jevons.core.usage import Usage
from jevons.levers.cache.doctor import FIX, Break, Diagnosis, Sent, diagnose
from jevons.levers.cache.session import Session, standing
from jevons.prices.prefix import TOLERANCE

REWRITTEN, NOT_FOUND = "rewritten", "not found"
FIXES = {
    **{reason.value: fix for reason, fix in FIX.items()},
    REWRITTEN: "record bodies (or run behind the gateway) to have the cause named",
    NOT_FOUND: "the prompt went on unchanged: a cache key per task keeps it on one machine",
}
LEAST = 256
"""Tokens below which a difference is rounding: two steps of an automatic cache."""
SWITCHED = 2
"""A call at another model that carries at least 1/2 of the last prompt is taken to carry the conversation over."""


class Lost(msgspec.Struct, frozen=True):
    """Why, and how many tokens."""

    reason: str
    tokens: int


class Step(msgspec.Struct, frozen=True):
    """A call against its forerunner. `kept`: tokens of the last prompt that it repeats from the start."""

    kept: int
    lost: Lost | None = None


def step(before: Session | None, at: float, usage: Usage, bodies: tuple[Sent, Sent] | None, *, marked: bool) -> Step:
    """`before`: what the session was after its last call at this model, with that call's own usage. `bodies`: that
    call's and this one's, where both were recorded. `marked`: the provider caches at breakpoints, and says so when it
    writes; an automatic cache promises nothing, so that a miss does not mean that the prompt changed."""
    if before is None:
        return Step(0)
    prompt, read = usage.prompt, usage.cached
    held_then = min(before.held, prompt)
    alive = min(standing(before, at, prompt).held, prompt)
    broken = alive - read > max(LEAST, alive // TOLERANCE)
    compared, found = _compared(bodies)
    if compared:
        kept = min(before.prompt, prompt) - (found.lost if found is not None else 0)
        reason = found.reason.value if found is not None else NOT_FOUND
    elif prompt < before.prompt:
        kept, reason = min(read, prompt), Break.HISTORY_CUT.value
    else:
        kept = read if broken and marked else before.prompt
        reason = REWRITTEN if marked else NOT_FOUND
    if broken:
        return Step(kept, Lost(reason, alive - read))
    died = min(held_then, max(kept, read)) - max(alive, read)
    if died > LEAST:
        return Step(kept, Lost(Break.EXPIRED.value, died))
    return Step(kept)


def _compared(bodies: tuple[Sent, Sent] | None) -> tuple[bool, Diagnosis | None]:
    """(whether two bodies could be compared, what broke the prefix between them)."""
    if bodies is None:
        return False, None
    try:
        return True, diagnose(*bodies)
    except msgspec.DecodeError:
        return False, None


def switched(last: Session | None, usage: Usage) -> Lost | None:
    """The first call at another model: what the last one held of the conversation had to be written anew."""
    if last is None or last.held <= LEAST or usage.prompt * SWITCHED < last.prompt:
        return None
    lost = min(last.held, usage.prompt) - usage.cached
    return Lost(Break.MODEL.value, lost) if lost > LEAST else None


def reread(usage: Usage, tokens: int) -> Usage:
    """The same call, had it read these tokens from the cache: what it would have cost is the waste's measure."""
    counts = {"cache_write_1h": usage.cache_write_1h, "cache_write_5m": usage.cache_write_5m, "input": usage.input}
    left = tokens
    for kind, size in counts.items():
        moved = min(left, size)
        counts[kind], left = size - moved, left - moved
    return msgspec.structs.replace(usage, cached=usage.cached + tokens - left, **counts)
