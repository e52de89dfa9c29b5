"""From what would have run to what was burned, step by step: each lever's part of a saving.

What it decides: the order in which the levers' acts are undone, and so what each is credited. The parts are integers
and add up to baseline minus cost exactly; what no act explains stands in the line `rest`. Our own burning is a line of
its own, and negative. All of it is modelled (counterfactual.py says from what).

What it must not know: prices (a function is given), how a lever works.
"""

from collections.abc import Mapping, Sequence

import msgspec

from jevons.core.money import ZERO, Nano
from jevons.core.route import Route
from jevons.core.usage import Usage
from jevons.ledger.counterfactual import Act, Price, Split, Untouched, split, would_have
from jevons.ledger.operation import Attempt

REST = "rest"
"""What no lever is credited with: rounding, a step without a price."""
DECLARED = "asked-model"
"""The caller itself asked for another model than the plan's declared baseline."""
OWN = "own:"
"""Prefix of a line that only jevons burned; the role follows."""
OF_CASCADES = frozenset({"rung", "gate", "judge"})


class Counted(msgspec.Struct, frozen=True):
    """`baseline` None: a price is not known, and then nothing is credited. The lines add up to baseline - cost."""

    baseline: Nano | None
    lines: dict[str, int] = {}


def count(
    attempts: Sequence[Attempt],
    untouched: Untouched,
    acts: Sequence[Act],
    price: Price,
    final_route: Route | None,
    stored: Usage | None = None,
) -> Counted:
    """The baseline of one operation and its waterfall.

    `final_route`: where the answering attempt went, None when nothing was sent. `stored`: what the served answer burned
    when it was made; None when the answer was not at hand.
    """
    parts = split(attempts)
    if stored is not None:
        whole = price(untouched.route, would_have(stored, 0, untouched.held), untouched.tier)
        lever = next((act.lever for act in acts if act.served), REST)
        return _close(whole, attempts, parts, {lever: whole or 0}, ())
    if parts.final is None or final_route is None:
        return _close(ZERO, attempts, parts, {}, ())
    steps = _steps(parts.final, untouched, acts, price, final_route)
    if steps is None or parts.failed is None:
        return Counted(None)
    first, lines = steps
    return _close(Nano(first + parts.failed), attempts, parts, lines, acts)


def _steps(
    final: Attempt, untouched: Untouched, acts: Sequence[Act], price: Price, route: Route
) -> tuple[int, dict[str, int]] | None:
    """(the untouched price, credits of the steps down to what the answer really cost); None when it has no price."""
    seen, tier = final.usage, untouched.tier
    edit = moved = later = None
    for act in acts:
        if act.removed or act.retained:
            edit = edit or act
        if act.rerouted:
            moved = moved or act
        if act.retiered:
            later = later or act
    kept = tier if later is not None else final.tier or tier
    held = untouched.held if edit or moved or later else 0
    whole = would_have(seen, edit.removed if edit else 0, held)
    first = price(untouched.route, whole, kept)
    if first is None or final.cost_nano is None:
        return None if first is None else (first, {})
    lines: dict[str, int] = {}
    here: int = first
    if untouched.route.name != untouched.asked.name:
        ran = not acts and route.name == untouched.asked.name  # then what was asked for has a price: it was booked
        here = _step(lines, DECLARED, here, final.cost_nano if ran else price(untouched.asked, whole, kept))
    if edit is not None:
        front = min(held, max(0, seen.prompt - edit.retained)) if edit.retained else held
        after = would_have(seen, 0, front) if moved or later else seen
        here = _step(lines, edit.lever, here, price(untouched.asked, after, kept))
    if moved is not None:
        here = _step(lines, moved.lever, here, price(route, seen, kept) if later else final.cost_nano)
    if later is not None:
        _step(lines, later.lever, here, final.cost_nano)
    return first, lines


def _step(lines: dict[str, int], line: str, before: int, after: int | None) -> int:
    """Credit a line with the fall of one step. A step without a price is passed over: the next one carries it."""
    if after is None:
        return before
    lines[line] = lines.get(line, 0) + before - after
    return after


def _close(
    baseline: Nano | None, attempts: Sequence[Attempt], parts: Split, lines: dict[str, int], acts: Sequence[Act]
) -> Counted:
    """Take off what was our own, and name what is left over."""
    if baseline is None:
        return Counted(None)
    cost = 0
    for attempt in attempts:
        if attempt.cost_nano is None:
            return Counted(baseline)  # the cost is not known: there is a baseline, and no saving to split
        cost += attempt.cost_nano
    cascade = next((act.lever for act in acts if act.rerouted), "") if parts.own else ""
    for role, spent in parts.own:
        line = cascade if cascade and role in OF_CASCADES else OWN + role
        lines[line] = lines.get(line, 0) - (spent or 0)
    left = baseline - cost - sum(lines.values())
    if left:
        lines[REST] = lines.get(REST, 0) + left
    return Counted(baseline, {line: amount for line, amount in lines.items() if amount})


def add(total: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Two waterfalls as one: line by line."""
    return {line: total.get(line, 0) + more.get(line, 0) for line in (*total, *(set(more) - set(total)))}
