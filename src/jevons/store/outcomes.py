"""What was said of a task, kept whole, and what follows from it.

What lives here: the statements about tasks, their idempotency, and the outcome that they add up to. What it must not
know: who may say what (gateway/feedback.py). Order of arrival does not matter: of each field the statement with the
latest time counts, so a late old word changes nothing. A statement is never deleted; it goes with its task.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from jevons.core.errors import CallerError, NotFound
from jevons.store.booking import fit
from jevons.store.db import Database

MOST_PER_TASK = 1_000
"""Statements of one task; more are refused, since a program in a loop could say one a millisecond."""
MOST_AT_ONCE = 5_000


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One statement. None and '' : not said."""

    id: str = ""
    operation: str = ""
    solved: bool | None = None
    score: float | None = None
    label: str = ""
    at: float | None = None
    """None: when it was received."""


class Known(msgspec.Struct, frozen=True):
    """A task of the ledger."""

    row: int
    tenant: str
    task: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a task now."""

    solved: bool | None = None
    score: float | None = None
    labels: dict[str, int] = {}
    """How many operations (the task itself counts as one) bear each label."""
    statements: int = 0
    at: float = 0.0
    """Of the latest statement."""


class Told(msgspec.Struct, frozen=True):
    """A statement for whoever follows them. `number` rises with each commit."""

    number: int
    tenant: str
    task: str
    operation: str
    solved: bool | None
    score: float | None
    label: str
    at: float


def find(db: Database, tenant: str, task: str, operation: str, *, below: bool = False) -> Known | None:
    """The task by its name or by one of its operations, of a tenant or (`below`) of the customers within it.

    Raises CallerError when both are given and do not belong together, and when several customers have such a task.
    """
    by_task = _find(db, "t.task = ?", task, tenant, below=below) if task else None
    if not operation:
        return by_task
    where = "t.id = (SELECT task FROM operations WHERE operation = ?)"
    by_operation = _find(db, where, operation, tenant, below=below)
    if task and by_operation is not None and by_task != by_operation:
        raise CallerError(f"operation {operation!r} is not of task {task!r}", code="task_mismatch", param="operation")
    return by_operation


def _find(db: Database, where: str, value: str, tenant: str, *, below: bool) -> Known | None:
    mine, values = "t.tenant = ?", [fit(value), fit(tenant)]
    if below:
        inside = fit(f"{tenant}/")
        mine += " OR substr(t.tenant, 1, ?) = ?"
        values += [len(inside), inside]  # type: ignore[list-item]
    rows = db.rows(f"SELECT t.id, t.tenant, t.task FROM tasks t WHERE {where} AND ({mine}) LIMIT 2", values)  # noqa: S608
    if len(rows) > 1:
        message = "several customers have a task of this name: name the customer in x-jevons-customer"
        raise CallerError(message, code="ambiguous_task", status=409, param="task")
    return Known(*rows[0]) if rows else None


def record(db: Database, known: Known, said: Said, received: float) -> bool:
    """Keep a statement. False when it was known already. Raises CallerError: an id that was used for something else,
    or too many statements of one task; NotFound when the task was forgotten meanwhile.

    Without an id of its own a statement's id is a digest of it. Such a statement said again without a time is said
    anew: yes, no, yes ends with yes.
    """
    at = received if said.at is None else min(said.at, received)
    name = said.id or _digest(known, said)
    solved = None if said.solved is None else int(said.solved)
    values = (known.row, fit(said.operation), solved, said.score, fit(said.label))
    with db.transaction():
        number = db.next_number("outcome")  # first: it is the lock that orders writers
        if db.row("SELECT 1 FROM tasks WHERE id = ?", (known.row,)) is None:
            raise NotFound(f"the task {known.task!r} is kept no longer", code="unknown_task")
        before = db.row(
            "SELECT task, operation, solved, score, label, at FROM outcomes WHERE tenant = ? AND id = ?",
            (fit(known.tenant), fit(name)),
        )
        if before is not None:
            if tuple(before[:5]) != values:
                raise CallerError(
                    f"the feedback id {name!r} was used before for something else",
                    code="id_used",
                    status=409,
                    param="id",
                )
            if said.id or said.at is not None or before[5] >= at:
                return False
            again = "UPDATE outcomes SET number = ?, at = ?, received = ? WHERE tenant = ? AND id = ?"
            return db.run(again, (number, at, received, fit(known.tenant), fit(name))) == 1
        held = db.row("SELECT count(*) FROM outcomes WHERE task = ?", (known.row,))
        if held is not None and held[0] >= MOST_PER_TASK:
            raise CallerError(
                f"the task has {MOST_PER_TASK} statements already", code="too_much_feedback", status=429, param="task"
            )
        db.run(
            "INSERT INTO outcomes (number, tenant, id, task, operation, solved, score, label, at, received) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, fit(known.tenant), fit(name), *values, at, received),
        )
    return True


def outcome(db: Database, row: int) -> Outcome:
    """What the statements about a task (its row in `tasks`) add up to."""
    return add_up(
        [
            Told(number, "", "", operation, None if solved is None else bool(solved), score, label, at)
            for number, operation, solved, score, label, at in db.rows(
                "SELECT number, operation, solved, score, label, at FROM outcomes WHERE task = ? LIMIT ?",
                (row, MOST_PER_TASK),
            )
        ]
    )


def add_up(told: Sequence[Told]) -> Outcome:
    """Of each field the latest statement counts; labels are counted by what they were said of."""
    ordered = sorted(told, key=lambda each: (each.at, each.number))
    solved = next((each.solved for each in reversed(ordered) if each.solved is not None), None)
    score = next((each.score for each in reversed(ordered) if each.score is not None), None)
    labelled = {(each.label, each.operation) for each in ordered if each.label}
    labels: dict[str, int] = {}
    for label, _ in sorted(labelled):
        labels[label] = labels.get(label, 0) + 1
    return Outcome(
        solved=solved, score=score, labels=labels, statements=len(ordered), at=ordered[-1].at if ordered else 0.0
    )


def changes_since(db: Database, number: int, count: int = MOST_AT_ONCE) -> list[Told]:
    """The next statements after a number, in order: what an experiment follows."""
    rows = db.rows(
        "SELECT o.number, t.tenant, t.task, o.operation, o.solved, o.score, o.label, o.at FROM outcomes o "
        "JOIN tasks t ON t.id = o.task WHERE o.number > ? ORDER BY o.number LIMIT ?",
        (number, count),
    )
    return [
        Told(number, tenant, task, operation, None if solved is None else bool(solved), score, label, at)
        for number, tenant, task, operation, solved, score, label, at in rows
    ]


def _digest(known: Known, said: Said) -> str:
    parts = (known.row, said.operation, said.solved, said.score, said.label, said.at)
    return "d_" + hashlib.blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()
