"""Mutated requests, replies and streams: every decoder answers, or says whose fault it is. Never another exception."""

import contextlib
import copy
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import CallerError, UpstreamError
from jevons.wire.cacheable import collect_stream
from jevons.wire.translate import Translator, translate_reply, translate_request

DIALECTS = ("chat", "messages", "responses")
PAIRS = list(itertools.permutations(DIALECTS, 2))
JUNK = st.sampled_from(
    [None, True, -1, 2**70, 0.5, "", "x", "\ud7ff", [], [1], ["a"], [None], {}, {"type": "text"}, {"type": 3}, [[]]]
)


def paths(value, at=()):
    yield at
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*at, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from paths(each, (*at, number))


def mutated(draw, value):
    """One to three places of a document replaced by junk, or dropped."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = [path for path in paths(value) if path]
        if not places:
            break
        path = draw(st.sampled_from(places))
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        if draw(st.booleans()):
            holder[path[-1]] = copy.deepcopy(draw(JUNK))
        else:
            del holder[path[-1]]
    return value


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_mutated_requests(source, target, data, requests_):
    body = json.dumps(mutated(data.draw, requests_[source])).encode()
    if data.draw(st.integers(0, 4)) == 0:
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + 1 :]
    with contextlib.suppress(CallerError):
        out, _ = translate_request(source, target, body, "m")
        json.loads(out)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_mutated_replies(source, target, data, streams, as_sse):
    whole = json.loads(collect_stream(source, [as_sse(streams[source])]))
    with contextlib.suppress(UpstreamError):
        json.loads(translate_reply(source, target, json.dumps(mutated(data.draw, whole)).encode(), "m"))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_mutated_streams(source, target, data, streams, as_sse):
    events = mutated(data.draw, [event[1] for event in streams[source]])
    body = as_sse([[None, event if isinstance(event, str) else json.dumps(event)] for event in events])
    translator = Translator(source, target, "m")
    out = b"".join(translator.feed(body[i : i + 50]) for i in range(0, len(body), 50))
    for line in out.decode().split("\n"):
        if line.startswith("data: ") and line != "data: [DONE]":
            json.loads(line[6:])
    collect_stream(source, [body])
    collect_stream(target, [out])
