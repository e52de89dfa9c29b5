"""Reports as people, programs and spreadsheets read them."""

import csv
import io
import json
import time

import pytest
from click.testing import CliRunner

import jevons.cli as cli
from jevons.cli import rows, top
from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.plans.plan import Book, Customer, Plan
from jevons.store import experiments, plans
from jevons.store.booking import Bookkeeper
from jevons.store.migrate import open_database, open_reader
from tests.store.conftest import attempt, operation

DOLLAR = 1_000_000_000
KINDS = ("tasks", "customers", "plans", "features", "sites", "levers")
EVIL = '=HYPERLINK("http://x")'


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.delenv("JEVONS_DATABASE", raising=False)
    url = f"sqlite:///{tmp_path}/j.db"
    now = time.time()
    usage = Usage(input=100, cached=300, output=20)
    with open_database(url) as db:
        book = Book(
            plans={"pro": Plan(name="pro", price_month_nano=Nano(30 * DOLLAR), hold_out=0.2)},
            customers={"good": Customer(name="good", plan="pro")},
        )
        plans.apply(db, book, who="test", at=now - 3 * 86_400)
        experiments.ensure(db, "salt", now - 86_400)
        calls = [
            operation(
                f"op_{number}",
                attempt(cost_nano=Nano(DOLLAR), usage=usage, started=now - 5, rates={"input": 1}),
                started=now - 5,
                customer=customer,
                task=f"task_{number}",
                task_name=name,
                baseline_nano=Nano(DOLLAR + 500),
                levers={"waterfall": {"route": 600, "own:gate": -100}},
                arm="on",
            )
            for number, (customer, name) in enumerate([("good", "triage"), ("bad", EVIL), ("bad", "[red]\x1b[31m")])
        ]
        dark = attempt(cost_nano=None, cost_source="unpriced", usage=usage, rates=None, started=now - 5)
        calls.append(
            operation("op_9", dark, started=now - 5, customer="good", baseline_nano=None, task="task_9", arm="hold-out")
        )
        Bookkeeper().write(db, calls)
    return url


def run(*arguments, code=0):
    result = CliRunner().invoke(cli.main, arguments, env={"COLUMNS": "250"})
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_says_measured_or_modelled(url, kind):
    for line in map(json.loads, run("report", kind, "--database", url, "--json").splitlines()):
        figures = {
            key for key, value in line.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        assert figures <= set(line["basis"]) | {None}, line
        assert set(line["basis"].values()) <= {"measured", "modelled"}
    heading = run("report", kind, "--database", url, "--csv").splitlines()[0]
    assert all("measured" in name or "modelled" in name for name in heading.split(",") if "usd" in name)
    shown = run("report", kind, "--database", url)
    assert "measured" in shown
    assert "modelled" in shown


def test_losing_customers_come_first_and_unpriced_calls_are_said(url):
    shown = run("report", "customers", "--database", url)
    assert shown.index("bad") < shown.index("good")
    assert "losing" in shown
    assert "1 calls have no known price" in shown
    only = run("customers", "--losing", "--database", url, "--json").splitlines()
    assert [json.loads(line)["name"] for line in only] == ["bad"]


def test_the_levers_lines_go_from_the_baseline_to_the_cost(url):
    lines = [json.loads(line) for line in run("report", "levers", "--database", url, "--json").splitlines()]
    amounts = [line["amount_nanodollars"] for line in lines]
    assert [line["line"] for line in lines] == [
        "what would have run", "route", "gate (our own cost)", "what was paid (measured)", "saved",
    ]  # fmt: skip
    assert sum(amounts[:3]) == amounts[3]
    assert lines[3]["basis"]["amount_nanodollars"] == "measured"


@pytest.mark.parametrize("arguments", [("report", "features", "--csv"), ("export", "--format", "csv")])
def test_no_cell_of_a_csv_begins_a_formula(url, arguments):
    table = list(csv.reader(io.StringIO(run(*arguments, "--database", url))))
    texts = [cell for row in table[1:] for cell in row if not _is_number(cell)]
    assert texts
    assert not [cell for cell in texts if cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))]


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "  =1", "|calc", "%0A"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text):
    assert rows.harmless(text) == f"'{text}"


