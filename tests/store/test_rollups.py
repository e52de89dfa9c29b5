"""Reports read rollups: grouped, filtered, by grain, on both databases; and what is old goes while the sums stay."""

import pytest

from jevons.core.money import Nano
from jevons.store import log, retention, rollups
from jevons.store.booking import Bookkeeper
from jevons.store.measures import DAY, HOUR, MINUTE
from tests.store.conftest import AT, attempt, operation

START = AT // DAY * DAY


@pytest.fixture
def books(db):
    """Three customers over three days: a burns 1, b burns 10, c 100 a call."""
    made = []
    for number in range(90):
        customer = "abc"[number % 3]
        made.append(
            operation(
                f"op_{number:03d}",
                attempt(cost_nano=Nano(10 ** (number % 3))),
                customer=customer,
                tenant=customer,
                site=f"site_{number % 2}",
                task=f"task_{customer}",
                started=START + number * 0.8 * HOUR,
                status=500 if number == 0 else 200,
                cache="hit" if number % 9 == 0 else "miss",
            )
        )
    Bookkeeper().write(db, made)
    return db


def test_groups_come_with_the_largest_first(books):
    groups = rollups.by(books, ["customer"], START, START + 3 * DAY)
    assert [(group.key, group.sums.calls, group.sums.cost_nano) for group in groups] == [
        (("c",), 30, 3_000),
        (("b",), 30, 300),
        (("a",), 30, 30),
    ]
    assert len(rollups.by(books, ["customer", "site"], START, START + 3 * DAY, limit=4)) == 4
    assert [g.key for g in rollups.by(books, ["customer"], START, START + 3 * DAY, order="errors", limit=1)] == [("a",)]


def test_a_filter_narrows_and_a_span_is_widened_to_whole_buckets(books):
    (group,) = rollups.by(books, ["customer"], START, START + 3 * DAY, where={"customer": "b", "site": "site_1"})
    assert (group.key, group.sums.calls) == (("b",), 15)
    points = rollups.over_time(books, START + 1, START + DAY + 1, grain=DAY)
    assert [(point.at, point.sums.calls) for point in points] == [(START, 30), (START + DAY, 30)]
    assert rollups.total(books, START, START + 3 * DAY, where={"customer": "b"}).cost_nano == 300


def test_hits_and_errors_are_counted(books):
    total = rollups.total(books, START, START + 3 * DAY)
    assert (total.hits, total.errors) == (10, 1)


def test_tasks_are_ranked_by_what_they_burned(books):
    tasks = rollups.tasks(books, START, START + 3 * DAY)
    assert [(task.task, task.sums.cost_nano) for task in tasks] == [("task_c", 3_000), ("task_b", 300), ("task_a", 30)]
    assert tasks[2].started == START
    assert tasks[2].name == "triage"


def test_the_grain_follows_the_span():
    assert [rollups.grain_of(0, span) for span in (HOUR, 6 * HOUR, 13 * DAY, 14 * DAY)] == [MINUTE, HOUR, HOUR, DAY]


def test_another_name_is_refused(db):
    for wrong in ({"dimensions": ["status; --"]}, {"where": {"x": "1"}}, {"order": "id"}):
        with pytest.raises(ValueError, match="is no"):
            rollups.by(
                db, wrong.get("dimensions", ["customer"]), 0, 1, **{k: v for k, v in wrong.items() if k != "dimensions"}
            )


def test_the_log_pages_in_the_order_of_booking(books):
    number = log.page(books, 25)
    seen = []
    while found := log.after(books, number, 10):
        number = found[-1][0]
        seen += [one.operation for _, one in found]
    assert seen == [f"op_{number:03d}" for number in range(65, 90)]
    assert log.page(books, 1_000) == 0


def test_what_is_old_goes_in_steps_and_the_days_sums_stay(books, monkeypatch):
    monkeypatch.setattr(retention, "STEP_ROWS", 7)
    keep = retention.Keep(operations_days=1, tasks_days=1, minutes_days=1, hours_days=2, days_days=None)
    now = START + 3 * DAY
    assert retention.prune(books, now, keep, steps=3) > 0
    assert books.rows("SELECT count(*) FROM operations")[0][0] == 90 - 3 * 7
    while retention.prune(books, now, keep):
        pass
    kept = books.rows("SELECT min(started), count(*) FROM operations")[0]
    assert kept == (START + 2 * DAY, 30)
    assert books.rows("SELECT count(*) FROM attempts")[0][0] == 30
    assert rollups.total(books, START, now).calls == 90, "hours are gone, so days are read"
    assert sum(group.sums.calls for group in rollups.by(books, ["site"], START, START + HOUR)) == 30
    assert rollups.total(books, now - DAY, now).calls == 30
    oldest = dict(books.rows("SELECT grain, min(bucket) FROM rollups GROUP BY grain"))
    assert oldest == {DAY: START, HOUR: START + DAY, MINUTE: START + 2 * DAY}
    assert len(rollups.tasks(books, START, now)) == 3, "a task with a kept operation is kept"
    assert retention.prune(books, now + 30 * DAY, keep) > 0
    assert rollups.tasks(books, START, now) == []


def test_nothing_is_scanned_or_deleted_when_nothing_is_old(books):
    assert retention.prune(books, START, retention.Keep()) == 0
    forever = retention.Keep(operations_days=None, tasks_days=None, minutes_days=None, hours_days=None)
    assert retention.prune(books, START + 10_000 * DAY, forever) == 0
