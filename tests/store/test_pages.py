"""What pages read, on both databases: tasks page by page, one task with its parts, one call; and who is signed in."""

import pytest

from jevons.plans import key as keys
from jevons.store import keys as key_rows
from jevons.store import pages, sessions
from jevons.store.booking import Bookkeeper
from tests.store.conftest import AT, attempt, operation

DAY = 86_400.0
MIDNIGHT = AT // DAY * DAY


@pytest.fixture
def booked(db):
    """Three tasks on two days, one of them the parent of another; the last call of a day starts just before its end."""
    found = [
        operation("op_1", started=MIDNIGHT + 10, task="t1", task_name="Fix 100%", customer="acme"),
        operation("op_2", started=MIDNIGHT + 20, task="t1", task_name="Fix 100%", customer="acme", status=500),
        operation("op_3", started=MIDNIGHT + 30, task="t2", task_name="sub", parent="t1", customer="acme"),
        operation("op_4", started=MIDNIGHT + DAY - 0.2, task="t3", task_name="late", customer="globex", arm="hold-out"),
    ]
    Bookkeeper().write(db, found)
    return db


def names(found):
    return [task.task for task in found]


def test_tasks_come_newest_first_and_page_by_page(booked):
    span = (MIDNIGHT, MIDNIGHT + DAY)
    assert names(pages.tasks_page(booked, *span)) == ["t3", "t2", "t1"]
    assert names(pages.tasks_page(booked, *span, offset=1, limit=1)) == ["t2"]
    assert names(pages.tasks_page(booked, *span, order="calls", limit=1)) == ["t1"]


@pytest.mark.parametrize(
    ("search", "found"),
    [("fix", ["t1"]), ("GLOBEX", ["t3"]), ("t2", ["t2"]), ("100%", ["t1"]), ("%", ["t1"]), ("_", [])],
)
def test_a_search_is_for_what_was_typed_in_any_case(booked, search, found):
    assert names(pages.tasks_page(booked, MIDNIGHT, MIDNIGHT + DAY, search=search)) == found


def test_one_task_has_its_calls_with_tokens_and_its_sub_agents(booked):
    task = pages.task(booked, "acme", "t1")
    assert task.sums.calls == 2
    calls = pages.calls(booked, "acme", "t1")
    assert [call.operation for call in calls] == ["op_1", "op_2"]
    assert calls[0].tokens == {"input": 100, "cached": 900, "cache_write_5m": 7, "cache_write_1h": 3, "output": 50}
    assert names(pages.children(booked, task)) == ["t2"]
    assert pages.task(booked, "globex", "t1") is None


def test_one_call_has_its_attempts_in_order(db):
    Bookkeeper().write(db, [operation("op_a", attempt(status=529, error="overloaded"), attempt())])
    call = pages.call(db, "op_a")
    assert [each["status"] for each in pages.attempts(db, call.seq)] == [529, 200]
    assert pages.call(db, "op_b") is None


def test_a_day_holds_what_started_before_its_last_second_ended(booked):
    assert [(day.at, day.tasks) for day in pages.days(booked, MIDNIGHT, MIDNIGHT + 2 * DAY)] == [(MIDNIGHT, 3)]


def test_arms_failures_and_stretches(booked):
    assert [(arm.name, arm.tasks) for arm in pages.arms(booked, MIDNIGHT, MIDNIGHT + DAY)] == [("hold-out", 1)]
    assert [call.operation for call in pages.recent_errors(booked)] == ["op_2"]
    stretch = pages.period(booked, MIDNIGHT, MIDNIGHT + DAY, "day")
    assert (stretch.customers, stretch.tasks, stretch.steps) == (2, 3, 4)
    assert pages.period(booked, MIDNIGHT + DAY, MIDNIGHT + 2 * DAY, "empty") is None
    assert pages.age(booked) == (MIDNIGHT, MIDNIGHT + DAY)


def test_an_empty_ledger_has_no_age(db):
    assert pages.age(db) is None


def test_sessions_are_bounded_and_the_oldest_end(db, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    admin = key_rows.add(db, keys.make("sk-jv-x", name="ada", role="admin"))
    for number in range(5):
        sessions.open_session(db, admin, b"%d" % number, "csrf", 100.0 + number)
    assert [sessions.find(db, b"%d" % number, 110.0) is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(("role", "opens"), [("", False), ("viewer", True), ("admin", True)])
def test_only_a_key_with_a_role_opens_the_dashboard(db, role, opens):
    made = key_rows.add(db, keys.make("sk-jv-y", name="y", role=role))
    assert (sessions.who_may_look(db, made.digest) is not None) == opens
    key_rows.revoke(db, made.id, 1.0)
    assert sessions.who_may_look(db, made.digest) is None
