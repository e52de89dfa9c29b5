"""A plans file is read whole or refused with its place."""

import tomllib
from pathlib import Path

import pytest

from jevons.core.errors import CallerError
from jevons.plans.plan import Limit, read
from jevons.store import plans as rows
from jevons.store.migrate import open_database

GOOD = """
[plans.pro]
price_per_month = "49"
price_per_task = 0.05
quality_floor = 0.98
target_margin = 0.6
levers = { trim = "equivalent", semantic = "lossy", exact = "off" }
budgets = [
  { scope = "customer", per = "day", usd = "5" },
  { scope = "key", per = "minute", requests = 60 },
  { scope = "task", usd = 1 },
  { scope = "customer", concurrent = 8 },
]
[customers.acme]
plan = "pro"
seats = 3
budgets = [{ per = "month", tokens = 1_000_000 }]
"""


def test_a_plan_is_read_with_its_money_exact() -> None:
    book = read(tomllib.loads(GOOD))
    plan = book.plans["pro"]
    assert (plan.price_month_nano, plan.price_task_nano) == (49_000_000_000, 50_000_000)
    assert plan.limits[2] == Limit(scope="task", per="total", kind="usd", amount=1_000_000_000)
    assert plan.limits[3].per == "now"
    assert book.customers["acme"].limits[0].kind == "tokens"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[plans.a]\nprice_per_mont = "1"', "did you mean price_per_month"),
        ('[plans.a]\nprice_per_month = "-1"', "can't be negative"),
        ('[plans.a]\nprice_per_month = "ten"', "write dollars"),
        ("[plans.a]\nquality_floor = 98", "between 0 and 1"),
        ('[plans.a]\nlevers = { magic = "lossy" }', "levers are"),
        ('[plans.a]\nlevers = { trim = "maybe" }', "equivalent"),
        ('[plans.a]\nbudgets = [{ usd = "1", requests = 2 }]', "exactly one"),
        ('[plans.a]\nbudgets = [{ per = "day", concurrent = 2 }]', 'per = "now"'),
        ('[plans.a]\nbudgets = [{ scope = "planet", usd = "1" }]', "budgets[0]"),
        ('[customers.x]\nplan = "none"', "there is no plan 'none'"),
        ("[plan.a]", "did you mean plans"),
        ("plans = 3", "[plans.NAME]"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(CallerError) as error:
        read(tomllib.loads(text))
    assert says in error.value.message


def test_applying_a_file_twice_changes_nothing_and_every_change_is_audited(tmp_path: Path) -> None:
    book = read(tomllib.loads(GOOD))
    with open_database(f"sqlite:///{tmp_path}/j.db") as db:
        assert [c.name for c in rows.apply(db, book, who="me", at=1.0)] == ["pro", "acme"]
        assert rows.apply(db, book, who="me", at=2.0) == []
        dearer = read(tomllib.loads(GOOD.replace('"49"', '"59"')))
        assert [c.name for c in rows.apply(db, dearer, who="you", at=3.0)] == ["pro"]
        assert rows.load(db) == dearer
        assert [(c.who, bool(c.before)) for c in rows.audit(db)] == [("you", True), ("me", False), ("me", False)]


def test_gateways_learn_of_changes_and_of_removals(tmp_path: Path) -> None:
    book = read(tomllib.loads(GOOD))
    with open_database(f"sqlite:///{tmp_path}/j.db") as db:
        rows.apply(db, book, who="me", at=1.0)
        at, found = rows.changes_since(db, 0)
        assert len(found) == 2
        rows.apply(db, read({}), who="me", at=2.0, prune=True)
        at, found = rows.changes_since(db, at)
        assert sorted(found) == [("customer", "acme"), ("plan", "pro")]  # type: ignore[type-var]
        assert rows.changes_since(db, at)[1] == []
