import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import CallerError
from jevons.core.prompt import Text, ToolResult
from jevons.wire.edits import apply_edits, count_cache_marks, place_breakpoints, steady_tools
from jevons.wire.splice import append_field
from jevons.wire.translate import DIALECTS


@dataclass(frozen=True)
class Edit:
    turn: int
    part: int
    text: str | None


LAYOUTS = [{"separators": (",", ":"), "ensure_ascii": False}, {}, {"indent": 1}]


def raw_messages(body):
    """Each message's bytes, by the stdlib's decoder."""
    text = body.decode()
    at = text.index("[", text.index('"messages"')) + 1
    decoder, out = json.JSONDecoder(), []
    while True:
        while text[at] in " \n\t,":
            at += 1
        if text[at] == "]":
            return out
        _, end = decoder.raw_decode(text, at)
        out.append(text[at:end])
        at = end


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_an_edit_changes_its_message_and_no_other_byte(dialect, data, requests_):
    body = json.dumps(requests_[dialect], **data.draw(st.sampled_from(LAYOUTS))).encode()
    before = DIALECTS[dialect].read_prompt(body)
    places = [
        (t, p)
        for t, turn in enumerate(before.turns)
        for p, part in enumerate(turn.parts)
        if isinstance(part, Text)
        or (isinstance(part, ToolResult) and all(isinstance(inner, Text) for inner in part.parts))
    ]
    turn, part = data.draw(st.sampled_from(places))
    text = data.draw(st.text(min_size=1, max_size=20))
    out = apply_edits(dialect, body, (Edit(turn, part, text),))
    after = DIALECTS[dialect].read_prompt(out)
    for t, (old, new) in enumerate(zip(before.turns, after.turns, strict=True)):
        for p, (was, now) in enumerate(zip(old.parts, new.parts, strict=True)):
            if (t, p) != (turn, part):
                assert was == now
            elif isinstance(now, Text):
                assert now.text == text
            else:
                assert isinstance(now, ToolResult)
                assert now.parts == (Text(text),)
    shift = 1 if dialect == "messages" else 0
    changed = [i for i, (a, b) in enumerate(zip(raw_messages(body), raw_messages(out), strict=True)) if a != b]
    assert set(changed) <= {turn - shift}
    assert json.loads(out).keys() == json.loads(body).keys()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("turn", [0, 2, 5])
def test_a_removed_turn_leaves_the_others_bytes(layout, turn, requests_):
    body = json.dumps(requests_["chat"], **layout).encode()
    out = apply_edits("chat", body, (Edit(turn, 0, None),))
    kept = raw_messages(body)
    del kept[turn]
    assert raw_messages(out) == kept


def test_edits_that_point_at_nothing_are_refused(requests_):
    body = json.dumps(requests_["chat"]).encode()
    for edit in (Edit(99, 0, "x"), Edit(1, 9, "x"), Edit(1, 1, "x"), Edit(2, 0, "x"), Edit(3, 1, "x")):
        with pytest.raises(CallerError):
            apply_edits("chat", body, (edit,))
    with pytest.raises(CallerError):
        apply_edits("responses", json.dumps(requests_["responses"]).encode(), (Edit(0, 0, "x"),))
    assert apply_edits("chat", body, ()) is body


def test_reasoning_before_the_text_counts_as_a_part():
    body = b'{"messages":[{"role":"assistant","reasoning_content":"hm","content":"old"}]}'
    assert json.loads(apply_edits("chat", body, (Edit(0, 1, "new"),)))["messages"][0]["content"] == "new"
    with pytest.raises(CallerError):
        apply_edits("chat", body, (Edit(0, 0, "new"),))


def test_breakpoints_are_placed_and_counted(requests_):
    body = json.dumps(requests_["messages"]).encode()
    assert count_cache_marks(body) == 3
    out = place_breakpoints(body, [(0, "5m"), (3, "1h")])
    found = json.loads(out)
    assert found["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert found["messages"][2]["content"][-1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert raw_messages(out)[:2] == raw_messages(body)[:2]
    assert count_cache_marks(out) == 4
    plain = b'{"system":"s","messages":[{"role":"user","content":"a"}]}'
    found = json.loads(place_breakpoints(plain, [(0, "1h"), (1, "5m")]))
    assert found["system"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert found["messages"][0]["content"][0]["text"] == "a"
    with pytest.raises(CallerError):
        place_breakpoints(plain, [(2, "5m")])


def test_marks_inside_a_tools_input_are_the_callers_data():
    body = {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": {"cache_control": {}}}]}]}
    assert count_cache_marks(json.dumps(body).encode()) == 0


TOOLS = [{"type": "function", "function": {"name": name}} for name in "cab"]


def test_shuffled_tools_come_in_one_order_and_nothing_else_moves():
    bodies = [
        json.dumps({"model": "m", "tools": order, "messages": []}).encode()
        for order in (TOOLS, TOOLS[::-1], TOOLS[1:] + TOOLS[:1])
    ]
    steady = {steady_tools(body) for body in bodies}
    assert len(steady) == 1
    found = json.loads(steady.pop())
    assert [tool["function"]["name"] for tool in found["tools"]] == ["a", "b", "c"]
    assert {name: found[name] for name in ("model", "messages")} == {"model": "m", "messages": []}


@pytest.mark.parametrize("tools", [None, [], [{"name": "b", "cache_control": {"type": "ephemeral"}}, {"name": "a"}]])
def test_tools_that_bear_marks_or_are_none_stay(tools):
    body = json.dumps({"model": "m", "tools": tools}).encode()
    assert steady_tools(body) == body


def test_a_body_without_tools_stays():
    assert steady_tools(b'{"model":"m"}') == b'{"model":"m"}'


def test_a_field_is_appended_without_moving_what_is_before_it():
    body = b'{"model": "m", "messages": []} '
    out = append_field(body, "prompt_cache_key", b'"k"')
    assert out.startswith(body[:29])
    assert json.loads(out) == {"model": "m", "messages": [], "prompt_cache_key": "k"}
