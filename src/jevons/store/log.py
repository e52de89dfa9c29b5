"""The ledger read back, operation by operation: what `jevons log` prints.

What lives here: the look-ups by order of booking, and the shape of a line. Sums over many operations are read from
rollups, never from here. A line's keys are a promise to other programs.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jevons.core.usage import NOTHING, Usage
from jevons.store.db import Database, Row

MOST_AT_ONCE = 1_000
"""Operations of one look-up; more are read in pages by `after`."""

_OPERATIONS = (
    "SELECT o.seq, o.operation, t.task, s.site, s.customer, s.surface, s.model, o.status, o.started, o.cost_nano, "
    "o.baseline_nano, o.cache FROM operations o JOIN series s ON s.id = o.series LEFT JOIN tasks t ON t.id = o.task "
)
_ATTEMPTS = (
    "SELECT a.operation, t.provider, t.model, t.role, a.status, a.error, a.started, a.duration_s, a.first_byte_s, "
    "a.input, a.cached, a.cache_write_5m, a.cache_write_1h, a.output, a.reasoning, t.usage_source, t.tier, "
    "a.cost_nano, t.cost_source, t.price_version, t.rates "
    "FROM attempts a JOIN tariffs t ON t.id = a.tariff WHERE a.operation BETWEEN ? AND ? "
    "ORDER BY a.operation, a.number"
)


class LoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    role: str
    status: int
    error: str
    started: float
    duration_s: float
    first_byte_s: float | None
    usage: Usage
    usage_source: str
    tier: str
    cost_nanodollars: int | None
    cost_source: str
    price_version: str
    rates: dict[str, int] | None
    """Pico-dollars per token."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One operation as a line of the log."""

    operation: str
    task: str
    site: str
    customer: str
    surface: str
    model: str
    status: int
    started: float
    cost_nanodollars: int | None
    unpriced: bool
    baseline_nanodollars: int | None
    usage: Usage
    cache: str
    attempts: tuple[LoggedAttempt, ...]


def last(db: Database, count: int) -> list[tuple[int, Logged]]:
    """The last operations with their numbers, in the order in which they were booked. At most MOST_AT_ONCE."""
    rows = db.rows(_OPERATIONS + "ORDER BY o.seq DESC LIMIT ?", (min(count, MOST_AT_ONCE),))
    return _logged(db, rows[::-1])


def after(db: Database, number: int, count: int = MOST_AT_ONCE) -> list[tuple[int, Logged]]:
    """The next operations booked after number, in order."""
    return _logged(db, db.rows(_OPERATIONS + "WHERE o.seq > ? ORDER BY o.seq LIMIT ?", (number, count)))


def page(db: Database, count: int) -> int:
    """The number after which the last `count` operations come: where to begin paging with `after`."""
    found = db.row("SELECT seq FROM operations ORDER BY seq DESC LIMIT 1 OFFSET ?", (count,))
    return int(found[0]) if found else 0


def _logged(db: Database, rows: Sequence[Row]) -> list[tuple[int, Logged]]:
    if not rows:
        return []
    attempts: dict[int, list[LoggedAttempt]] = {}
    for row in db.rows(_ATTEMPTS, (rows[0][0], rows[-1][0])):
        attempts.setdefault(row[0], []).append(_attempt(row))
    return [(row[0], _operation(row, attempts.get(row[0], []))) for row in rows]


def _operation(row: Row, attempts: Sequence[LoggedAttempt]) -> Logged:
    _, operation, task, site, customer, surface, model, status, started, cost, baseline, cache = row
    return Logged(
        operation=operation,
        task=task or "",
        site=site,
        customer=customer,
        surface=surface,
        model=model,
        status=status,
        started=started,
        cost_nanodollars=cost,
        unpriced=cost is None,
        baseline_nanodollars=baseline,
        usage=sum((attempt.usage for attempt in attempts), NOTHING),
        cache=cache,
        attempts=tuple(attempts),
    )


def _attempt(row: Row) -> LoggedAttempt:
    _, provider, model, role, status, error, started, duration_s, first_byte_s = row[:9]
    plain, cached, write_5m, write_1h, output, reasoning = row[9:15]
    usage_source, tier, cost, cost_source, price_version, rates = row[15:]
    decoded: Any = msgspec.json.decode(rates) if rates else None
    return LoggedAttempt(
        provider=provider,
        model=model,
        role=role,
        status=status,
        error=error,
        started=started,
        duration_s=duration_s,
        first_byte_s=first_byte_s,
        usage=Usage(
            input=plain,
            cached=cached,
            cache_write_5m=write_5m,
            cache_write_1h=write_1h,
            output=output,
            reasoning=reasoning,
        ),
        usage_source=usage_source,
        tier=tier,
        cost_nanodollars=cost,
        cost_source=cost_source,
        price_version=price_version,
        rates=decoded,
    )
