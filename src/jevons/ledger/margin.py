"""Revenue beside cost: who earns, who loses, and how a customer's revenue is shared out over what it used.

What it decides: the order (losing first), and the allocation of a customer's revenue to its features and call sites,
which nobody pays for one by one: use that is metered goes where it was used, fixed fees by tokens. What it must not
know: plans, rows, how a report looks. Sums stay whole: shares of an amount add up to it exactly.
"""

from collections.abc import Iterable, Sequence

import msgspec

from jevons.ledger.revenue import Revenue


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of calls burned. `cost_nano` lacks the calls that are counted in `unpriced`."""

    calls: int = 0
    tasks: int = 0
    tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    saved_nano: int = 0
    """Baseline minus cost, over the calls that have both: modelled."""

    def __add__(self, other: "Used") -> "Used":
        names = self.__struct_fields__
        return Used(**{name: getattr(self, name) + getattr(other, name) for name in names})


NOTHING_USED = Used()


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report of margins, in nano-dollars."""

    name: str
    plan: str = ""
    used: Used = NOTHING_USED
    revenue_nano: int = 0
    target: float | None = None
    """The plan's target margin."""

    @property
    def margin_nano(self) -> int:
        return self.revenue_nano - self.used.cost_nano

    @property
    def share(self) -> float | None:
        """Margin over revenue; None where nothing is earned."""
        return self.margin_nano / self.revenue_nano if self.revenue_nano else None

    @property
    def state(self) -> str:
        """losing | below target | ok | unknown (calls without a price: the cost is at least what is shown)."""
        if self.margin_nano < 0:
            return "losing"
        if self.used.unpriced:
            return "unknown"
        below = self.target is not None and self.share is not None and self.share < self.target
        return "below target" if below else "ok"


def ordered(lines: Iterable[Margin]) -> list[Margin]:
    """The greatest loss first."""
    return sorted(lines, key=lambda line: (line.margin_nano, line.name))


def shares(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount split by weights (not negative) into whole numbers that add up to it; evenly where all are 0."""
    if not weights:
        return []
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    split, before = [], 0
    seen = 0
    for weight in weights:
        seen += weight
        after = amount * seen // whole
        split.append(after - before)
        before = after
    return split


def allocate(revenue: Revenue, used: Sequence[Used]) -> list[int]:
    """A customer's revenue over the parts of its use: metered tasks by tasks, all else by tokens. Modelled."""
    tokens = [each.tokens for each in used]
    by_tasks = shares(revenue.tasks, [each.tasks for each in used])
    by_tokens = shares(revenue.total - revenue.tasks, tokens)
    return [a + b for a, b in zip(by_tasks, by_tokens, strict=True)]
