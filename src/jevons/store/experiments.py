"""The experiment's draw in the database, and the finished tasks that it has shown so far.

What lives here: which salt holds since when, and the tasks of a plan with what they cost and whether they were solved,
in the order in which they ended. What it must not know: how an arm is drawn or an interval made
(ledger/experiment.py). A task counts with all its sub-agents, once none of them has had a call for a while.
"""

from collections.abc import Iterator

import msgspec

from jevons.core.money import NANO_PER_DOLLAR
from jevons.ledger.experiment import Design, Evidence, Headline, look, named, record
from jevons.ledger.experiment import begin as start
from jevons.plans.plan import Plan
from jevons.store.db import Database, Row
from jevons.store.plans import load

QUIET_S = 1_800.0
"""A task without a call for this long is taken to be finished. One that goes on after all is looked at as a whole
again: sums are read anew at every look."""
MOST_TASKS = 100_000
"""Tasks of one look, about a second of arithmetic; the newest are left out beyond it, and that is said."""
MOST_PARENTS = 16
"""How deep sub-agents are followed to the task at the top."""


class Experiment(msgspec.Struct, frozen=True):
    """The draw that holds."""

    number: int
    salt: str
    started: float
    who: str


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A task with its sub-agents, after its last call."""

    tenant: str
    task: str
    name: str
    arm: str
    ended: float
    cost_nano: int | None
    """None: some call of it is unpriced."""
    solved: bool | None
    """None: nobody has said."""


def current(db: Database) -> Experiment | None:
    """The draw that holds now."""
    row = db.row("SELECT number, salt, started, who FROM experiments ORDER BY number DESC LIMIT 1")
    return Experiment(*row) if row else None


def begin(db: Database, salt: str, at: float, who: str) -> Experiment:
    """A new draw. Tasks that are under way are in neither."""
    with db.transaction():
        return _insert(db, salt, at, who)


def ensure(db: Database, salt: str, at: float) -> Experiment:
    """The draw that holds; with `salt` where there is none yet."""
    with db.transaction():
        db.run("UPDATE counters SET next = next WHERE name = 'experiment'")  # the lock: of two gateways one begins
        return current(db) or _insert(db, salt, at, "the gateway's first start")


def _insert(db: Database, salt: str, at: float, who: str) -> Experiment:
    made = Experiment(db.next_number("experiment"), salt, at, who)
    db.run("INSERT INTO experiments (number, salt, started, who) VALUES (?, ?, ?, ?)", msgspec.structs.astuple(made))
    return made


def since(db: Database, experiment: Experiment, plan: str) -> float:
    """From when on a plan's tasks belong together: the draw's start, or the plan's last change of `hold_out`."""
    rows = db.rows(
        "SELECT at, before, after FROM audit WHERE kind = 'plan' AND name = ? AND at > ? ORDER BY number",
        (plan, experiment.started),
    )
    changed: list[float] = [at for at, before, after in rows if _hold_out(before) != _hold_out(after)]
    return max((experiment.started, *changed))


def _hold_out(body: str) -> float:
    return msgspec.json.decode(body, type=Plan).hold_out if body else 0.0


def finished(db: Database, plan: str, since: float, until: float) -> Iterator[Finished]:
    """Tasks of a plan that began after `since` and had no call after `until`, in the order in which they ended."""
    rows = db.rows(
        "SELECT tenant, task, parent, name, arm, ended, cost_nano, unpriced FROM tasks "
        "WHERE started >= ? AND plan = ? AND arm <> '' ORDER BY started LIMIT ?",
        (since, plan, MOST_TASKS),
    )
    told = outcomes(db, since)
    parents = {(row[0], row[1]): row[2] for row in rows}
    trees: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        trees.setdefault((row[0], _top(parents, row[0], row[1])), []).append(row)
    done = [_finished(key, tree, told) for key, tree in trees.items() if max(row[5] for row in tree) <= until]
    return iter(sorted(done, key=lambda one: one.ended))


def _top(parents: dict[tuple[str, str], str], tenant: str, task: str) -> str:
    for _ in range(MOST_PARENTS):
        parent = parents.get((tenant, task), "")
        if not parent or (tenant, parent) not in parents:
            return task
        task = parent
    return task


def _finished(key: tuple[str, str], tree: list[Row], told: dict[tuple[str, str], bool]) -> Finished:
    top = next((row for row in tree if row[1] == key[1]), tree[0])
    return Finished(
        tenant=key[0],
        task=key[1],
        name=top[3],
        arm=top[4],
        ended=max(row[5] for row in tree),
        cost_nano=None if any(row[7] for row in tree) else sum(row[6] for row in tree),
        solved=told.get(key),
    )


