"""A ladder as the pipeline climbs it: what is asked, what stands, what is booked, over a made-up provider."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from jevons.core.ask import Send, Sent
from jevons.core.call import Call, Caller, Surface
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.governor import Decision
from jevons.levers.lever import Effect, View
from jevons.pipeline.retry import RetryPolicy
from jevons.pipeline.run import House, run
from jevons.plans.plan import NO_PLAN
from jevons.prices.cost import Priced
from jevons.replay.drive import Driver
from jevons.wire.peek import peek

CHAT = Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1")
CLAUDE = Provider(name="q", dialect="anthropic", base_url="http://127.0.0.1:1", surfaces=("messages",))
SMALL, MIDDLE, LARGE = (Route(provider=CHAT, upstream_model=name) for name in ("small", "middle", "large"))
SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
NANO = {"small": 10, "middle": 40, "large": 100, "claude": 5}


def chat(text: str, **message: Any) -> bytes:
    said = {"role": "assistant", "content": text, **message}
    stop = "tool_calls" if "tool_calls" in message else "stop"
    return json.dumps({"object": "chat.completion", "choices": [{"message": said, "finish_reason": stop}]}).encode()


def play(
    answers: dict[str, bytes | Sent | Callable[[Send], Sent]],
    effect: Effect,
    routes: tuple[Route, ...] = (LARGE,),
    **fields: Any,
) -> tuple[Driver, list[Send]]:
    """Drive one call. `answers`: by model, a body, or what is said of the attempt."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    asked = {"model": "large", "messages": [{"role": "user", "content": "Hi"}], "response_format": form, **fields}
    body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
    call = Call(
        operation="op",
        surface=Surface.CHAT,
        caller=Caller(key_id="k"),
        peek=peek(Surface.CHAT, body),
        body=body,
        headers={},
        at=1.0,
    )
    sends: list[Send] = []

    def burn(ask: Send) -> Sent:
        sends.append(ask)
        answer = answers[ask.route.upstream_model]
        if isinstance(answer, Sent):
            return msgspec.structs.replace(answer, route=ask.route)
        if callable(answer):
            return answer(ask)
        return Sent(route=ask.route, status=200, body=answer, usage=Usage(input=1, output=1))

    def price(route: Route, *_: Any) -> Priced:
        return Priced(NANO[route.upstream_model], "book")

    house = House(
        levers=(),
        choose=lambda *_: Decision(effect=effect),
        price=price,
        retry=RetryPolicy(attempts=2, base_s=0.0),
        clock=lambda: 1.0,
        dice=iter(lambda: 0.5, None),
    )
    driver = Driver(burn)
    driver.run(run(call, View(now=1.0, allowed={}, routes=routes, plan=NO_PLAN), house))
    return driver, sends


def told(driver: Driver) -> str:
    return json.loads(driver.relayed[-1].body)["choices"][0]["message"]["content"]


def spent(driver: Driver) -> list[tuple[str, int]]:
    return [(attempt.model, attempt.cost_nano) for attempt in driver.operations[-1].attempts]


LADDER = Effect(ladder=(SMALL, LARGE), reach=(1.0, 0.5))
GOOD, BAD = chat('{"a": 1}'), chat('{"a": "one"}')


def test_a_cheap_answer_that_fits_the_schema_stands() -> None:
    driver, sends = play({"small": GOOD, "large": chat("never")}, LADDER)
    assert [ask.route for ask in sends] == [SMALL]
    assert told(driver) == '{"a": 1}'
    assert dict(driver.relayed[-1].headers)["x-jevons-model"] == "small"
    assert driver.operations[-1].served_model == "small"


@pytest.mark.parametrize("bad", [BAD, chat("no JSON"), chat('{"b": 1}'), b"{}"])
def test_one_that_does_not_is_escalated_and_both_rungs_are_booked(bad: bytes) -> None:
    driver, sends = play({"small": bad, "large": GOOD}, LADDER)
    assert [ask.route for ask in sends] == [SMALL, LARGE]
    assert spent(driver) == [("small", 10), ("large", 100)]
    assert driver.operations[-1].cost_nano == 110
    assert "x-jevons-model" not in dict(driver.relayed[-1].headers)


@pytest.mark.parametrize(
    "failure",
    [
        Sent(route=SMALL, status=0, error="timeout"),
        Sent(route=SMALL, status=0, error="connect"),
        Sent(route=SMALL, status=404, body=b"{}"),
        Sent(route=SMALL, status=400, body=b"{}"),
        Sent(route=SMALL, status=0, error="open"),
    ],
)
@pytest.mark.parametrize("effect", [LADDER, Effect(route=SMALL)])
def test_a_rung_that_fails_in_any_way_is_passed_by(failure: Sent, effect: Effect) -> None:
    driver, sends = play({"small": failure, "large": GOOD}, effect)
    assert [ask.route for ask in sends] == [SMALL, LARGE]
    assert driver.relayed[-1].status == 200
    assert told(driver) == '{"a": 1}'


