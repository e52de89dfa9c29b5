"""The lever as the governor meets it: offers, what they may change, and what is remembered."""

import json
import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.prompt import Prompt, RedactedThinking, Text, Thinking, ToolResult, ToolUse, Turn
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.governor.bill import EDITS, Facts, Option, Sums
from jevons.levers.lever import Edit, Offer, Outcome, Risk, View
from jevons.levers.trim.check import apply, doubt, pairs
from jevons.levers.trim.lever import NAME, TrimLever, recall_key
from jevons.levers.trim.rates import Rates
from jevons.levers.trim.recall import TOOL, answer
from jevons.prices import prefix
from jevons.wire.edits import apply_edits
from jevons.wire.messages.prompt import read_prompt

RATES = Rates(read=0.1, write=1.25, output=5.0, ttl_s=300.0)


def file(name: str, lines: int = 60) -> str:
    return "\n".join(f"{n:>6}→value_{name}_{n} = compute_{name}({n})" for n in range(1, lines + 1))


def result(number: int, text: str) -> ToolResult:
    return ToolResult(f"call_{number}", (Text(text),))


def conversation(steps: int, *, text: Any = file) -> list[Turn]:
    """user, then (assistant with thinking and a tool call, its result) times `steps`; nothing is ever quoted."""
    turns = [Turn("system", (Text("You help."),)), Turn("user", (Text("Look at the files."),))]
    for n in range(steps):
        use = ToolUse(f"call_{n}", "Read", f'{{"file_path": "/src/{n}.py"}}')
        turns.append(Turn("assistant", (Thinking("", f"signature{n}"), RedactedThinking("xx"), Text("Next."), use)))
        turns.append(Turn("user", (result(n, text(f"f{n}")),)))
    return turns


class World:
    """A governor that takes the last offer, a provider that counts, and a store that keeps what is written."""

    def __init__(self, risk: Risk = Risk.LOSSY):
        self.prompt = Prompt(model="m", turns=())
        self.memory: dict[str, Any] = {}
        self.risk = risk
        self.lever = self.restarted()

    def restarted(self) -> TrimLever:
        self.lever = TrimLever(lambda _: self.prompt, lambda _call, _view: RATES)
        return self.lever

    def call(self, turns: list[Turn], at: float, *, accept: bool = True) -> tuple[tuple[Offer, ...], Prompt]:
        self.prompt = Prompt(model="m", turns=tuple(turns))
        call = Call(
            operation=f"op{at}", surface=Surface.MESSAGES, caller=Caller(key_id="k", tenant="acme"),
            peek=Peek(model="m"), body=b"", headers={}, at=at, site="s",
        )  # fmt: skip
        view = View(now=at, allowed={NAME: self.risk}, memory={NAME: self.memory})
        asks = self.lever.offer(call, view)
        with pytest.raises(StopIteration) as stop:
            next(asks)
        offers = tuple(stop.value.value)
        chosen = offers[-1:] if accept else ()
        sent = apply(self.prompt, chosen[0].effect.edits if chosen else ())
        usage = Usage(input=10 * len(turns) + 1_000)
        for change in self.lever.learn(Outcome(call=call, chosen=chosen, usage=usage, cost_nano=0, notes=view.notes)):
            # As a store would: through bytes.
            self.memory[change.key] = msgspec.json.decode(msgspec.json.encode(change.value))
        return offers, sent


def test_without_the_plans_word_nothing_is_offered() -> None:
    offers, _ = World(Risk.EXACT).call(conversation(3), 0.0)
    assert offers == ()


def test_a_fresh_result_is_rewritten_before_it_is_first_sent() -> None:
    world = World(Risk.EQUIVALENT)
    offers, sent = world.call(conversation(0), 0.0)
    assert offers == ()
    offers, sent = world.call(conversation(1), 10.0)
    (offer,) = offers
    assert offer.risk is Risk.EQUIVALENT
    assert offer.effect.removed_tokens > 0
    assert offer.effect.retained_tokens == 0
    assert "every 10th numbered" in str(sent.turns[-1])


def test_what_was_sent_stays_byte_for_byte_on_later_calls() -> None:
    world = World()
    sent: list[Prompt] = [world.call(conversation(n), 10.0 * n)[1] for n in range(6)]
    for earlier, later in pairwise(sent):
        assert later.turns[: len(earlier.turns)] == earlier.turns


