"""Where the bill goes: P10, P50 and P90 by plan, under scenarios, with an error measured on the history itself.

Theory. The log of each factor of the bill walks with drift. A path draws its own drift (the mean of a resampled
history) and then whole past changes, all six factors together, so that their correlations survive. Intervals are
widened by what a rolling-origin backtest on the same history says they miss. A scenario multiplies factors, lets
demand answer a price, caps bills, or applies a lever's own band.

Pure: the dice are an argument. It must not know where the rows come from, and it gives no figure without its band.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from jevons.core.errors import CallerError
from jevons.rebound.elasticity import Elasticity, refusal
from jevons.rebound.factors import FACTORS, Period
from jevons.rebound.walk import Backtest, Dice, Quantiles, backtest, changes_of, logs_of, path, quantiles_of, usable

MAX_HORIZON = 36
PATHS = 2000


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is different from going on as now. Every field is a ratio or a limit; the default changes nothing."""

    name: str = "as now"
    factors: Mapping[str, float] = {}
    """Ratios of the bill's factors: {"price": 0.5, "context": 2.0, "steps": 3.0}."""
    elasticity: Elasticity | None = None
    """Demand's answer to the price ratio, on tasks per customer. None: the stated range, since nothing was measured."""
    cap_nano: int | None = None
    """A plan limit: the most that one customer may cost in one period."""
    lever: tuple[float, float, float] | None = None
    """A lever on (or off): low, mid and high ratio of the bill with it to the bill without."""
    revenue: float = 1.0
    """Ratio of revenue per customer."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """One plan in one future period, in nano-dollars."""

    plan: str
    ahead: int
    bill: Quantiles
    margin: Quantiles


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    scenario: str
    outlooks: tuple[Outlook, ...]
    """By plan, then period; the plan `*` is the sum of all that could be forecast."""
    backtests: dict[str, Backtest]
    refused: dict[str, str]
    notes: tuple[str, ...]


def _response(scenario: Scenario, dice: Dice) -> float:
    """Log change of tasks per customer that answers the scenario's price ratio, one draw.

    Always throws the same dice, so that scenarios are compared on the same futures.
    """
    even, normal = dice.uniform(0.0, 1.0), dice.gauss(0.0, 1.0)
    known = scenario.elasticity or refusal("no arm")
    width = known.high - known.low
    # A 95% interval is 3.92 standard deviations wide.
    elasticity = known.low + even * width if known.point is None else known.point + normal * width / 3.92
    return elasticity * math.log(scenario.factors.get("price", 1.0))


def _checked(scenario: Scenario, horizon: int) -> None:
    if not 1 <= horizon <= MAX_HORIZON:
        raise CallerError(f"the horizon must be between 1 and {MAX_HORIZON} periods, got {horizon}")
    for name, ratio in scenario.factors.items():
        if name not in FACTORS:
            raise CallerError(f"unknown factor {name!r}; one of {', '.join(FACTORS)}")
        if not 0.0 < ratio < 1e6:
            raise CallerError(f"the ratio of {name} must be positive, got {ratio}")
    if scenario.cap_nano is not None and scenario.cap_nano < 0:
        raise CallerError("a cap is an amount of at least zero")
    if scenario.lever is not None and not 0.0 <= scenario.lever[0] <= scenario.lever[1] <= scenario.lever[2]:
        raise CallerError(f"a lever's band must be ordered and not negative, got {scenario.lever}")
    if scenario.revenue < 0.0:
        raise CallerError("the ratio of revenue must not be negative")


def _simulate(
    history: Sequence[Period], scenario: Scenario, horizon: int, spread: float, dice: Dice
) -> list[list[tuple[float, float]]]:
    """(bill, margin) per path and period ahead, in nano-dollars."""
    last = history[-1]
    changes, start = changes_of(history), logs_of(last)
    earned = last.revenue_nano / last.customers * scenario.revenue
    shift = sum(math.log(ratio) for ratio in scenario.factors.values())
    growth = math.log(scenario.factors.get("customers", 1.0))
    low, mid, high = scenario.lever or (1.0, 1.0, 1.0)
    futures = []
    for _ in range(PATHS):
        answer = _response(scenario, dice)
        lever = dice.triangular(low, high, mid)
        future = []
        for level in path(changes, horizon, spread, dice):
            customers = math.exp(start[0] + level[0] + growth)
            bill = math.exp(sum(start) + sum(level) + shift + answer) * lever
            if scenario.cap_nano is not None:
                bill = min(bill, customers * scenario.cap_nano)
            future.append((bill, customers * earned - bill))
        futures.append(future)
    return futures


def _outlooks(plan: str, futures: Sequence[Sequence[tuple[float, float]]], horizon: int) -> list[Outlook]:
    return [
        Outlook(
            plan=plan,
            ahead=ahead + 1,
            bill=quantiles_of([future[ahead][0] for future in futures]),
            margin=quantiles_of([future[ahead][1] for future in futures]),
        )
        for ahead in range(horizon)
    ]


def _notes(scenario: Scenario, rows: Sequence[Period]) -> tuple[str, ...]:
    notes = []
    price = scenario.factors.get("price", 1.0)
    if price != 1.0 and (scenario.elasticity is None or not scenario.elasticity.measured):
        notes.append(f"demand's answer to the price is not measured: {refusal('no arm').source}")
    if scenario.cap_nano is not None:
        notes.append(
            "a cap is applied to the mean customer; with unequal customers it binds sooner, so bills are upper bounds"
        )
    if any(row.correction_nano for row in rows):
        notes.append("price corrections were taken out of the history: they are booked once and do not recur")
    if any(row.unpriced for row in rows):
        notes.append("some operations are unpriced: bills are lower bounds")
    if any(row.revenue_nano == 0 for row in rows):
        notes.append("revenue is missing in some rows: margins count it as zero")
    return tuple(notes)


def forecast(
    rows: Sequence[Period],
    horizon: int,
    dice: Dice,
    scenario: Scenario | None = None,
    progress: Callable[[str], None] | None = None,
) -> Forecast:
    """The outlook of every plan (`row.group`) and of their sum, under one scenario.

    A plan whose history is too short, has gaps or cannot be is named in `refused` with the reason. Raises CallerError
    for a scenario that cannot be, and when no plan at all can be forecast.
    """
    chosen = scenario or Scenario()
    _checked(chosen, horizon)
    plans: dict[str, list[Period]] = {}
    for row in rows:
        plans.setdefault(row.group, []).append(row)
    outlooks: list[Outlook] = []
    tests: dict[str, Backtest] = {}
    refused: dict[str, str] = {}
    together: list[list[tuple[float, float]]] = []
    for plan in sorted(plans):
        if progress:
            progress(plan)
        try:
            history = usable(plans[plan])
        except CallerError as error:
            refused[plan] = error.message
            continue
        tests[plan] = backtest(history, horizon, dice)
        futures = _simulate(history, chosen, horizon, tests[plan].spread, dice)
        outlooks += _outlooks(plan, futures, horizon)
        together = futures if not together else [_added(a, b) for a, b in zip(together, futures, strict=True)]
    if not together:
        raise CallerError(
            "no plan can be forecast: " + ("; ".join(f"{p or 'all'}: {why}" for p, why in refused.items()) or "no rows")
        )
    if len(tests) > 1:
        outlooks += _outlooks("*", together, horizon)
    return Forecast(
        scenario=chosen.name, outlooks=tuple(outlooks), backtests=tests, refused=refused, notes=_notes(chosen, rows)
    )


def _added(left: Sequence[tuple[float, float]], right: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(a[0] + b[0], a[1] + b[1]) for a, b in zip(left, right, strict=True)]
