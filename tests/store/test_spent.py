"""A budget's window after a start is what the ledger says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.plans.budget import window
from jevons.store.migrate import open_database
from jevons.store.spent import spent_in_ledger
from jevons.store.writer import Writer

NOON = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC).timestamp()
DAY = 86_400.0


def operation(name: str, at: float, task: str = "run", parent: str = "", cost: int = 10) -> Operation:
    attempt = Attempt(provider="p", model="m", usage=Usage(input=5, cached=3, output=2), cost_nano=Nano(cost))
    return Operation(
        operation=name, tenant="acme", key_id="k", customer="acme", plan="pro", task=task, task_source="header",
        parent=parent, task_name="", site="", surface="chat", model="m", served_model="m", status=200,
        started=at, attempts=(attempt,),
    )  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/j.db"
    writer = Writer(url)
    for number, at in enumerate((NOON, NOON + 61, NOON - DAY, NOON - 40 * DAY)):
        writer.book(operation(f"op{number}", at))
    writer.book(operation("sub", NOON, task="sub", parent="run"))
    assert writer.close()
    return url


@pytest.mark.parametrize(
    ("who", "kind", "per", "spent"),
    [
        ("customer:acme", "usd", "minute", 20),
        ("customer:acme", "usd", "day", 30),
        ("customer:acme", "usd", "month", 40),
        ("customer:acme", "usd", "total", 50),
        ("key:k", "requests", "day", 3),
        ("plan:pro", "tokens", "day", 30),
        ("task:acme/run", "usd", "total", 50),
        ("key:other", "usd", "total", 0),
        ("customer:acme", "concurrent", "now", 0),
    ],
)
def test_every_window_is_seeded(url: str, who: str, kind: str, per: str, spent: int) -> None:
    with open_database(url) as db:
        assert spent_in_ledger(db, f"{who}|{kind}|{window(per, NOON)[0]}") == spent
