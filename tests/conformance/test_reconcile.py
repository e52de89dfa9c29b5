"""The simulator's own invoice against the ledger, after a day of streams, tools, retries, faults and callers who left.

The simulator keeps its own books and prices; nothing here is compared with an encoder of ours.
"""

import json
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from click.testing import CliRunner

import jevons.cli as cli
from jevons.engines.simulated import Rule, Script, Simulator, start
from jevons.store.migrate import open_database
from tests.conformance.conftest import Running, gateway, wait_until

GPT, CLAUDE, LEFT, BROKEN = "gpt-4o-mini", "claude-haiku-4-5", "gpt-4o", "claude-sonnet-4-5"
"""Models whose calls all end well; and those whose callers leave, or whose streams break."""
LONG = "The pressure in the boiler rises slowly. " * 700
SCRIPT = Script(
    rules=(
        Rule(model=GPT, contains="try me twice", fault="503", times=1),
        Rule(model=GPT, contains="reset me once", fault="reset", times=1),
        Rule(model=CLAUDE, contains="try me twice", fault="529", times=1),
    )
)


def chat(model: str, text: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 60, **more}


def marked(text: str) -> dict[str, Any]:
    block = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    return {**chat(CLAUDE, text), "system": [block]}


def leave(running: Running, path: str, body: dict[str, Any]) -> None:
    """Read the first piece of a stream, then go."""
    headers = {"authorization": f"Bearer {running.secret}"}
    with httpx.stream("POST", running.url + path, json=body, headers=headers) as answer:
        next(answer.iter_raw())


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway after the traffic, and the simulator whose invoice it is."""
    with start(script=SCRIPT) as simulator:
        with gateway(tmp_path_factory.mktemp("day"), simulator) as running:
            _traffic(running)
            wait_until(lambda: len(running.booked) == 23)
            database = running.database
        yield database, simulator


def _traffic(running: Running) -> None:
    for number in range(3):
        running.post("/v1/chat/completions", chat(GPT, LONG + f"Question {number}", prompt_cache_key="one"))
        running.post("/v1/chat/completions", chat(GPT, f"Short {number}", stream=True))
        running.post("/v1/messages", chat(GPT, f"Translated {number}", stream=number == 1))
        running.post("/v1/messages", marked(f"Question {number}"))
        running.post("/v1/messages", {**marked("Streamed"), "stream": True})
    running.post("/v1/responses", {"model": GPT, "input": "What turns a flywheel?"})
    running.post("/v1/chat/completions", chat(GPT, "try me twice"))
    running.post("/v1/chat/completions", chat(GPT, "reset me once"))
    running.post("/v1/messages", chat(CLAUDE, "try me twice"))
    sim = json.dumps({"event_s": 0.05, "output_tokens": 40})
    for number in range(2):
        leave(running, "/v1/chat/completions", chat(LEFT, f"I leave {number}.\nSIM {sim}", stream=True))
    running.post("/v1/chat/completions", chat(LEFT, "I stay."))
    broken = json.dumps({"fault": "cut;after=4"})
    running.post("/v1/messages", chat(BROKEN, f"Break.\nSIM {broken}", stream=True))


def export(simulator: Simulator, folder: Path, provider: str, kind: str, form: str) -> str:
    query = {"provider": provider, "kind": kind, "format": form}
    file = folder / f"{provider}-{kind}.{form}"
    file.write_bytes(httpx.get(f"{simulator.url}/sim/invoice", params=query).content)
    return str(file)


def lines(database: str, file: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    result = CliRunner().invoke(cli.main, ["reconcile", file, "--database", database, "--json", "--all", *arguments])
    assert result.exit_code in {0, 1}, result.output
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_reported_usage_agrees_to_the_token_and_what_is_estimated_is_named(
    day: Any, tmp_path: Path, provider: str, form: str
) -> None:
    database, simulator = day
    code, found = lines(database, export(simulator, tmp_path, provider, "usage", form))
    good, other = (GPT, LEFT) if provider == "openai" else (CLAUDE, BROKEN)
    by_model = {line["model"]: line for line in found}
    assert set(by_model) == {good, other}
    assert (by_model[good]["state"], by_model[good]["residual"], by_model[good]["estimated"]) == ("agrees", 0, 0)
    assert by_model[good]["billed"] == by_model[good]["reported"] > 0
    named = by_model[other]
    assert (named["state"], code) == ("estimated", 0)
    assert named["estimated"] > 0
    assert "before the provider reported their usage" in named["why"]
    assert named["residual"] == named["billed"] - named["reported"] - named["estimated"]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_reported_costs_agree_to_the_nano_dollar(day: Any, tmp_path: Path, provider: str, form: str) -> None:
    database, simulator = day
    _, found = lines(database, export(simulator, tmp_path, provider, "costs", form))
    good = GPT if provider == "openai" else CLAUDE
    mine = [line for line in found if line["model"] == good]
    kinds = {line["kind"] for line in mine}
    assert {"input", "cached", "output"} <= kinds
    assert provider == "openai" or kinds & {"cache_write_5m", "cache_write_1h"}
    assert all((line["state"], line["residual"]) == ("agrees", 0) for line in mine)


def test_the_whole_bill_of_what_was_reported_is_the_simulators(day: Any) -> None:
    database, simulator = day
    billed = sum(line.total_pico for line in simulator.books.lines if line.model in {GPT, CLAUDE})
    with open_database(database) as db:
        row = db.row(
            "SELECT sum(a.cost_nano), count(*) FROM attempts a JOIN tariffs t ON t.id = a.tariff "
            "WHERE t.model IN (?, ?) AND t.usage_source = 'reported'",
            (GPT, CLAUDE),
        )
    assert row is not None
    assert abs(row[0] - billed / 1_000) <= row[1] / 2, "at most half a nano-dollar of rounding a call"


def test_traffic_that_did_not_pass_jevons_is_found(day: Any, tmp_path: Path) -> None:
    database, simulator = day
    headers = {"authorization": "Bearer sk-another"}
    httpx.post(f"{simulator.openai_url}/chat/completions", json=chat(GPT, "past the gateway"), headers=headers)
    try:
        file = export(simulator, tmp_path, "openai", "usage", "json")
        code, found = lines(database, file)
        (line,) = [line for line in found if line["model"] == GPT]
        assert (code, line["state"], line["requests"] - line["calls"]) == (1, "differs", 1)
        assert "did not pass jevons" in line["why"]
        code, found = lines(database, file, "--key", "key_enai")
        assert code == 0
        shown = CliRunner().invoke(cli.main, ["reconcile", file, "--database", database], env={"COLUMNS": "200"})
        assert "--key picks ours" in shown.stdout
    finally:
        del simulator.books._lines[-1]


def test_a_day_that_the_ledger_does_not_know_is_named(day: Any, tmp_path: Path) -> None:
    database, _ = day
    old = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 5 * 86_400))
    file = tmp_path / "old.csv"
    file.write_text(
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        f"usage_output_tokens,web_search_count\n{old},{CLAUDE},k,Default,standard,0-200k,100,0,0,0,7,0\n"
    )
    code, found = lines(database, str(file))
    assert (code, found[0]["residual"]) == (1, 107)
    assert "nothing was booked" in found[0]["why"]
