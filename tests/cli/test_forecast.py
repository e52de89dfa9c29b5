"""`jevons forecast`: from rows or from the ledger's tasks to bands by plan; nothing is made up."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from jevons.cli.forecast import command, monthly
from jevons.store.migrate import open_database


def run(*words):
    return CliRunner().invoke(command, list(words))


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = []
    for plan in ("pro", "team"):
        for month in range(1, 13):
            calls = 1000 + 97 * month + (13 * month * len(plan)) % 50
            lines.append({
                "period": f"2026-{month:02d}", "group": plan, "customers": 9, "tasks": 90, "steps": calls,
                "prompt_tokens": calls * 2000, "cached_tokens": calls * 900, "bill_nano": calls * 4_000_000,
            })  # fmt: skip
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)


def test_json_holds_bands_errors_and_the_last_change(rows):
    result = run("--rows", rows, "--revenue", "pro=5", "--factor", "price=0.5", "--horizon", "2", "--json")
    found = json.loads(result.output)
    assert {row["plan"] for row in found["now"]["outlooks"]} == {"pro", "team", "*"}
    assert found["now"]["backtests"]["pro"]["median_error"] < 0.2
    assert found["scenario"]["scenario"] == "price x 0.5"
    assert "the bill rose" in found["last_change"]["words"]
    assert any("revenue is missing" in note for note in found["now"]["notes"])


def test_people_see_the_error_of_past_forecasts(rows):
    text = run(
        "--rows", rows, "--factor", "context=2", "--factor", "steps=3", "--cap", "1", "--lever", "0.6,0.7,0.9"
    ).output
    assert "past forecasts missed by" in text
    assert "assumption" not in text  # nothing here rests on an unmeasured answer to price


def test_the_same_seed_gives_the_same_figures(rows):
    assert run("--rows", rows, "--json").output == run("--rows", rows, "--json").output


@pytest.mark.parametrize(
    "words",
    [
        ("--factor", "moods=2"),
        ("--factor", "price"),
        ("--lever", "1,2"),
        ("--elasticity", "-1,0,1", "--factor", "price=2"),
        ("--revenue", "gold=5"),
        ("--horizon", "0"),
    ],
)
def test_bad_words_are_refused(rows, words):
    result = run("--rows", rows, *words)
    assert result.exit_code != 0
    assert "Error" in result.output


def test_a_line_that_is_no_row_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"period": "2026-01"}\n')
    assert "line 1" in run("--rows", str(path)).output


def book(ledger, number, customer, started, cost):
    """One task as the writer leaves it, with the columns that a forecast reads."""
    known = {
        "tenant": "t", "task": f"task-{number}", "customer": customer, "plan": "pro", "started": started, "calls": 3,
        "input": 10, "cached": 20, "cache_write_5m": 1, "cache_write_1h": 2, "cost_nano": cost,
    }  # fmt: skip
    texts = ("source", "parent", "name", "arm")
    zeros = ("ended", "errors", "hits", "unpriced", "compared", "compared_cost_nano", "baseline_nano", "duration_s")
    row = known | dict.fromkeys(texts, "") | dict.fromkeys((*zeros, "output", "reasoning"), 0)
    ledger.run(f"INSERT INTO tasks ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def test_the_ledgers_tasks_become_whole_months_by_plan(tmp_path):
    first = dt.datetime(2026, 1, 31, 23, 59, tzinfo=dt.UTC).timestamp()
    seen = (("a", first, 5), ("a", first + 120, 7), ("b", first + 121, 9), ("b", first + 3e6, 1))
    with open_database(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for number, (customer, at, cost) in enumerate(seen):
            book(ledger, number, customer, at, cost)
        found = monthly(ledger, dt.datetime(2026, 3, 15, tzinfo=dt.UTC).timestamp())
    assert [(row.period, row.customers, row.tasks, row.bill_nano) for row in found] == [
        ("2026-01", 1, 1, 5),
        ("2026-02", 2, 2, 16),
    ]
    assert (found[1].steps, found[1].prompt_tokens, found[1].cached_tokens) == (6, 66, 40)


def test_an_empty_ledger_is_no_history(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    open_database(url).close()
    assert "no plan can be forecast" in run("--database", url).output