def test_history_that_was_sent_elsewhere_is_never_touched() -> None:
    world = World()
    turns = conversation(5)
    offers, _ = world.call(turns, 0.0)
    edited = {edit.turn for offer in offers for edit in offer.effect.edits}
    assert edited <= {len(turns) - 1}
    assert world.lever.counts["adopted"] == 1


def test_what_the_governor_declined_is_not_offered_again() -> None:
    world = World(Risk.EQUIVALENT)
    world.call(conversation(0), 0.0)
    world.call(conversation(1), 1.0, accept=False)
    offers, _ = world.call(conversation(2), 2.0)
    assert {edit.turn for edit in offers[-1].effect.edits} == {len(conversation(2)) - 1}


def test_a_long_run_is_trimmed_in_one_block_at_expiry_and_can_be_recalled() -> None:
    world = World()
    for n in range(40):
        offers, _ = world.call(conversation(n), 10.0 * n)
    offers, sent = world.call(conversation(40), 10_000.0)
    best = offers[-1]
    assert best.risk is Risk.LOSSY
    assert "the cache has expired" in best.why
    assert best.effect.removed_tokens > offers[0].effect.removed_tokens
    assert best.effect.retained_tokens > 0
    stub = str(sent.turns[3])
    assert "lines left out, recall" in stub
    name = stub.split("recall ")[1][:8]
    kept = world.memory[recall_key("acme", name)]
    assert kept == file("f0")
    assert answer(kept, {"id": name, "first_line": 7, "last_line": 8}) == "\n".join(file("f0").split("\n")[6:8])
    assert pairs(sent.turns) == pairs(world.prompt.turns)


def test_a_short_run_is_left_whole() -> None:
    world = World()
    for n in range(9):
        offers, _ = world.call(conversation(n), 10_000.0 * n)
        assert all("left out" not in offer.why for offer in offers)


def test_a_restart_sends_the_same_bytes() -> None:
    world = World()
    for n in range(41):
        at = 10.0 * n if n < 40 else 10_000.0
        before = world.call(conversation(n), at)[1]
    world.restarted()
    after = world.call(conversation(41), 10_010.0)[1]
    assert "left out" in str(before.turns)
    assert after.turns[: len(before.turns)] == before.turns
    assert world.lever.counts["rebuilt"] == 1


def test_a_client_that_edits_its_history_gets_a_sound_prompt() -> None:
    world = World()
    for n in range(6):
        world.call(conversation(n), 10.0 * n)
    turns = conversation(6)
    turns[5] = Turn("user", (result(1, "the client's own summary"),))
    _, sent = world.call(turns, 60.0)
    assert world.lever.counts["rewound"] == 1
    assert sent.turns[5] == turns[5]
    assert pairs(sent.turns) == pairs(turns)


def test_an_upstream_error_commits_nothing() -> None:
    world = World(Risk.EQUIVALENT)
    world.call(conversation(0), 0.0)
    first, _ = world.call(conversation(1), 1.0)
    again, _ = world.call(conversation(1), 2.0)
    assert first[-1].effect.edits == again[-1].effect.edits


def random_conversation(dice: random.Random) -> list[Turn]:
    """Odd but real things: parallel calls, repeated ids, pictures' absence, empty and binary results."""
    turns = conversation(0)
    for n in range(dice.randrange(1, 12)):
        ids = [f"call_{dice.randrange(4)}" for _ in range(dice.randrange(1, 4))]
        uses = [
            ToolUse(one, dice.choice(["Read", "Bash"]), dice.choice(["{}", "[1", '{"command": "ls"}'])) for one in ids
        ]
        turns.append(Turn("assistant", (Thinking("t", f"s{n}"), *uses)))
        texts = [
            dice.choice(["", file("a"), "\x00\x01" * 50, "ü" * 90, '{"a": [1, 2, 3], "b": "long enough"}']) for _ in ids
        ]
        turns.append(
            Turn("user", tuple(ToolResult(o, (Text(t),) * dice.randrange(3)) for o, t in zip(ids, texts, strict=True)))
        )
    return turns


def test_whatever_comes_in_the_offers_are_sound() -> None:
    dice = random.Random(11)
    for _ in range(60):
        world = World()
        turns = random_conversation(dice)
        for end in range(2, len(turns) + 1, 2):
            offers, _ = world.call(turns[:end], dice.choice([1.0, 1_000.0]) * end)
            for offer in offers:
                edited = apply(world.prompt, offer.effect.edits)
                assert doubt(world.prompt, edited, offer.effect.edits) == ""
                assert [t.role for t in edited.turns] == [t.role for t in turns[:end]]


