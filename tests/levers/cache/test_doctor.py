"""The doctor names what broke a prefix: one constructed case a reason, and their price."""

import json
from typing import Any

import pytest

from jevons.levers.cache.doctor import Break, Sent, diagnose, findings
from jevons.prices.prefix import Rates

RATES = Rates(input=3_000_000, cached=300_000, cache_write_5m=3_750_000, cache_write_1h=6_000_000, output=15_000_000)
TOOLS = [
    {"name": name, "description": name * 3, "input_schema": {"type": "object", "properties": {}}}
    for name in ("read", "write", "bash")
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def body(**changes: Any) -> bytes:
    base: dict[str, Any] = {
        "model": "m",
        "tools": TOOLS,
        "system": [{"type": "text", "text": "You are careful. " * 50, "cache_control": {"type": "ephemeral"}}],
        "messages": [user("find the bug"), assistant("looking"), user("go on")],
    }
    return json.dumps(base | changes).encode()


def sent(raw: bytes, at: float = 0.0, model: str = "opus", prompt: int = 10_000) -> Sent:
    return Sent(at=at, model=model, body=raw, prompt=prompt)


LONGER = [user("find the bug"), assistant("looking"), user("go on"), assistant("found it"), user("fix it")]


def test_a_prompt_that_grows_is_well_even_when_its_marks_move() -> None:
    moved = [*LONGER[:-1], {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "e"}}]}]
    assert diagnose(sent(body()), sent(body(messages=moved), at=20.0)) is None
    assert diagnose(sent(body()), sent(body(system=[{"type": "text", "text": "You are careful. " * 50}]))) is None


@pytest.mark.parametrize(
    ("one", "two", "reason"),
    [
        ("Now: 2026-11-24T10:00:00Z", "Now: 2026-11-24T10:00:41Z", Break.TIMESTAMP),
        ("It is 10:04", "It is 10:05", Break.TIMESTAMP),
        ("today is Tuesday, November 24", "today is Wednesday, November 25", Break.TIMESTAMP),
        ("epoch 1763978400", "epoch 1763978460", Break.TIMESTAMP),
        (
            "id 550e8400-e29b-41d4-a716-446655440000",
            "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            Break.IDENTIFIER,
        ),
        ("request req_8f14e45fceea167a5a36", "request req_c9f0f895fb98ab9159f5", Break.IDENTIFIER),
        ("you have 14 steps left", "you have 13 steps left", Break.COUNTER),
        ("You like cats.", "You like dogs.", Break.EDITED),
    ],
)
def test_what_changes_in_the_system_is_named(one: str, two: str, reason: Break) -> None:
    found = diagnose(sent(body(system=one + " x" * 400)), sent(body(system=two + " x" * 400), at=20.0))
    assert found is not None
    assert (found.reason, found.where) == (reason, "system")
    assert found.lost > 0
    assert one[:20] in found.before or found.before in one + " x" * 400 or found.before
    assert found.fix


def test_reordered_tools_are_told_from_changed_ones() -> None:
    found = diagnose(sent(body()), sent(body(tools=TOOLS[::-1]), at=20.0))
    assert found is not None
    assert found.reason is Break.TOOLS_REORDERED
    assert found.lost == 10_000
    grown = diagnose(sent(body()), sent(body(tools=[*TOOLS, {"name": "new"}]), at=20.0))
    assert grown is not None
    assert grown.reason is Break.TOOLS_CHANGED


def test_reordered_json_keys_are_seen_in_tools_and_in_arguments() -> None:
    turned = [dict(reversed(list(tool.items()))) for tool in TOOLS]
    found = diagnose(sent(body()), sent(body(tools=turned), at=20.0))
    assert found is not None
    assert found.reason is Break.KEYS_REORDERED
    one, two = '{"path": "a", "line": 1}', '{"line": 1, "path": "a"}'
    found = diagnose(sent(body(messages=[user(one)])), sent(body(messages=[user(two)]), at=20.0))
    assert found is not None
    assert found.reason is Break.KEYS_REORDERED


def test_edited_history_is_placed_and_only_what_is_behind_it_is_lost() -> None:
    changed = [user("find the bug"), assistant("LOOKING"), *LONGER[2:]]
    found = diagnose(sent(body()), sent(body(messages=changed), at=20.0))
    assert found is not None
    assert (found.reason, found.where) == (Break.EDITED, "messages[1]")
    assert 0 < found.lost < 2_000


def test_a_cut_history_is_not_called_an_edit() -> None:
    for cut in (LONGER[2:], LONGER[:1]):
        found = diagnose(sent(body(messages=LONGER)), sent(body(messages=cut), at=20.0))
        assert found is not None
        assert found.reason is Break.HISTORY_CUT


def test_a_switched_model_loses_all() -> None:
    found = diagnose(sent(body()), sent(body(messages=LONGER), at=20.0, model="haiku", prompt=10_400))
    assert found is not None
    assert (found.reason, found.lost) == (Break.MODEL, 10_000)


def test_a_pause_is_blamed_before_an_edit_and_only_for_what_it_lost() -> None:
    found = diagnose(sent(body()), sent(body(messages=LONGER), at=400.0, prompt=10_400))
    assert found is not None
    assert (found.reason, found.lost) == (Break.EXPIRED, 10_000)


def test_openai_bodies_are_read_too() -> None:
    one = json.dumps({"model": "m", "input": [user("a"), user("b")], "instructions": "at 10:00 be nice"}).encode()
    two = json.dumps({"model": "m", "input": [user("a"), user("b")], "instructions": "at 10:01 be nice"}).encode()
    found = diagnose(sent(one), sent(two, at=5.0))
    assert found is not None
    assert (found.reason, found.where) == (Break.TIMESTAMP, "instructions")


def test_findings_are_summed_priced_and_dearest_first() -> None:
    stamp = diagnose(sent(body(system="10:00 x")), sent(body(system="10:01 x"), at=20.0))
    tools = diagnose(sent(body(), prompt=100), sent(body(tools=TOOLS[::-1]), at=20.0, prompt=100))
    assert stamp is not None
    assert tools is not None
    first, second = findings([stamp, tools, stamp], RATES, seconds=30.44 * 86_400 / 2)
    assert (first.reason, first.times, second.reason) == (Break.TIMESTAMP, 2, Break.TOOLS_REORDERED)
    assert first.nano == 2 * stamp.lost * 3_450  # $3.75 - $0.30 a million tokens
    assert first.nano_a_month == 2 * first.nano


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]"])
def test_rubbish_is_an_error_and_not_a_diagnosis(raw: bytes) -> None:
    with pytest.raises(ValueError):
        diagnose(sent(raw), sent(body()))
