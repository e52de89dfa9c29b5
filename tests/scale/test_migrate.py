"""A database that was lived in moves to Postgres: every row arrives, and booking goes on there."""

import pytest
from click.testing import CliRunner

from benchmarks.ledger import operations
from benchmarks.rig import new_database
from jevons.cli import main
from jevons.core.errors import SettingsError
from jevons.plans import key as keys
from jevons.store import copying
from jevons.store import keys as key_rows
from jevons.store.booking import Bookkeeper
from jevons.store.copying import copy, in_order
from jevons.store.db import Database
from jevons.store.migrate import open_database


@pytest.fixture(scope="module")
def target(server):
    return new_database(server, "target")


@pytest.fixture
def source(tmp_path):
    url = f"sqlite:///{tmp_path}/old.db"
    with open_database(url) as db:
        Bookkeeper().write(db, list(operations(3_000, seed=1)))
        key_rows.add(db, keys.make("sk-jv-" + "a" * 40, name="é\N{GRINNING FACE}", created=1.5))
    return url


def test_a_difference_leaves_the_target_empty(source, target, monkeypatch):
    monkeypatch.setattr(copying, "_plain", lambda value: object())
    with open_database(source) as old, open_database(target) as new:
        with pytest.raises(SettingsError, match="did not arrive whole"):
            copy(old, new)
        assert new.row("SELECT count(*) FROM operations") == (0,)


def test_every_row_arrives_and_booking_goes_on(source, target):
    done = CliRunner().invoke(main, ["migrate", source, target])
    assert done.exit_code == 0, done.output
    assert "all as they were" in done.output
    sums = "SELECT count(*), sum(cost_nano), sum(calls), sum(input) FROM rollups"
    with open_database(source) as old, open_database(target) as new:
        assert [int(value) for value in new.row(sums)] == list(old.row(sums))
        assert key_rows.every(new) == key_rows.every(old)
        more = list(operations(200, seed=2))
        assert Bookkeeper().write(new, more) == 200
        assert new.row("SELECT count(*), count(DISTINCT seq) FROM operations") == (3_200, 3_200)


def test_a_target_that_holds_something_is_refused(source, target):
    with open_database(target) as new:
        if new.row("SELECT 1 FROM operations LIMIT 1") is None:
            Bookkeeper().write(new, list(operations(1, seed=3)))
    done = CliRunner().invoke(main, ["migrate", source, target])
    assert done.exit_code != 0
    assert "is not empty" in done.output


def test_tables_come_after_what_they_refer_to(source):
    with Database(source) as db:
        order = in_order(db)
    assert order.index("series") < order.index("operations") < order.index("attempts")
