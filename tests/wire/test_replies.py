"""Whole answers and errors, in another dialect: as the official SDKs read them."""

import itertools
import json

import anthropic
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import Limited, UpstreamError
from jevons.wire.cacheable import collect_stream
from jevons.wire.errors import error_body, error_event
from jevons.wire.translate import translate_error, translate_reply

DIALECTS = ("chat", "messages", "responses")
PAIRS = list(itertools.permutations(DIALECTS, 2))
TEXT = "Zürich: 天気 ☀"
CALLS = [("call_a", "weather", {"city": "Zürich"}), ("call_b", "time", {"zone": "CET"})]


def read(sdk, dialect, body):
    from openai.types.responses import Response

    if dialect == "chat":
        found = sdk.chat(body)
        message = found.choices[0].message
        calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls]
        assert found.choices[0].finish_reason == "tool_calls"
        return found.model, message.content, calls, found.usage.prompt_tokens, found.usage.completion_tokens
    if dialect == "messages":
        found = sdk.messages(body)
        text = "".join(block.text for block in found.content if block.type == "text")
        calls = [(b.id, b.name, b.input) for b in found.content if b.type == "tool_use"]
        assert found.stop_reason == "tool_use"
        usage = found.usage
        prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
        return found.model, text, calls, prompt, usage.output_tokens
    found = Response.model_validate_json(body)
    calls = [(i.call_id, i.name, json.loads(i.arguments)) for i in found.output if i.type == "function_call"]
    assert found.status == "completed"
    return found.model, found.output_text, calls, found.usage.input_tokens, found.usage.output_tokens


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_sdk_reads_the_same_answer(source, target, streams, as_sse, sdk):
    whole = collect_stream(source, [as_sse(streams[source])])
    prompt = 48 if source == "messages" else 50
    assert read(sdk, target, translate_reply(source, target, whole, "public")) == ("public", TEXT, CALLS, prompt, 30)


def test_thinking_comes_back_byte_for_byte(streams, as_sse):
    whole = json.loads(collect_stream("messages", [as_sse(streams["messages"])]))
    for via in ("chat", "responses"):
        there = translate_reply("messages", via, json.dumps(whole).encode(), "m")
        back = json.loads(translate_reply(via, "messages", there, "m"))
        assert back["content"] == whole["content"]


STOPS = [
    ("stop", "end_turn", "completed"),
    ("length", "max_tokens", "incomplete"),
    ("content_filter", "refusal", "incomplete"),
]


@pytest.mark.parametrize(("chat", "messages", "responses"), STOPS)
def test_stop_reasons(chat, messages, responses):
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": chat}]}
    raw = json.dumps(body).encode()
    there = translate_reply("chat", "messages", raw, "m")
    assert json.loads(there)["stop_reason"] == messages
    assert json.loads(translate_reply("messages", "chat", there, "m"))["choices"][0]["finish_reason"] == chat
    there = translate_reply("chat", "responses", raw, "m")
    assert json.loads(there)["status"] == responses
    assert json.loads(translate_reply("responses", "chat", there, "m"))["choices"][0]["finish_reason"] == chat


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_an_answer_that_is_none_is_the_upstreams_fault(raw):
    for source, target in PAIRS:
        with pytest.raises(UpstreamError):
            translate_reply(source, target, raw, "m")
        assert json.loads(translate_error(target, raw))["error"]["message"]


def test_errors_reach_the_sdks_as_their_own(sdk):
    error = Limited("the budget of this key is used up", code="budget_exhausted", param="model")
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat(error_body("chat", error), 429)
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "budget_exhausted",
        "model",
        "rate_limit_error",
    )
    with pytest.raises(anthropic.RateLimitError, match="used up"):
        sdk.messages(error_body("messages", error), 429)
    assert json.loads(error_body("count_tokens", error))["error"]["type"] == "rate_limit_error"


def test_errors_inside_a_stream_reach_the_sdks(sdk, streams, as_sse):
    error = UpstreamError("the stream broke off")
    with pytest.raises(openai.APIError, match="broke off"):
        sdk.chat_stream(as_sse(streams["chat"][:4]) + error_event("chat", error))
    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        sdk.raw_messages_stream(as_sse(streams["messages"][:4]) + error_event("messages", error))
    events = sdk.responses_stream(as_sse(streams["responses"][:4]) + error_event("responses", error))
    assert (events[-1].type, events[-1].message) == ("error", "the stream broke off")


@pytest.mark.parametrize(
    ("source", "target", "body", "kind", "message"),
    [
        (
            "chat",
            "messages",
            {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}},
            "rate_limit_error",
            "slow down",
        ),
        (
            "messages",
            "chat",
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "server_error",
            "Overloaded",
        ),
        ("chat", "responses", {"error": "plain"}, "invalid_request_error", "plain"),
    ],
)
def test_a_providers_error_is_told_in_the_callers_words(source, target, body, kind, message):
    found = json.loads(translate_error(target, json.dumps(body).encode()))
    assert (found["error"]["type"], found["error"]["message"]) == (kind, message)
