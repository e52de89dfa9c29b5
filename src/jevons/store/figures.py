"""One task, or a tree of them, in figures: what it burned, how often its context was sent again, how it went.

What lives here: the look-ups and the arithmetic of one task's page. What it must not know: how a page looks. Sums come
from the task's own row; what depends on the order of calls is read from its operations, at most MOST_CALLS of them.
"""

import msgspec

from jevons.ledger.trouble import runaway, velocity_nano_per_min
from jevons.store.db import Database, Row
from jevons.store.measures import HITS, MEASURES
from jevons.store.outcomes import Outcome, find, outcome
from jevons.store.rollups import Sums

MOST_CALLS = 5_000
"""Calls that are looked at one by one; of a longer task the last ones."""
USUAL_TASKS = 500
"""Tasks of the same tenant, the latest, whose median cost is the usual one."""
LOOP = "loop"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Measured, but for `resends` where several conversations of one call site ran at once: they count as one."""

    tenant: str
    task: str
    source: str
    parent: str
    name: str
    customer: str
    plan: str
    arm: str
    started: float
    ended: float
    sums: Sums
    """Calls, tokens by kind, cost, hits, errors."""
    wall_s: float
    context_tokens: int
    """Prompt tokens that were new when they were sent."""
    resends: float
    """How often a token of context was sent in all: prompt tokens / new ones."""
    cache_mix: dict[str, float]
    """Shares of the prompt tokens: read from the cache, written to it, plain."""
    served: dict[str, int]
    """Calls by what our own cache did: hit, coalesced, semantic, miss; '' when it was not asked."""
    outcome: Outcome
    children: int
    """Tasks that name this one as parent."""
    velocity_nano_per_min: int
    usual_nano: int
    flags: tuple[str, ...]
    """loop: the same tool call again and again. runaway: spends far faster than the tenant's tasks usually do."""


def figures(db: Database, tenant: str, task: str) -> Figures | None:
    """A task of a tenant; None when it is not known."""
    known = find(db, tenant, task, "")
    if known is None:
        return None
    row = db.row(
        "SELECT source, parent, name, customer, plan, arm, started, ended, "  # noqa: S608 - constants
        f"{', '.join(MEASURES)} FROM tasks WHERE id = ?",
        (known.row,),
    )
    if row is None:
        return None
    calls = db.rows(
        "SELECT o.started, o.duration_s, o.cost_nano, o.cache, o.series, coalesce(sum(a.input + a.cached + "
        "a.cache_write_5m + a.cache_write_1h), 0) FROM operations o LEFT JOIN attempts a ON a.operation = o.seq "
        "WHERE o.task = ? GROUP BY o.seq, o.started, o.duration_s, o.cost_nano, o.cache, o.series "
        "ORDER BY o.seq DESC LIMIT ?",
        (known.row, MOST_CALLS),
    )[::-1]
    sums = Sums(**dict(zip(MEASURES, row[8:], strict=True)))
    said, usual = outcome(db, known.row), usual_nano(db, tenant, known.row)
    spent = [(call[0], call[2] or 0) for call in calls]
    fresh, sent = context(calls)
    marks = (LOOP if LOOP in said.labels else "", "runaway" if runaway(spent, usual) else "")
    return Figures(
        tenant=known.tenant,
        task=known.task,
        source=row[0],
        parent=row[1],
        name=row[2],
        customer=row[3],
        plan=row[4],
        arm=row[5],
        started=row[6],
        ended=row[7],
        sums=sums,
        wall_s=max(0.0, row[7] - row[6]),
        context_tokens=fresh,
        resends=sent / fresh if fresh else 0.0,
        cache_mix=mix(sums),
        served=_served(calls),
        outcome=said,
        children=_count(db, tenant, known.task),
        velocity_nano_per_min=velocity_nano_per_min(spent),
        usual_nano=usual,
        flags=tuple(mark for mark in marks if mark),
    )


def context(calls: list[Row]) -> tuple[int, int]:
    """(new prompt tokens, prompt tokens sent) of calls in order. New is what a prompt has more than the one before it
    at the same call site; a prompt that shrank (compacted, edited) begins again from its size."""
    before: dict[int, int] = {}
    fresh = sent = 0
    for _, _, _, cache, series, prompt in calls:
        if cache in HITS:  # nothing was sent
            continue
        fresh += max(0, int(prompt) - before.get(series, 0))
        sent += int(prompt)
        before[series] = int(prompt)
    return fresh, sent


def mix(sums: Sums) -> dict[str, float]:
    """Shares of the prompt tokens; empty without any."""
    written = sums.cache_write_5m + sums.cache_write_1h
    total = sums.input + sums.cached + written
    if not total:
        return {}
    return {"read": sums.cached / total, "written": written / total, "plain": sums.input / total}


def usual_nano(db: Database, tenant: str, but: int) -> int:
    """The median cost of the tenant's latest other tasks, unpriced ones left out; 0 when there are none."""
    rows = db.rows(
        "SELECT cost_nano FROM tasks WHERE tenant = ? AND id <> ? AND unpriced = 0 ORDER BY id DESC LIMIT ?",
        (tenant, but, USUAL_TASKS),
    )
    costs = sorted(row[0] for row in rows)
    return costs[len(costs) // 2] if costs else 0


def _served(calls: list[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for call in calls:
        counts[call[3]] = counts.get(call[3], 0) + 1
    return counts


def _count(db: Database, tenant: str, parent: str) -> int:
    found = db.row("SELECT count(*) FROM tasks WHERE tenant = ? AND parent = ?", (tenant, parent))
    return int(found[0]) if found else 0
