"""Upstreams that misbehave: an error in the caller's dialect, never a hang, a 500, a fake end, a lost booking."""

import json
import time
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from jevons.engines.simulated import Rule, Script, Simulator, start
from tests.conformance.conftest import Running, gateway, wait_until

CLAUDE, GPT = "claude-haiku-4-5", "gpt-4o-mini"
QUICK = "[timeouts]\nfirst_byte_s = 0.5\nidle_s = 0.5\n[retry]\nattempts = 1\nbreaker_failures = 1000\n"


@pytest.fixture(scope="module")
def quick(simulators: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway without patience, so that what stalls ends soon."""
    with gateway(tmp_path_factory.mktemp("quick"), simulators, QUICK) as running:
        yield running


def asking(fault: str, **more: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Hello.\nSIM {json.dumps({'fault': fault, **more})}"}]


def body_of(surface: str, fault: str, *, stream: bool, model: str = "") -> tuple[str, dict[str, Any]]:
    native = {"chat": GPT, "responses": GPT, "messages": CLAUDE}
    body: dict[str, Any] = {"model": model or native[surface], "stream": stream}
    if surface == "responses":
        return "/v1/responses", {**body, "input": asking(fault)}
    path = "/v1/messages" if surface == "messages" else "/v1/chat/completions"
    return path, {**body, "messages": asking(fault), "max_tokens": 60}


def is_error_of(surface: str, body: bytes) -> bool:
    found = json.loads(body)
    if surface == "messages":
        return found["type"] == "error" and bool(found["error"]["message"])
    return bool(found["error"]["message"])


SURFACES = [
    ("chat", ""), ("responses", ""), ("messages", ""), ("chat", CLAUDE), ("messages", GPT), ("responses", CLAUDE)
]  # fmt: skip


@pytest.mark.parametrize(("surface", "model"), SURFACES)
@pytest.mark.parametrize(
    "fault", ["rubbish", "truncated_json", "reset", "hang_up", "cut", "stall_first;s=20", "503", "429"]
)
def test_a_whole_answer_that_fails_is_an_error_in_the_caller_s_dialect(
    quick: Running, simulator: Simulator, surface: str, model: str, fault: str
) -> None:
    quick.booked.clear()
    path, body = body_of(surface, fault, stream=False, model=model)
    answer = quick.post(path, body)
    assert answer.status_code in {429, 502, 503, 504, 529}
    assert is_error_of(surface, answer.content)
    booked = quick.last()
    assert (len(quick.booked), booked.status) == (1, answer.status_code)
    if fault == "429":
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(("surface", "model"), SURFACES)
@pytest.mark.parametrize(
    "fault", ["cut;after=3", "reset_mid;after=3", "no_done;after=3", "stall_mid;after=3;s=20", "error_event;after=3"]
)
def test_a_stream_that_breaks_never_looks_finished(
    quick: Running, simulator: Simulator, surface: str, model: str, fault: str
) -> None:
    quick.booked.clear()
    path, body = body_of(surface, fault, stream=True, model=model)
    answer = quick.post(path, body)
    text = answer.content
    assert answer.status_code == 200
    assert b"[DONE]" not in text
    assert b"message_stop" not in text
    assert b"response.completed" not in text
    assert b'"finish_reason":"' not in text
    assert b"error" in text.split(b"data:")[-1]
    booked = quick.last()
    assert len(quick.booked) == 1
    assert booked.error
    assert booked.usage.prompt > 0
    assert booked.cost_nano > 0


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
@pytest.mark.parametrize("fault", ["crlf", "split_utf8", "drip", "comments"])
def test_an_odd_but_valid_stream_arrives_whole(quick: Running, simulator: Simulator, surface: str, fault: str) -> None:
    quick.booked.clear()
    odd = quick.post(*body_of(surface, fault, stream=True)).content
    assert text_of(surface, odd)
    wait_until(lambda: bool(simulator.books.lines))
    booked, billed = quick.last(), simulator.books.lines[-1]
    assert not booked.error
    assert (booked.usage.output, booked.cost_nano) == (billed.counts.output, round(billed.total_pico / 1000))


def text_of(surface: str, stream: bytes) -> str:
    """The text of a stream, by the plain reading of server-sent events."""
    text = ""
    for line in stream.decode().replace("\r\n", "\n").split("\n"):
        if line.startswith("data:") and "[DONE]" not in line:
            event = json.loads(line[5:])
            if surface == "chat":
                text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
            elif surface == "messages":
                text += event.get("delta", {}).get("text", "")
            elif event["type"] == "response.output_text.delta":
                text += event["delta"]
    return text


def test_the_sdks_raise_on_a_broken_stream(quick: Running, simulator: Simulator) -> None:
    with pytest.raises(openai.APIError):
        list(quick.openai().chat.completions.create(model=GPT, messages=asking("cut;after=3"), stream=True))
    with pytest.raises(anthropic.APIError):
        list(
            quick.anthropic().messages.create(model=CLAUDE, messages=asking("cut;after=3"), stream=True, max_tokens=50)
        )


def test_missing_usage_is_estimated_and_says_so(quick: Running, simulator: Simulator) -> None:
    quick.booked.clear()
    for stream in (False, True):
        path, body = body_of("chat", "no_usage", stream=stream)
        assert quick.post(path, body).status_code == 200
    whole, streamed = quick.booked
    assert whole.attempts[0].usage_source == streamed.attempts[0].usage_source == "estimated"
    assert min(whole.usage.prompt, whole.usage.output, streamed.usage.prompt, streamed.usage.output) > 0


def test_more_cached_tokens_than_prompt_tokens_are_never_negative(quick: Running, simulator: Simulator) -> None:
    quick.booked.clear()
    path, body = body_of("chat", "odd_cached", stream=False)
    quick.post(path, body)
    assert quick.last().usage.input >= 0


def test_it_retries_before_the_first_byte_and_books_each_attempt(tmp_path: Path) -> None:
    script = Script(rules=(Rule(fault="503", times=2),))
    with start(script=script) as simulator, gateway(tmp_path, simulator) as running:
        assert running.openai().chat.completions.create(model=GPT, messages=[{"role": "user", "content": "x"}])
        booked = running.last()
        assert [attempt.status for attempt in booked.attempts] == [503, 503, 200]
        assert [attempt.cost_nano == 0 for attempt in booked.attempts] == [True, True, False]


def test_it_falls_back_to_the_next_route_and_one_route_s_4xx_takes_no_model_out(tmp_path: Path) -> None:
    script = Script(rules=(Rule(model="gpt-4o", fault="500"),))
    toml = f"""
    [models.best]
    routes = [{{ provider = "openai", model = "gpt-4o" }}, {{ provider = "anthropic", model = "{CLAUDE}", order = 1 }}]
    """
    with start(script=script) as simulator, gateway(tmp_path, simulator, toml) as running:
        answer = running.openai().chat.completions.create(
            model="best", max_tokens=20, messages=[{"role": "user", "content": "x"}]
        )
        assert answer.choices[0].message.content
        assert [attempt.provider for attempt in running.last().attempts] == ["openai", "anthropic"]
        for _ in range(8):
            with pytest.raises(openai.BadRequestError):
                running.openai().chat.completions.create(model=GPT, messages=asking("400"))
        assert running.openai().chat.completions.create(model=GPT, messages=[{"role": "user", "content": "y"}])


def test_a_route_that_keeps_failing_rests_and_says_when_to_come_back(tmp_path: Path) -> None:
    script = Script(rules=(Rule(fault="500"),))
    toml = "[retry]\nattempts = 1\nbreaker_failures = 2\nbreaker_open_s = 30.0\n"
    with start(script=script) as simulator, gateway(tmp_path, simulator, toml) as running:
        statuses = [running.post(*body_of("chat", "", stream=False)).status_code for _ in range(3)]
        assert statuses == [500, 500, 503]
        assert len(simulator.books.requests) == 2
        answer = running.post(*body_of("chat", "", stream=False))
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("surface", "model"), [("chat", ""), ("messages", ""), ("messages", GPT)])
def test_a_caller_who_leaves_a_stream_stops_the_upstream_and_is_billed_what_was_made(
    running: Running, simulator: Simulator, surface: str, model: str
) -> None:
    path, body = body_of(surface, "", stream=True, model=model)
    slow = f"Hello.\nSIM {json.dumps({'output_tokens': 400, 'event_s': 0.05})}"
    body["messages"], body["max_tokens"] = [{"role": "user", "content": slow}], 500
    headers = {"authorization": f"Bearer {running.secret}"}
    with httpx.stream("POST", running.url + path, json=body, headers=headers) as answer:
        for number, _ in enumerate(answer.iter_bytes()):
            if number == 8:
                break
    wait_until(lambda: simulator.books.requests[-1].client_gone, 1.0)
    booked = running.last()
    assert booked.cancelled
    assert booked.status == 499
    assert booked.attempts[0].usage_source == "estimated"
    assert 0 < booked.usage.output < 400
    assert booked.usage.prompt > 0
    assert booked.cost_nano > 0


def test_a_caller_who_leaves_before_the_first_byte_is_booked_too(running: Running, simulator: Simulator) -> None:
    path, body = body_of("chat", "stall_first;s=20", stream=False)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(running.url + path, json=body, headers={"x-api-key": running.secret}, timeout=0.5)
    left = time.monotonic()
    wait_until(lambda: simulator.books.requests[-1].client_gone, 2.0)
    assert time.monotonic() - left < 1.0
    booked = running.last()
    assert booked.cancelled
    assert booked.usage.prompt > 0
