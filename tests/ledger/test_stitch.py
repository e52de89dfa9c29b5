"""Calls find their task: by what they say, by what they continue, and never across tenants."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.call import Surface, TaskRef
from jevons.ledger import stitch, stitch_chain
from jevons.ledger.site import Sites
from jevons.ledger.stitch import Ids, Stitcher, derived
from jevons.ledger.stitch_chain import Chains
from jevons.wire.parts import parts
from jevons.wire.toplevel import fields

SYSTEM = {"role": "system", "content": "You keep the engine. " * 40}
TOOLS = [{"type": "function", "function": {"name": "read_gauge"}}]


class House:
    """A stitcher with the calls' numbering and clock."""

    def __init__(self) -> None:
        self.stitcher, self.sites, self.number = Stitcher(), Sites(), 0

    def call(
        self,
        messages: list[dict[str, Any]],
        *,
        tenant: str = "acme",
        surface: Surface = Surface.CHAT,
        tools: Any = None,
        system: str = "",
        layout: dict[str, Any] | None = None,
        **ids: Any,
    ) -> TaskRef | None:
        self.number += 1
        name = "input" if surface == Surface.RESPONSES else "messages"
        body: dict[str, Any] = {"model": "m", name: messages, **({"tools": tools} if tools else {})}
        if system:
            body["system"] = system
        raw = json.dumps(body, **({"separators": (",", ":")} if layout is None else layout)).encode()
        read = parts(surface, raw, fields(raw))
        site = self.sites.name("key", read.system, read.tools)
        counting = surface == Surface.COUNT_TOKENS
        return self.stitcher.identify(
            tenant, Ids(**ids), read, site, f"op{self.number}", 10.0 * self.number, counting=counting
        )


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def asked(number: int, tool: str = "read_gauge", arguments: str = "{}") -> list[dict[str, Any]]:
    call = {"id": f"call_{number}", "type": "function", "function": {"name": tool, "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": "3 bar"},
    ]


def task(ref: TaskRef | None) -> str:
    assert ref is not None
    return ref.task


def test_a_call_that_extends_an_earlier_one_is_of_its_task() -> None:
    house, talk = House(), [SYSTEM, user("Start the pump.")]
    first = house.call(talk)
    assert first is not None
    assert first.source == "new"
    for number in range(40):
        talk += asked(number)
        ref = house.call(talk)
        assert ref is not None
        assert (ref.task, ref.source) == (first.task, "chain")


def test_the_layout_of_the_json_does_not_matter() -> None:
    for layout in ({}, {"separators": (",", ":")}, {"indent": 2}):
        house = House()
        first = house.call([SYSTEM, user("One.")], layout=layout)
        assert task(house.call([SYSTEM, user("One."), said("a"), user("Two.")], layout=layout)) == task(first)


def test_another_tenant_s_conversation_is_never_joined() -> None:
    house = House()
    one = house.call([SYSTEM, user("Hello.")])
    other = house.call([SYSTEM, user("Hello."), said("a"), user("b")], tenant="globex")
    assert task(one) != task(other)


def test_two_tasks_that_begin_with_the_same_words_stay_apart() -> None:
    house, opening = House(), [SYSTEM, user("Hello.")]
    one, two = house.call(opening), house.call(opening)
    assert task(one) != task(two)
    first = house.call([*opening, said("hi"), user("I am A.")])
    second = house.call([*opening, said("hi"), user("I am B.")])
    assert {task(first), task(second)} == {task(one), task(two)}
    for number in range(3):
        assert task(house.call([*opening, said("hi"), user("I am A."), *asked(number)])) == task(first)


def test_a_retried_opening_is_no_new_task() -> None:
    house, opening = House(), [SYSTEM, user("Hello.")]
    assert task(house.call(opening)) == task(house.call(opening, retry=True))


def test_a_repeat_in_mid_conversation_is_of_the_task() -> None:
    house, talk = House(), [SYSTEM, user("Hello.")]
    first = house.call(talk)
    talk += asked(1)
    house.call(talk)
    assert task(house.call(talk)) == task(first)


