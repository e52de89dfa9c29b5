import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.call import Surface
from jevons.core.errors import CallerError
from jevons.wire.peek import peek
from jevons.wire.splice import ask_usage, splice_field, splice_model

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.just("model"), inner, max_size=4)
    ),
    max_leaves=12,
)
LAYOUTS = [
    {"separators": (",", ":")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {},
    {"indent": 2},
    {"indent": "\t", "ensure_ascii": False},
]


@st.composite
def bodies(draw):
    """A body whose model may stand anywhere, in any layout, among fields that hold the word too."""
    model = draw(st.text(min_size=1, max_size=12))
    rest = draw(st.dictionaries(st.text(max_size=8).map(lambda key: f"x_{key}"), JSON, max_size=5))
    items = [*rest.items(), ("messages", [{"role": "user", "content": draw(JSON), "model": "inner"}]), ("model", model)]
    body = dict(draw(st.permutations(items)))
    text = json.dumps(body, **draw(st.sampled_from(LAYOUTS)))
    return model, body, (draw(st.sampled_from(["", " ", "\n"])) + text + draw(st.sampled_from(["", "\n"]))).encode()


@given(bodies())
@settings(max_examples=300, deadline=None)
def test_the_span_is_the_top_level_model(found):
    model, body, raw = found
    peeked = peek(Surface.CHAT, raw)
    start, end = peeked.model_span
    assert peeked.model == model
    assert json.loads(raw[start:end]) == model
    changed = splice_model(raw, peeked.model_span, 'new "名"')
    assert changed[:start] == raw[:start]
    assert changed.endswith(raw[end:])
    assert json.loads(changed) == {**body, "model": 'new "名"'}


@given(bodies(), JSON)
@settings(max_examples=100, deadline=None)
def test_a_field_is_set_and_no_other_changes(found, value):
    _, body, raw = found
    assert json.loads(splice_field(raw, "service_tier", json.dumps(value).encode())) == {**body, "service_tier": value}
    assert json.loads(splice_field(raw, "model", b'"x"')) == {**body, "model": "x"}
    assert json.loads(ask_usage(raw)) == {**body, "stream_options": {"include_usage": True}}
    assert json.loads(ask_usage(raw, absent=True)) == {**body, "stream_options": {"include_usage": True}}


def test_usage_is_asked_beside_other_options():
    body = b'{"stream_options": {"include_obfuscation": false}, "model": "m"}'
    assert json.loads(ask_usage(body))["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert json.loads(ask_usage(b'{"stream_options":null}')) == {"stream_options": {"include_usage": True}}
    assert splice_field(b"{}", "a", b"1") == b'{"a":1}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b'{"model":"m","messages":[', "byte 25"),
        (b'{"model":"m","messages":[],}', "byte 27"),
        (b"[1]", "one JSON object"),
        (b'{"messages":[]}', "no `model`"),
        (b'{"model":"","messages":[]}', "empty"),
        (b'{"model":7,"messages":[]}', "`model`"),
        (b'{"model":"m"}', "no `messages`"),
        (b'{"model":"m","messages":{}}', "must be an array"),
        (b'{"model":"m","messages":[],"stream":"yes"}', "`stream`"),
        (b'{"model":"m","messages":[],"temperature":"warm"}', "`temperature`"),
        (b'{"model":"m","messages":[],"max_tokens":-1}', "negative"),
        (b'{"model":"m","messages":[],"n":0}', "`n`"),
        (b'{"model":"m","messages":[],"model":"m"}', "'model' more than once"),
        (b'{"model":"m","messages":[],"mod\\u0065l":"m"}', "'model' more than once"),
        (b'{"model": "m", "messages": [], "a": 1, "a": 12}', "'a' more than once"),
        (b'{"model":"m","messages":["\xff"]}', "UTF-8 at byte 26"),
        (b'{"model":"m","messages":' + b"[" * 5000 + b"]" * 5000 + b"}", "deep"),
    ],
)
def test_bad_input_is_said_with_its_place(body, said):
    with pytest.raises(CallerError, match=said):
        peek(Surface.CHAT, body)


def test_the_fields_of_each_surface_are_read():
    chat = peek(
        Surface.CHAT,
        b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true},"temperature":0,'
        b'"max_completion_tokens":9,"tools":[{"x":1}],"metadata":{"task":"t"},"n":2,"seed":3,"service_tier":"flex"}',
    )
    assert (chat.stream, chat.include_usage, chat.temperature, chat.max_tokens) == (True, True, 0.0, 9)
    assert (chat.has_tools, chat.metadata, chat.n, chat.seed, chat.service_tier) == (True, {"task": "t"}, 2, 3, "flex")
    assert peek(Surface.RESPONSES, b'{"model":"m","max_output_tokens":4,"store":false}').max_tokens == 4
    assert peek(Surface.EMBEDDINGS, b'{"model":"m","input":"a"}').model == "m"
    with pytest.raises(CallerError, match="`input` must be a string or an array"):
        peek(Surface.EMBEDDINGS, b'{"model":"m","input":3}')


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_arbitrary_bytes_are_the_callers_fault(raw):
    for surface in Surface:
        with contextlib.suppress(CallerError):
            peek(surface, raw)
