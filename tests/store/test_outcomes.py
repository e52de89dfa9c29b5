"""Statements about tasks: idempotent, in any order, on both databases."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.errors import CallerError
from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.store import outcomes
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.figures import figures
from jevons.store.migrate import open_database
from jevons.store.outcomes import Known, Said, Told, add_up

AT = 1_795_500_000.0
_numbers = itertools.count()


def operation(task: str, *, tenant: str = "acme", started: float = AT, prompt: int = 1000, **more: object) -> Operation:
    usage = Usage(input=prompt // 2, cached=prompt // 2, output=10)
    values: dict[str, object] = {
        "operation": f"op_{next(_numbers)}",
        "tenant": tenant,
        "key_id": "k",
        "customer": tenant,
        "plan": "",
        "task": task,
        "task_source": "chain",
        "parent": "",
        "task_name": "refund",
        "site": "s",
        "surface": "chat",
        "model": "m",
        "served_model": "m",
        "status": 200,
        "started": started,
        "duration_s": 2.0,
        "attempts": (Attempt(provider="p", model="m", usage=usage, cost_nano=Nano(1000)),),
    }
    return Operation(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with open_database(url) as found:
        yield found


def booked(db: Database, *operations: Operation) -> Known:
    Bookkeeper().write(db, operations)
    known = outcomes.find(db, operations[0].tenant, operations[0].task, "")
    assert known is not None
    return known


def test_the_same_word_twice_is_one(db: Database) -> None:
    known = booked(db, operation("t"))
    assert outcomes.record(db, known, Said(id="f1", solved=True), AT)
    assert not outcomes.record(db, known, Said(id="f1", solved=True), AT + 5)
    assert outcomes.record(db, known, Said(solved=True, at=AT + 1), AT + 6)
    assert not outcomes.record(db, known, Said(solved=True, at=AT + 1), AT + 7)
    assert outcomes.outcome(db, known.row).statements == 2


def test_an_id_used_for_something_else_is_refused(db: Database) -> None:
    known = booked(db, operation("t"))
    outcomes.record(db, known, Said(id="f1", solved=True), AT)
    with pytest.raises(CallerError, match="f1"):
        outcomes.record(db, known, Said(id="f1", solved=False), AT)
    assert outcomes.outcome(db, known.row).solved is True


def test_yes_no_yes_ends_with_yes(db: Database) -> None:
    known = booked(db, operation("t"))
    for second, solved in enumerate((True, False, True)):
        outcomes.record(db, known, Said(solved=solved), AT + second)
    assert outcomes.outcome(db, known.row).solved is True


def test_a_late_old_word_changes_nothing(db: Database) -> None:
    known = booked(db, operation("t"))
    outcomes.record(db, known, Said(solved=True, at=AT + 10), AT + 20)
    outcomes.record(db, known, Said(solved=False, at=AT + 5), AT + 30)
    assert outcomes.outcome(db, known.row).solved is True


def test_a_clock_that_is_ahead_cannot_make_a_word_final(db: Database) -> None:
    known = booked(db, operation("t"))
    outcomes.record(db, known, Said(solved=True, at=AT + 1e9), AT)
    outcomes.record(db, known, Said(solved=False), AT + 1)
    assert outcomes.outcome(db, known.row).solved is False


def test_a_task_is_found_by_its_operation_and_in_its_tenant_only(db: Database) -> None:
    first, second = operation("t"), operation("t", tenant="globex")
    booked(db, first)
    booked(db, second)
    found = outcomes.find(db, "acme", "", first.operation)
    assert found is not None
    assert (found.tenant, found.task) == ("acme", "t")
    assert outcomes.find(db, "globex", "", first.operation) is None
    assert outcomes.find(db, "acme", "unknown", "") is None
    other = operation("other")
    booked(db, other)
    with pytest.raises(CallerError, match="not of task"):
        outcomes.find(db, "acme", "t", other.operation)


def test_a_key_finds_the_tasks_of_the_customers_within_it(db: Database) -> None:
    booked(db, operation("t", tenant="key_1/acme"))
    booked(db, operation("u", tenant="key_10/acme"))
    assert outcomes.find(db, "key_1", "t", "") is None
    found = outcomes.find(db, "key_1", "t", "", below=True)
    assert found is not None
    assert found.tenant == "key_1/acme"
    assert outcomes.find(db, "key_1", "u", "", below=True) is None
    booked(db, operation("t", tenant="key_1/globex"))
    with pytest.raises(CallerError, match="x-jevons-customer"):
        outcomes.find(db, "key_1", "t", "", below=True)


def test_statements_can_be_followed(db: Database) -> None:
    known = booked(db, operation("t"))
    outcomes.record(db, known, Said(solved=True), AT)
    first = outcomes.changes_since(db, 0)
    outcomes.record(db, known, Said(label="wrong", operation="op_x"), AT)
    assert [(told.task, told.solved) for told in first] == [("t", True)]
    assert [told.label for told in outcomes.changes_since(db, first[-1].number)] == ["wrong"]


def test_statements_go_with_their_task(db: Database) -> None:
    known = booked(db, operation("t"))
    outcomes.record(db, known, Said(solved=True), AT)
    db.run("DELETE FROM operations")
    db.run("DELETE FROM tasks")
    assert outcomes.changes_since(db, 0) == []


@given(st.permutations(range(6)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    told = [
        Told(n + 1, "", "", "", (True, None, False, None, True, None)[n], (None, 0.5, None, 0.9, None, None)[n], "", n)
        for n in range(6)
    ]
    assert add_up([told[n] for n in order]) == add_up(told)
    assert (add_up(told).solved, add_up(told).score) == (True, 0.9)


def test_a_task_in_figures(db: Database) -> None:
    prompts = (1000, 1600, 2000)
    calls = [operation("t", started=AT + 10 * n, prompt=prompt) for n, prompt in enumerate(prompts)]
    known = booked(db, *calls, operation("t", started=AT + 40, attempts=(), cache="hit"), operation("c", parent="t"))
    outcomes.record(db, known, Said(solved=True), AT)
    outcomes.record(db, known, Said(id="jevons:loop", label="loop"), AT)
    found = figures(db, "acme", "t")
    assert found is not None
    assert (found.sums.calls, found.sums.cost_nano, found.children) == (4, 3000, 1)
    assert (found.context_tokens, found.resends) == (2000, sum(prompts) / 2000)
    assert found.cache_mix == {"read": 0.5, "written": 0.0, "plain": 0.5}
    assert found.wall_s == 42.0
    assert found.served == {"": 3, "hit": 1}
    assert (found.outcome.solved, found.flags) == (True, ("loop",))
    assert figures(db, "globex", "t") is None
