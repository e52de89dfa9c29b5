"""The governor against a bill worked out by hand for every subset of offers."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.ask import Stored
from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.governor import HOLD_OUT, Facts, Governor, render, weigh
from jevons.governor.choose import MAX_COMBINATIONS
from jevons.levers.cache.breakpoints import Lookup
from jevons.levers.cache.session import advance
from jevons.levers.lever import Edit, Effect, Offer, Risk, View
from jevons.prices import horizon
from jevons.prices.prefix import Rates

HOUSE = Provider(name="anthropic", dialect="anthropic", base_url="")
BIG, SMALL, UNKNOWN = (Route(provider=HOUSE, upstream_model=name) for name in ("big", "small", "unknown"))


def price(scale: int) -> Rates:
    """In thousands of pico-dollars a token, so that no coefficient is rounded."""
    return Rates(
        input=scale * 1_000_000,
        cached=scale * 100_000,
        cache_write_5m=scale * 1_250_000,
        cache_write_1h=scale * 2_000_000,
        output=scale * 5_000_000,
    )


BOOK = {
    ("big", ""): price(10),
    ("big", "flex"): price(6),
    ("small", "flex"): price(1),
    ("big", "batch"): price(5),
    ("small", ""): price(2),
    ("small", "batch"): price(1),
}
LEVERS = ("trim", "route", "breakpoints", "batch", "key", "exact", "cascade")


def rates(route: Route, tier: str) -> Rates | None:
    return BOOK.get((route.upstream_model, tier))


def view(floor: float = 0.9, risk: Risk = Risk.LOSSY) -> View:
    return View(now=0.0, allowed=dict.fromkeys(LEVERS, risk), quality_floor=floor, routes=(BIG,))


FACTS = Facts(
    prompt=100_000, held=90_000, hour=40_000, output=500, growth=1000, further=8_000, survives=900_000, bridges=600_000
)


def trim(removed: int, retained: int, loss: float = 0.0) -> Offer:
    effect = Effect(edits=(Edit(1, 0, "x"),), removed_tokens=removed, retained_tokens=retained)
    return Offer(lever="trim", risk=Risk.LOSSY, effect=effect, loss=loss, why="trim")


ROUTE = Offer(lever="route", risk=Risk.LOSSY, effect=Effect(route=SMALL), loss=0.01, why="small does it")
HOUR = Offer(lever="breakpoints", risk=Risk.EXACT, effect=Effect(breakpoints=((3, "1h"),)), why="an hour")
BATCH = Offer(lever="batch", risk=Risk.EXACT, effect=Effect(tier="batch", defer_until=9e9), why="later")
KEY = Offer(lever="key", risk=Risk.EXACT, effect=Effect(cache_key="k", regained_tokens=700), why="sticky")
STORED = Stored(status=200, body=b"{}", content_type="", model="big", usage=None, cost_nano=1, operation="o", at=0.0)
AT_HAND = Offer(lever="exact", risk=Risk.EXACT, effect=Effect(reply=STORED), why="at hand")


def by_hand(taken: tuple[Offer, ...], facts: Facts) -> float:
    """Dollars times 1e9, in floats and without the governor's shortcuts."""
    effects = [offer.effect for offer in taken]
    removed = sum(effect.removed_tokens for effect in effects)
    retained = sum(effect.retained_tokens for effect in effects)
    regained = sum(effect.regained_tokens for effect in effects)
    small = any(effect.route is not None for effect in effects)
    batch = any(effect.tier for effect in effects)
    hour = any(effect.breakpoints for effect in effects) or facts.ttl == "1h"
    usual = BOOK["small" if small else "big", ""]
    now = BOOK["small" if small else "big", "batch" if batch else ""]
    prompt, calls, alive = facts.prompt - removed, facts.further / 1000, facts.survives / 1e6
    if not facts.caches and not any(effect.breakpoints for effect in effects):
        bill = prompt * now.input + calls * (prompt + facts.growth) * usual.input
        return (bill + facts.output * (now.output + calls * usual.output)) / 1000
    write_again = usual.cache_write_5m - usual.cached
    later = calls * (prompt * (usual.cached + write_again * (1 - alive)) + facts.growth * usual.cache_write_5m)
    if batch:
        bill = prompt * now.input + min(calls, 1) * alive * prompt * write_again
    else:
        found = facts.hour if hour else facts.held
        if removed or retained:
            found = max(0, min(found, prompt - retained))
        found = 0 if small else min(prompt, found + regained)
        write = now.cache_write_1h if hour else now.cache_write_5m
        bill = found * now.cached + (prompt - found) * write
        if hour:
            bill -= facts.bridges / 1e6 * (write - now.cached) * (prompt - found)
    return (bill + later + facts.output * (now.output + calls * usual.output)) / 1000


