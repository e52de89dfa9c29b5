import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.call import Surface
from jevons.core.errors import CallerError, UpstreamError
from jevons.wire.cacheable import collect_stream, identity, replay_stream

BODY = {
    "model": "m",
    "temperature": 0,
    "messages": [{"role": "user", "content": "Zürich ☀"}],
    "x": {"b": 1, "a": [1.5]},
}


def of(body, **layout):
    return identity(Surface.CHAT, json.dumps(body, **layout).encode())


def test_layout_order_escapes_and_number_forms_are_no_identity():
    turned = dict(reversed(BODY.items()))
    same = {
        of(BODY),
        of(BODY, indent=2),
        of(turned, ensure_ascii=False, separators=(",", ":")),
        of({**BODY, "temperature": 0.0}),
        of({**BODY, "stream": True, "stream_options": {"include_usage": True}}),
        identity(Surface.CHAT, json.dumps(BODY).replace('"temperature": 0', '"temperature": 0e0').encode()),
    }
    assert len(same) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.1},
        {"model": "n"},
        {"seed": 1},
        {"x": {"b": 1, "a": [1.25]}},
        {"messages": [{"role": "user", "content": "Zürich ☀ "}]},
        {"user": "u"},
        {"something_new": None},
    ],
)
def test_every_field_is_identity(change):
    assert of({**BODY, **change}) != of(BODY)
    assert identity(Surface.MESSAGES, json.dumps(BODY).encode()) != of(BODY)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":1,"a":1}', b'{"m":[{"b":{"c":1,"c":2}}]}', b'{"a":"x","\\u0061":"y"}', b'{"a": 1, "a": 1.0}'],
)
def test_a_doubled_key_at_any_depth_is_refused(raw):
    with pytest.raises(CallerError, match="more than once"):
        identity(Surface.CHAT, raw)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_the_callers_fault(raw):
    with contextlib.suppress(CallerError):
        identity(Surface.CHAT, raw)


@pytest.mark.parametrize("raw", [b'{"a":1e999}', b'{"a":' + b"[" * 9999 + b"}"])
def test_numbers_and_depth_beyond_all_readers_are_refused(raw):
    with pytest.raises(CallerError):
        identity(Surface.CHAT, raw)


def test_large_whole_numbers_stay_apart():
    assert of({"a": 2**80}) != of({"a": 2**80 + 1})


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_stream_is_stored_whole_and_replays_as_it_was(dialect, newline, streams, as_sse, sdk):
    body = as_sse(streams[dialect], newline)
    whole = collect_stream(dialect, [body[i : i + 37] for i in range(0, len(body), 37)])
    stored = json.loads(whole)
    assert json.loads(collect_stream(dialect, [replay_stream(dialect, whole)])) == stored
    if dialect == "chat":
        message = sdk.chat(whole).choices[0].message
        assert message.content == "Zürich: 天気 ☀"
        assert [call.function.arguments for call in message.tool_calls] == ['{"city":"Zürich"}', '{"zone":"CET"}']
        chunks = sdk.chat_stream(replay_stream("chat", whole))
        assert chunks[-1].usage.prompt_tokens == 50
        assert not any(chunk.usage for chunk in sdk.chat_stream(replay_stream("chat", whole, include_usage=False)))
    if dialect == "messages":
        message = sdk.messages(whole)
        replayed = sdk.messages_stream(replay_stream("messages", whole))[1]
        assert replayed.to_dict(exclude_none=True) == message.to_dict(exclude_none=True)
        assert message.content[0].signature == "EqQB+/=sig"
        assert (message.usage.output_tokens, message.usage.cache_read_input_tokens) == (30, 16)
    if dialect == "responses":
        events = sdk.responses_stream(replay_stream("responses", whole))
        assert events[-1].response.output_text == "Zürich: 天気 ☀"


def test_a_chat_answer_keeps_all_choices_and_unnamed_fields():
    def choice(index, text):
        message = {"role": "assistant", "content": text, "refusal": None, "annotations": [], "new_field": {"a": 1}}
        logprobs = {"content": [{"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": []}], "refusal": None}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": "length"}

    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "fp"}
    whole = {
        **whole,
        "choices": [choice(0, "a"), choice(1, "b")],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    back = json.loads(collect_stream("chat", [replay_stream("chat", json.dumps(whole).encode())]))
    for each in (*whole["choices"], *back["choices"]):
        each["message"] = {key: value for key, value in each["message"].items() if value is not None}
        each["logprobs"] = {key: value for key, value in each["logprobs"].items() if value is not None}
    assert back == whole


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_a_cut_stream_is_not_stored(dialect, streams, as_sse):
    for kept in range(len(streams[dialect])):
        assert collect_stream(dialect, [as_sse(streams[dialect][:kept])]) == b""


@given(st.lists(st.binary(max_size=60), max_size=4))
@settings(max_examples=150, deadline=None)
def test_rubbish_is_not_stored_and_not_replayed(chunks):
    for dialect in ("chat", "messages", "responses"):
        assert collect_stream(dialect, chunks) == b""
        with pytest.raises(UpstreamError):
            replay_stream(dialect, b"".join(chunks))
