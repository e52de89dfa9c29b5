"""Arms, baselines and reports of a running gateway: what is held out is untouched, and what was saved adds up."""

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from click.testing import CliRunner

import jevons.cli as cli
from jevons.engines.simulated import Simulator
from jevons.ledger.experiment import Design, assign
from jevons.ledger.operation import Operation
from jevons.store import experiments
from jevons.store.migrate import open_database
from tests.conformance.conftest import Running, gateway, wait_until

GPT = "gpt-4o-mini"
SECRET = "sk-jv-test-" + "b" * 32
PLANS = """
[plans.half]
hold_out = 0.5
price_per_month = "30"
[plans.big]
baseline_model = "gpt-4o"
[plans.lost]
baseline_model = "no-such-model"
[customers.acme]
plan = "half"
seats = 2
[customers.bolt]
plan = "big"
[customers.lost]
plan = "lost"
"""


@pytest.fixture
def running(simulator: Simulator, tmp_path: Path) -> Any:
    names = ("acme", "bolt", "lost")
    secrets = tuple((f"{SECRET}{name}", name, "") for name in names)
    with gateway(tmp_path, simulator, plans=PLANS, secrets=secrets) as made:
        yield made


def ask(running: Running, customer: str, task: str, text: str = "What turns a flywheel?", **more: Any) -> Operation:
    body = {"model": GPT, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}
    headers = {"authorization": f"Bearer {SECRET}{customer}", "x-jevons-task": task}
    before = len(running.booked)
    answer = httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=15)
    assert answer.status_code == 200, answer.text
    return running.last(before + 1)


def tasks_of(running: Running, *, held: bool) -> list[str]:
    with open_database(running.database) as db:
        experiment = experiments.current(db)
    assert experiment is not None
    design = Design(tenant="acme", salt=experiment.salt, levers=(), holdout=0.5)
    return [f"t{number}" for number in range(40) if assign(design, f"t{number}").held == held]


def test_a_held_out_task_neither_reads_nor_fills_the_cache(running: Running) -> None:
    held, treated = tasks_of(running, held=True), tasks_of(running, held=False)
    first, again = ask(running, "acme", held[0]), ask(running, "acme", held[1])
    assert {first.arm, again.arm} == {"hold-out"}
    assert (first.cache, again.cache) == ("", "")
    assert len(again.attempts) == 1
    assert again.cost_nano == again.baseline_nano > 0
    on = next(task for task in treated if ask(running, "acme", task).cache == "miss")
    hit = next(op for op in (ask(running, "acme", task) for task in treated if task != on) if op.cache == "hit")
    assert hit.arm.startswith("on")
    assert "exact" not in hit.arm
    assert hit.cost_nano == 0
    assert hit.levers["waterfall"] == {"exact": hit.baseline_nano}
    assert ask(running, "acme", held[2]).cache == ""


def test_all_calls_of_a_task_and_of_its_sub_agents_are_in_one_arm(running: Running) -> None:
    task = tasks_of(running, held=True)[0]
    assert {ask(running, "acme", task, f"Question {number}").arm for number in range(3)} == {"hold-out"}
    headers = {"authorization": f"Bearer {SECRET}acme", "x-jevons-task": "sub", "x-jevons-parent": task}
    body = {"model": GPT, "messages": [{"role": "user", "content": "Look for it."}]}
    httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=headers, timeout=15)
    assert running.last(4).arm == "hold-out"


def test_a_lever_that_is_switched_off_acts_no_more_within_a_second(running: Running) -> None:
    treated = tasks_of(running, held=False)
    assert "hit" in {ask(running, "acme", task).cache for task in treated}
    with open_database(running.database) as db:
        db.run("INSERT INTO switched_off (experiment, plan, lever, at) VALUES (1, 'half', 'exact', 0.0)")
    wait_until(lambda: ask(running, "acme", treated[0]).cache == "" and _exact_is_off(running), 3.0)
    assert {ask(running, "acme", task).cache for task in treated} == {""}


def _exact_is_off(running: Running) -> bool:
    return "exact" not in running.housekeeping._allowed["half"]


def test_a_plan_without_a_hold_out_has_no_arms(running: Running) -> None:
    assert ask(running, "bolt", "t0").arm == ""


def test_a_declared_baseline_is_priced_at_the_mix_that_was_seen(running: Running, simulator: Simulator) -> None:
    booked = ask(running, "bolt", "t0", max_tokens=30)
    usage = booked.usage
    assert booked.plan == "big"
    assert booked.baseline_nano == usage.input * 2_500 + usage.output * 10_000
    assert booked.levers["waterfall"] == {"asked-model": booked.baseline_nano - booked.cost_nano}


def test_a_declared_baseline_that_nobody_serves_gives_none_rather_than_another(running: Running) -> None:
    booked = ask(running, "lost", "t0")
    assert (booked.baseline_nano, booked.cost_nano is not None) == (None, True)


def test_reports_of_a_running_gateway_add_up(running: Running) -> None:
    for task in [*tasks_of(running, held=True)[:3], *tasks_of(running, held=False)[:9]]:
        ask(running, "acme", task)
    ask(running, "bolt", "b1", max_tokens=30)
    booked = list(running.booked)
    running.housekeeping.writer.flush()
    url = running.database
    total = sum(operation.cost_nano or 0 for operation in booked)
    levers = _lines("report", "levers", "--database", url)
    named = {line["line"]: line["amount_nanodollars"] for line in levers}
    assert named["what was paid (measured)"] == total
    assert sum(line["amount_nanodollars"] for line in levers[:-1]) == 2 * total, "baseline less the lines is the cost"
    assert named["saved"] == named["what would have run"] - total
    customers = {line["name"]: line for line in _lines("report", "customers", "--database", url)}
    assert set(customers) == {"acme", "bolt", "lost"}
    assert sum(line["cost_nanodollars"] for line in customers.values()) == total
    assert customers["acme"]["revenue_nanodollars"] > 0
    assert customers["acme"]["tasks"] == 12
    assert _lines("report", "customers", "--database", url)[0]["name"] == "bolt"
    tasks = _lines("report", "tasks", "--database", url)
    assert len(tasks) == 13
    assert sum(task["cost_nanodollars"] for task in tasks) == total
    (experiment,) = _lines("experiment", "--database", url)
    assert (experiment["shown"], experiment["srm"]["ok"], experiment["basis"]) == (False, True, "measured")
    assert experiment["more_tasks"] == 400, "200 in each arm, and none has ended yet"


def _lines(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(cli.main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]