def test_edits_of_anything_but_a_results_text_are_refused() -> None:
    prompt = Prompt(model="m", turns=tuple(conversation(1)))
    for edit in (Edit(2, 0, "x"), Edit(2, 3, "x"), Edit(9, 0, "x"), Edit(3, 5, "x"), Edit(3, 0, None), Edit(3, 0, "")):
        with pytest.raises(ValueError, match="edit of turn"):
            apply(prompt, [edit])


def test_doubt_names_what_is_wrong() -> None:
    prompt = Prompt(model="m", turns=tuple(conversation(1)))
    edits = [Edit(3, 0, "short")]
    assert doubt(prompt, apply(prompt, edits), edits) == ""
    assert doubt(prompt, apply(prompt, edits), []) == "part"
    assert doubt(prompt, apply(prompt, edits), [*edits, *edits]) == "twice"
    assert doubt(prompt, msgspec.structs.replace(prompt, turns=prompt.turns[:-1]), []) == "turns"


def test_recall_gives_slices_and_says_where_it_cut() -> None:
    kept = "\n".join(f"line {n}" for n in range(1, 1_001))
    assert answer(kept, {"containing": "LINE 500"}).split("\n") == [f"line {n}" for n in range(498, 503)]
    assert answer(kept, {}).endswith("[cut: 1000 lines match, ask for a range of lines]")
    assert answer(kept, {"containing": "absent"}) == "[nothing matches]"
    assert TOOL.schema is not None
    assert TOOL.schema["required"] == ["id"]


def test_on_the_wire_only_the_edited_results_change() -> None:
    """Through the dialect's own reader and the byte editor: every other message keeps its bytes."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Look."}]
    for n in range(3):
        use = {"type": "tool_use", "id": f"t{n}", "name": "Read", "input": {"file_path": f"/src/{n}.py"}}
        thought = {"type": "thinking", "thinking": "", "signature": f"sig{n}=="}
        messages.append({"role": "assistant", "content": [thought, use]})
        block = {"type": "tool_result", "tool_use_id": f"t{n}", "content": file(f"w{n}")}
        messages.append({"role": "user", "content": [block]})
    body = json.dumps({"model": "m", "max_tokens": 5, "system": "You help.", "messages": messages}, indent=1).encode()
    prompt = read_prompt(body)
    world = World(Risk.EQUIVALENT)
    world.call(list(prompt.turns[:2]), 0.0)
    for end in (4, 6, 8):
        offers, sent = world.call(list(prompt.turns[:end]), 10.0 * end)
    edited = apply_edits("messages", body, offers[-1].effect.edits)
    assert read_prompt(edited).turns == sent.turns
    for number, (old, new) in enumerate(zip(messages, json.loads(edited)["messages"], strict=True)):
        assert (old == new) == (number not in (2, 4, 6))
    for signature in (b'"sig0=="', b'"sig1=="', b'"sig2=="'):
        assert signature in edited


def test_a_responses_input_is_left_alone() -> None:
    world = World()
    world.prompt = Prompt(model="m", turns=tuple(conversation(3)))
    call = Call(
        operation="o", surface=Surface.RESPONSES, caller=Caller(key_id="k"), peek=Peek(model="m"), body=b"",
        headers={}, at=0.0,
    )  # fmt: skip
    with pytest.raises(StopIteration) as stop:
        next(world.lever.offer(call, View(now=0.0, allowed={NAME: Risk.LOSSY})))
    assert stop.value.value == ()


def test_the_governor_takes_a_rewrite_and_charges_a_block_for_the_prefix_it_breaks() -> None:
    world = World()
    for n in range(41):
        offers, _ = world.call(conversation(n), 10.0 * n if n < 40 else 10_000.0)
    first, second = offers
    prompt = 60_000
    rates = prefix.Rates(input=3_000_000, cached=300_000, cache_write_5m=3_750_000, cache_write_1h=6_000_000, output=0)
    route = Route(provider=Provider(name="p", dialect="anthropic", base_url=""), upstream_model="m")
    for held, further in ((prompt - 500, 0), (0, 10_000)):
        sums = Sums(Facts(prompt=prompt, held=held, further=further), offers, route, lambda _route, _tier: rates)
        untouched = sums.bill(Option())
        rewritten = sums.bill(sums.add(Option(), 0, EDITS))
        blocked = sums.bill(sums.add(Option(), 1, EDITS))
        assert rewritten < untouched
        assert (blocked < rewritten) == (held == 0)
    assert second.effect.removed_tokens > first.effect.removed_tokens