def test_a_promoted_model_is_not_checked() -> None:
    driver, sends = play({"small": BAD}, Effect(route=SMALL))
    assert [(ask.route, ask.hold) for ask in sends] == [(SMALL, False)]
    assert told(driver) == '{"a": "one"}'


def test_a_model_that_cannot_carry_the_call_is_not_asked() -> None:
    images = Provider(name="e", dialect="openai", base_url="http://127.0.0.1:1", surfaces=("embeddings",))
    _, sends = play({"large": GOOD}, Effect(route=Route(provider=images, upstream_model="small")))
    assert [ask.route for ask in sends] == [LARGE]


def test_the_incumbent_keeps_its_retries_at_the_top_of_a_ladder() -> None:
    state = {"tries": 0}

    def flaky(ask: Send) -> Sent:
        state["tries"] += 1
        if state["tries"] == 1:
            return Sent(route=ask.route, status=503, body=b"{}")
        return Sent(route=ask.route, status=200, body=GOOD, usage=Usage(input=1, output=1))

    driver, sends = play({"small": BAD, "large": flaky}, LADDER)
    assert [ask.route for ask in sends] == [SMALL, LARGE, LARGE]
    assert driver.relayed[-1].status == 200


def test_a_last_rung_that_is_not_the_incumbent_falls_back_to_it() -> None:
    effect = Effect(ladder=(SMALL, MIDDLE))
    driver, sends = play({"small": BAD, "middle": Sent(route=MIDDLE, status=500), "large": GOOD}, effect)
    assert [ask.route for ask in sends] == [SMALL, MIDDLE, LARGE]
    assert told(driver) == '{"a": 1}'


@pytest.mark.parametrize(("stop", "models"), [(49, ["small", "middle"]), (50, ["small", "middle", "large"])])
def test_the_last_climb_is_left_out_past_the_stop(stop: int, models: list[str]) -> None:
    effect = Effect(ladder=(SMALL, MIDDLE, LARGE), stop_nano=stop)
    driver, sends = play({"small": BAD, "middle": BAD, "large": GOOD}, effect)
    assert [ask.route.upstream_model for ask in sends] == models
    assert driver.relayed[-1].status == 200


def test_only_checked_rungs_of_a_stream_are_held_and_the_caller_still_gets_a_stream() -> None:
    driver, sends = play({"small": GOOD, "large": GOOD}, LADDER, stream=True)
    assert [(ask.hold, ask.stream) for ask in sends] == [(True, True)]
    relay = driver.relayed[-1]
    assert relay.content_type == "text/event-stream"
    assert relay.body.rstrip().endswith(b"[DONE]")
    _, sends = play({"small": BAD, "large": GOOD}, LADDER, stream=True)
    assert [ask.hold for ask in sends] == [True, False]


def test_an_answer_in_another_dialect_is_checked_in_its_own_and_told_in_the_caller_s() -> None:
    route = Route(provider=CLAUDE, upstream_model="claude")
    text = json.dumps(
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": '{"a": 3}'}]}
        | {"stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    ).encode()
    driver, _ = play({"claude": text}, Effect(ladder=(route, LARGE)))
    assert told(driver) == '{"a": 3}'


def call_of(name: str, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments}
    return chat("", tool_calls=[{"id": "c", "type": "function", "function": function}])


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        (call_of("look", '{"a": 1}'), True),
        (call_of("look", '{"a": "x"}'), False),
        (call_of("look", "{"), False),
        (call_of("other", '{"a": 1}'), False),
        (chat("just words"), True),
        (chat("  "), False),
    ],
)
def test_tool_calls_are_checked_by_their_schemas_and_words_only_by_the_trail(answer: bytes, stands: bool) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]
    _, sends = play({"small": answer, "large": GOOD}, LADDER, tools=tools, response_format=None)
    assert len(sends) == (1 if stands else 2)


def test_a_loop_of_one_tool_call_is_escalated() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]
    function = {"name": "look", "arguments": '{"a": 1}'}
    said = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    messages = [{"role": "user", "content": "Hi"}]
    messages += [said, {"role": "tool", "tool_call_id": "c", "content": "nothing"}] * 2
    answers = {"small": call_of("look", '{"a": 1}'), "large": GOOD}
    _, sends = play(answers, LADDER, tools=tools, response_format=None, messages=messages)
    assert len(sends) == 2