def outcomes(db: Database, since: float) -> dict[tuple[str, str], bool]:
    """What was said of tasks that began after `since`, the latest word of each: (tenant, task) -> solved."""
    rows = db.rows(
        "SELECT t.tenant, t.task, o.solved FROM outcomes o JOIN tasks t ON t.id = o.task "
        "WHERE t.started >= ? AND o.solved IS NOT NULL ORDER BY o.at, o.number",
        (since,),
    )
    return {(tenant, task): bool(solved) for tenant, task, solved in rows}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan's experiment has shown at one look."""

    plan: str
    since: float
    design: Design
    evidence: Evidence
    headline: Headline
    told: int
    """Tasks whose outcome is known."""
    unpriced: int
    """Finished tasks that are left out, since some call of theirs has no known price."""
    full: bool
    """There are more tasks than one look reads: the newest are not in it."""
    course: tuple[tuple[float, Headline], ...] = ()
    """Earlier looks, each with the moment at which its last task ended."""


def measure(db: Database, plan: Plan, experiment: Experiment, now: float, looks: int = 0) -> Measured:
    """Look at all finished tasks of a plan since its draw began. What was expected of a task is the mean of the tasks
    of its name that ended before it. `looks`: about how many earlier looks are wanted, evenly spread over the tasks."""
    begun = since(db, experiment, plan.name)
    done = list(finished(db, plan.name, begun, now - QUIET_S))
    drawn = Design(tenant="", salt=experiment.salt, holdout=plan.hold_out, lever_off=plan.hold_out)
    levers = {lever for arm in {one.arm for one in done} for lever in named(arm, drawn).off}
    drawn = msgspec.structs.replace(drawn, levers=tuple(sorted(levers)))
    seen, unpriced = start(drawn), 0
    means: dict[str, tuple[int, float]] = {}
    overall = (0, 0.0)
    course: list[tuple[float, Headline]] = []
    step = max(1, len(done) // looks) if looks else len(done) + 1
    for index, one in enumerate(done, start=1):
        if one.cost_nano is None:
            unpriced += 1
            continue
        dollars = one.cost_nano / NANO_PER_DOLLAR
        mine = means.get(one.name, overall)
        seen = record(seen, drawn, named(one.arm, drawn), dollars, mine[1], one.solved)
        means[one.name], overall = _mean(means.get(one.name, (0, 0.0)), dollars), _mean(overall, dollars)
        if index % step == 0:
            course.append((one.ended, look(seen, drawn)))
    return Measured(
        plan=plan.name,
        since=begun,
        design=drawn,
        evidence=seen,
        headline=look(seen, drawn),
        told=sum(one.solved is not None for one in done),
        unpriced=unpriced,
        full=_count(db, plan.name, begun) > MOST_TASKS,
        course=tuple(course),
    )


def enforce(db: Database, now: float) -> list[tuple[str, str]]:
    """Switch off, plan by plan, the levers that are proven to cost more than they save. Returns (plan, lever) that are
    new; gateways follow. Until another draw begins they stay off: an interval that is looked at again may not hold."""
    experiment = current(db)
    if experiment is None:
        return []
    held_out = [plan for plan in load(db).plans.values() if 0.0 < plan.hold_out < 1.0]
    proven = [
        (plan.name, lever) for plan in held_out for lever in measure(db, plan, experiment, now).headline.switch_off
    ]
    with db.transaction():
        return [
            (plan, lever)
            for plan, lever in proven
            if db.run(
                "INSERT INTO switched_off (experiment, plan, lever, at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (experiment, plan, lever) DO NOTHING",
                (experiment.number, plan, lever, now),
            )
        ]


def switched_off(db: Database) -> frozenset[tuple[str, str]]:
    """(plan, lever) of what the draw that holds has switched off."""
    rows = db.rows("SELECT plan, lever FROM switched_off WHERE experiment = (SELECT max(number) FROM experiments)")
    return frozenset((plan, lever) for plan, lever in rows)


def _count(db: Database, plan: str, since: float) -> int:
    """Tasks of a plan's experiment, finished or not; counted no further than one more than a look reads."""
    row = db.row(
        "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE started >= ? AND plan = ? AND arm <> '' LIMIT ?) AS counted",
        (since, plan, MOST_TASKS + 1),
    )
    return int(row[0]) if row else 0


def _mean(before: tuple[int, float], value: float) -> tuple[int, float]:
    n = before[0] + 1
    return n, before[1] + (value - before[1]) / n
