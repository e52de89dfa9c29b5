"""Shadows are bounded in every direction, and one that goes wrong ends alone."""

import asyncio
import json

import msgspec
import pytest

from jevons.core.ask import Sent, Shadow
from jevons.core.call import Call, Caller, Surface
from jevons.core.money import Nano
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.gateway.shadows import AT_ONCE, MOST_WAITING, Shadows, _beside
from jevons.prices.cost import Priced
from jevons.wire.peek import peek
from tests.store.conftest import operation

DAY = 86_400
ROUTE = Route(provider=Provider(name="p", dialect="openai", base_url="http://127.0.0.1:1"), upstream_model="small")


def call(surface=Surface.CHAT, **headers):
    body = json.dumps({"model": "large", "messages": [], "input": "x"}).encode()
    return Call(
        operation="op_1",
        surface=surface,
        caller=Caller(key_id="k"),
        peek=peek(surface, body),
        body=body,
        headers=headers,
        at=0.0,
    )


ASK = Shadow(lever="route", route=ROUTE, surface="chat", body=call().body)


class Gated(Shadows):
    """Each answer waits for the gate."""

    def __init__(self, *, cap=100, spent=0, at=10.0):
        self.done = []
        self.most = self.now = 0
        self.gate = asyncio.Event()
        self.failing = False
        self.at = at
        super().__init__(
            None,
            price=lambda *_: Priced(Nano(30), "book"),
            terms=lambda *_: None,
            clock=lambda: self.at,
            cap_nano=lambda _plan: cap,
            spent_nano=lambda _plan, _day: spent,
            finished=self.done.append,
        )

    async def _burn(self, ask, call, shaped):
        self.now += 1
        self.most = max(self.most, self.now)
        await self.gate.wait()
        self.now -= 1
        if self.failing:
            raise ValueError("a fault of ours")
        return Sent(route=ask.route, status=200, body=b"{}", usage=Usage(input=1, output=1))

    async def rest(self):
        while self.waiting:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.001)


def test_few_run_at_once_few_wait_and_the_others_are_dropped():
    async def play():
        shadows = Gated(cap=10**9)
        for _ in range(AT_ONCE + MOST_WAITING):
            shadows.put(ASK, call(), operation())
            await asyncio.sleep(0)
        for _ in range(200):  # let the running ones take theirs from the queue
            await asyncio.sleep(0.001)
        for _ in range(MOST_WAITING):
            shadows.put(ASK, call(), operation())
        counts = dict(shadows.counts)
        shadows.gate.set()
        await shadows.rest()
        return shadows, counts

    shadows, counts = asyncio.run(play())
    assert shadows.most == AT_ONCE
    assert counts["full"] + len(shadows.done) == counts["asked"]
    assert counts["full"] >= MOST_WAITING - AT_ONCE


@pytest.mark.parametrize(("spent", "runs"), [(0, 4), (50, 2), (100, 0)])
def test_a_day_s_dollars_end_and_another_day_begins(spent, runs):
    async def play():
        shadows = Gated(cap=100, spent=spent)
        shadows.gate.set()
        for _ in range(6):
            shadows.put(ASK, call(), operation())
            await shadows.rest()
        today = len(shadows.done)
        shadows.at += DAY
        shadows._spent_nano = lambda _plan, _day: 0
        shadows.put(ASK, call(), operation())
        await shadows.rest()
        return today, len(shadows.done), shadows.counts["capped"]

    assert asyncio.run(play()) == (runs, runs + 1, 6 - runs)


def test_a_shadow_is_priced_with_its_role_and_its_own_start():
    async def play():
        shadows = Gated()
        shadows.gate.set()
        shadows.put(msgspec.structs.replace(ASK, role="audit"), call(), operation())
        await shadows.rest()
        return shadows.done

    (done,) = asyncio.run(play())
    assert (done.attempt.role, done.attempt.cost_nano, done.attempt.started) == ("audit", 30, 10.0)


def test_one_that_fails_inside_ends_alone(caplog):
    async def play():
        shadows = Gated(cap=10**9)
        shadows.gate.set()
        shadows.failing = True
        shadows.put(ASK, call(), operation())
        await shadows.rest()
        shadows.failing = False
        shadows.put(ASK, call(), operation())
        await shadows.rest()
        return shadows

    shadows = asyncio.run(play())
    assert (len(shadows.done), shadows.counts["failed"]) == (1, 1)
    assert "failed inside the gateway" in caplog.text


def test_the_hold_out_and_what_was_never_booked_are_left_alone():
    async def play():
        shadows = Gated()
        shadows.put(ASK, call(), operation(arm="hold-out"))
        shadows.put(ASK, call(), None)
        await shadows.stop()
        shadows.put(ASK, call(), operation())
        return shadows

    shadows = asyncio.run(play())
    assert (shadows.done, shadows.waiting, shadows.counts["held_out"]) == ([], 0, 1)


def test_nothing_that_names_the_caller_s_request_goes_along_and_nothing_is_stored():
    asked = call(Surface.RESPONSES, **{"idempotency-key": "a", "x-session-id": "b", "openai-beta": "c"})
    beside = _beside(msgspec.structs.replace(ASK, body=asked.body), asked)
    assert dict(beside.headers) == {"openai-beta": "c"}
    assert json.loads(beside.body)["store"] is False
    assert "store" not in json.loads(asked.body)
