"""A stream in one dialect, told in another: what the official SDKs read from it is what was sent."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.wire.translate import Translator

DIALECTS = ("chat", "messages", "responses")
PAIRS = list(itertools.permutations(DIALECTS, 2))
TEXT = "Zürich: 天気 ☀"
CALLS = [("call_a", "weather", {"city": "Zürich"}), ("call_b", "time", {"zone": "CET"})]


def translated(source, target, body, cuts=()):
    translator = Translator(source, target, "public")
    out, at = b"", 0
    for cut in (*sorted(cuts), len(body)):
        out += translator.feed(body[at:cut])
        at = max(at, cut)
    return out


def read_chat(sdk, body):
    chunks = sdk.chat_stream(body)
    calls, text = {}, ""
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                found = calls.setdefault(call.index, ["", "", ""])
                found[0] += call.id or ""
                found[1] += (call.function.name if call.function else "") or ""
                found[2] += (call.function.arguments if call.function else "") or ""
    assert {chunk.model for chunk in chunks} == {"public"}
    finish = [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason]
    usage = chunks[-1].usage
    assert usage.prompt_tokens_details.cached_tokens == 16
    return (
        text,
        [(i, n, json.loads(a)) for i, n, a in calls.values()],
        finish,
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def read_messages(sdk, body):
    events, message = sdk.messages_stream(body)
    assert message.model == "public"
    opened, sequence = None, []
    for event in sdk.raw_messages_stream(body):
        if event.type == "content_block_start":
            assert opened is None, "one block at a time"
            opened = event.index
            sequence.append(event.index)
        elif event.type == "content_block_delta":
            assert event.index == opened, "no delta outside of its block"
        elif event.type == "content_block_stop":
            assert event.index == opened
            opened = None
    assert sequence == list(range(len(sequence)))
    assert events
    text = "".join(block.text for block in message.content if block.type == "text")
    calls = [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"]
    usage = message.usage
    prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert usage.cache_read_input_tokens == 16
    return text, calls, [{"tool_use": "tool_calls"}.get(message.stop_reason)], prompt, usage.output_tokens


def read_responses(sdk, body):
    events = sdk.responses_stream(body)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    whole = events[-1].response
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == whole.output_text
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.to_dict() for item in done] == [item.to_dict() for item in whole.output]
    calls = [(i.call_id, i.name, json.loads(i.arguments)) for i in whole.output if i.type == "function_call"]
    assert whole.model == "public"
    return whole.output_text, calls, ["tool_calls"], whole.usage.input_tokens, whole.usage.output_tokens


READ = {"chat": read_chat, "messages": read_messages, "responses": read_responses}


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_sdk_reads_the_same_answer(source, target, newline, streams, as_sse, sdk):
    body = translated(source, target, as_sse(streams[source], newline))
    prompt = 48 if source == "messages" else 50
    assert READ[target](sdk, body) == (TEXT, CALLS, ["tool_calls"], prompt, 30)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_pieces_may_be_cut_anywhere(source, target, data, streams, as_sse):
    body = as_sse(streams[source], data.draw(st.sampled_from(["\n", "\r\n"])))
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=12))
    assert translated(source, target, body, cuts) == translated(source, target, body)


ENDS = {
    "chat": (b"[DONE]", b'"finish_reason":"'),
    "messages": (b"message_stop", b"message_delta"),
    "responses": (b"response.completed",),
}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_cut_stream_gets_no_end(source, target, streams, as_sse):
    whole = streams[source]
    for kept in range(len(whole) - 1):
        out = translated(source, target, as_sse(whole[:kept]))
        assert ENDS[target][0] not in out


@pytest.mark.parametrize("target", ["messages", "responses"])
def test_an_error_inside_a_stream_is_told_and_nothing_follows(target, streams, as_sse):
    failed = [
        *streams["chat"][:4],
        [None, {"error": {"message": "overloaded now", "type": "server_error"}}],
        *streams["chat"][4:],
    ]
    out = translated("chat", target, as_sse(failed))
    assert b"overloaded now" in out
    assert out.rindex(b"overloaded now") > out.rindex(b"event: error")
    assert ENDS[target][0] not in out


def test_thinking_keeps_its_signature_through_chat_and_responses(streams, as_sse, sdk):
    body = as_sse(streams["messages"])
    blocks = [
        block
        for chunk in sdk.chat_stream(translated("messages", "chat", body))
        for choice in chunk.choices
        for block in getattr(choice.delta, "thinking_blocks", None) or ()
    ]
    assert {"type": "thinking", "thinking": "Let me see", "signature": "EqQB+/=sig"} in blocks
    assert {"type": "redacted_thinking", "data": "opaque+/="} in blocks
    through = translated("responses", "messages", translated("messages", "responses", body))
    _, message = sdk.messages_stream(through)
    assert message.content[0].to_dict() == {"type": "thinking", "thinking": "Let me see", "signature": "EqQB+/=sig"}


def test_calls_that_repeat_an_index_are_two_calls(as_sse, sdk):
    def chunk(delta, finish=None):
        return [
            None,
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "up",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            },
        ]

    calls = [
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": f"call_{n}",
                        "type": "function",
                        "function": {"name": f"f{n}", "arguments": json.dumps({"n": n})},
                    }
                ]
            }
        )
        for n in range(3)
    ]
    body = as_sse([*calls, chunk({}, "tool_calls"), [None, "[DONE]"]])
    _, message = sdk.messages_stream(translated("chat", "messages", body))
    assert [(b.id, b.name, b.input) for b in message.content] == [(f"call_{n}", f"f{n}", {"n": n}) for n in range(3)]
    assert message.stop_reason == "tool_use"


def test_text_that_goes_on_after_a_call_is_a_new_block(as_sse, sdk):
    def chunk(delta, finish=None):
        return [
            None,
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "up",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            },
        ]

    call = {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    body = as_sse(
        [chunk({"content": "one"}), chunk(call), chunk({"content": "two"}), chunk({}, "stop"), [None, "[DONE]"]]
    )
    _, message = sdk.messages_stream(translated("chat", "messages", body))
    assert [block.type for block in message.content] == ["text", "tool_use", "text"]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_interleaved_calls_come_out_whole_and_in_order(data):
    count = data.draw(st.integers(1, 5))
    arguments = [json.dumps({"v": data.draw(st.text(max_size=8)), "i": i}) for i in range(count)]
    left = list(arguments)
    begun: list[int] = []
    events: list[dict] = []
    while any(left) or len(begun) < count:
        choices = [i for i in range(count) if (i in begun and left[i]) or i == len(begun)]
        i = data.draw(st.sampled_from(choices))
        if i not in begun:
            begun.append(i)
            call = {"index": i, "id": f"id{i}", "type": "function", "function": {"name": f"f{i}", "arguments": ""}}
        else:
            size = data.draw(st.integers(1, len(left[i])))
            call = {"index": i, "function": {"arguments": left[i][:size]}}
            left[i] = left[i][size:]
        events.append({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    inputs: dict[int, str] = {}
    opened = None
    for line in translated("chat", "messages", body).decode().split("\n"):
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        if event["type"] == "content_block_start":
            assert opened is None
            opened = event["index"]
            inputs[opened] = ""
        elif event["type"] == "content_block_delta":
            assert event["index"] == opened
            inputs[opened] += event["delta"]["partial_json"]
        elif event["type"] == "content_block_stop":
            opened = None
    assert [json.loads(inputs[i]) for i in range(count)] == [json.loads(a) for a in arguments]
