"""The lever: which calls qualify, what partitions them, and its talk with the host across the worker's seam."""

import random
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from jevons.core.ask import Find, Keep, Stored
from jevons.core.call import Call, Caller, Peek, Surface
from jevons.levers.cache.semantic.host import Host, answer_text, canonical
from jevons.levers.cache.semantic.lever import STORE, SemanticCache, keepable
from jevons.levers.cache.semantic.question import Question, ask, read_question
from jevons.levers.lever import Outcome, Risk, View

ASKED = {
    "model": "gpt-x",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
}


def call(body=ASKED, *, tenant="t", surface=Surface.CHAT, operation="op", headers=None, **peek):
    return Call(
        operation=operation,
        surface=surface,
        caller=Caller(key_id="k", tenant=tenant),
        peek=Peek(model=body["model"], **peek),
        body=msgspec.json.encode(body),
        headers=headers or {},
        at=0.0,
    )


def view(floor=0.99, allowed=Risk.LOSSY):
    return View(now=0.0, allowed={"semantic": allowed}, quality_floor=floor)


def answer(text, stop="stop", operation="first", **message):
    body = {"choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": stop}]}
    return Stored(
        status=200,
        body=msgspec.json.encode(body),
        content_type="application/json",
        model="gpt-x",
        usage=None,
        cost_nano=None,
        operation=operation,
        at=0.0,
        dialect="chat",
    )


def offer(one, seen, stored=None):
    """Drive the generator: (the ask or None, the offers)."""
    talk = SemanticCache().offer(one, seen)
    try:
        asked = next(talk)
    except StopIteration as stop:
        return None, stop.value
    with pytest.raises(StopIteration) as stop:
        talk.send(stored)
    return asked, stop.value.value


def namespace(body=ASKED, routes=("p/m",), **more):
    question = ask(call(body, **more), routes, 0.01, "request")
    return question.namespace


def test_a_found_answer_is_offered_as_lossy_with_the_plans_own_level():
    seen = view(floor=0.98)
    asked, (one,) = offer(call(), seen, answer("Because."))
    assert isinstance(asked, Find)
    assert (asked.store, asked.tenant) == (STORE, "t")
    assert read_question(asked.key).text == "Why?"
    assert (one.risk, one.loss, one.effect.reply) == (Risk.LOSSY, 0.02, answer("Because."))
    assert seen.cache == "semantic"


@pytest.mark.parametrize(
    ("one", "seen"),
    [
        (call(), view(floor=1.0)),
        (call(), view(allowed=Risk.EQUIVALENT)),
        (call(headers={"x-jevons-cache": "off"}), view()),
        (call(surface=Surface.RESPONSES), view()),
        (call(n=2), view()),
        (call({"model": "m", "messages": []}), view()),
        (call({"model": "m", "messages": [{"role": "assistant", "content": "Why?"}]}), view()),
        (call({"model": "m", "messages": [{"role": "tool", "content": "42", "tool_call_id": "c"}]}), view()),
        (call({"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}), view()),
        (
            call({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
            view(),
        ),
    ],
)
def test_a_call_that_does_not_qualify_asks_nothing(one, seen):
    assert offer(one, seen) == (None, ())
    assert seen.notes == {}


def test_only_the_last_question_may_differ_within_a_namespace():
    home = namespace()
    other_question = {**ASKED, "messages": [ASKED["messages"][0], {"role": "user", "content": "How?"}]}
    assert namespace(other_question) == home
    assert namespace({**ASKED, "stream": True}) == home
    history = [ASKED["messages"][0], {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    others = [
        namespace(tenant="u"),
        namespace({**ASKED, "model": "gpt-y"}),
        namespace({**ASKED, "messages": [{"role": "system", "content": "Be long."}, ASKED["messages"][1]]}),
        namespace({**ASKED, "tools": [{"type": "function", "function": {"name": "f"}}]}),
        namespace({**ASKED, "temperature": 0.5}),
        namespace({**ASKED, "messages": [*history, ASKED["messages"][1]]}),
        namespace(routes=("p/other",)),
        namespace(surface=Surface.MESSAGES),
    ]
    assert len({home, *others}) == len(others) + 1


def test_a_fresh_answer_goes_to_the_worker_and_a_served_one_does_not():
    lever, seen, one = SemanticCache(), view(), call()
    asked, _ = offer(one, seen)
    fresh = Outcome(call=one, chosen=(), usage=None, cost_nano=None, reply=answer("Because."), notes=seen.notes)
    (kept,) = lever.learn(fresh)
    assert isinstance(kept, Keep)
    assert (kept.key, kept.stored) == (asked.key, answer("Because."))
    seen = view()
    _, offers = offer(one, seen, answer("Because."))
    served = Outcome(call=one, chosen=tuple(offers), usage=None, cost_nano=None, notes=seen.notes)
    assert lever.learn(served) == ()
    failed = Outcome(call=one, chosen=(), usage=None, cost_nano=None, reply=None, notes=seen.notes)
    assert lever.learn(failed)[0].stored is None


def test_an_answer_that_calls_a_tool_or_was_cut_is_not_kept():
    assert keepable(answer("Because.")) is not None
    assert keepable(answer(None, stop="tool_calls")) is None
    assert keepable(answer("Beca", stop="length")) is None
    assert keepable(None) is None


def test_the_gateways_side_loads_no_numpy():
    code = "import sys, jevons.levers.cache.semantic.lever; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def embed(texts):
    rows = np.array([[text.count(letter) + 0.01 for letter in "abcdefghijklmnop"] for text in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def key(operation, text, tenant="t"):
    return Question(operation=operation, tenant=tenant, namespace="n", text=text, level=0.05, unit="request").key()


def test_the_host_serves_a_repeat_keeps_tenants_apart_and_forgets_what_was_wrong():
    host = Host(embed, embed, random.Random(0), {})
    assert host.find(key("one", "why is it so")) is None
    learned = host.keep(key("one", "why is it so"), answer("Because."))
    assert learned is not None
    assert learned.kept is not None
    assert learned.kept.ref == "one"
    assert host.find(key("two", "why is it so")) == answer("Because.")
    assert host.find(key("three", "why is it so", tenant="u")) is None
    assert len(host.scopes()) == 2
    assert host.wrong("two") == ("why is it so",)
    assert host.find(key("four", "why is it so")) is None
    assert host.keep(key("four", "why is it so"), None) is None


def test_an_answer_whose_time_is_up_is_a_miss_and_is_kept_anew():
    answers = {}
    host = Host(embed, embed, random.Random(0), answers)
    host.find(key("one", "why is it so"))
    host.keep(key("one", "why is it so"), answer("Because."))
    answers.clear()
    assert host.find(key("two", "why is it so")) is None
    assert host.keep(key("two", "why is it so"), answer("Why not.")) is not None
    assert host.find(key("three", "why is it so")) == answer("Why not.")


def test_two_answers_are_one_when_only_their_form_differs():
    assert canonical(answer('{"a": 1, "b": 2}')) == canonical(answer('{"b":2,"a":1}'))
    assert canonical(answer("It is  Paris.")) == canonical(answer("it is paris"))
    assert canonical(answer("Paris")) != canonical(answer("Rome"))
    message = msgspec.structs.replace(
        answer(""), dialect="messages", body=b'{"content":[{"type":"text","text":"Hi"},{"type":"text","text":"!"}]}'
    )
    assert answer_text(message) == "Hi!"
    assert answer_text(msgspec.structs.replace(answer(""), body=b"rubbish")) == "rubbish"
