"""The breakpoints lever on whole calls: what it offers, what it leaves alone, what it remembers."""

from typing import Any

import msgspec
import pytest

from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.levers.cache.breakpoints import Breakpoints, Lookup, cache_key, lifetime, session_key
from jevons.levers.cache.pauses import Pace
from jevons.levers.cache.session import Session, Standing, advance, prompt_estimate, standing
from jevons.levers.lever import Offer, Outcome, Risk, View
from jevons.prices import terms
from jevons.prices.prefix import Rates

RATES = Rates(input=3000, cached=300, cache_write_5m=3750, cache_write_1h=6000, output=15000)
ENTRIES = {entry.provider: entry for entry in terms.load() if entry.models == ("",)}
PAUSING = dict.fromkeys(("main", "small", "sub"), (10**9, 10**9))
STEADY = dict.fromkeys(("main", "small", "sub"), (10**9, 0))


def route(provider: str) -> Route:
    return Route(provider=Provider(name=provider, dialect="x", base_url=""), upstream_model="m")


def lever(table: dict[str, tuple[int, int]]) -> Breakpoints:
    lookup = Lookup(terms=lambda way, _at: ENTRIES.get(way.provider.name), rates=lambda *_: RATES)
    return Breakpoints(lookup, lambda _site: table)


def call(
    body: dict[str, Any], surface: Surface = Surface.MESSAGES, task: str = "t", parent: str = "", key: str = ""
) -> Call:
    return Call(
        operation="op",
        surface=surface,
        caller=Caller(key_id="k", tenant="acme"),
        peek=Peek(model="m", prompt_cache_key=key),
        body=msgspec.json.encode(body),
        headers={},
        at=1000.0,
        task=TaskRef(task=task, parent=parent),
    )


def view(provider: str = "anthropic", session: Session | None = None, now: float = 1000.0) -> View:
    return View(now=now, allowed={"breakpoints": Risk.EXACT}, routes=(route(provider),), session=session)


def offers(table: dict[str, tuple[int, int]], asked: Call, seen: View) -> list[Offer]:
    generator = lever(table).offer(asked, seen)
    with pytest.raises(StopIteration) as end:
        next(generator)
    return list(end.value.value)


def talk(turns: int, mark: dict[str, str] | None = None, system: Any = "s" * 20_000) -> dict[str, Any]:
    messages = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": [{"type": "text", "text": "word " * 200}]}
        for i in range(turns)
    ]
    if mark is not None:
        messages[-1]["content"][-1]["cache_control"] = mark  # type: ignore[index]
    return {"model": "m", "system": system, "messages": messages}


def test_breakpoints_are_placed_on_the_system_and_the_last_two_turns() -> None:
    (offer,) = offers(STEADY, call(talk(3)), view())
    assert offer.effect.breakpoints == ((0, "5m"), (2, "5m"), (3, "5m"))
    assert offer.risk is Risk.EXACT


def test_a_session_that_pauses_gets_an_hour() -> None:
    (offer,) = offers(PAUSING, call(talk(3)), view())
    assert offer.effect.breakpoints == ((0, "1h"), (2, "1h"), (3, "1h"))


def test_a_system_of_nothing_is_no_turn() -> None:
    for empty in ("", [], None):
        body = talk(3, system=empty)
        body["messages"][0]["content"][0]["text"] = "x" * 30_000
        (offer,) = offers(STEADY, call(body), view())
        assert offer.effect.breakpoints == ((1, "5m"), (2, "5m"))


def test_a_prompt_below_the_minimum_is_left_alone() -> None:
    assert offers(PAUSING, call(talk(1, system="short")), view()) == []


def test_a_client_that_says_its_lifetimes_is_respected() -> None:
    assert offers(PAUSING, call(talk(3, mark={"type": "ephemeral", "ttl": "5m"})), view()) == []


def test_the_clients_own_places_are_kept_and_only_live_longer() -> None:
    asked = call(talk(3, mark={"type": "ephemeral"}))
    (offer,) = offers(PAUSING, asked, view())
    assert offer.effect.breakpoints == ((3, "1h"),)
    assert offers(STEADY, asked, view()) == []


@pytest.mark.parametrize("where", ["tools", "top", "inside"])
def test_marks_that_cannot_all_be_changed_are_all_left(where: str) -> None:
    body = talk(3, mark={"type": "ephemeral"})
    if where == "tools":
        body["tools"] = [{"name": "t", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]
    elif where == "top":
        body["cache_control"] = {"type": "ephemeral"}
    else:
        block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        body["messages"][0]["content"] = [block, {"type": "text", "text": "b"}]
    assert offers(PAUSING, call(body), view()) == []


def test_hours_stay_in_front_of_minutes_and_there_are_never_more_than_four() -> None:
    held = Session(
        pace=Pace(calls=30, first_tokens=20_000), at=900.0, prompt=5200, body_bytes=20_000,
        hour=3000, held=5000, hour_turn=5, held_turn=20,
    )  # fmt: skip
    (offer,) = offers(STEADY, call(talk(40)), view(session=held))
    marks = offer.effect.breakpoints
    assert marks == ((5, "1h"), (20, "5m"), (39, "5m"), (40, "5m"))
    lives = [ttl for _, ttl in marks]
    assert lives == sorted(lives)  # "1h" before "5m"


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        [{"type": "redacted_thinking", "data": "x"}],
        [{"type": "text", "text": " "}],
        "",
        [],
        None,
    ],
)
def test_a_breakpoint_is_never_put_where_the_provider_refuses_one(content: Any) -> None:
    body = talk(3)
    body["messages"][1]["content"] = content
    (offer,) = offers(STEADY, call(body), view())
    assert offer.effect.breakpoints == ((0, "5m"), (3, "5m"))


