"""Recorded sessions through the real pipeline: what is chosen is never expected to be dearer than untouched.

The provider is a small model of its own: it compares texts, keeps breakpoints, and counts tokens as a quarter of bytes.
"""

import json
from collections.abc import Generator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from jevons.core.ask import Answer, Ask, Pause, Send, Sent
from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.errors import OurError
from jevons.core.money import Nano
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.governor import Governor
from jevons.levers.cache import pauses
from jevons.levers.cache.breakpoints import STORE, Breakpoints, Lookup, session_key
from jevons.levers.lever import Risk, View
from jevons.pipeline.retry import RetryPolicy
from jevons.pipeline.run import House, run
from jevons.plans.plan import Plan
from jevons.prices import horizon, prefix, terms
from jevons.prices.cost import Priced
from jevons.prices.prefix import Rates
from jevons.replay.drive import Driver
from jevons.replay.traces import BLOCK_TOKENS, Trace, half, read_sessions

SMALL = Path(__file__).parent.parent / "data" / "sessions" / "small.jsonl"
RATES = Rates(input=3_000_000, cached=300_000, cache_write_5m=3_750_000, cache_write_1h=6_000_000, output=15_000_000)
ROUTE = Route(
    provider=Provider(name="anthropic", dialect="anthropic", base_url="", surfaces=("messages",)), upstream_model="m"
)
TERMS = next(entry for entry in terms.load() if entry.provider == "anthropic" and entry.models == ("",))
LOOKUP = Lookup(terms=lambda *_: TERMS, rates=lambda *_: RATES)


