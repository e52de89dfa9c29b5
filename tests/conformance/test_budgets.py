"""Budgets through the running gateway: refused before anything burns, in the caller's dialect, and never passed."""

import asyncio
import json
from pathlib import Path

import httpx2 as httpx
import openai
import pytest

from jevons.engines.simulated import Simulator
from tests.conformance.conftest import Running, gateway, wait_until

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
SECRET = "sk-jv-acme-" + "z" * 32
HELLO = [{"role": "user", "content": "Hello."}]
COSTS_NANO = 15_000
"""About what one call here costs on gpt-4o-mini: a few prompt tokens, 20 of output at $0.60 a million."""


def plans(budget: str, more: str = "") -> str:
    return f"[plans.pro]\nbudgets = [{budget}]\n{more}\n[customers.acme]\nplan = 'pro'\n"


def body(surface: str = "chat") -> tuple[str, dict[str, object]]:
    if surface == "messages":
        return "/v1/messages", {"model": CLAUDE, "messages": HELLO, "max_tokens": 20}
    return "/v1/chat/completions", {"model": GPT, "messages": HELLO, "max_tokens": 20}


@pytest.mark.parametrize("surface", ["chat", "messages"])
def test_a_spent_budget_is_a_429_that_says_so_and_burns_nothing(
    tmp_path: Path, simulator: Simulator, surface: str
) -> None:
    toml = plans("{ scope = 'customer', per = 'day', usd = '0.000001' }")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        answer = running.post(*body(surface))
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert "budget_exhausted" in json.dumps(answer.json()) or answer.headers["x-jevons-error"] == "budget_exhausted"
        assert "customer acme" in error["message"]
        assert int(answer.headers["retry-after"]) > 0
        booked = running.last()
        assert (booked.status, booked.error, booked.cost_nano) == (429, "budget_exhausted", 0)
    assert simulator.books.requests == []


def test_calls_at_once_pass_a_cap_by_at_most_one_call(tmp_path: Path, simulator: Simulator) -> None:
    cap = 0.0002
    toml = plans(f"{{ scope = 'customer', per = 'day', usd = '{cap}' }}")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:

        async def storm() -> list[int]:
            async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=SECRET, max_retries=0) as client:

                async def one() -> int:
                    try:
                        await client.chat.completions.create(model=GPT, messages=HELLO, max_tokens=20)  # type: ignore[arg-type]
                    except openai.RateLimitError:
                        return 429
                    return 200

                return await asyncio.gather(*(one() for _ in range(60)))

        statuses = asyncio.run(storm())
        assert 200 in statuses
        assert 429 in statuses
        running.last(60)
        spent = sum(operation.cost_nano or 0 for operation in running.booked)
        assert spent <= cap * 1e9 + COSTS_NANO
        wait_until(lambda: running.housekeeping.world.counters.reservations == 0)


def test_requests_per_minute_and_calls_in_flight(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ scope = 'key', per = 'minute', requests = 2 }")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        assert [running.post(*body()).status_code for _ in range(3)] == [200, 200, 429]
        assert running.last(3).error == "rate_limited"


def test_a_stream_that_is_left_gives_back_what_it_did_not_burn(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ scope = 'customer', concurrent = 1 }")
    slow = [{"role": "user", "content": 'x\nSIM {"output_tokens": 300, "event_s": 0.05}'}]
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        asked = {"model": GPT, "messages": slow, "stream": True, "max_tokens": 400}
        headers = {"x-api-key": SECRET}
        with httpx.stream("POST", f"{running.url}/v1/chat/completions", json=asked, headers=headers) as answer:
            next(answer.iter_bytes())
            assert running.post(*body()).status_code == 429
        wait_until(lambda: running.housekeeping.world.counters.reservations == 0)
        assert running.post(*body()).status_code == 200


def test_near_the_end_the_caller_is_warned(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ scope = 'key', per = 'minute', requests = 5, warn_at = 0.5 }")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        notices = [running.post(*body()).headers.get("x-jevons-budget", "") for _ in range(4)]
        assert notices[0] == notices[1] == ""
        assert "60% of 5 requests per minute" in notices[2]


def test_a_task_s_budget_holds_for_its_sub_agents(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ scope = 'task', requests = 2 }")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        tasks = [{"x-jevons-task": "run"}, {"x-jevons-task": "sub", "x-jevons-parent": "run"}]
        statuses = [running.post(*body(), **headers).status_code for headers in (*tasks, tasks[0])]
        assert statuses == [200, 200, 429]
        assert running.post(*body(), **{"x-jevons-task": "other"}).status_code == 200


def test_a_model_outside_the_plan_and_a_model_without_a_price_are_refused(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ per = 'day', usd = '1' }", f"models = ['{GPT}', 'gpt-sim-unlisted']")
    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        running.secret = SECRET
        outside = running.post("/v1/chat/completions", {"model": "gpt-4o", "messages": HELLO})
        assert (outside.status_code, outside.json()["error"]["code"]) == (403, "model_not_in_plan")
        unpriced = running.post("/v1/chat/completions", {"model": "gpt-sim-unlisted", "messages": HELLO})
        assert (unpriced.status_code, unpriced.json()["error"]["code"]) == (429, "unpriced_model")


def test_a_budget_goes_on_where_it_stood_after_a_restart(tmp_path: Path, simulator: Simulator) -> None:
    toml = plans("{ scope = 'customer', per = 'day', requests = 3 }")

    def two(running: Running) -> list[int]:
        running.secret = SECRET
        return [running.post(*body()).status_code for _ in range(2)]

    with gateway(tmp_path, simulator, secrets=((SECRET, "acme", ""),), plans=toml) as running:
        assert two(running) == [200, 200]
    with gateway(tmp_path, simulator, plans=toml) as running:
        assert two(running) == [200, 429]
