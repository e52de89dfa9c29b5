"""The deferring lever: only calls that say how long they may wait, and only durations that are ones."""

import pytest

from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.errors import CallerError
from jevons.core.route import Provider, Route
from jevons.levers.batch.decide import Channel, Waiting
from jevons.levers.batch.lever import DEADLINE, Deferral, seconds
from jevons.levers.lever import Offer, Risk, View
from jevons.prices.prefix import Rates

NOW = Rates(input=100, cached=10, cache_write_5m=125, cache_write_1h=200, output=500)
HALF = Rates(input=50, cached=5, cache_write_5m=62, cache_write_1h=100, output=250)
ROUTE = Route(provider=Provider(name="p", dialect="openai", base_url=""), upstream_model="m")


def offers(headers: dict[str, str]) -> list[Offer]:
    lever = Deferral(
        rates=lambda *_: NOW,
        channels=lambda *_: [Channel(name="batch", rates=HALF, wait_s=600.0)],
        waiting=lambda call, _view, deadline: Waiting(at=call.at, deadline=deadline, prompt=5000, survives=0),
    )
    call = Call(
        operation="o", surface=Surface.CHAT, caller=Caller(key_id="k"), peek=Peek(model="m"), body=b"{}",
        headers=headers, at=100.0,
    )  # fmt: skip
    generator = lever.offer(call, View(now=100.0, allowed={"batch": Risk.EXACT}, routes=(ROUTE,)))
    with pytest.raises(StopIteration) as end:
        next(generator)
    return list(end.value.value)


def test_a_call_without_a_deadline_is_never_deferred() -> None:
    assert offers({}) == []


def test_a_deadline_is_offered_to_and_kept() -> None:
    (offer,) = offers({DEADLINE: "2h"})
    assert offer.effect.tier == "batch"
    assert 100.0 < offer.effect.defer_until < 7300.0
    assert offer.risk is Risk.EXACT


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1d", 86400)])
def test_durations_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "0s", "8d", "2h junk"])
def test_what_is_no_duration_is_the_callers_error(text: str) -> None:
    with pytest.raises(CallerError):
        seconds(text)
