"""A bill's history as a walk of its factors: checks, resampled futures, and the error they would have had.

What lives here: from a plan's rows to possible futures of the six factors, and the rolling-origin backtest of the
bill. It knows no scenario and no plan. Pure: the dice are an argument.
"""

import datetime as dt
import itertools
import math
import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from jevons.core.errors import CallerError
from jevons.rebound.factors import FACTORS, Period, check, factors

MIN_HISTORY = 6
"""Rows of one plan below which nothing is forecast: five changes are the least that can be resampled."""
MIN_ORIGINS = 3
UNTESTED_SPREAD = 1.5
"""Widening of the log band where the history is too short for a backtest. A judgement."""
BACKTEST_PATHS = 400
LEVELS = (0.1, 0.5, 0.9)

Change = tuple[float, ...]
"""Log changes of the six factors, in the order of FACTORS."""


class Dice(Protocol):
    """The parts of random.Random that a forecast throws."""

    def choice(self, seq: Sequence[Change], /) -> Change: ...
    def choices(self, population: Sequence[Change], *, k: int) -> list[Change]: ...
    def uniform(self, a: float, b: float, /) -> float: ...
    def gauss(self, mu: float, sigma: float, /) -> float: ...
    def triangular(self, low: float, high: float, mode: float, /) -> float: ...


class Quantiles(msgspec.Struct, frozen=True):
    """Nano-dollars."""

    p10: int
    p50: int
    p90: int


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts made at earlier origins against what came. Errors are of the bill's middle, as a share of the truth."""

    forecasts: int
    median_error: float | None
    naive_error: float | None
    """The same for `as last period`."""
    coverage_80: float | None
    """How often P10 to P90 held the truth before widening."""
    spread: float
    """What the log band was widened by."""


def following(label: str) -> str | None:
    """The label after `2026-10` or `2026-10-31`; None for labels of another form, whose gaps can't be seen."""
    if re.fullmatch(r"\d{4}-\d{2}", label):
        year, month = int(label[:4]), int(label[5:])
        return f"{year + month // 12}-{month % 12 + 1:02d}"
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", label):
        return (dt.date.fromisoformat(label) + dt.timedelta(days=1)).isoformat()
    return None


def usable(rows: Sequence[Period]) -> list[Period]:
    """One plan's rows in order, after the last one without a bill. Refuses gaps, repeats and too short a history."""
    ordered = sorted((check(row) for row in rows), key=lambda row: row.period)
    for left, right in itertools.pairwise(ordered):
        if left.period == right.period:
            raise CallerError(f"two rows for {left.period}")
        expected = following(left.period)
        if expected is not None and right.period != expected:
            raise CallerError(f"{expected} is missing between {left.period} and {right.period}")
    last_empty = max((i for i, row in enumerate(ordered) if row.metered_nano == 0), default=-1)
    kept = ordered[last_empty + 1 :]
    if len(kept) < MIN_HISTORY:
        since = " since its last period without a bill" if last_empty >= 0 else ""
        raise CallerError(f"no history: {len(kept)} periods{since}, {MIN_HISTORY} are needed")
    return kept


def logs_of(row: Period) -> Change:
    return tuple(math.log(value) for value in factors(row) if value)


def changes_of(history: Sequence[Period]) -> list[Change]:
    logs = [logs_of(row) for row in history]
    return [tuple(new - old for old, new in zip(left, right, strict=True)) for left, right in itertools.pairwise(logs)]


def path(changes: Sequence[Change], horizon: int, spread: float, dice: Dice) -> list[Change]:
    """Cumulative log changes of the factors over one possible future: an own drift, then centred past changes."""
    n, width = len(changes), range(len(FACTORS))
    sample = dice.choices(changes, k=n)
    centre = [sum(change[k] for change in changes) / n for k in width]
    drift = [sum(change[k] for change in sample) / n for k in width]
    scale = spread * math.sqrt(n / (n - 1.0))
    level = [0.0] * len(FACTORS)
    future = []
    for _ in range(horizon):
        drawn = dice.choice(changes)
        level = [level[k] + drift[k] + scale * (drawn[k] - centre[k]) for k in width]
        future.append(tuple(level))
    return future


def quantile(ordered: Sequence[float], level: float) -> float:
    position = level * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def quantiles_of(values: Sequence[float]) -> Quantiles:
    ordered = sorted(values)
    return Quantiles(*(round(quantile(ordered, level)) for level in LEVELS))


def _log_bills(history: Sequence[Period], horizon: int, dice: Dice) -> list[list[float]]:
    """Simulated log bills, sorted, per period ahead: what the backtest looks at."""
    changes, start = changes_of(history), math.log(history[-1].metered_nano)
    futures = [path(changes, horizon, 1.0, dice) for _ in range(BACKTEST_PATHS)]
    return [sorted(start + sum(future[ahead]) for future in futures) for ahead in range(horizon)]


def backtest(history: Sequence[Period], horizon: int, dice: Dice) -> Backtest:
    """Rolling origin: from every origin with enough history, each of the next periods is forecast and compared."""
    misses: list[float] = []
    naive: list[float] = []
    reach: list[float] = []
    origins = range(MIN_HISTORY, len(history))
    for origin in origins:
        ahead_max = min(horizon, len(history) - origin)
        futures = _log_bills(history[:origin], ahead_max, dice)
        for ahead in range(ahead_max):
            truth = math.log(history[origin + ahead].metered_nano)
            low, middle, high = (quantile(futures[ahead], level) for level in LEVELS)
            misses.append(abs(math.expm1(middle - truth)))
            naive.append(abs(math.expm1(math.log(history[origin - 1].metered_nano) - truth)))
            side = (high - middle) if truth > middle else (middle - low)
            reach.append(abs(truth - middle) / max(side, 1e-9))
    if len(origins) < MIN_ORIGINS:
        return Backtest(
            forecasts=len(misses), median_error=None, naive_error=None, coverage_80=None, spread=UNTESTED_SPREAD
        )
    return Backtest(
        forecasts=len(misses),
        median_error=quantile(sorted(misses), 0.5),
        naive_error=quantile(sorted(naive), 0.5),
        coverage_80=sum(value <= 1.0 for value in reach) / len(reach),
        spread=max(1.0, quantile(sorted(reach), 0.8)),
    )
