"""An attempt that ends late is counted exactly where it would have been, had it been known when booking."""

from typing import Any

import msgspec
import pytest

from jevons.core.money import Nano
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.migrate import open_database
from jevons.store.savings import by_line
from jevons.store.supplement import supplement
from tests.store.conftest import AT, attempt, operation

DAY = 86_400
SHADOW = attempt(role="shadow", model="gpt-5-nano", cost_nano=Nano(70), rates=None)


def sums(db: Database) -> list[Any]:
    columns = "calls, unpriced, cost_nano, compared, compared_cost_nano, baseline_nano, duration_s, input, output"
    rows = db.rows(f"SELECT {columns} FROM rollups ORDER BY grain")
    return [*rows, *db.rows(f"SELECT {columns} FROM tasks")]


@pytest.mark.parametrize("late", [SHADOW, msgspec.structs.replace(SHADOW, cost_nano=None, cost_source="unpriced")])
@pytest.mark.parametrize("baseline", [Nano(1_500), None])
def test_a_late_attempt_changes_what_an_early_one_would_have(
    db: Database, tmp_path: Any, late: Any, baseline: Any
) -> None:
    Bookkeeper().write(db, [operation(baseline_nano=baseline), operation("op_2")])
    assert supplement(db, "op_1", late)
    with open_database(f"sqlite:///{tmp_path}/other.db") as other:
        whole = operation("op_1", attempt(), late, baseline_nano=baseline)
        Bookkeeper().write(other, [whole, operation("op_2")])
        assert sums(db) == sums(other)
        cost = "SELECT operation, cost_nano, baseline_nano FROM operations ORDER BY operation"
        assert db.rows(cost) == other.rows(cost)
        burned = (
            "SELECT a.number, t.role, t.model, t.rates, a.cost_nano, a.output FROM attempts a "
            "JOIN tariffs t ON t.id = a.tariff ORDER BY a.operation, a.number"
        )
        assert db.rows(burned) == other.rows(burned)


def test_its_cost_stands_in_the_waterfall_and_in_the_credits(db: Database) -> None:
    Bookkeeper().write(db, [operation(levers={"waterfall": {"route": 500}})])
    for _ in range(2):
        supplement(db, "op_1", SHADOW)
    (levers, cost, baseline) = db.row("SELECT levers, cost_nano, baseline_nano FROM operations") or ()
    lines = msgspec.json.decode(levers)["waterfall"]
    assert lines == {"route": 500, "own:shadow": -140}
    assert sum(lines.values()) == baseline - cost
    day = int(AT) // DAY * DAY
    assert by_line(db, DAY, day, day + DAY, column="plan", value="pro")["own:shadow"] == (2, -140)


def test_what_is_not_in_the_ledger_is_said_to_be_missing(db: Database) -> None:
    assert not supplement(db, "op_unknown", SHADOW)
    assert db.rows("SELECT 1 FROM attempts") == []
