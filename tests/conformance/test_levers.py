"""Levers in the running gateway: an offer wins and loses by its dollars, the bytes show it, and `explain` says why."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from jevons.cli.explain import command as explain
from jevons.engines.simulated import Simulator
from tests.conformance.conftest import Running, gateway

CLAUDE = "claude-haiku-4-5"
SECRET = "sk-jv-acme-" + "y" * 32
RESULT = json.dumps(
    {"flights": [{"number": n, "from": "LHR", "to": "GVA", "seats": [1, 2, 3]} for n in range(120)]}, indent=4
)
PLAN = "[plans.pro]\nlevers = { trim = 'equivalent' }\n[customers.acme]\nplan = 'pro'\n"


def turns(calls: int) -> list[dict[str, Any]]:
    """An agent's conversation with one large tool result, and small ones after it."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Find a flight. " + "Be careful. " * 400}]
    for number in range(calls):
        use = {"type": "tool_use", "id": f"toolu_{number}", "name": "search", "input": {"q": number}}
        text = RESULT if number == 0 else f"result {number}"
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": text}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return messages


def ask(running: Running, calls: int, task: str = "run") -> None:
    tool = {"name": "search", "description": "Searches", "input_schema": {"type": "object"}}
    body = {"model": CLAUDE, "max_tokens": 40, "messages": turns(calls), "tools": [tool]}
    answer = running.post("/v1/messages", body, **{"x-jevons-task": task})
    assert answer.status_code == 200, answer.text


def explained(running: Running, operation: str) -> str:
    running.housekeeping.writer.flush()
    said = CliRunner().invoke(explain, [operation, "--database", running.database], env={"COLUMNS": "200"})
    assert said.exit_code == 0, said.output
    return said.output


def test_an_unmarked_prompt_is_marked_where_it_pays_and_read_from_the_cache_after(
    tmp_path: Path, simulator: Simulator
) -> None:
    with gateway(tmp_path, simulator) as running:
        for calls in (1, 2, 3):
            ask(running, calls)
        first, last = simulator.books.requests[0].body, simulator.books.requests[-1].body
        assert b"cache_control" in first
        assert b"cache_control" in last
        booked = running.last(3)
        assert running.booked[0].usage.cache_write_5m + running.booked[0].usage.cache_write_1h > 4_000
        assert booked.usage.cached > 4_000
        text = explained(running, booked.operation)
        assert "breakpoints" in text
        assert "chosen" in text
        assert "untouched" in text


def test_trimming_acts_only_where_the_plan_names_it_and_the_bill_falls(tmp_path: Path, simulator: Simulator) -> None:
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", "pro"),), plans=PLAN) as running:
        ask(running, 1, "plain")
        plain = running.last(1)
        running.secret = SECRET
        ask(running, 1, "trimmed")
        trimmed = running.last(2)
        untouched, edited = (json.loads(request.body) for request in simulator.books.requests)
        assert untouched["messages"][2]["content"][0]["content"] == RESULT
        shown = edited["messages"][2]["content"][0]["content"]
        assert len(shown if isinstance(shown, str) else json.dumps(shown)) < len(RESULT) * 0.7
        assert trimmed.cost_nano < plain.cost_nano
        assert "trim" in explained(running, trimmed.operation)


def test_what_was_trimmed_once_keeps_its_bytes_so_that_the_prefix_lives(tmp_path: Path, simulator: Simulator) -> None:
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", "pro"),), plans=PLAN) as running:
        running.secret = SECRET
        for calls in (1, 2, 3):
            ask(running, calls)
        bodies = [json.loads(request.body) for request in simulator.books.requests]
        shown = [body["messages"][2]["content"][0]["content"] for body in bodies]
        texts = [item if isinstance(item, str) else item[0]["text"] for item in shown]
        assert texts[0] == texts[1] == texts[2]
        assert running.last(3).usage.cached > 2_000


def test_an_offer_that_does_not_pay_loses(tmp_path: Path, simulator: Simulator) -> None:
    """A prompt below the provider's minimum is never marked: there is nothing to win."""
    with gateway(tmp_path, simulator) as running:
        body = {"model": CLAUDE, "max_tokens": 10, "messages": [{"role": "user", "content": "Hello."}]}
        assert running.post("/v1/messages", body).status_code == 200
        assert b"cache_control" not in simulator.books.requests[-1].body
        assert "went as it came" in explained(running, running.last().operation)