def test_an_ordinary_name_stays_as_it_is():
    assert rows.harmless("triage, step 2") == "triage, step 2"


def test_nothing_of_a_callers_name_steers_a_terminal(url):
    for shown in (run("report", "features", "--database", url), run("top", "--once", "--database", url)):
        assert "\x1b[31m" not in shown
        assert "[red]" in shown


def test_dollars_are_exact_in_a_spreadsheet(url):
    table = list(csv.DictReader(io.StringIO(run("report", "tasks", "--database", url, "--csv"))))
    assert {row["cost_usd (measured)"] for row in table} == {"1.000000000", ""}


def test_a_plan_without_a_hold_out_is_told_what_to_do(tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_database(url).close()
    assert "hold_out = 0.1" in run("experiment", "--database", url)


def test_the_experiment_withholds_its_headline_and_says_how_many_more_tasks(url):
    with open_database(url) as db:
        db.run("UPDATE tasks SET ended = ended - 7200")
    (found,) = [json.loads(line) for line in run("experiment", "--database", url, "--json").splitlines()]
    assert (found["shown"], found["saved_share"], found["basis"]) == (False, None, "measured")
    assert found["tasks"] == {"hold_out": 0, "treated": 3, "with_outcome": 0, "unpriced": 1}
    assert found["srm"]["ok"]
    shown = run("report", "experiment", "--database", url)
    assert f"about {found['more_tasks']:,} more tasks" in shown


def test_a_restart_begins_a_new_draw(url):
    assert "draw 2 has begun" in run("experiment", "--restart", "--database", url)


@pytest.mark.parametrize("wrong", ["yesterday", "24.11.2026", "7x"])
def test_a_time_that_is_none_is_refused_with_examples(url, wrong):
    result = CliRunner().invoke(cli.main, ["report", "tasks", "--since", wrong, "--database", url])
    assert result.exit_code == 2
    assert "2026-11-01" in result.output


def test_top_shows_rates_mix_and_the_dearest(url):
    shown = run("top", "--once", "--database", url)
    assert "cached 75%" in shown
    assert "1 unpriced" in shown
    assert shown.index("bad") < shown.index("good")


def test_tops_bars_stand_where_their_minute_is():
    frame = top.Frame(at=600.0, minutes=3, points=(), customers=(), tasks=())
    assert top.bars(frame) == "   "


def test_exports_agree_with_the_ledger_on_the_sum(url, tmp_path):
    table = list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--database", url))))
    assert sum(float(row["cost_usd"] or 0) for row in table) == 3.0
    assert [row["operation"] for row in table] == ["op_0", "op_1", "op_2", "op_9"]
    focus = list(csv.DictReader(io.StringIO(run("export", "--database", url).split("attempts have")[0])))
    assert sum(float(row["BilledCost"] or 0) for row in focus if row["x_Basis"]) == pytest.approx(3.0)
    parquet = pytest.importorskip("pyarrow.parquet")
    run("export", "--format", "parquet", "-o", str(tmp_path / "x.parquet"), "--database", url)
    found = parquet.read_table(tmp_path / "x.parquet")
    assert found.num_rows == 4
    assert sum(float(cost) for cost in found.column("cost_usd").to_pylist() if cost is not None) == 3.0


def test_parquet_needs_a_file(url):
    assert "name it with --output" in CliRunner().invoke(cli.main, ["export", "--format", "parquet"]).output


def test_an_export_of_another_locale_is_refused_on_the_command_line(url, tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("start_time;end_time;amount_value;amount_currency;line_item\n1795478400;1;1,5;usd;x\n")
    result = CliRunner().invoke(cli.main, ["reconcile", str(file), "--database", url])
    assert result.exit_code == 1
    assert "another locale" in result.output


def test_explain_shows_the_baseline_and_its_parts(url):
    found = json.loads(run("explain", "op_0", "--database", url, "--json"))
    assert (found["baseline_nanodollars"], found["waterfall"]) == (DOLLAR + 500, {"route": 600, "own:gate": -100})
    assert "(modelled); saved by route" in run("explain", "op_0", "--database", url)


def test_reading_needs_no_writer(url):
    with open_reader(url) as db:
        assert top.look(db, time.time(), 5).customers
