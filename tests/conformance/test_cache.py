"""Exact cache and coalescing through the gateway: burned once, per tenant, whole and streamed from one entry."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from jevons.engines.simulated import Rule, Script, Simulator, start
from tests.conformance.conftest import Running, gateway

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
COLD = {"temperature": 0, "model": GPT}


def hello(text: str = "Hello.") -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def raw(running: Running, **fields: Any) -> Any:
    return running.openai().chat.completions.with_raw_response.create(**{**COLD, "messages": hello(), **fields})


def test_the_second_identical_call_burns_nothing_and_is_booked(running: Running, simulator: Simulator) -> None:
    first, second = raw(running), raw(running)
    assert (first.headers["x-jevons-cache"], second.headers["x-jevons-cache"]) == ("miss", "hit")
    assert first.content == second.content
    assert float(second.headers["x-jevons-cost"]) == 0
    assert len(simulator.books.requests) == 1
    booked = running.last(2)
    assert (booked.cache, booked.cost_nano, booked.usage.prompt) == ("hit", 0, 0)


def test_key_order_and_white_space_are_no_part_of_a_request(running: Running, simulator: Simulator) -> None:
    body = {"model": GPT, "temperature": 0, "messages": hello("Same?")}
    running.post("/v1/chat/completions", json.dumps(body).encode())
    again = running.post("/v1/chat/completions", json.dumps(dict(reversed(body.items())), indent=2).encode())
    assert again.headers["x-jevons-cache"] == "hit"


@pytest.mark.parametrize(
    "other", [{"messages": hello("Other.")}, {"max_tokens": 5}, {"temperature": 0.0, "top_p": 0.5}, {"model": "gpt-4o"}]
)
def test_whatever_differs_is_another_request(running: Running, simulator: Simulator, other: dict[str, Any]) -> None:
    raw(running)
    assert raw(running, **other).headers["x-jevons-cache"] == "miss"


@pytest.mark.parametrize("fields", [{"temperature": 0.7}, {"temperature": 1, "seed": 4}, {"temperature": 0, "n": 2}])
def test_what_is_not_deterministic_is_not_cached(
    running: Running, simulator: Simulator, fields: dict[str, Any]
) -> None:
    assert "x-jevons-cache" not in raw(running, **fields).headers
    raw(running, **fields)
    assert len(simulator.books.requests) == 2


def test_a_caller_may_ask_for_the_cache_and_may_stay_out_of_it(running: Running, simulator: Simulator) -> None:
    warm = {"temperature": 0.7, "extra_headers": {"x-jevons-cache": "on"}}
    assert [raw(running, **warm).headers["x-jevons-cache"] for _ in range(2)] == ["miss", "hit"]
    assert "x-jevons-cache" not in raw(running, extra_headers={"x-jevons-cache": "off"}).headers


def test_one_entry_serves_whole_and_streamed(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    chunks = list(client.chat.completions.create(**COLD, messages=hello(), stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = raw(running)
    assert whole.headers["x-jevons-cache"] == "hit"
    assert whole.parse().choices[0].message.content == text
    again = list(client.chat.completions.create(**COLD, messages=hello(), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in again if chunk.choices) == text
    assert again[-1].choices[0].finish_reason == "stop"
    assert len(simulator.books.requests) == 1


def test_a_message_stream_is_replayed_with_its_blocks(running: Running, simulator: Simulator) -> None:
    client = running.anthropic()
    asked = {"model": CLAUDE, "max_tokens": 60, "messages": hello(), "extra_body": {"temperature": 0}}
    whole = client.messages.create(**asked)  # type: ignore[call-overload]
    with client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
        assert stream.get_final_message().content[0].text == whole.content[0].text
    assert len(simulator.books.requests) == 1


def test_no_answer_crosses_tenants(tmp_path: Path, simulator: Simulator) -> None:
    others = (("sk-jv-two-" + "b" * 32, "two", ""), ("sk-jv-three-" + "c" * 32, "two", ""))
    with gateway(tmp_path, simulator, secrets=others) as running:
        raw(running)
        seen = []
        for secret, _, _ in others:
            running.secret = secret
            seen.append(raw(running).headers["x-jevons-cache"])
        assert seen == ["miss", "hit"], "customers are walled off from each other; two keys of one customer are not"


def test_calls_at_once_burn_once(running: Running, simulator: Simulator) -> None:
    slow = hello('x\nSIM {"first_byte_s": 0.3, "text": "once"}')

    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=running.secret) as client:
            calls = (client.chat.completions.create(**COLD, messages=slow) for _ in range(8))
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    assert asyncio.run(ask()) == ["once"] * 8
    assert len(simulator.books.requests) == 1
    running.last(8)
    assert sorted(booked.cache for booked in running.booked) == ["coalesced"] * 7 + ["miss"]


def test_a_failed_leader_fails_no_follower(tmp_path: Path) -> None:
    script = Script(rules=(Rule(fault="stall_first;s=20", times=1),))
    toml = "[timeouts]\nfirst_byte_s = 0.6\n[retry]\nattempts = 1\n"
    with start(script=script) as simulator, gateway(tmp_path, simulator, toml) as running:

        async def ask() -> list[int]:
            async with openai.AsyncOpenAI(
                base_url=f"{running.url}/v1", api_key=running.secret, max_retries=0
            ) as client:

                async def one() -> int:
                    try:
                        await client.chat.completions.create(**COLD, messages=hello())
                    except openai.APIStatusError as error:
                        return error.status_code
                    return 200

                return sorted(await asyncio.gather(*(one() for _ in range(4))))

        assert asyncio.run(ask()) == [200, 200, 200, 504]


def test_an_error_is_not_kept(running: Running, simulator: Simulator) -> None:
    broken = hello('x\nSIM {"fault": "400"}')
    for _ in range(2):
        with pytest.raises(openai.BadRequestError):
            raw(running, messages=broken)
    assert len(simulator.books.requests) == 2