def compatible(taken: tuple[Offer, ...], floor: float) -> bool:
    """No two set one thing. What loses the prefix leaves no breakpoints to place."""
    things: list[str] = []
    for offer in taken:
        effect = offer.effect
        things += ["edits"] if effect.edits else []
        things += ["route"] if effect.route else []
        things += ["tier", "marks"] if effect.tier else []
        things += ["marks"] if effect.breakpoints else []
        things += ["key"] if effect.cache_key else []
    return len(set(things)) == len(things) and sum(o.loss for o in taken) <= 1 - floor + 1e-12


some_offers = st.lists(
    st.one_of(
        st.builds(trim, st.integers(0, 40_000), st.integers(0, 50_000), st.sampled_from([0.0, 0.06])),
        st.sampled_from([ROUTE, HOUR, BATCH, KEY]),
    ),
    max_size=5,
    unique_by=lambda offer: (offer.lever, offer.effect.removed_tokens),
).filter(lambda offers: sum(offer.lever == "trim" for offer in offers) <= 3)
some_facts = st.builds(
    Facts,
    prompt=st.just(100_000),
    hour=st.sampled_from([0, 40_000]),
    held=st.sampled_from([40_000, 99_000]),
    output=st.integers(0, 4000),
    growth=st.integers(0, 3000),
    further=st.sampled_from([0, 500, 1000, 30_000]),
    survives=st.sampled_from([0, 500_000, 1_000_000]),
    bridges=st.sampled_from([0, 390_000, 700_000]),
    caches=st.booleans(),
    ttl=st.sampled_from(["5m", "1h"]),
)


@settings(max_examples=200)
@given(some_offers, some_facts)
def test_it_takes_the_cheapest_of_all_allowed_subsets(offers: list[Offer], facts: Facts) -> None:
    decision = weigh(facts, offers, view(), BIG, rates)
    bills = [
        by_hand(taken, facts)
        for size in range(len(offers) + 1)
        for taken in combinations(offers, size)
        if compatible(taken, 0.9)
    ]
    assert decision.bill_nano == pytest.approx(min(bills), abs=2)
    assert decision.untouched_nano == pytest.approx(by_hand((), facts), abs=2)
    assert decision.bill_nano == pytest.approx(by_hand(decision.chosen, facts), abs=2)
    assert decision.bill_nano <= decision.untouched_nano
    if decision.bill_nano == decision.untouched_nano:
        assert decision.chosen == ()


def test_an_answer_at_hand_costs_only_what_comes_later() -> None:
    decision = weigh(FACTS, [AT_HAND, trim(50_000, 0)], view(), BIG, rates)
    assert decision.chosen == (AT_HAND,)
    assert decision.effect.reply is STORED
    rate = price(10)
    now = 90_000 * rate.cached + 10_000 * rate.cache_write_5m + 500 * rate.output
    assert decision.untouched_nano is not None
    assert decision.bill_nano == decision.untouched_nano - now // 1000