def test_a_moved_cache_mark_changes_nothing() -> None:
    house = House()
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = [{"role": "user", "content": [{"type": "text", "text": "Begin.", **mark}]}]
    first = house.call(marked, surface=Surface.MESSAGES, system="You work.")
    talk = [user("Begin."), said("ok"), {"role": "user", "content": [{"type": "text", "text": "On.", **mark}]}]
    assert task(house.call(talk, surface=Surface.MESSAGES, system="You work.")) == task(first)


def test_a_rewritten_last_turn_is_found_by_the_turn_before() -> None:
    house, talk = House(), [SYSTEM, user("Begin."), *asked(1)]
    first = house.call([SYSTEM, user("Begin.")])
    house.call(talk)
    house.call([*talk, *asked(2), user("reminder: be brief")])
    assert task(house.call([*talk, *asked(2), *asked(3)])) == task(first)


def test_a_rewind_to_an_early_turn_is_of_the_task() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    first = house.call(talk)
    for number in range(6):
        talk = [*talk, *asked(number)]
        house.call(talk)
    assert task(house.call([*talk[:4], user("No, do it otherwise.")])) == task(first)


def test_a_history_cut_in_the_middle_is_of_the_task() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    first = house.call(talk)
    for number in range(8):
        talk = [*talk, *asked(number)]
        house.call(talk)
    compacted = [SYSTEM, user("Summary of what was done."), *talk[-4:], *asked(99)]
    assert task(house.call(compacted)) == task(first)


def test_few_shot_examples_make_no_task_of_their_own() -> None:
    house = House()
    shots = [SYSTEM, user("cat?"), said("animal"), user("oak?"), said("plant")]
    tasks = {task(house.call([*shots, user(f"{word}?")])) for word in ("dog", "rose", "mule")}
    assert len(tasks) == 3


def test_a_task_that_the_caller_names_is_taken_at_its_word() -> None:
    house = House()
    ref = house.call([user("a")], task="run-1", source="header", name="refund")
    assert ref == TaskRef(task="run-1", root="run-1", name="refund", source="header")
    child = house.call([user("b")], task="run-1.search", parent="run-1", source="header")
    grandchild = house.call([user("c")], task="run-1.read", parent="run-1.search", source="header")
    assert child is not None
    assert grandchild is not None
    assert (child.parent, child.root) == ("run-1", "run-1")
    assert (grandchild.parent, grandchild.root) == ("run-1.search", "run-1")


def test_a_session_is_a_task_and_its_sub_agents_are_children() -> None:
    house = House()
    session = {"root": "0c5a", "source": "session"}
    side = house.call([user("A title for this?")], **session)
    main = house.call([SYSTEM, user("Fix the pump.")], tools=TOOLS, **session)
    agent = {"role": "system", "content": "You search files."}
    search = house.call([agent, user("Find valves.")], tools=TOOLS[:1], **session)
    other = house.call([agent, user("Find pipes.")], tools=TOOLS[:1], **session)
    again = house.call([agent, user("Find valves."), *asked(1)], tools=TOOLS[:1], **session)
    compacted = house.call([SYSTEM, user("Summary: the pump is half fixed.")], tools=TOOLS, **session)
    assert side is not None
    assert search is not None
    assert side.task == task(main) == task(compacted) == derived("acme", "session", "0c5a")
    assert (search.parent, search.root) == (side.task, side.task)
    assert task(again) == search.task
    assert len({side.task, search.task, task(other)}) == 3


def test_the_same_session_id_of_two_tenants_is_two_tasks_and_no_key_of_the_ledger() -> None:
    house = House()
    one = house.call([user("a")], root="s1", source="session")
    two = house.call([user("a")], tenant="globex", root="s1", source="session")
    assert task(one) != task(two)
    assert "s1" not in {task(one), task(two)}


def test_a_trace_per_request_does_not_tear_a_conversation_apart() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    first = house.call(talk, root="a" * 32, source="traceparent")
    assert task(house.call([*talk, *asked(1)], root="b" * 32, source="traceparent")) == task(first)


