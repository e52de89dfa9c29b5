"""A request in one dialect, written in another: the official types take it, and nothing is lost without a word."""

import itertools
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import CallerError
from jevons.wire.translate import translate_request

DIALECTS = ("chat", "messages", "responses")
PAIRS = list(itertools.permutations(DIALECTS, 2))


@cache
def official(dialect: str) -> Any:
    import anthropic.types as a
    import openai.types.chat.completion_create_params as c
    import openai.types.responses.response_create_params as r
    from pydantic import TypeAdapter

    kinds = {
        "chat": c.CompletionCreateParamsNonStreaming,
        "messages": a.message_create_params.MessageCreateParamsNonStreaming,
        "responses": r.ResponseCreateParamsNonStreaming,
    }
    return TypeAdapter(kinds[dialect])


def consume(value: Any) -> Any:
    """Iterables of the SDKs' types are checked only as they are read."""
    if isinstance(value, dict):
        return {key: consume(each) for key, each in value.items()}
    if isinstance(value, str | bytes) or value is None:
        return value
    if isinstance(value, Iterator | list) or hasattr(value, "__next__") or hasattr(value, "__iter__"):
        return [consume(each) for each in value]
    return value


def check(dialect: str, body: dict[str, Any]) -> None:
    body = {key: value for key, value in body.items() if key != "stream"}
    consume(official(dialect).validate_python(body))


def translate(source: str, target: str, body: dict[str, Any], model: str = "m") -> tuple[dict[str, Any], list[str]]:
    out, warnings = translate_request(source, target, json.dumps(body, ensure_ascii=False).encode(), model)
    found = json.loads(out)
    check(target, found)
    return found, list(warnings)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_official_types_take_what_is_written(source, target, requests_):
    found, _ = translate(source, target, requests_[source], "claude-opus-4-5" if target == "messages" else "gpt-9")
    assert found["stream"] is True
    assert "Be brief." in json.dumps(found)
    assert "iVBORw0KGgo=" in json.dumps(found)
    assert "JVBERi0=" in json.dumps(found)


def test_chat_to_messages_carries_everything(requests_):
    found, warnings = translate("chat", "messages", requests_["chat"])
    assert found["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user"]
    results = found["messages"][2]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result", "text"]
    assert found["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert found["max_tokens"] == 300
    assert found["stop_sequences"] == ["END"]
    assert found["temperature"] == 0.2
    assert found["output_config"]["format"]["schema"]["required"] == ["a"]
    assert found["messages"][0]["content"][2]["title"] == "a.pdf"
    assert warnings == []


def test_arguments_keep_their_own_bytes(requests_):
    raw = json.dumps(requests_["chat"], ensure_ascii=False).encode()
    out, _ = translate_request("chat", "messages", raw, "m")
    assert '"input":{"city": "Zürich",  "n": 1.0}'.encode() in out
    back, _ = translate_request("messages", "chat", out, "m")
    assert json.loads(back)["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"city": "Zürich",  "n": 1.0}'


def test_messages_to_chat_says_what_is_lost(requests_):
    found, warnings = translate("messages", "chat", requests_["messages"])
    roles = [message["role"] for message in found["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert found["messages"][3]["content"] == "Error: no network"
    assert found["messages"][5]["content"][0]["image_url"]["url"] == "https://example.org/a.png"
    assert any("cache_control" in warning for warning in warnings)
    assert any("is_error" in warning for warning in warnings)
    assert found["messages"][2]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "", "signature": "EqQB+/=sig"},
        {"type": "redacted_thinking", "data": "opaque+/="},
    ]
    assert found["parallel_tool_calls"] is False


def test_thinking_survives_a_tool_turn_byte_for_byte(requests_):
    out, _ = translate("messages", "chat", requests_["messages"])
    back, _ = translate("chat", "messages", out)
    assert back["messages"][1]["content"][:2] == requests_["messages"]["messages"][1]["content"][:2]


def test_reasoning_of_one_maker_is_never_sent_to_the_other(requests_):
    found, warnings = translate("responses", "messages", requests_["responses"])
    assert "gAAAA" not in json.dumps(found)
    assert any("signature" in warning for warning in warnings)
    found, warnings = translate("messages", "responses", requests_["messages"])
    assert "EqQB" not in json.dumps(found)
    assert any("reasoning" in warning for warning in warnings)
    out, _ = translate("messages", "chat", requests_["messages"], "gpt-9")
    assert "EqQB" not in json.dumps(out)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "`n`"),
        ({"seed": 7}, "seed"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key"),
        ({"something_new": 1}, "something_new"),
        ({"temperature": 1.7}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "JSON"),
        ({"max_completion_tokens": None}, "max_tokens"),
    ],
)
def test_what_anthropic_has_no_place_for_is_said(fields, word, requests_):
    _, warnings = translate("chat", "messages", {**requests_["chat"], **fields})
    assert any(word in warning for warning in warnings), warnings