def test_a_trim_that_destroys_a_prefix_is_refused_unless_the_session_is_long() -> None:
    short = msg(further=1_000)
    assert weigh(short, [trim(2_000, 50_000)], view(), BIG, rates).chosen == ()
    longer = msg(further=400_000)
    assert weigh(longer, [trim(2_000, 50_000)], view(), BIG, rates).chosen != ()


def test_a_switch_stays_away_from_a_warm_session_that_is_about_to_end() -> None:
    dear = Offer(lever="route", risk=Risk.LOSSY, effect=Effect(route=SMALL), why="")
    assert weigh(msg(further=0, output=0, held=100_000), [dear], view(), BIG, rates).chosen == ()
    assert weigh(msg(further=20_000), [dear], view(), BIG, rates).chosen == (dear,)


def msg(**changes: int) -> Facts:
    names = {name: getattr(FACTS, name) for name in FACTS.__struct_fields__}
    return Facts(**(names | changes))


def test_a_cascade_is_priced_by_how_many_calls_reach_each_rung() -> None:
    ladder = Effect(ladder=(SMALL, BIG), reach=(1.0, 0.25))
    offer = Offer(lever="cascade", risk=Risk.LOSSY, effect=ladder, why="", own_nano=1000)
    facts = msg(held=0, hour=0, growth=0, further=0)
    decision = weigh(facts, [offer], view(), BIG, rates)
    assert decision.bill_nano == pytest.approx(by_hand((ROUTE,), facts) + 0.25 * by_hand((), facts) + 1000, abs=2)


def test_quality_is_kept_for_the_sum_of_what_is_lost() -> None:
    both = [trim(30_000, 0, loss=0.06), Offer(lever="route", risk=Risk.LOSSY, effect=Effect(route=SMALL), loss=0.06)]
    assert len(weigh(FACTS, both, view(floor=0.85), BIG, rates).chosen) == 2
    assert len(weigh(FACTS, both, view(floor=0.90), BIG, rates).chosen) == 1
    assert weigh(FACTS, both, view(floor=1.0), BIG, rates).chosen == ()


def test_what_the_plan_does_not_allow_is_named_and_not_taken() -> None:
    offers = [trim(50_000, 0), HOUR, Offer(lever="stranger", risk=Risk.EXACT, effect=Effect(cache_key="k"))]
    decision = weigh(msg(further=0), offers, view(risk=Risk.EXACT), BIG, rates)
    assert all(offer.lever == "breakpoints" for offer in decision.chosen)
    assert decision.explained is not None
    assert [index for index, _ in decision.explained["blocked"]] == [0, 2]


def test_a_model_without_a_price_is_not_taken() -> None:
    offer = Offer(lever="route", risk=Risk.LOSSY, effect=Effect(route=UNKNOWN))
    decision = weigh(FACTS, [offer], view(), BIG, rates)
    assert decision.chosen == ()
    assert decision.explained is not None
    assert decision.explained["blocked"] == [[0, "no price is known"]]


def test_a_fourth_offer_of_one_lever_is_not_looked_at() -> None:
    decision = weigh(FACTS, [trim(1000 * i, 0) for i in range(1, 6)], view(), BIG, rates)
    assert decision.explained is not None
    assert [index for index, _ in decision.explained["blocked"]] == [3, 4]


