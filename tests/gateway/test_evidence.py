"""What two answers to one call prove, by what is at hand."""

import json

import pytest

from jevons.core.ask import Sent, Shadow, Stored
from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.route import Provider, Route
from jevons.gateway.evidence import weigh
from jevons.gateway.shadows import Done
from jevons.ledger.operation import Attempt
from jevons.levers.route.promotion import Terms, start
from jevons.levers.route.promotion_lever import Check

ROUTE = Route(provider=Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1"), upstream_model="small")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "why": {"type": "string"}}, "required": ["n"]}


def chat(text, stop="stop", **message):
    said = {"role": "assistant", "content": text, **message}
    return json.dumps({"object": "chat.completion", "choices": [{"message": said, "finish_reason": stop}]}).encode()


def messages(text):
    content = [{"type": "text", "text": text}]
    return json.dumps({"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}).encode()


def done(served, beside, *, serving=False, schema=None, source="chat", error="", status=200, cost=7):
    asked = {"model": "large", "messages": [{"role": "user", "content": "Hi"}]}
    if schema is not None:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = json.dumps(asked).encode()
    call = Call(
        operation="o",
        surface=Surface.CHAT,
        caller=Caller(key_id="k"),
        peek=Peek(model="large"),
        body=body,
        headers={},
        at=0.0,
    )
    stored = Stored(status=200, body=served, content_type="", model="m", usage=None, cost_nano=0, operation="o", at=0.0)
    check = Check(start("site", "large", "small", Terms(), 0.0), serving, stored)
    return Done(
        ask=Shadow(lever="route", route=ROUTE, surface="chat", body=body, about=check),
        call=call,
        operation=None,
        sent=Sent(route=ROUTE, status=status, body=beside, error=error),
        source=source,
        attempt=Attempt(provider="p", model="small", cost_nano=cost),
    )


def gain(*arguments, evidence="equal", **options):
    pair = weigh(done(*arguments, **options), evidence)
    return None if pair.new is None or pair.old is None else pair.new - pair.old


def test_equal_words_are_a_tie_in_any_dialect():
    assert gain(chat("Forty-two."), chat(' "forty-two" ')) == 0
    assert gain(chat("Forty-two."), messages("forty-two"), source="messages") == 0
    assert weigh(done(chat("a"), chat("a")), "equal").cost_nano == 7


def test_what_differs_counts_against_the_candidate_whoever_served():
    assert gain(chat("yes"), chat("no")) == -1
    assert gain(chat("yes"), chat("no"), serving=True) == -1


def test_equal_values_are_equal_json():
    assert gain(chat('{"n": 1, "why": "x"}'), chat('{"why":"x","n":1}'), schema=SCHEMA) == 0


@pytest.mark.parametrize(("evidence", "expected"), [("equal", -1), ("schema", 0)])
def test_valid_json_of_other_content_is_as_good_only_where_the_plan_says_so(evidence, expected):
    other = chat('{"n": 2}')
    assert gain(chat('{"n": 1}'), other, schema=SCHEMA, evidence=evidence) == expected


@pytest.mark.parametrize("evidence", ["equal", "schema"])
def test_json_that_does_not_fit_is_a_loss_and_a_gain_where_the_incumbent_s_does_not(evidence):
    good, bad = chat('{"n": 1}'), chat('{"n": "one"}')
    assert gain(good, bad, schema=SCHEMA, evidence=evidence) == -1
    assert gain(bad, good, schema=SCHEMA, evidence=evidence) == 1


@pytest.mark.parametrize("options", [{"error": "timeout"}, {"status": 500}, {"status": 404}, {"status": 400}], ids=str)
def test_a_candidate_that_gave_nothing_has_lost_and_an_incumbent_that_gave_nothing_proves_nothing(options):
    lost = weigh(done(chat("yes"), b"", **options), "equal")
    assert (lost.failed, lost.new) == (True, 0.0)
    assert gain(chat("yes"), b"", serving=True, **options) is None


def test_rubbish_refusals_and_another_kind_of_answer_are_failures():
    function = {"name": "look", "arguments": "{}"}
    call = chat("", "tool_calls", tool_calls=[{"id": "c", "type": "function", "function": function}])
    for beside in (b"<html>", chat("I can't.", refusal="I can't."), chat("", "content_filter"), chat("")):
        assert weigh(done(chat("yes"), beside), "equal").failed
    assert weigh(done(call, chat("words")), "equal").failed
    assert gain(call, call) == 0