def test_openai_dialects_share_their_fields(requests_):
    extra = {"service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s"}
    found, _ = translate("chat", "responses", {**requests_["chat"], **extra})
    assert {key: found[key] for key in extra} == extra
    assert found["store"] is False
    assert found["text"]["format"]["strict"] is True


def test_new_claude_models_get_effort_and_no_temperature(requests_):
    body = {**requests_["chat"], "reasoning_effort": "high"}
    found, warnings = translate("chat", "messages", body, "claude-opus-5")
    assert found["output_config"]["effort"] == "high"
    assert found["thinking"] == {"type": "adaptive"}
    assert "temperature" not in found
    assert any("temperature" in warning for warning in warnings)


def test_older_claude_models_get_a_budget_within_the_limit():
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "reasoning_effort": "high",
        "max_tokens": 8000,
    }
    found, _ = translate("chat", "messages", body, "claude-sonnet-4-5")
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 4000}


def test_state_that_only_the_provider_holds_is_refused(requests_):
    with pytest.raises(CallerError, match="previous_response_id"):
        translate("responses", "chat", {**requests_["responses"], "previous_response_id": "resp_1"})


def test_a_wrong_type_names_its_place():
    body = b'{"model":"m","messages":[{"role":"user","content":"a"},{"role":"user","content":3}]}'
    with pytest.raises(CallerError, match=r"messages\[1\].content"):
        translate_request("chat", "messages", body, "m")


TEXTS = st.text(min_size=1, max_size=20)
ARGUMENTS = st.dictionaries(TEXTS, st.integers() | TEXTS | st.booleans(), max_size=3)


@st.composite
def conversations(draw):
    """Chat conversations as clients build them: user, then an answer with or without calls and their results."""
    messages = [{"role": "system", "content": draw(TEXTS)}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 4))):
        messages.append({"role": "user", "content": draw(TEXTS)})
        calls = [
            {
                "id": f"c{number}_{i}",
                "type": "function",
                "function": {"name": "f", "arguments": json.dumps(draw(ARGUMENTS))},
            }
            for i in range(draw(st.integers(0, 3)))
        ]
        if calls:
            messages.append({"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls})
            messages.extend({"role": "tool", "tool_call_id": call["id"], "content": draw(TEXTS)} for call in calls)
            if draw(st.booleans()):
                messages.append({"role": "assistant", "content": draw(TEXTS)})
        else:
            messages.append({"role": "assistant", "content": draw(TEXTS)})
    return {"model": "m", "max_tokens": 5, "messages": messages}


@pytest.mark.parametrize("via", ["messages", "responses"])
@given(conversations())
@settings(max_examples=60, deadline=None)
def test_a_conversation_comes_back_as_it_went(via, body):
    out, _ = translate_request("chat", via, json.dumps(body).encode(), "m")
    back, _ = translate_request(via, "chat", out, "m")
    expected = []
    for message in body["messages"]:
        kept = {key: value for key, value in message.items() if value is not None}
        if expected and kept["role"] == "assistant" and expected[-1]["role"] == "assistant":
            raise AssertionError("the strategy makes no such conversation")
        expected.append(kept)
    assert [{k: v for k, v in m.items() if v is not None} for m in json.loads(back)["messages"]] == expected
