"""What deciding costs: the governor over six offers, and the breakpoints lever on small and large bodies.

    python -m benchmarks.governor [--json]

CPU microseconds, least of many rounds, on one core. `loop_ns` is one turn of an empty comprehension on the same core
at the same time, for comparing machines.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import msgspec

from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.route import Provider, Route
from jevons.governor import Facts, weigh
from jevons.governor.choose import RatesByRoute
from jevons.levers.cache import pauses
from jevons.levers.cache.breakpoints import Breakpoints, Lookup
from jevons.levers.lever import Edit, Effect, Offer, Risk, View
from jevons.prices import terms
from jevons.prices.prefix import Rates

HOUSE = Provider(name="anthropic", dialect="anthropic", base_url="")
BIG, SMALL = (Route(provider=HOUSE, upstream_model=name) for name in ("claude-opus-4-1", "claude-haiku-4-5"))
FULL = Rates(input=5_000_000, cached=500_000, cache_write_5m=6_250_000, cache_write_1h=10_000_000, output=25_000_000)
CHEAP = Rates(input=1_000_000, cached=100_000, cache_write_5m=1_250_000, cache_write_1h=2_000_000, output=5_000_000)
TRIM = {"edits": (Edit(1, 0, "a"),)}
OFFERS = [
    Offer(lever="breakpoints", risk=Risk.EXACT, effect=Effect(breakpoints=((5, "1h"),))),
    Offer(lever="trim", risk=Risk.LOSSY, effect=Effect(removed_tokens=5000, retained_tokens=40_000, **TRIM)),
    Offer(lever="trim", risk=Risk.LOSSY, effect=Effect(removed_tokens=9000, retained_tokens=60_000, **TRIM)),
    Offer(lever="route", risk=Risk.LOSSY, effect=Effect(route=SMALL), loss=0.01),
    Offer(lever="batch", risk=Risk.EXACT, effect=Effect(tier="batch", defer_until=5.0)),
    Offer(lever="key", risk=Risk.EXACT, effect=Effect(cache_key="k", regained_tokens=100)),
]
FACTS = Facts(prompt=100_000, held=95_000, output=300, growth=1500, further=20_000, survives=930_000, bridges=600_000)
LOOKUP = Lookup(
    terms=lambda way, _at: next(entry for entry in terms.load() if entry.provider == way.provider.name),
    rates=lambda way, _tier, _at: FULL if way is BIG else CHEAP,
)


def least_us(work: Callable[[], Any], each: int = 100, rounds: int = 200) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(each):
            work()
        best = min(best, time.process_time() - began)
    return best / each * 1e6


def deciding(offers: list[Offer]) -> Callable[[], Any]:
    view = View(
        now=0.0, allowed=dict.fromkeys((o.lever for o in OFFERS), Risk.LOSSY), quality_floor=0.95, routes=(BIG,)
    )
    return lambda: weigh(FACTS, offers, view, BIG, RatesByRoute(LOOKUP, 0.0))


def looking(size: int) -> Callable[[], Any]:
    """The breakpoints lever on a body of about this many bytes, 2,000 to a message."""
    entry = next(entry for entry in terms.load() if entry.provider == "anthropic")
    lookup = Lookup(terms=lambda *_: entry, rates=LOOKUP.rates)
    table = pauses.shipped()
    lever = Breakpoints(lookup, lambda _: table)
    message = {"role": "user", "content": [{"type": "text", "text": "word " * 400}]}
    body = msgspec.json.encode({"model": "m", "system": "s" * 500, "messages": [message] * max(1, size // 2050)})
    call = Call(
        operation="o", surface=Surface.MESSAGES, caller=Caller(key_id="k"), peek=Peek(model="m"), body=body,
        headers={}, at=0.0, task=TaskRef(task="t"),
    )  # fmt: skip
    return lambda: list(lever.offer(call, View(now=0.0, allowed={}, routes=(BIG,))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line instead of a table")
    options = parser.parse_args()
    found = {
        "one_offer_us": least_us(deciding(OFFERS[:1])),
        "three_offers_us": least_us(deciding(OFFERS[:3])),
        "six_offers_us": least_us(deciding(OFFERS)),
        "breakpoints_2kb_us": least_us(looking(2_000)),
        "breakpoints_100kb_us": least_us(looking(100_000)),
        "loop_ns": least_us(lambda: [None for _ in range(1000)], each=10),
    }
    if options.json:
        print(msgspec.json.encode(found).decode())
        return
    for name, value in found.items():
        print(f"{name:<32}{value:>9.1f}")


if __name__ == "__main__":
    main()
