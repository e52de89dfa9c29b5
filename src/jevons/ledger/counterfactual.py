"""What a call would have cost without jevons: the baseline that a saving is read against. Modelled, and said to be.

What it decides: which tokens would have been burned, by which model, on which tier. What would have run is the plan's
declared baseline model, else the model that was asked for, with the provider's prompt cache on, at the mix of cached
and fresh tokens that was really seen. So placing breakpoints is credited nothing here: only the experiment, where
tasks are drawn, can say what it is worth. Our own burning (gates, judges, embeddings, shadows, rungs of a cascade that
were not used) is in an operation's cost and never in its baseline: a saving may be negative. A price that is not known
makes the baseline None, never zero.

What it must not know: how a lever works, where rows are kept, the clock.
"""

from collections.abc import Callable, Sequence

import msgspec

from jevons.core.money import Nano
from jevons.core.route import Route
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt

PROMPT_KINDS = ("input", "cached", "cache_write_5m", "cache_write_1h")
FRESH_KINDS = ("cache_write_5m", "cache_write_1h", "input")
"""Where tokens are taken from that would have been read from a cache: what was lost is written again first."""

Price = Callable[[Route, Usage, str], Nano | None]
"""(route, usage, tier) -> nano-dollars at the moment of the call; None: no price is known."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What one lever did to a call, in the ledger's terms."""

    lever: str
    removed: int = 0
    """Prompt tokens that were not sent because of it."""
    retained: int = 0
    """Prompt tokens behind its first edit, which the provider had to read anew."""
    rerouted: bool = False
    retiered: bool = False
    served: bool = False
    """It had the answer at hand: nothing was sent."""


class Untouched(msgspec.Struct, frozen=True, kw_only=True):
    """How the call would have been sent."""

    route: Route
    """Of the declared baseline model, else of the model that was asked for."""
    asked: Route
    tier: str = ""
    """The service tier that the caller asked for."""
    held: int = 0
    """Prompt tokens that the provider's cache would have held for it (modelled)."""


class Split(msgspec.Struct, frozen=True):
    """An operation's attempts by what would have been burned anyhow. Costs in nano-dollars; None: unpriced."""

    final: Attempt | None
    """The attempt whose answer the caller got (or would have, had it stayed)."""
    failed: int | None
    """Attempts that broke: they would have broken untouched as well."""
    own: tuple[tuple[str, int | None], ...]
    """(role, cost) of what only we burned; an earlier rung of a cascade has the role `rung`."""


def split(attempts: Sequence[Attempt]) -> Split:
    """Which attempt answered, what failed before it, and what was our own."""
    if len(attempts) == 1 and attempts[0].role == "answer":
        return Split(attempts[0], 0, ())
    last = max((n for n, attempt in enumerate(attempts) if attempt.role == "answer"), default=-1)
    failed: int | None = 0
    own: list[tuple[str, int | None]] = []
    for number, attempt in enumerate(attempts):
        if number == last:
            continue
        if attempt.role != "answer":
            own.append((attempt.role, attempt.cost_nano))
        elif not attempt.error and attempt.status < 400:
            own.append(("rung", attempt.cost_nano))
        else:
            failed = None if failed is None or attempt.cost_nano is None else failed + attempt.cost_nano
    return Split(attempts[last] if last >= 0 else None, failed, tuple(own))


def would_have(seen: Usage, removed: int, held: int) -> Usage:
    """The tokens of the untouched call: what was removed comes back in the mix that was seen, and at least `held` of
    the prompt is read from the cache. The output is taken as it was."""
    grown = _grow(seen, removed) if removed else seen
    return _lift(grown, held) if held > grown.cached else grown


def repeated(usage: Usage, min_tokens: int, step: int) -> int:
    """Prompt tokens that a provider would have held of a prompt that it has just answered: whole steps of it."""
    return usage.prompt // step * step if usage.prompt >= min_tokens else 0


def _grow(seen: Usage, removed: int) -> Usage:
    """Prompt tokens added in proportion; what rounding leaves over is fresh input."""
    prompt = seen.prompt
    if not prompt:
        return msgspec.structs.replace(seen, input=removed)
    more = {name: getattr(seen, name) * removed // prompt for name in PROMPT_KINDS}
    more["input"] += removed - sum(more.values())
    return msgspec.structs.replace(seen, **{name: getattr(seen, name) + more[name] for name in PROMPT_KINDS})


def _lift(usage: Usage, held: int) -> Usage:
    missing = min(held, usage.prompt) - usage.cached
    counts = {"cached": usage.cached + missing}
    for name in FRESH_KINDS:
        taken = min(missing, getattr(usage, name))
        counts[name] = getattr(usage, name) - taken
        missing -= taken
    return msgspec.structs.replace(usage, **counts)
