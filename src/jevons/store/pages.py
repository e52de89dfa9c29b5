"""What the dashboard reads beyond sums: tasks page by page, one task's calls, one call, and the audit of changes.

What lives here: bounded look-ups through an index, each limited by a named constant. Sums over operations come from
rollups.py. What it must not know: how a page looks. Nothing here scans `operations` by time: a call is found by its
id, its task, or as one of the last few.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jevons.rebound.factors import Period
from jevons.store.db import Database, Row
from jevons.store.measures import DAY, MEASURES
from jevons.store.rollups import Sums, TaskSums, task_of

MOST_TASKS = 100
"""Rows of one page."""
MOST_CALLS = 2_000
"""Calls of one task that a page draws; a longer task is cut there, and the page says so."""
MOST_RECENT = 2_000
"""The last operations that are looked through for failures."""
MOST_CHILDREN = 200
ORDERS = {"newest": "started", "dearest": "cost_nano", "calls": "calls", "longest": "duration_s"}

_TASK = f"tenant, task, parent, name, customer, plan, arm, started, ended, {', '.join(MEASURES)}"
_CALL = (
    "SELECT o.seq, o.operation, o.status, o.error, o.started, o.duration_s, o.cancelled, o.cache, o.arm, o.cost_nano, "
    "o.baseline_nano, s.site, s.surface, s.model, s.served_model, t.tenant, t.task, o.levers "
    "FROM operations o JOIN series s ON s.id = o.series LEFT JOIN tasks t ON t.id = o.task "
)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as a page shows it."""

    seq: int
    operation: str
    status: int
    error: str
    started: float
    duration_s: float
    cancelled: bool
    cache: str
    arm: str
    cost_nano: int | None
    baseline_nano: int | None
    site: str
    surface: str
    model: str
    served_model: str
    tenant: str
    task: str
    levers: str
    """JSON: what the governor weighed and the waterfall; '' when nothing acted."""
    tokens: dict[str, int] = {}
    """Of all attempts, by usage field."""


class Day(msgspec.Struct, frozen=True):
    """Tasks that started on one UTC day."""

    at: int
    tasks: int
    cost_nano: int
    baseline_nano: int
    unpriced: int


class Arm(msgspec.Struct, frozen=True):
    """Tasks of one arm of the experiment."""

    name: str
    tasks: int
    cost_nano: int


def tasks_page(
    db: Database,
    since: float,
    until: float,
    *,
    search: str = "",
    order: str = "newest",
    offset: int = 0,
    limit: int = MOST_TASKS,
) -> list[TaskSums]:
    """Tasks that started in a span. `search`: a part of a task's id, name or customer, in any case."""
    like = ""
    values: tuple[str, ...] = ()
    if search:
        pattern = "%" + search.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        like = (
            "AND (lower(task) LIKE ? ESCAPE '\\' OR lower(name) LIKE ? ESCAPE '\\' "
            "OR lower(customer) LIKE ? ESCAPE '\\') "
        )
        values = (pattern,) * 3
    rows = db.rows(
        f"SELECT {_TASK} FROM tasks WHERE started >= ? AND started < ? {like}"  # noqa: S608 - constants
        f"ORDER BY {ORDERS[order]} DESC LIMIT ? OFFSET ?",
        (since, until, *values, limit, offset),
    )
    return [task_of(row) for row in rows]


def task(db: Database, tenant: str, name: str) -> TaskSums | None:
    """One task."""
    row = db.row(f"SELECT {_TASK} FROM tasks WHERE tenant = ? AND task = ?", (tenant, name))  # noqa: S608 - constants
    return task_of(row) if row else None


def children(db: Database, found: TaskSums) -> list[TaskSums]:
    """Tasks that name this one as their parent and started while it ran (a day's leeway): its sub-agents."""
    rows = db.rows(
        f"SELECT {_TASK} FROM tasks WHERE started >= ? AND started < ? AND tenant = ? AND parent = ? "  # noqa: S608
        "ORDER BY started LIMIT ?",
        (found.started - DAY, found.ended + DAY, found.tenant, found.task, MOST_CHILDREN),
    )
    return [task_of(row) for row in rows]


def calls(db: Database, tenant: str, name: str, limit: int = MOST_CALLS) -> list[Call]:
    """A task's calls in the order of booking, with their tokens."""
    rows = db.rows(_CALL + "WHERE t.tenant = ? AND t.task = ? ORDER BY o.seq LIMIT ?", (tenant, name, limit))
    sums = db.rows(
        "SELECT a.operation, sum(a.input), sum(a.cached), sum(a.cache_write_5m), sum(a.cache_write_1h), sum(a.output) "
        "FROM attempts a JOIN operations o ON o.seq = a.operation JOIN tasks t ON t.id = o.task "
        "WHERE t.tenant = ? AND t.task = ? GROUP BY a.operation ORDER BY a.operation LIMIT ?",
        (tenant, name, limit),
    )
    tokens = {row[0]: dict(zip(TOKENS, map(int, row[1:]), strict=True)) for row in sums}
    return [_call(row, tokens.get(row[0], {})) for row in rows]


TOKENS = ("input", "cached", "cache_write_5m", "cache_write_1h", "output")


