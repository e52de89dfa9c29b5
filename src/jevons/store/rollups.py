"""Sums over operations, read from rollups: what reports and pages ask for.

What lives here: the grain that a span of time is read at, grouping, filtering, tasks by what they burned. What it must
not know: how a report looks. No query here touches `operations`, so none grows with the number of calls: a day of a
series is one row however many calls it had.
"""

from collections.abc import Mapping, Sequence

import msgspec

from jevons.store.db import Database, Row
from jevons.store.measures import DAY, HOUR, MEASURES, MINUTE

DIMENSIONS = ("tenant", "customer", "plan", "key_id", "site", "surface", "model", "served_model")
MOST_ROWS = 10_000
"""Rows of one answer; ask for less or for a coarser grain instead of more."""
HOURS_FROM_S, DAYS_FROM_S = 6 * HOUR, 14 * DAY
"""Spans from which hours, and then days, are read: at most 360 buckets a chart."""

_SUMS = ", ".join(f"sum(r.{name})" for name in MEASURES)


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """The measures of a group; see measures.py for what each counts."""

    calls: int
    errors: int
    hits: int
    unpriced: int
    cost_nano: int
    compared: int
    compared_cost_nano: int
    baseline_nano: int
    duration_s: float
    input: int
    cached: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    reasoning: int


class Group(msgspec.Struct, frozen=True):
    """`key`: the values of the dimensions asked for, in their order."""

    key: tuple[str, ...]
    sums: Sums


class Point(msgspec.Struct, frozen=True):
    """One bucket of a chart; `at`: its start, Unix seconds."""

    at: int
    sums: Sums


class TaskSums(msgspec.Struct, frozen=True, kw_only=True):
    """One task and what it burned."""

    tenant: str
    task: str
    parent: str
    name: str
    customer: str
    plan: str
    arm: str
    started: float
    ended: float
    sums: Sums


def grain_of(since: float, until: float) -> int:
    """The grain in seconds that a span is read at."""
    span = until - since
    return MINUTE if span < HOURS_FROM_S else HOUR if span < DAYS_FROM_S else DAY


def by(
    db: Database,
    dimensions: Sequence[str],
    since: float,
    until: float,
    *,
    where: Mapping[str, str] | None = None,
    order: str = "cost_nano",
    limit: int = 100,
    grain: int | None = None,
) -> list[Group]:
    """Sums by some dimensions, the largest `order` first. Both ends are widened to whole buckets of the grain.

    Where the finest fitting grain is kept no longer, the next coarser one is read.
    """
    columns = ", ".join(f"s.{_dimension(name)}" for name in dimensions)
    filters, values = _filters(where)
    rows = db.rows(
        f"SELECT {columns}, {_SUMS} FROM rollups r JOIN series s ON s.id = r.series "  # noqa: S608 - checked names
        f"WHERE r.grain = ? AND r.bucket >= ? AND r.bucket < ?{filters} "
        f"GROUP BY {columns} ORDER BY sum(r.{_measure(order)}) DESC LIMIT ?",
        (*_span(db, since, until, grain), *values, min(limit, MOST_ROWS)),
    )
    width = len(dimensions)
    return [Group(tuple(row[:width]), _sums(row[width:])) for row in rows]


def over_time(
    db: Database, since: float, until: float, *, where: Mapping[str, str] | None = None, grain: int | None = None
) -> list[Point]:
    """Sums by bucket, in order; a bucket without calls is left out."""
    filters, values = _filters(where)
    join = "JOIN series s ON s.id = r.series " if filters else ""
    rows = db.rows(
        f"SELECT r.bucket, {_SUMS} FROM rollups r {join}"  # noqa: S608 - checked names
        f"WHERE r.grain = ? AND r.bucket >= ? AND r.bucket < ?{filters} GROUP BY r.bucket ORDER BY r.bucket LIMIT ?",
        (*_span(db, since, until, grain), *values, MOST_ROWS),
    )
    return [Point(int(row[0]), _sums(row[1:])) for row in rows]


def total(db: Database, since: float, until: float, *, where: Mapping[str, str] | None = None) -> Sums:
    """Everything in a span."""
    points = over_time(db, since, until, where=where)
    return _sums([sum(getattr(point.sums, name) for point in points) for name in MEASURES])


def tasks(db: Database, since: float, until: float, *, order: str = "cost_nano", limit: int = 100) -> list[TaskSums]:
    """Tasks that started in a span, the largest `order` first."""
    rows = db.rows(
        f"SELECT tenant, task, parent, name, customer, plan, arm, started, ended, {', '.join(MEASURES)} "  # noqa: S608
        f"FROM tasks WHERE started >= ? AND started < ? ORDER BY {_measure(order)} DESC LIMIT ?",
        (since, until, min(limit, MOST_ROWS)),
    )
    return [task_of(row) for row in rows]


def task_of(row: Row) -> TaskSums:
    """A task from its columns, in the order of TaskSums with the measures last."""
    tenant, task, parent, name, customer, plan, arm, started, ended = row[:9]
    return TaskSums(
        tenant=tenant,
        task=task,
        parent=parent,
        name=name,
        customer=customer,
        plan=plan,
        arm=arm,
        started=started,
        ended=ended,
        sums=_sums(row[9:]),
    )


def _span(db: Database, since: float, until: float, grain: int | None) -> tuple[int, int, int]:
    """The grain and the whole buckets that are read: a coarser grain where the finer one is kept no longer."""
    grain = grain or grain_of(since, until)
    while grain < DAY and since < _first(db, grain):
        coarser = HOUR if grain == MINUTE else DAY
        if _first(db, coarser) + coarser > _first(db, grain):
            break  # nothing lies before: the ledger is that young
        grain = coarser
    return grain, int(since // grain * grain), int(-(-until // grain) * grain)


def _first(db: Database, grain: int) -> int:
    """The oldest bucket of a grain; 0 when there is none."""
    found = db.row("SELECT bucket FROM rollups WHERE grain = ? ORDER BY bucket LIMIT 1", (grain,))
    return int(found[0]) if found else 0


def _filters(where: Mapping[str, str] | None) -> tuple[str, tuple[str, ...]]:
    names = tuple(where or ())
    return "".join(f" AND s.{_dimension(name)} = ?" for name in names), tuple((where or {}).values())


def _sums(values: Row | Sequence[float]) -> Sums:
    whole = dict(zip(MEASURES, values, strict=True))
    return Sums(**{name: value if name == "duration_s" else int(value) for name, value in whole.items()})


def _dimension(name: str) -> str:
    if name not in DIMENSIONS:
        raise ValueError(f"{name!r} is no dimension; use {', '.join(DIMENSIONS)}")
    return name


def _measure(name: str) -> str:
    if name not in MEASURES:
        raise ValueError(f"{name!r} is no measure; use {', '.join(MEASURES)}")
    return name
