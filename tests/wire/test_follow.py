import itertools
import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jevons.core.usage import Usage
from jevons.wire.follow import TAIL_LIMIT, Follower

CHAT_USAGE = Usage(input=34, cached=16, output=30, reasoning=7)
USAGE = {
    "chat": CHAT_USAGE,
    "responses": CHAT_USAGE,
    "messages": Usage(input=20, cached=16, cache_write_5m=4, cache_write_1h=8, output=30),
}


def follow(dialect, pieces, strip=False):
    follower = Follower(dialect, strip)
    out = b"".join(follower.feed(piece) for piece in pieces)
    return out + follower.flush(), follower.finish()


def cut(body, cuts):
    edges = [0, *sorted(cuts), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("dialect", list(USAGE))
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_cutting_gives_the_same_facts_and_bytes(dialect, data, streams, as_sse):
    body = as_sse(streams[dialect], data.draw(st.sampled_from(["\n", "\r\n"])))
    pieces = cut(body, data.draw(st.lists(st.integers(0, len(body)), max_size=9)))
    out, facts = follow(dialect, pieces)
    assert out == body
    assert (facts.usage, facts.done, facts.failed, facts.model) == (USAGE[dialect], True, False, "up")
    assert facts.tier == {"messages": "standard"}.get(dialect, "default")


def test_pieces_are_forwarded_as_the_same_objects(streams, as_sse):
    follower = Follower("chat")
    piece = as_sse(streams["chat"][:1])
    assert follower.feed(piece) is piece


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_stripping_takes_out_the_usage_chunk_and_nothing_else(data, streams, as_sse):
    newline = data.draw(st.sampled_from(["\n", "\r\n"]))
    body = as_sse(streams["chat"], newline)
    wanted = as_sse([e for e in streams["chat"] if e[1] == "[DONE]" or e[1]["choices"]], newline)
    out, facts = follow("chat", cut(body, data.draw(st.lists(st.integers(0, len(body)), max_size=9))), strip=True)
    assert out == wanted
    assert facts.usage == CHAT_USAGE


def test_a_text_that_looks_like_a_usage_chunk_stays(as_sse):
    text = 'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}], "usage": None}
    body = as_sse([[None, chunk], [None, {"choices": [], "prompt_filter_results": []}]])
    assert follow("chat", [body], strip=True)[0] == body


@pytest.mark.parametrize("dialect", list(USAGE))
def test_a_cut_stream_is_not_done(dialect, streams, as_sse):
    whole = streams[dialect]
    for kept in range(len(whole)):
        _, facts = follow(dialect, [as_sse(whole[:kept])])
        assert not facts.done
    half = as_sse(whole)[:-2]  # the end mark itself without its blank line
    assert not follow(dialect, [half])[1].done


def test_a_cut_messages_stream_knows_its_input_and_counts_what_was_written(streams, as_sse):
    _, facts = follow("messages", [as_sse(streams["messages"][:11])])
    assert facts.usage == Usage(input=20, cached=16, cache_write_5m=4, cache_write_1h=8)
    assert facts.output_chars == len("Let me seeZürich: 天気 ☀".encode())


def test_a_cut_chat_stream_counts_what_was_written(streams, as_sse):
    _, facts = follow("chat", [as_sse(streams["chat"][:8])])
    wanted = 'Let me seeZürich: 天気 ☀weather{"city":time{"zone""Zürich"}:"CET"}'
    assert (facts.usage, facts.output_chars) == (None, len(wanted.encode()))


def test_what_a_long_cut_stream_wrote_is_scaled_from_what_was_kept(as_sse):
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "four word here. "}, "finish_reason": None}]}
    pieces = [as_sse([[None, chunk]])] * 4000
    assert sum(map(len, pieces)) > 10 * TAIL_LIMIT
    _, facts = follow("chat", pieces)
    assert facts.output_chars == pytest.approx(16 * 4000, rel=0.02)
    assert facts.events == 4000


def test_a_final_event_far_larger_than_the_tail_is_read_whole(streams, as_sse):
    done = json.loads(json.dumps(streams["responses"][-1]))
    done[1]["response"]["output"][1]["content"][0]["text"] = "x" * 300_000
    body = as_sse([*streams["responses"][:-1], done])
    _, facts = follow("responses", cut(body, range(0, len(body), 1400)))
    assert (facts.usage, facts.done) == (CHAT_USAGE, True)


@pytest.mark.parametrize(
    ("dialect", "event"),
    [
        ("chat", [None, {"error": {"message": "no"}}]),
        ("messages", ["error", {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}]),
        ("responses", ["error", {"type": "error", "message": "no"}]),
    ],
)
def test_an_error_event_is_a_failure_and_no_end(dialect, event, streams, as_sse):
    _, facts = follow(dialect, [as_sse([*streams[dialect][:3], event])])
    assert (facts.failed, facts.done) == (True, False)


@given(st.lists(st.binary(max_size=80), max_size=8), st.sampled_from(list(USAGE)), st.booleans())
@settings(max_examples=200, deadline=None)
def test_rubbish_passes_through_and_is_never_done(pieces, dialect, strip):
    whole = b"".join(pieces)
    assume(not any(end in whole for end in (b"[DONE]", b"message_stop", b"response.")))  # drawn by chance
    out, facts = follow(dialect, pieces, strip)
    assert out == whole
    assert not facts.done
