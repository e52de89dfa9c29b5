"""Figures that several screens draw: sums over time by a dimension, tokens by kind, tables of groups.

What lives here: from rollups to figures. What it must not know: which screen asks.
"""

from collections.abc import Callable, Sequence
from functools import partial

from jevons.store import rollups
from jevons.store.rollups import Point, Sums
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts import time as charts
from jevons.web.charts.time import Series
from jevons.web.figure import Cell, Figure, figure, number, when

MOST_COLOURS = 5
"""Series of one chart by name; the others are drawn together."""
NO_CALLS = "No calls in this time. Point a client at this address with a key, or choose a longer time."
KINDS: tuple[tuple[str, str, Callable[[Sums], int]], ...] = (
    ("output", "c1", lambda sums: sums.output),
    ("input, not cached", "c0", lambda sums: sums.input),
    ("cache writes", "c3", lambda sums: sums.cache_write_5m + sums.cache_write_1h),
    ("cache reads", "c2", lambda sums: sums.cached),
)
"""Tokens as they are priced: name, colour, count."""


def grain_of(ask: Ask) -> int:
    return rollups.grain_of(ask.since, ask.now)


def buckets(points: Sequence[Point], ask: Ask, grain: int) -> list[int]:
    """Every bucket from the first with a call to the last, empty ones too: a chart's time runs evenly."""
    if not points:
        return []
    first = max(points[0].at, int(ask.since // grain * grain))
    return list(range(first, points[-1].at + 1, grain))


def spend_over_time(ask: Ask, dimension: str, title: str) -> Figure:
    """Dollars by bucket, the dearest values of a dimension apart."""
    grain = grain_of(ask)
    whole = rollups.over_time(ask.db, ask.since, ask.now, grain=grain)
    times = buckets(whole, ask, grain)
    groups = rollups.by(ask.db, (dimension,), ask.since, ask.now, grain=grain, limit=MOST_COLOURS + 1)
    named = groups if len(groups) <= MOST_COLOURS else groups[: MOST_COLOURS - 1]
    left = {point.at: point.sums.cost_nano for point in whole}
    found = []
    for index, group in enumerate(named):
        points = rollups.over_time(ask.db, ask.since, ask.now, where={dimension: group.key[0]}, grain=grain)
        values = {point.at: point.sums.cost_nano for point in points}
        left = {at: cost - values.get(at, 0) for at, cost in left.items()}
        found.append(Series(group.key[0] or "(none)", f"c{index}", tuple(float(values.get(at, 0)) for at in times)))
    if len(groups) > len(named):
        found.append(Series("others", "rest", tuple(float(max(0, left.get(at, 0))) for at in times)))
    return stacked(
        f"spend-{dimension}", title, times, grain, found, words.axis_money, words.money, scale=1e-9, unit="USD"
    )


def tokens_over_time(ask: Ask) -> Figure:
    """Tokens by bucket and by how they are priced."""
    grain = grain_of(ask)
    points = rollups.over_time(ask.db, ask.since, ask.now, grain=grain)
    times = buckets(points, ask, grain)
    by_time = {point.at: point.sums for point in points}
    found = [
        Series(name, colour, tuple(float(take(by_time[at])) if at in by_time else 0.0 for at in times))
        for name, colour, take in KINDS
    ]
    return stacked("tokens", "Tokens by how they are priced", times, grain, found, words.count, words.count)


def stacked(
    id: str,  # noqa: A002
    title: str,
    times: Sequence[int],
    grain: int,
    series: Sequence[Series],
    axis: Callable[[float], str],
    say: Callable[[float], str],
    *,
    scale: float = 1.0,
    unit: str = "",
    note: str = "",
    basis: str = "measured",
) -> Figure:
    """A chart of stacked bars with its table; `scale` turns a value into the unit that CSV holds."""
    rows = [
        [
            when(words.moment(at), at),
            *(number(say(each.values[index] or 0.0), (each.values[index] or 0.0) * scale) for each in series),
        ]
        for index, at in enumerate(times)
    ]
    heads = ["from (UTC)", *(f"{each.name}{f' ({unit})' if unit else ''}" for each in series)]

    def draw(width: int, narrow: bool) -> str:
        return charts.bars(title, times, grain, series, axis, width=width, narrow=narrow)

    keys = [(each.colour, each.name) for each in series]
    return figure(id, title, draw, heads, rows, keys=keys, note=note, basis=basis, empty=NO_CALLS)


def line(
    id: str,  # noqa: A002
    title: str,
    times: Sequence[int],
    grain: int,
    series: Sequence[Series],
    say: Callable[[float], str],
    *,
    note: str = "",
    basis: str = "measured",
    empty: str = NO_CALLS,
) -> Figure:
    """Lines with their table."""
    rows = [
        [when(words.moment(at), at), *(_or_gap(each.values[index], say) for each in series)]
        for index, at in enumerate(times)
    ]
    draw = partial(_lines, title, times, grain, series, say)
    keys = [(each.colour, each.name) for each in series] if len(series) > 1 else []
    heads = ["from (UTC)", *(each.name for each in series)]
    return figure(id, title, draw, heads, rows, keys=keys, note=note, basis=basis, empty=empty)


def _lines(
    title: str,
    times: Sequence[int],
    grain: int,
    series: Sequence[Series],
    say: Callable[[float], str],
    width: int,
    narrow: bool,
) -> str:
    return charts.lines(title, times, grain, series, say, width=width, narrow=narrow)


def _or_gap(value: float | None, say: Callable[[float], str]) -> Cell:
    return Cell("–", "", tone="quiet", number=True) if value is None else number(say(value), value)


def group_cells(sums: Sums) -> list[Cell]:
    """The usual columns of a group: calls, errors, dollars, dollars a call, share of the prompt read from caches."""
    prompt = sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h
    cost = cost_cell(sums)
    return [
        number(words.count(sums.calls), sums.calls),
        number(words.count(sums.errors), sums.errors, "bad" if sums.errors else ""),
        cost,
        number(words.money(sums.cost_nano / sums.calls) if sums.calls else "–", per(sums.cost_nano, sums.calls)),
        number(words.count(prompt + sums.output), prompt + sums.output),
        number(words.share(sums.cached, prompt), sums.cached / prompt if prompt else 0.0),
    ]


GROUP_HEADS = ("calls", "errors", "dollars", "a call", "tokens", "from provider caches")


def cost_cell(sums: Sums) -> Cell:
    """Dollars; where calls are unpriced the sum is a lower bound, and says so."""
    shown = words.money(sums.cost_nano)
    if sums.unpriced == sums.calls and sums.calls:
        return number("unpriced", None, "bad")
    return number(f"≥ {shown}" if sums.unpriced else shown, sums.cost_nano / 1e9, "bad" if sums.unpriced else "")


def per(amount: float, over: float) -> float | None:
    """Dollars over something, for CSV."""
    return amount / over / 1e9 if over else None
