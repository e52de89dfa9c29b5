"""What the ledger promises: every operation once, unknown prices as such, nothing lost when the disk says no."""

import asyncio
import threading
import time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jevons.core.errors import OurError
from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.store import log, rollups
from jevons.store import writer as module
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.migrate import open_database
from jevons.store.writer import Writer
from tests.store.conftest import AT, attempt, operation

HOUR = 3600


def read(url, count=100):
    with open_database(url) as db:
        return [logged for _, logged in log.last(db, count)]


def sums(db):
    return rollups.total(db, AT - HOUR, AT + HOUR)


def test_a_booked_operation_reads_back_as_it_was(url):
    writer = Writer(url)
    writer.book(operation())
    assert writer.close()
    (found,) = read(url)
    assert (found.operation, found.task, found.site, found.customer) == ("op_1", "task_1", "site_1", "acme")
    assert (found.surface, found.model, found.status, found.started) == ("chat", "gpt-5", 200, AT)
    assert (found.cost_nanodollars, found.unpriced, found.baseline_nanodollars) == (1_000, False, 1_500)
    assert found.usage == attempt().usage
    (burned,) = found.attempts
    assert (burned.provider, burned.model, burned.role) == ("openai", "gpt-5-2025-08-07", "answer")
    assert (burned.rates, burned.price_version, burned.cost_source) == (attempt().rates, "v1", "book")
    assert (burned.first_byte_s, burned.duration_s, burned.usage_source) == (0.4, 1.5, "reported")


def test_one_operation_owns_its_attempts_and_costs_their_sum(url):
    retried = operation(
        "op_1",
        attempt(status=503, usage=Usage(), cost_nano=Nano(0), cost_source="free", rates=None),
        attempt(cost_nano=Nano(700)),
        attempt(role="judge", model="small", cost_nano=Nano(300)),
    )
    writer = Writer(url)
    writer.book(retried)
    writer.close()
    (found,) = read(url)
    assert found.cost_nanodollars == 1_000
    assert [(one.role, one.status) for one in found.attempts] == [("answer", 503), ("answer", 200), ("judge", 200)]
    assert found.usage == retried.usage


def test_an_unknown_price_is_null_and_counted_and_zero_is_zero(url, db):
    writer = Writer(url)
    writer.book(operation("unknown", attempt(cost_nano=None, cost_source="unpriced", rates=None)))
    writer.book(operation("half", attempt(), attempt(cost_nano=None, cost_source="unpriced")))
    writer.book(operation("free", attempt(cost_nano=Nano(0))))
    writer.close()
    assert [(one.cost_nanodollars, one.unpriced) for one in read(url)] == [(None, True), (None, True), (0, False)]
    found = sums(db)
    assert (found.calls, found.unpriced, found.cost_nano, found.compared) == (3, 2, 0, 1)


def test_the_same_operation_counts_once_within_a_batch_and_between_batches(url, db):
    writer = Writer(url)
    for _ in range(2):
        for name in ("op_1", "op_2", "op_1"):
            writer.book(operation(name))
        writer.flush()
    writer.book(operation("op_2", status=500))  # a replay may not change what was booked
    writer.book(operation("op_3"))
    writer.close()
    assert [(one.operation, one.status) for one in read(url)] == [("op_1", 200), ("op_2", 200), ("op_3", 200)]
    assert sums(db).calls == 3
    assert rollups.tasks(db, AT - HOUR, AT + HOUR)[0].sums.calls == 3


def test_history_keeps_the_rate_it_was_booked_with(url):
    writer = Writer(url)
    writer.book(operation("before"))
    writer.book(operation("after", attempt(price_version="v2", rates={"input": 2_500_000}, cost_nano=Nano(2_000))))
    writer.close()
    before, after = read(url)
    assert (before.attempts[0].price_version, before.attempts[0].rates["input"]) == ("v1", 1_250_000)
    assert (after.attempts[0].price_version, after.attempts[0].rates["input"]) == ("v2", 2_500_000)