class Texts:
    """The provider: cached prefixes by their text, each with its end of life."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[float, float]] = {}
        self.output = 0
        self.now = 0.0
        self.refused = 0

    def burn(self, ask: Send) -> Sent:
        body = json.loads(ask.body)
        texts, marks = [], []
        system = body["system"]
        turns = [{"content": system}, *body["messages"]]
        for turn in turns:
            blocks = turn["content"]
            blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
            for block in blocks:
                texts.append(block["text"])
                if "cache_control" in block:
                    marks.append((len(texts), block["cache_control"].get("ttl", "5m")))
        lives = [ttl for _, ttl in marks]
        assert len(marks) <= 4
        assert lives == sorted(lives), "an hour stands behind five minutes: the provider would refuse"
        usage = self._bill(texts, marks)
        answer = {
            "id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "ok"}], "usage": {},
        }  # fmt: skip
        return Sent(route=ask.route, status=200, body=json.dumps(answer).encode(), usage=usage, duration_s=1.0)

    def _bill(self, texts: list[str], marks: list[tuple[int, str]]) -> Usage:
        size = lambda upto: sum(len(text) for text in texts[:upto]) // 4  # noqa: E731
        found = {"5m": 0, "1h": 0}
        for upto in range(1, len(texts) + 1):
            life, until = self.entries.get("\0".join(texts[:upto]), (0.0, 0.0))
            if until >= self.now:
                found["5m"] = upto
                if life == 3600.0:
                    found["1h"] = upto
        last = max((upto for upto, _ in marks), default=0)
        hour = max((upto for upto, ttl in marks if ttl == "1h"), default=0)
        read = min(found["5m"], last) if found["1h"] >= hour else min(found["1h"], last)
        for upto, ttl in marks:
            life = 3600.0 if ttl == "1h" else 300.0
            self.entries["\0".join(texts[:upto])] = (life, self.now + life)
        long = max(0, size(hour) - size(read))
        return Usage(
            input=size(len(texts)) - size(last),
            cached=size(read),
            cache_write_1h=long,
            cache_write_5m=size(last) - size(max(read, hour)),
            output=self.output,
        )


def bodies(trace: Trace) -> Generator[tuple[float, int, bytes], None, None]:
    """A conversation with the recorded lengths and the recorded common prefixes: 4 bytes a token, a block a request."""
    texts: list[str] = []
    for number, step in enumerate(trace.steps):
        before = trace.steps[number - 1].prompt if number else 0
        # common prefixes are recorded in whole blocks: what ends within the last one is taken to repeat all
        keep, kept = (before if before - step.kept <= BLOCK_TOKENS else step.kept) * 4, []
        for text in texts:
            kept.append(text[:keep])
            keep -= len(kept[-1])
            if keep <= 0:
                break
        fresh = step.prompt * 4 - sum(len(text) for text in kept)
        texts = [*kept, f"{number:04d}" * (fresh // 4)]
        texts = [text for text in texts if text]
        messages = [{"role": "user", "content": [{"type": "text", "text": text}]} for text in texts[1:]]
        body = {"model": "m", "max_tokens": 9, "system": texts[0], "messages": messages or [
            {"role": "user", "content": [{"type": "text", "text": "go."}]}
        ]}  # fmt: skip
        yield step.at, step.output, json.dumps(body).encode()


def priced(_route: Route, usage: Usage, *_: Any) -> Priced:
    return Priced(Nano(prefix.pico(RATES, usage) // 1000), "book")


def replay(trace: Trace, governed: bool) -> tuple[Driver, int]:
    """The stream through the pipeline. Returns the driver and what the provider billed."""
    provider = Texts()
    driver = Driver(provider.burn)
    table = pauses.shipped()
    governor = Governor(LOOKUP, lambda _: table, lambda _: horizon.shipped())
    house = House(
        levers=(Breakpoints(LOOKUP, lambda _: table),),
        choose=governor.choose,
        price=priced,
        retry=RetryPolicy(),
        clock=driver.clock,
        dice=repeat(0.5),
    )
    start = 1_764_000_000.0
    for number, (at, output, body) in enumerate(bodies(trace)):
        driver.at = provider.now = start + at
        provider.output = output
        call = Call(
            operation=f"op{number}", surface=Surface.MESSAGES, caller=Caller(key_id="k"), peek=Peek(model="m"),
            body=body, headers={}, at=driver.at, site="site",
            task=TaskRef(task=trace.id, parent="parent" if trace.sub else ""),
        )  # fmt: skip
        view = View(
            now=driver.at,
            allowed={"breakpoints": Risk.EXACT} if governed else {},
            routes=(ROUTE,),
            plan=Plan(name="p"),
            session=driver.memory.get((STORE, "", session_key(call))),
        )
        driver.run(run(call, view, house))
    return driver, sum(operation.cost_nano for operation in driver.operations)


TRACES = list(read_sessions(SMALL))


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.id)
def test_no_choice_is_expected_to_be_dearer_than_untouched(trace: Trace) -> None:
    driver, _ = replay(trace, governed=True)
    assert len(driver.operations) == len(trace.steps)
    weighed = [operation.levers for operation in driver.operations if operation.levers]
    assert weighed
    assert all(each["bill"] <= each["untouched"] for each in weighed)
    assert all(operation.status == 200 for operation in driver.operations)


def test_the_streams_together_cost_far_less_than_untouched() -> None:
    governed = sum(replay(trace, governed=True)[1] for trace in TRACES)
    untouched = sum(replay(trace, governed=False)[1] for trace in TRACES)
    assert governed < 0.5 * untouched


def test_the_same_calls_replayed_twice_are_booked_alike() -> None:
    first, second = (replay(TRACES[0], governed=True)[0].operations for _ in range(2))
    assert first == second


def test_a_pause_moves_the_clock_and_an_endless_call_is_an_error() -> None:
    def endless() -> Generator[Ask, Answer, None]:
        while True:
            yield Pause(0.5)

    driver = Driver(lambda _: pytest.fail("nothing is sent"))
    with pytest.raises(OurError):
        driver.run(endless())
    assert driver.at == 5000.0


def test_traces_are_read_as_they_are_documented() -> None:
    trace = next(trace for trace in TRACES if trace.sub)
    raw = next(json.loads(line) for line in SMALL.read_text().splitlines() if json.loads(line)["id"] == trace.id)
    assert [step.prompt for step in trace.steps] == [row[1] for row in raw["r"]]
    assert [step.kept for step in trace.steps] == [min(row[3] * 64, row[1]) for row in raw["r"]]
    assert {half(f"unit-{i}") for i in range(20)} == {0, 1}