def call(db: Database, operation: str) -> Call | None:
    """One operation by its id."""
    row = db.row(_CALL + "WHERE o.operation = ?", (operation,))
    return _call(row, {}) if row else None


def attempts(db: Database, seq: int) -> list[dict[str, Any]]:
    """An operation's attempts, in order."""
    names = ("provider", "model", "role", "tier", "status", "error", "started", "duration_s", "first_byte_s", *TOKENS,
             "reasoning", "cost_nano", "cost_source", "usage_source", "price_version")  # fmt: skip
    rows = db.rows(
        "SELECT t.provider, t.model, t.role, t.tier, a.status, a.error, a.started, a.duration_s, a.first_byte_s, "
        "a.input, a.cached, a.cache_write_5m, a.cache_write_1h, a.output, a.reasoning, a.cost_nano, t.cost_source, "
        "t.usage_source, t.price_version FROM attempts a JOIN tariffs t ON t.id = a.tariff "
        "WHERE a.operation = ? ORDER BY a.number LIMIT 100",
        (seq,),
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def days(db: Database, since: float, until: float) -> list[Day]:
    """Tasks by the UTC day on which they started."""
    # Postgres rounds where it casts, and SQLite may be built without floor.
    day = f"floor(started / {DAY}) * {DAY}" if db.postgres else f"CAST(started AS INTEGER) / {DAY} * {DAY}"
    rows = db.rows(
        f"SELECT {day}, count(*), sum(cost_nano), "  # noqa: S608 - numbers
        "sum(baseline_nano - compared_cost_nano + cost_nano), sum(unpriced) "
        "FROM tasks WHERE started >= ? AND started < ? GROUP BY 1 ORDER BY 1",
        (since, until),
    )
    return [Day(*map(int, row)) for row in rows]


def arms(db: Database, since: float, until: float) -> list[Arm]:
    """Tasks by the experiment's arm; those of no experiment are left out."""
    rows = db.rows(
        "SELECT arm, count(*), sum(cost_nano) FROM tasks WHERE started >= ? AND started < ? AND arm <> '' "
        "GROUP BY arm ORDER BY arm LIMIT 100",
        (since, until),
    )
    return [Arm(row[0], int(row[1]), int(row[2])) for row in rows]


def period(db: Database, since: float, until: float, label: str) -> Period | None:
    """A stretch of tasks as a row of factors; None when it holds no task that burned a prompt."""
    row = db.row(
        "SELECT count(DISTINCT customer), count(*), sum(calls), sum(input + cached + cache_write_5m + cache_write_1h), "
        "sum(cached), sum(cost_nano), sum(unpriced) FROM tasks WHERE started >= ? AND started < ?",
        (since, until),
    )
    customers, tasks, steps, prompt, cached, cost, unpriced = (int(value or 0) for value in row or (0,) * 7)
    if not tasks or prompt <= cached:
        return None
    return Period(
        period=label, customers=customers, tasks=tasks, steps=steps, prompt_tokens=prompt, cached_tokens=cached,
        bill_nano=cost, unpriced=unpriced,
    )  # fmt: skip


def recent_errors(db: Database, limit: int = 20) -> list[Call]:
    """The newest failed calls among the last MOST_RECENT."""
    rows = db.rows(
        _CALL + "WHERE o.seq > (SELECT coalesce(max(seq), 0) FROM operations) - ? AND o.status >= 400 "  # noqa: S608
        "ORDER BY o.seq DESC LIMIT ?",
        (MOST_RECENT, limit),
    )
    return [_call(row, {}) for row in rows]


def local_models(db: Database) -> set[str]:
    """Models that this machine burned itself: priced by the machine's hour."""
    return {row[0] for row in db.rows("SELECT DISTINCT model FROM tariffs WHERE cost_source = 'machine' LIMIT 1000")}


def batch_tiers(db: Database) -> list[tuple[str, str]]:
    """(provider, model) that were ever burned on a batch tier."""
    rows = db.rows("SELECT DISTINCT provider, model FROM tariffs WHERE tier = 'batch' ORDER BY 1, 2 LIMIT 100")
    return [(row[0], row[1]) for row in rows]


def age(db: Database) -> tuple[float, float] | None:
    """(first, last) moment that any rollup holds; None for an empty ledger."""
    row = db.row("SELECT min(bucket), max(bucket) FROM rollups WHERE grain = ?", (DAY,))
    return (float(row[0]), float(row[1]) + DAY) if row and row[0] is not None else None


def note_change(db: Database, who: str, at: float, kind: str, name: str, before: str, after: str) -> None:
    """One line of the audit, for changes that are not plans'. Call it inside the change's own transaction."""
    db.run(
        "INSERT INTO audit (number, at, who, kind, name, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (db.next_number("audit"), at, who, kind, name, before, after),
    )


def add_up(sums: Sequence[Sums]) -> Sums:
    """Several groups as one."""
    return Sums(**{name: sum(getattr(each, name) for each in sums) for name in MEASURES})


def _call(row: Row, tokens: dict[str, int]) -> Call:
    names = [name for name in Call.__struct_fields__ if name != "tokens"]
    values = dict(zip(names, row, strict=True))
    values["cancelled"] = bool(values["cancelled"])
    for name in ("tenant", "task", "levers"):
        values[name] = values[name] or ""
    return Call(**values, tokens=tokens)