def test_a_cache_key_that_many_conversations_share_names_no_task() -> None:
    house, key = House(), {"root": "my-app", "source": "prompt_cache_key"}
    first = [task(house.call([SYSTEM, user(f"Question {n}.")], **key)) for n in range(stitch.SHARED_OPENINGS)]
    assert len(set(first)) == 1
    later = [task(house.call([SYSTEM, user(f"Later {n}.")], **key)) for n in range(5)]
    assert len(set(later)) == 5


def test_a_call_that_goes_on_from_a_reply_is_of_its_task() -> None:
    house = House()
    first = house.call([user("Begin.")], surface=Surface.RESPONSES)
    assert first is not None
    house.stitcher.answered("acme", first, "resp_1")
    assert task(house.call([user("Go on.")], surface=Surface.RESPONSES, previous="resp_1")) == first.task
    other = house.call([user("Go on.")], surface=Surface.RESPONSES, tenant="globex", previous="resp_1")
    assert task(other) != first.task


def test_counting_tokens_begins_no_task() -> None:
    house, talk = House(), [user("Begin.")]
    assert house.call(talk, surface=Surface.COUNT_TOKENS) is None
    first = house.call(talk, surface=Surface.MESSAGES)
    assert task(house.call([*talk, said("a"), user("b")], surface=Surface.COUNT_TOKENS)) == task(first)


def test_the_same_tool_call_again_and_again_is_noticed_once() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    noticed: list[tuple[str, str, str]] = []
    house.stitcher.noticed = lambda *what: noticed.append(what)
    first = house.call(talk, tools=TOOLS)
    for number in range(2):
        talk = [*talk, *asked(number, arguments='{"gauge": "A"}')]
        house.call(talk, tools=TOOLS)
        house.call(talk, tools=TOOLS)
    assert noticed == []
    talk = [*talk, *asked(9, arguments='{"gauge": "A"}')]
    house.call(talk, tools=TOOLS)
    assert noticed == [("acme", task(first), "loop")]


def test_other_arguments_are_no_loop() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    noticed: list[Any] = []
    house.stitcher.noticed = lambda *what: noticed.append(what)
    for number in range(12):
        talk = [*talk, *asked(number, arguments=json.dumps({"page": number}))]
        house.call(talk, tools=TOOLS)
    assert noticed == []


def test_memory_is_bounded() -> None:
    house = House()
    house.stitcher.chains = Chains(most=64)
    for number in range(500):
        house.call([SYSTEM, user(f"Task {number}.")])
    assert len(house.stitcher.chains) <= 64


def test_a_chain_keeps_three_ends_a_task_however_long_it_runs() -> None:
    house, talk = House(), [SYSTEM, user("Begin.")]
    for number in range(60):
        house.call(talk)
        talk = [*talk, *asked(number)]
    assert len(house.stitcher.chains) <= 3
    assert stitch_chain.MOST_ENDS >= 3 * 100_000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_interleaved_tasks_are_told_apart_whatever_the_order(order: list[int]) -> None:
    house = House()
    talks: dict[int, list[dict[str, Any]]] = {n: [SYSTEM, user(f"I am number {n}.")] for n in range(5)}
    found: dict[int, set[str]] = {n: set() for n in range(5)}
    for step, n in enumerate(order):
        found[n].add(task(house.call(talks[n])))
        talks[n] = [*talks[n], said("And then?"), user(f"Step {step}.")]
    assert all(len(tasks) <= 1 for tasks in found.values())
    assert len(set().union(*found.values())) == len(set(order))


def test_a_body_without_a_conversation_has_a_task_only_by_its_ids() -> None:
    house = House()
    raw = b'{"model":"m","input":["a"]}'
    read = parts(Surface.EMBEDDINGS, raw, {})
    assert house.stitcher.identify("acme", Ids(), read, "s", "op", 0.0) is None
    ref = house.stitcher.identify("acme", Ids(root="x", source="session"), read, "s", "op", 0.0)
    assert ref is not None
