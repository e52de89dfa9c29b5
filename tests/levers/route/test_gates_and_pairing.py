"""What lets an answer stand, and which evidence pairs two answers."""

import pytest

from jevons.levers.route.gates import Trail, calm, parses, stands
from jevons.levers.route.pairing import Known, pair, same

SCHEMA = {
    "type": "object",
    "required": ["name", "tags"],
    "properties": {
        "name": {"type": "string"},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"name": "x", "tags": ["a"], "age": null}', True),
        ('{"name": "x", "tags": ["c"]}', False),
        ('{"name": "x"}', False),
        ('{"name": 1, "tags": []}', False),
        ('{"name": "x", "tags": [], "age": true}', False),
        ('Sure! {"name": "x", "tags": []}', False),
        ("[" * 5_000, False),
    ],
)
def test_the_schema_gate(text, fits):
    assert parses(text, SCHEMA) is fits


def test_an_empty_schema_asks_for_an_object():
    assert parses("{}", {})
    assert not parses("[]", None)


def test_the_cheapest_gate_that_says_no_decides():
    assert stands({"judge": False, "schema": False}) == (False, "schema")
    assert stands({"schema": True, "tests": True}) == (True, "tests")


def test_an_answer_that_no_gate_could_judge_does_not_stand():
    assert stands({"tests": None})[0] is False
    assert stands({})[0] is False


def test_the_trajectory_gate_sees_cost_loops_and_failures():
    usual = Trail(spent_nano=100, usual_nano=100, tool_calls=(("ls", "{}"), ("cat", "{}")))
    assert calm(usual)
    assert not calm(Trail(spent_nano=400, usual_nano=100))
    assert not calm(Trail(spent_nano=1, usual_nano=100, tool_calls=(("ls", "{}"),) * 3))
    assert not calm(Trail(spent_nano=1, usual_nano=100, tool_calls=(("a", ""), ("b", "")), failed_tools=2))


def test_feedback_beats_checks_and_checks_beat_the_judge():
    new = Known(text="a", outcome=0.0, checks=(True,))
    old = Known(text="b", outcome=1.0, checks=(False,))
    assert (pair(new, old, (1.0, 1.0)).new, pair(new, old).old) == (0.0, 1.0)
    by_checks = pair(Known(text="a", checks=(True, False)), Known(text="b", checks=(True, True)), (1.0, 1.0))
    assert (by_checks.new, by_checks.old) == (0.5, 1.0)


def test_equal_answers_need_no_judge():
    assert pair(Known(text=" 'Yes.' "), Known(text="yes")).new == 1.0
    assert same(Known(tools=(("f", '{"a": 1, "b": 2}'),)), Known(tools=(("f", '{"b":2,"a":1}'),)))
    assert not same(Known(tools=(("f", "{"),)), Known(tools=(("f", "{}"),)))


def test_a_judge_that_contradicts_itself_or_is_down_says_nothing():
    new, old = Known(text="a"), Known(text="b")
    assert pair(new, old, (1.0, 0.0)).new is None
    assert pair(new, old, (1.0, None)).new is None
    assert pair(new, old).new is None
    assert pair(new, old, (0.0, 0.0)).new == 0.0


@pytest.mark.parametrize(
    "new",
    [
        Known(error="timeout"),
        Known(text="I can't help", stop="refusal"),
        Known(text=""),
        Known(text="", tools=(("f", "{}"),)),
    ],
)
def test_a_candidate_that_refuses_vanishes_or_changes_its_format_has_failed(new):
    found = pair(new, Known(text="fine"), cost_nano=5)
    assert (found.failed, found.new, found.old, found.cost_nano) == (True, 0.0, 1.0, 5)
