"""Tasks through the running gateway: official SDKs, the library, feedback."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

import jevons
from jevons.core.errors import JevonsError
from jevons.engines.simulated import Simulator
from jevons.store.figures import figures
from jevons.store.migrate import open_database
from tests.conformance.conftest import Running, wait_until

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What turns a flywheel?"}]}
ASK_CLAUDE: dict[str, Any] = {**ASK, "model": "claude-haiku-4-5", "max_tokens": 50}


def test_a_conversation_without_ids_is_one_task(running: Running, simulator: Simulator) -> None:
    client, talk = running.openai(), [{"role": "user", "content": "Name a metal."}]
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=talk)
    first = running.last(1)
    assert answer.headers["x-jevons-task"] == first.task
    talk += [{"role": "assistant", "content": "Iron."}, {"role": "user", "content": "Another?"}]
    client.chat.completions.create(model="gpt-4o-mini", messages=talk)
    second = running.last(2)
    assert (second.task, second.task_source, second.site) == (first.task, "chain", first.site)


def test_responses_state_is_one_task(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    one = client.responses.create(model="gpt-4o-mini", input="Name a metal.")
    first = running.last(1)
    client.responses.create(model="gpt-4o-mini", input="Another?", previous_response_id=one.id)
    assert running.last(2).task == first.task


def test_the_library_marks_both_sdks(running: Running, simulator: Simulator) -> None:
    chat, claude = jevons.wrap(running.openai()), jevons.wrap(jevons.wrap(running.anthropic()))
    with jevons.task(name="refund \u20ac", customer="acme") as outer:
        chat.chat.completions.create(**ASK)
        first = running.last(1)
        with jevons.task(name="search") as inner:
            claude.messages.create(**ASK_CLAUDE)
        second = running.last(2)
    chat.chat.completions.create(**ASK)
    third = running.last(3)
    assert (first.task, first.task_name, first.customer) == (outer.id, "refund \u20ac", "acme")
    assert (second.task, second.parent, second.customer) == (inner.id, outer.id, "acme")
    assert third.task not in {outer.id, inner.id}
    assert third.customer == ""


def test_tasks_of_asyncio_do_not_mix(running: Running, simulator: Simulator) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        async with jevons.task(name=f"n{number}") as t:
            await asyncio.sleep(0.01 * (number % 3))
            await client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": f"{number}"}]
            )
            await asyncio.gather(
                *[client.chat.completions.create(**{**ASK, "seed": n}) for n in range(2)], t.aoutcome(True)
            )
            return t.id

    async def many() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=running.secret) as client:
            return await asyncio.gather(*[one(jevons.wrap(client), number) for number in range(8)])

    ids = asyncio.run(many())
    wait_until(lambda: len(running.booked) == 24)
    counts = {task: sum(operation.task == task for operation in running.booked) for task in ids}
    assert counts == dict.fromkeys(ids, 3)


def test_tasks_of_threads_do_not_mix(running: Running, simulator: Simulator) -> None:
    client, barrier = jevons.wrap(running.openai()), threading.Barrier(4)

    def one(number: int) -> str:
        with jevons.task(name=f"n{number}") as t:
            barrier.wait()
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"{number}"}])
            return t.id

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(one, range(4)))
        with jevons.task(name="outer") as outer:
            pool.submit(outer.bind(client.chat.completions.create), **ASK).result()
    wait_until(lambda: len(running.booked) == 5)
    assert sorted(operation.task for operation in running.booked) == sorted([*ids, outer.id])


def test_an_outcome_arrives_right_after_the_call_and_is_shown(running: Running, simulator: Simulator) -> None:
    client = jevons.wrap(running.openai())
    with jevons.task(name="refund", customer="acme") as t:
        client.chat.completions.create(**ASK)
        t.outcome(solved=True, score=0.75)
        t.outcome(solved=True, score=0.75)
    with open_database(running.database) as db:
        found = figures(db, running.last().tenant, t.id)
    assert found is not None
    assert (found.outcome.solved, found.outcome.score, found.outcome.statements) == (True, 0.75, 1)
    assert found.sums.calls == 1


def test_an_outcome_of_a_task_without_calls_says_what_to_do() -> None:
    with jevons.task() as t, pytest.raises(JevonsError, match="JEVONS_URL"):
        t.outcome(solved=True)


def test_feedback_on_an_operation(running: Running, simulator: Simulator) -> None:
    running.openai().chat.completions.create(**ASK)
    booked = running.last()
    answer = running.post("/v1/feedback", {"operation": booked.operation, "label": "wrong"})
    assert (answer.status_code, answer.json()) == (200, {"task": booked.task, "recorded": True})
    again = running.post("/v1/feedback", {"operation": booked.operation, "label": "wrong", "id": "x"})
    assert again.json()["recorded"] is True
    assert running.post("/v1/feedback", {"operation": booked.operation, "label": "wrong", "id": "x"}).json() == {
        "task": booked.task,
        "recorded": False,
    }


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"task": "never-heard-of", "solved": True}, 404, "unknown_task"),
        ({"operation": "op_never", "solved": True}, 404, "unknown_operation"),
        ({"task": "t"}, 400, "invalid_feedback"),
        ({"solved": True}, 400, "invalid_feedback"),
        ({"task": "t", "solved": "yes"}, 400, "invalid_feedback"),
        ({"task": "t", "solvd": True}, 400, "invalid_feedback"),
        ({"task": "t", "score": 7}, 400, "invalid_value"),
        ({"task": "t", "solved": True, "id": "jevons:loop"}, 400, "invalid_value"),
    ],
)
def test_feedback_that_cannot_be_taken_says_why(running: Running, body: dict[str, Any], status: int, code: str) -> None:
    answer = running.post("/v1/feedback", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_task_that_goes_in_circles_is_flagged(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    tool: Any = {"type": "function", "function": {"name": "read_gauge", "parameters": {"type": "object"}}}
    talk: list[Any] = [{"role": "user", "content": "Watch gauge A."}]
    for number in range(4):
        client.chat.completions.create(model="gpt-4o-mini", messages=talk, tools=[tool])
        function = {"name": "read_gauge", "arguments": '{"gauge": "A"}'}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        talk += [{"role": "assistant", "content": None, "tool_calls": [call]}]
        talk += [{"role": "tool", "tool_call_id": f"call_{number}", "content": "3 bar"}]
    booked = running.last(4)
    running.housekeeping.writer.flush()
    running.housekeeping.feedback.settle()
    with open_database(running.database) as db:
        found = figures(db, booked.tenant, booked.task)
    assert found is not None
    assert (found.sums.calls, found.flags) == (4, ("loop",))


def test_feedback_needs_a_key(running: Running) -> None:
    answer = running.post("/v1/feedback", {"task": "t", "solved": True}, authorization="Bearer sk-jv-wrong")
    assert answer.status_code == 401


def test_a_bad_task_header_is_refused_in_the_caller_s_dialect(running: Running) -> None:
    answer = running.post("/v1/chat/completions", ASK, **{"x-jevons-task": "x" * 300})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_header")


def test_importing_jevons_stays_light() -> None:
    import subprocess
    import sys

    code = "import sys, jevons; print(len([m for m in sys.modules if m.startswith('jevons.')]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0"


def test_what_is_no_client_is_not_wrapped() -> None:
    with pytest.raises(TypeError, match="wrap"):
        jevons.wrap(object())
    with pytest.raises(ValueError, match="customer"):
        jevons.task(customer="caf\u00e9")