@pytest.mark.parametrize("body", [{"messages": "no list"}, {"messages": [1, 2], "system": "s" * 9000}, {"tools": 3}])
def test_a_body_that_is_no_request_is_left_alone(body: dict[str, Any]) -> None:
    assert all(turn == 0 for o in offers(STEADY, call(body), view()) for turn, _ in o.effect.breakpoints)


def test_an_hour_is_not_bought_again_over_what_is_held_for_minutes() -> None:
    """80% bridged: worth it for new tokens alone, not when 50,000 held ones would be written again."""
    assert lifetime(RATES, Standing(1000, 0, 0), 800_000) == "1h"
    assert lifetime(RATES, Standing(51_000, 0, 50_000), 800_000) == "5m"


def test_a_cache_key_is_sticky_for_a_task_and_unlike_for_tenants_and_arms() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 9000}]}
    (first,) = offers(STEADY, call(body, Surface.CHAT), view("openai"))
    (second,) = offers(STEADY, call(body, Surface.CHAT), view("openai"))
    assert first.effect.cache_key == second.effect.cache_key != ""
    keys = {cache_key(t, k, a) for t in ("a", "b") for k in ("1", "2") for a in ("", "hold-out")}
    assert len(keys) == 8
    assert cache_key("ab", "c", "") != cache_key("a", "bc", "")


def test_a_clients_own_cache_key_is_respected() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 9000}]}
    assert offers(STEADY, call(body, Surface.CHAT, key="mine"), view("openai")) == []


def test_tools_in_one_order_are_offered_once_they_were_shuffled() -> None:
    tools = [{"name": name, "input_schema": {}} for name in "abc"]
    first, second = {**talk(3), "tools": tools}, {**talk(3), "tools": tools[::-1]}
    session = None
    for body, expected in ((first, []), (first, []), (second, []), (first, [Risk.EQUIVALENT])):
        seen = view(session=session)
        found = [offer for offer in offers(STEADY, call(body), seen) if offer.effect.stable_tools]
        assert [offer.risk for offer in found] == expected
        assert all(offer.effect.regained_tokens > 0 for offer in found)
        session = learned(call(body), seen, Usage(cache_write_5m=6000))


def learned(asked: Call, seen: View, usage: Usage) -> Session:
    outcome = Outcome(call=asked, chosen=(), usage=usage, cost_nano=1, notes=seen.notes)
    (change,) = lever(STEADY).learn(outcome)
    assert change.key == session_key(asked)
    value = change.value
    assert isinstance(value, Session)
    return value


def test_a_reply_moves_the_session_on() -> None:
    session = advance(None, 0.0, Usage(cache_write_1h=1000, input=10, output=50), turn=2)
    assert (session.hour, session.held, session.hour_turn) == (1000, 1000, 2)
    session = advance(session, 100.0, Usage(cached=1000, cache_write_5m=200, output=50), turn=4)
    assert (session.hour, session.held, session.hour_turn, session.held_turn) == (1000, 1200, 2, 4)
    assert standing(session, 300.0, 1300) == Standing(1300, 1000, 1200)
    assert standing(session, 900.0, 1300) == Standing(1300, 1000, 1000)
    assert standing(session, 9000.0, 1300) == Standing(1300, 0, 0)
    assert standing(session, 300.0, 1300, kept=700) == Standing(1300, 700, 700)


def test_the_error_of_the_belief_is_counted_and_an_automatic_cache_is_trusted_as_it_deserves() -> None:
    session = advance(None, 0.0, Usage(input=2000), automatic=True)
    assert standing(session, 100.0, 2500).held == 2000
    session = advance(session, 100.0, Usage(input=500, cached=2000), automatic=True)
    assert (session.error, session.luck) == (0.0, 1.0)
    session = advance(session, 200.0, Usage(input=2500), automatic=True)
    assert session.error == pytest.approx(2500 / 4500)
    assert 0.5 < session.luck < 1.0


def test_what_lives_for_hours_is_believed_for_hours() -> None:
    session = advance(None, 0.0, Usage(input=2000), automatic=True, life_s=7200.0)
    assert standing(session, 7000.0, 2500).held == 2000
    assert standing(session, 7300.0, 2500).held == 0


def test_a_day_later_nothing_of_an_hour_is_believed() -> None:
    session = advance(None, 0.0, Usage(cache_write_1h=1000), turn=2)
    session = advance(session, 90_000.0, Usage(cache_write_5m=1100), turn=4)
    assert (session.hour, session.hour_turn, session.held) == (0, -1, 1100)


def test_the_prompt_is_estimated_from_the_last_report() -> None:
    assert prompt_estimate(None, 4000) == 1000
    session = Session(prompt=900, body_bytes=4000)
    assert prompt_estimate(session, 4400) == 1000
    assert prompt_estimate(session, 2000) == 450
