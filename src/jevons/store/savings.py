"""What each lever is credited with, summed by hour and day like a rollup.

What lives here: the sums' statements, and reading them back by line. What it must not know: how a credit comes about
(ledger/waterfall.py). The lines of a bucket and series add up to the baseline minus the compared cost that rollups
hold of the same bucket and series, since both are written in the transaction that books the operation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jevons.store.db import Database
from jevons.store.measures import DAY, HOUR

GRAINS = (HOUR, DAY)
WATERFALL = "waterfall"
"""The lines' key in `Operation.levers`."""

Key = tuple[int, int, int, str]
"""(grain in seconds, bucket's start, series, line)."""

ADD_TO_CREDITS = (
    "INSERT INTO credits (grain, bucket, series, line, calls, nano) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (grain, bucket, series, line) DO UPDATE SET "
    "calls = credits.calls + excluded.calls, nano = credits.nano + excluded.nano"
)


def collect(into: dict[Key, list[int]], started: float, series: int, levers: Mapping[str, Any] | None) -> None:
    """Add one operation's lines to a batch's."""
    lines: Mapping[str, int] | None = levers.get(WATERFALL) if levers else None
    if not lines:
        return
    second = int(started)
    for grain in GRAINS:
        bucket = second - second % grain
        for line, nano in lines.items():
            total = into.setdefault((grain, bucket, series, line), [0, 0])
            total[0] += 1
            total[1] += nano


def add(db: Database, collected: Mapping[Key, Sequence[int]]) -> None:
    """Write a batch's sums, inside the batch's transaction."""
    db.many(ADD_TO_CREDITS, [(*key, *total) for key, total in sorted(collected.items())])


def by_line(
    db: Database, grain: int, since: int, until: int, *, column: str = "", value: str = ""
) -> dict[str, tuple[int, int]]:
    """line -> (calls, nano-dollars) over whole buckets; with `column` (of series) only where it has a value."""
    if column not in {"", "tenant", "customer", "plan", "site"}:
        raise ValueError(f"{column!r} is no column to look credits up by")
    narrowed, values = (f" AND s.{column} = ?", (value,)) if column else ("", ())
    rows = db.rows(
        "SELECT c.line, sum(c.calls), sum(c.nano) FROM credits c JOIN series s ON s.id = c.series "  # noqa: S608
        f"WHERE c.grain = ? AND c.bucket >= ? AND c.bucket < ?{narrowed} GROUP BY c.line ORDER BY c.line",
        (grain, since, until, *values),
    )
    return {line: (int(calls), int(nano)) for line, calls, nano in rows}