def test_beyond_64_combinations_it_adds_the_best_first_and_says_so() -> None:
    exact = [
        Offer(lever=f"l{i}", risk=Risk.EXACT, effect=Effect(**field), why="")  # type: ignore[arg-type]
        for i, field in enumerate(
            [
                {"route": SMALL},
                {"breakpoints": ((1, "1h"),)},
                {"cache_key": "k", "regained_tokens": 5},
                {"stable_tools": True, "regained_tokens": 50},
                {"edits": (Edit(1, 0, "x"),), "removed_tokens": 20_000},
                {"tier": "flex"},
                {"defer_until": 5.0},
            ]
        )
    ]
    everything = View(now=0.0, allowed={f"l{i}": Risk.LOSSY for i in range(7)}, routes=(BIG,))
    decision = weigh(FACTS, exact, everything, BIG, rates)
    assert decision.explained is not None
    assert decision.explained["greedy"]
    assert decision.explained["combinations"] <= MAX_COMBINATIONS
    assert decision.untouched_nano is not None
    assert decision.bill_nano is not None
    assert decision.bill_nano < decision.untouched_nano
    few = weigh(FACTS, exact[:5], everything, BIG, rates)
    assert few.explained is not None
    assert not few.explained["greedy"]
    assert few.explained["combinations"] == 32


def test_effects_that_are_taken_together_are_one_effect() -> None:
    decision = weigh(msg(further=50_000), [trim(30_000, 0), ROUTE, KEY], view(), BIG, rates)
    assert decision.effect.route is SMALL
    assert decision.effect.removed_tokens == 30_000
    assert decision.effect.edits == (Edit(1, 0, "x"),)


def test_it_explains_every_option_with_its_dollars() -> None:
    decision = weigh(msg(further=50_000), [trim(30_000, 0), ROUTE], view(floor=0.995), BIG, rates)
    assert decision.explained is not None
    rows = render(decision.explained)
    assert rows[0][0] == "trim"
    assert rows[0][1] == decision.bill_nano
    assert rows[0][2].startswith("chosen")
    assert ("untouched", decision.untouched_nano, "") in rows
    assert rows[-1][:2] == ("route", None)
    assert decision.untouched_nano is not None
    assert decision.bill_nano is not None
    assert decision.explained["credit"] == {"trim": decision.untouched_nano - decision.bill_nano}


def governor(arm: str = "", known: bool = True) -> Governor:
    lookup = Lookup(terms=lambda *_: None, rates=lambda way, tier, _at: rates(way, tier) if known else None)
    return Governor(lookup, lambda _: {}, lambda _: horizon.shipped(), arm=lambda *_: arm)


def a_call() -> Call:
    return Call(
        operation="o", surface=Surface.MESSAGES, caller=Caller(key_id="k"), peek=Peek(model="big"), body=b"x" * 40_000,
        headers={}, at=0.0, task=TaskRef(task="t"),
    )  # fmt: skip


def test_a_task_of_the_hold_out_is_left_untouched() -> None:
    assert governor().choose(a_call(), view(), [ROUTE]).chosen == (ROUTE,)
    held = governor(HOLD_OUT).choose(a_call(), view(), [ROUTE])
    assert (held.chosen, held.arm) == ((), HOLD_OUT)


def test_without_a_price_only_an_answer_at_hand_is_taken() -> None:
    blind = governor(known=False)
    assert blind.choose(a_call(), view(), [ROUTE]).chosen == ()
    assert blind.choose(a_call(), view(), [ROUTE, AT_HAND]).chosen == (AT_HAND,)


def test_a_call_is_put_in_numbers_for_the_deferring_lever() -> None:
    first = governor().waiting(a_call(), view(), 7200.0)
    assert (first.prompt, first.held, first.output, first.survives) == (10_000, 0, 0, 1_000_000)
    session = advance(None, 0.0, Usage(cache_write_5m=9_000, output=70), body_bytes=36_000, seconds=4.0)
    seen = view()
    seen.session, seen.now = session, 20.0
    second = governor().waiting(a_call(), seen, 7200.0)
    assert (second.prompt, second.held, second.held_until, second.output) == (10_000, 9_000, 300.0, 70)
    alone = Governor(Lookup(lambda *_: None, lambda *_: None), lambda _: {}, lambda _: horizon.NOTHING_KNOWN)
    assert alone.waiting(a_call(), view(), 7200.0).survives == 0


def test_nothing_offered_is_nothing_explained() -> None:
    assert governor().choose(a_call(), view(), []).explained is None
