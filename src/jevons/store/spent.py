"""What a budget's window stood at before this process saw it: read from the ledger's rollups.

What lives here: the queries from a counter's name to a sum. What it must not know: caps, reservations.
"""

from datetime import UTC, datetime

from jevons.store.db import Database
from jevons.store.measures import DAY, MINUTE

_SUMS = {
    "usd": "r.cost_nano",
    "requests": "r.calls",
    "tokens": "r.input + r.cached + r.cache_write_5m + r.cache_write_1h + r.output",
}
_SCOPES = {
    "key": "s.key_id = ?",
    "customer": "(s.customer = ? OR (s.customer = '' AND s.tenant = ?))",
    "plan": "s.plan = ?",
}


def spent_in_ledger(db: Database, counter: str) -> int:
    """The sum behind a counter `scope:name|kind|window` (plans.budget names them); 0 for what is in flight."""
    who, kind, window = counter.rsplit("|", 2)
    scope, _, name = who.partition(":")
    if kind == "concurrent":
        return 0
    if scope == "task":
        tenant, _, task = name.partition("/")
        return _sum(
            db,
            f"SELECT coalesce(sum({_SUMS[kind]}), 0) FROM tasks r "  # noqa: S608 - constants
            "WHERE r.tenant = ? AND (r.task = ? OR r.parent = ?)",
            (tenant, task, task),
        )
    grain, since, until = _buckets(window)
    names = (name, name) if scope == "customer" else (name,)
    return _sum(
        db,
        f"SELECT coalesce(sum({_SUMS[kind]}), 0) FROM rollups r "  # noqa: S608 - constants
        "JOIN series s ON s.id = r.series "
        f"WHERE r.grain = ? AND r.bucket >= ? AND r.bucket < ? AND {_SCOPES[scope]}",
        (grain, since, until, *names),
    )


def _buckets(window: str) -> tuple[int, int, int]:
    """(grain, first bucket, end) of a window's name."""
    if window.startswith("m"):
        start = int(window[1:])
        return MINUTE, start, start + MINUTE
    if window.startswith("d"):
        start = int(window[1:])
        return DAY, start, start + DAY
    if window.startswith("M"):
        year, month = map(int, window[1:].split("-"))
        begin = datetime(year, month, 1, tzinfo=UTC)
        end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        return DAY, int(begin.timestamp()), int(end.timestamp())
    return DAY, 0, 1 << 62


def _sum(db: Database, query: str, parameters: tuple[object, ...]) -> int:
    row = db.row(query, parameters)
    return int(row[0]) if row else 0
