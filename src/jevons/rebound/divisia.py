"""Splits the change of a bill exactly into its factors: the logarithmic mean Divisia index (LMDI-I).

Theory (Ang and Liu 2001). With a bill V the product of x_k, the change is the sum of L(V1, V0) ln(x_k1 / x_k0), where
L(a, b) = (a - b) / ln(a / b) is the logarithmic mean: no residual, and swapping the periods flips every sign. Groups
are split apart and added, which stays exact. Zeros take their limits (Ang and Liu 2007): a factor that goes between
zero and a value carries the whole change of its group, shared evenly if several do.

Pure; amounts are integer nano-dollars, rounded by largest remainder so that the parts add up to the last digit.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from jevons.core.errors import CallerError
from jevons.rebound.factors import FACTORS, Period, factors

CORRECTION = "correction"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the bill, in nano-dollars. `parts` (the factors, then the correction) add up to `change` exactly."""

    before: str
    after: str
    bill_before_nano: int
    bill_after_nano: int
    parts: dict[str, int]
    ratios: dict[str, float | None]
    """Each factor's own ratio over all groups together; None where it has none (from or to zero)."""
    unpriced: int = 0

    @property
    def change_nano(self) -> int:
        return self.bill_after_nano - self.bill_before_nano


def log_mean(a: float, b: float) -> float:
    """The logarithmic mean of two positive numbers; 0 when either is 0."""
    if a <= 0.0 or b <= 0.0:
        return 0.0
    spread = math.log(a / b)
    if abs(spread) < 1e-9:
        return (a + b) / 2.0  # equal to second order, where the quotient would cancel
    return (a - b) / spread


def _one_group(before: Period, after: Period) -> list[float]:
    """Effects of one group's factors; they add up to its metered change."""
    change = float(after.metered_nano - before.metered_nano)
    old, new = factors(before), factors(after)
    if change == 0.0 and not (before.metered_nano and after.metered_nano):
        return [0.0] * len(FACTORS)
    if before.metered_nano and after.metered_nano:
        weight = log_mean(float(after.metered_nano), float(before.metered_nano))
        return [weight * math.log(n / o) if n and o else 0.0 for n, o in zip(new, old, strict=True)]
    # One side is zero: a factor without meaning there keeps the other side's value, so only true zeros carry it.
    moved = [(o == 0.0) != (n == 0.0) and None not in (o, n) for n, o in zip(new, old, strict=True)]
    carriers = sum(moved)
    return [change / carriers if moves else 0.0 for moves in moved]


def _to_integers(effects: Sequence[float], total: int) -> list[int]:
    """Floors, then single units to the largest remainders, so that the integers add up to `total`."""
    floors = [math.floor(effect) for effect in effects]
    missing = total - sum(floors)
    order = sorted(range(len(effects)), key=lambda i: floors[i] - effects[i])
    step = 1 if missing >= 0 else -1
    # Floating point can leave more than one unit per part on huge bills: deal them out evenly, the rest by remainder.
    share, rest = divmod(abs(missing), len(effects))
    for rank, index in enumerate(order):
        floors[index] += step * (share + (1 if rank < rest else 0))
    return floors


def _by_group(rows: Sequence[Period]) -> dict[str, Period]:
    found: dict[str, Period] = {}
    for row in rows:
        if row.group in found:
            raise CallerError(f"two rows of group {row.group!r} in one period")
        found[row.group] = row
    return found


def _nothing(group: str, period: str) -> Period:
    return Period(
        period=period, group=group, customers=0, tasks=0, steps=0, prompt_tokens=0, cached_tokens=0, bill_nano=0
    )


def _total_ratios(before: Sequence[Period], after: Sequence[Period]) -> dict[str, float | None]:
    """Ratios of the factors of the sums over groups, None from or to zero."""

    def whole(rows: Sequence[Period]) -> tuple[float | None, ...]:
        total = [sum(getattr(row, n) for row in rows) for n in ("customers", "tasks", "steps", "prompt_tokens")]
        cached = sum(row.cached_tokens for row in rows)
        metered = sum(row.metered_nano for row in rows)
        customers, tasks, steps, prompt = total
        return factors(
            Period(
                period="all",
                customers=customers,
                tasks=tasks,
                steps=steps,
                prompt_tokens=prompt,
                cached_tokens=cached,
                bill_nano=metered,
            )
        )

    pairs = zip(FACTORS, whole(before), whole(after), strict=True)
    return {name: (new / old if new and old else None) for name, old, new in pairs}


def split(before: Sequence[Period], after: Sequence[Period]) -> Split:
    """The change between two periods, each given as one row per group; a group missing on one side counts as zero.

    Raises CallerError for rows that cannot be (see factors.check) and for repeated groups.
    """
    if not before and not after:
        raise CallerError("no history: nothing to split")
    old, new = _by_group(before), _by_group(after)
    name_before = before[0].period if before else ""
    name_after = after[0].period if after else ""
    effects = [0.0] * len(FACTORS)
    for group in sorted(old.keys() | new.keys()):
        was = old.get(group) or _nothing(group, name_before)
        now = new.get(group) or _nothing(group, name_after)
        effects = [sum(pair) for pair in zip(effects, _one_group(was, now), strict=True)]
    metered = sum(row.metered_nano for row in after) - sum(row.metered_nano for row in before)
    parts = dict(zip(FACTORS, _to_integers(effects, metered), strict=True))
    parts[CORRECTION] = sum(row.correction_nano for row in after) - sum(row.correction_nano for row in before)
    return Split(
        before=name_before,
        after=name_after,
        bill_before_nano=sum(row.bill_nano for row in before),
        bill_after_nano=sum(row.bill_nano for row in after),
        parts=parts,
        ratios=_total_ratios(before, after),
        unpriced=sum(row.unpriced for row in (*before, *after)),
    )


class Step(msgspec.Struct, frozen=True):
    """One bar of a waterfall: it starts where the last one ended."""

    name: str
    start_nano: int
    end_nano: int


def waterfall(change: Split) -> tuple[Step, ...]:
    """From the old bill to the new one, a bar per part that moved; the first and last bars stand on zero."""
    bars = [Step(change.before, 0, change.bill_before_nano)]
    level = change.bill_before_nano
    for name, amount in change.parts.items():
        if amount:
            bars.append(Step(name, level, level + amount))
            level += amount
    return (*bars, Step(change.after, 0, change.bill_after_nano))


WORDS: Mapping[str, str] = {
    "customers": "customers",
    "tasks": "tasks per customer",
    "steps": "steps per task",
    "context": "context per step",
    "uncached": "the uncached share",
    "price": "the price per uncached token",
}


def _moved(ratio: float) -> str:
    if ratio >= 2.0:
        return f"rose {ratio:.1f}x"
    percent = round(abs(ratio - 1.0) * 100)
    return f"{'rose' if ratio >= 1.0 else 'fell'} {percent}%"


def say(change: Split) -> str:
    """The split in a line: `steps per task rose 2.1x, ...: the bill rose 31%`; moves under 0.5% are left out."""
    told = [f"{WORDS[name]} {_moved(r)}" for name, r in change.ratios.items() if r is not None and abs(r - 1) >= 0.005]
    if change.bill_before_nano > 0 and change.bill_after_nano > 0:
        end = f"the bill {_moved(change.bill_after_nano / change.bill_before_nano)}"
    else:
        end = f"the bill went from {change.bill_before_nano} to {change.bill_after_nano} nano-dollars"
    notes = " (some operations are unpriced: the bill is a lower bound)" if change.unpriced else ""
    return f"{', '.join(told) or 'nothing moved'}: {end}{notes}"
