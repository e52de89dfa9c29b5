"""What is kept for how long, and the small steps in which the rest goes.

What lives here: the limits and their deletion. What it must not know: when it is called (a supervised worker does, now
and then). Each step is a short transaction, so booking never waits long; sums outlive the calls that they were made of.
"""

import msgspec

from jevons.store.db import Database
from jevons.store.measures import DAY, HOUR, MINUTE

STEP_ROWS = 2_000
"""Operations that one transaction deletes: some 20 ms of the write lock."""
STEP_BUCKETS = 60
"""Buckets that one transaction deletes: an hour of minutes, two days and a half of hours."""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """Days; None keeps for ever."""

    operations_days: float | None = 90
    tasks_days: float | None = 400
    minutes_days: float | None = 2
    hours_days: float | None = 60
    days_days: float | None = None


def prune(db: Database, now: float, keep: Keep, steps: int = 50) -> int:
    """Delete what is too old, in at most `steps` rounds. Returns the rows deleted; 0 when nothing is left to do."""
    deleted = 0
    for _ in range(steps):
        gone = 0
        for grain, days in ((MINUTE, keep.minutes_days), (HOUR, keep.hours_days), (DAY, keep.days_days)):
            if days is not None:
                gone += _buckets(db, grain, now - days * DAY)
        if keep.operations_days is not None:
            gone += _operations(db, now - keep.operations_days * DAY)
        if keep.tasks_days is not None:
            gone += _tasks(db, now - keep.tasks_days * DAY)
        deleted += gone
        if not gone:
            break
    return deleted


def _buckets(db: Database, grain: int, before: float) -> int:
    first = db.row("SELECT bucket FROM rollups WHERE grain = ? ORDER BY bucket LIMIT 1", (grain,))
    if first is None:
        return 0
    end = min(int(before // grain * grain), int(first[0]) + STEP_BUCKETS * grain)
    with db.transaction():
        db.run("DELETE FROM credits WHERE grain = ? AND bucket < ?", (grain, end))
        return db.run("DELETE FROM rollups WHERE grain = ? AND bucket < ?", (grain, end))


def _operations(db: Database, before: float) -> int:
    """The oldest rows by number: times are only looked at there, so nothing is scanned when nothing is old."""
    oldest = db.rows("SELECT seq, started FROM operations ORDER BY seq LIMIT ?", (STEP_ROWS,))
    old = [(seq,) for seq, started in oldest if started < before]
    with db.transaction():
        return db.many("DELETE FROM operations WHERE seq = ?", old)  # attempts go with them


def _tasks(db: Database, before: float) -> int:
    """Tasks that had no call since, and of which no operation is kept."""
    with db.transaction():
        return db.run(
            "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE started < ? AND ended < ? AND NOT EXISTS "
            "(SELECT 1 FROM operations o WHERE o.task = tasks.id) LIMIT ?)",
            (before, before, STEP_ROWS),
        )