usages = st.builds(
    Usage, **{name: st.integers(0, 10**6) for name in ("input", "cached", "cache_write_5m", "cache_write_1h", "output")}
)
operations = st.lists(
    st.builds(
        lambda usages, cost, baseline, minute, customer, task, status: {
            "attempts": tuple(attempt(usage=usage, cost_nano=None if cost is None else Nano(cost)) for usage in usages),
            "baseline_nano": baseline,
            "started": AT + 60 * minute,
            "customer": customer,
            "task": task,
            "status": status,
        },
        st.lists(usages, max_size=3),
        st.none() | st.integers(0, 10**9),
        st.none() | st.integers(0, 10**9),
        st.integers(-3000, 3000),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["", "t1", "t2"]),
        st.sampled_from([200, 429]),
    ),
    max_size=30,
)


@given(operations, st.integers(1, 7))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rollups_and_tasks_are_the_sums_of_the_operations(tmp_path_factory, made, batch):
    booked = [operation(f"op_{number}", **fields) for number, fields in enumerate(made)]
    booked = [
        msgspec.structs.replace(one, attempts=fields["attempts"]) for one, fields in zip(booked, made, strict=True)
    ]
    path = tmp_path_factory.mktemp("sums") / "x.db"
    with open_database(f"sqlite:///{path}") as db:
        books = Bookkeeper()
        for start in range(0, len(booked), batch):
            books.write(db, booked[start : start + batch])
        priced = [one for one in booked if one.cost_nano is not None]
        for grain in (60, 3600, 86_400):
            points = rollups.over_time(db, AT - 10 * 86_400, AT + 10 * 86_400, grain=grain)
            assert sum(point.sums.calls for point in points) == len(booked)
            assert sum(point.sums.cost_nano for point in points) == sum(one.cost_nano for one in priced)
            assert sum(point.sums.cached for point in points) == sum(one.usage.cached for one in booked)
            assert sum(point.sums.errors for point in points) == sum(one.status == 429 for one in booked)
            for point in points:
                inside = [one for one in booked if point.at <= one.started < point.at + grain]
                assert point.sums.calls == len(inside)
        compared = [one for one in priced if one.baseline_nano is not None]
        groups = rollups.by(db, ["customer"], AT - 10 * 86_400, AT + 10 * 86_400)
        assert sum(group.sums.baseline_nano for group in groups) == sum(one.baseline_nano for one in compared)
        assert sum(group.sums.compared_cost_nano for group in groups) == sum(one.cost_nano for one in compared)
        for group in groups:
            assert group.sums.calls == sum(one.customer == group.key[0] for one in booked)
        for task in rollups.tasks(db, AT - 10 * 86_400, AT + 10 * 86_400):
            mine = [one for one in booked if one.task == task.task]
            assert task.sums.calls == len(mine)
            assert task.ended == max(one.started + one.duration_s for one in mine)


def test_a_strict_booking_is_on_disk_when_its_future_is_done(url):
    writer = Writer(url, "strict")
    writer.booked(operation("op_1")).result(10)
    assert [one.operation for one in read(url)] == ["op_1"]

    async def many():
        await asyncio.gather(*(writer.durable(operation(f"op_{number}")) for number in range(2, 60)))
        return len(read(url))

    assert asyncio.run(many()) == 59
    writer.close()


def test_a_cancelled_caller_cancels_no_booking(url):
    writer = Writer(url, "strict")

    async def leave():
        future = writer.durable(operation("op_1"))
        future.cancel()
        await writer.durable(operation("op_2"))

    asyncio.run(leave())
    writer.close()
    assert [one.operation for one in read(url)] == ["op_1", "op_2"]


def test_a_locked_database_delays_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.store.db.BUSY_TIMEOUT_S", 0.01)
    url = f"sqlite:///{tmp_path}/x.db"
    writer = Writer(url, max_queue=5)
    with Database(url) as other:
        with other.transaction():
            for number in range(5):
                writer.book(operation(f"op_{number}"))
            wait_until(lambda: writer.health.retries > 0)
            assert "locked" in writer.health.error
            assert writer.health.stalled_s > 0
            assert not writer.health.ready
            writer.book(operation("running call"))  # the reserve: what runs already still books
        wait_until(lambda: writer.health.written == 6)
    assert (writer.health.error, writer.health.ready) == ("", True)
    writer.close()
    assert len(read(url)) == 6


def test_a_full_reserve_refuses_loudly(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.store.db.BUSY_TIMEOUT_S", 0.01)
    url = f"sqlite:///{tmp_path}/x.db"
    writer = Writer(url, max_queue=3)
    with Database(url) as other, other.transaction():
        writer.book(operation("first"))
        wait_until(lambda: writer.health.retries > 0)
        for number in range(6):
            writer.book(operation(f"op_{number}"))
        with pytest.raises(OurError, match="locked"):
            writer.book(operation("one too many"))
    writer.close()
    assert writer.health.refused == 1
    assert len(read(url)) == 7


def test_a_full_disk_is_seen_and_waited_out(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    writer = Writer(url)
    pages = writer._db.rows("PRAGMA page_count")[0][0]
    writer._db.run(f"PRAGMA max_page_count = {pages}")
    for number in range(400):
        writer.book(operation(f"op_{number}", task=f"task_{number}"))
    wait_until(lambda: writer.health.retries > 0)
    assert "full" in writer.health.error
    writer._db.run("PRAGMA max_page_count = 1000000")
    assert writer.close()
    assert len(read(url, 1_000)) == 400


def test_what_the_database_would_not_take_is_put_aside_whole_and_stops_nobody(url, db):
    writer = Writer(url)
    bad = operation("op_bad", attempt(usage=Usage(input=2**70)))
    for one in (operation("op_1"), bad, operation("op_2")):
        writer.book(one)
    assert writer.close()
    assert writer.health.rejected == 1
    assert [one.operation for one in read(url)] == ["op_1", "op_2"]
    ((name, reason, body),) = db.rows("SELECT operation, reason, body FROM rejected")
    assert (name, b"gpt-5" in bytes(body)) == ("op_bad", True)
    assert reason
    assert sums(db).calls == 2


def test_a_callers_odd_names_are_booked(url):
    writer = Writer(url)
    writer.book(
        operation(
            "op_1", model="nul\0 and \ud800 surrogate", task="x" * 5_000, customer="emoji \N{FACTORY}", error="a\0b"
        )
    )
    writer.close()
    (found,) = read(url)
    assert found.model == "nul\N{REPLACEMENT CHARACTER} and ? surrogate"
    assert len(found.task) == 256
    assert found.customer == "emoji \N{FACTORY}"


def test_ids_that_point_at_nothing_any_more_are_looked_up_again(url, db):
    writer = Writer(url)
    writer.book(operation("op_1"))
    writer.flush()
    db.run("DELETE FROM operations")
    db.run("DELETE FROM tasks")
    writer.book(operation("op_2"))
    writer.book(operation("op_3"))
    writer.close()
    assert [one.operation for one in read(url)] == ["op_2", "op_3"]


def test_two_writers_number_operations_in_the_order_of_their_commits(postgres_url):
    writers = [Writer(postgres_url, window_s=0.001) for _ in range(2)]
    seen, stop = [], threading.Event()

    def follow():
        number = 0
        with open_database(postgres_url) as db:
            while not (stop.is_set() and len(seen) >= 200):
                found = log.after(db, number)
                seen.extend(one.operation for _, one in found)
                number = found[-1][0] if found else number

    reader = threading.Thread(target=follow)
    reader.start()
    for number in range(100):
        for which, writer in enumerate(writers):
            writer.book(operation(f"op_{which}_{number}", task=f"task_{number % 3}"))
    assert all(writer.close() for writer in writers)
    stop.set()
    reader.join(20)
    assert len(seen) == len(set(seen)) == 200


def test_a_lost_connection_is_made_again_and_nothing_is_lost(postgres_url):
    writer = Writer(postgres_url)
    writer.book(operation("op_1"))
    writer.flush()
    with open_database(postgres_url) as db:
        db.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        writer.book(operation("op_2"))
        assert writer.flush(10)
        assert [one.operation for _, one in log.last(db, 5)] == ["op_1", "op_2"]
    assert writer.health.retries >= 1
    writer.close()


def test_a_closed_writer_takes_nothing(url):
    writer = Writer(url)
    assert writer.close()
    with pytest.raises(OurError, match="closing"):
        writer.book(operation())


def test_a_batch_is_bounded(url, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    writer = Writer(url)
    for number in range(10):
        writer.book(operation(f"op_{number}"))
    writer.close()
    assert len(read(url)) == 10


def wait_until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)
