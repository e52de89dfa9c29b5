"""What would have run, and the levers' parts of the difference: they add up, and each has the right sign."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.money import Nano
from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.ledger.counterfactual import PROMPT_KINDS, Act, Untouched, repeated, split, would_have
from jevons.ledger.operation import Attempt
from jevons.ledger.waterfall import DECLARED, OWN, REST, add, count

RATES = {
    "big": Usage(input=3_000, cached=300, cache_write_5m=3_750, cache_write_1h=6_000, output=15_000),
    "small": Usage(input=800, cached=80, cache_write_5m=1_000, cache_write_1h=1_600, output=4_000),
    "huge": Usage(input=15_000, cached=1_500, cache_write_5m=18_750, cache_write_1h=30_000, output=75_000),
}
"""Nano-dollars a token, by model."""
PROVIDER = Provider(name="p", dialect="anthropic", base_url="http://p")
BIG, SMALL, HUGE, UNKNOWN = (
    Route(provider=PROVIDER, upstream_model=name) for name in ("big", "small", "huge", "unknown")
)


def price(route: Route, usage: Usage, tier: str) -> Nano | None:
    rates = RATES.get(route.upstream_model)
    if rates is None:
        return None
    kinds = (*PROMPT_KINDS, "output")
    whole = sum(getattr(rates, kind) * getattr(usage, kind) for kind in kinds)
    return Nano(whole // 2 if tier == "batch" else whole)


def burned(route: Route, usage: Usage, tier: str = "", **changes: object) -> Attempt:
    given = {"provider": "p", "model": route.upstream_model, "status": 200, "usage": usage, "tier": tier}
    return Attempt(**{**given, "cost_nano": price(route, usage, tier), **changes})  # type: ignore[arg-type]


def untouched(route: Route = BIG, asked: Route = BIG, held: int = 0) -> Untouched:
    return Untouched(route=route, asked=asked, held=held)


USAGE = Usage(input=100, cached=800, cache_write_5m=100, output=50)
tokens = st.integers(0, 50_000)
usages = st.builds(
    Usage, input=tokens, cached=tokens, cache_write_5m=tokens, cache_write_1h=tokens, output=st.integers(1, 5_000)
)


def test_a_call_that_nothing_touched_has_its_own_cost_as_baseline():
    counted = count([burned(BIG, USAGE)], untouched(), (), price, BIG)
    assert (counted.baseline, counted.lines) == (price(BIG, USAGE, ""), {})


def test_a_cheaper_model_is_credited_with_the_difference_at_the_mix_that_was_seen():
    counted = count([burned(SMALL, USAGE)], untouched(), [Act(lever="route", rerouted=True)], price, SMALL)
    assert counted.baseline == price(BIG, USAGE, "")
    assert counted.lines == {"route": price(BIG, USAGE, "") - price(SMALL, USAGE, "")}


def test_a_switch_that_throws_a_held_prefix_away_may_cost_more_than_it_saves():
    cold = Usage(cache_write_5m=1_000, output=10)
    act = [Act(lever="route", rerouted=True)]
    held = count([burned(SMALL, cold)], untouched(held=990), act, price, SMALL)
    assert held.baseline == 10 * 3_750 + 990 * 300 + 10 * 15_000
    assert held.lines["route"] < 0


def test_removed_tokens_come_back_in_the_mix_that_was_seen():
    assert would_have(USAGE, 500, 0) == Usage(input=150, cached=1_200, cache_write_5m=150, output=50)
    assert would_have(Usage(), 7, 0) == Usage(input=7)
    counted = count([burned(BIG, USAGE)], untouched(), [Act(lever="trim", removed=500)], price, BIG)
    assert counted.lines == {"trim": 50 * 3_000 + 400 * 300 + 50 * 3_750}


def test_an_edit_that_breaks_the_cache_is_charged_for_it():
    seen = Usage(cache_write_5m=900, output=10)
    counted = count(
        [burned(BIG, seen)], untouched(held=950), [Act(lever="trim", removed=100, retained=900)], price, BIG
    )
    assert counted.baseline == 950 * 300 + 50 * 3_750 + 10 * 15_000
    assert counted.lines["trim"] == counted.baseline - price(BIG, seen, "") < 0


def test_trim_and_route_at_once_share_the_saving_and_leave_no_rest():
    acts = [Act(lever="trim", removed=500, retained=200), Act(lever="route", rerouted=True)]
    counted = count([burned(SMALL, USAGE)], untouched(held=1_200), acts, price, SMALL)
    assert set(counted.lines) == {"trim", "route"}
    assert sum(counted.lines.values()) == counted.baseline - price(SMALL, USAGE, "")


def test_a_cheaper_tier_is_credited_to_the_lever_that_chose_it():
    counted = count([burned(BIG, USAGE, "batch")], untouched(), [Act(lever="batch", retiered=True)], price, BIG)
    assert counted.lines == {"batch": price(BIG, USAGE, "") - price(BIG, USAGE, "batch")}


def test_a_declared_baseline_is_what_would_have_run_and_the_callers_own_thrift_is_no_lever():
    counted = count([burned(SMALL, USAGE)], untouched(route=HUGE), [Act(lever="route", rerouted=True)], price, SMALL)
    assert counted.baseline == price(HUGE, USAGE, "")
    assert counted.lines[DECLARED] == price(HUGE, USAGE, "") - price(BIG, USAGE, "")
    assert counted.lines["route"] == price(BIG, USAGE, "") - price(SMALL, USAGE, "")


def test_gates_and_unused_rungs_are_the_cascades_own_cost():
    attempts = [burned(SMALL, USAGE), burned(SMALL, USAGE, role="gate"), burned(BIG, USAGE)]
    counted = count(attempts, untouched(), [Act(lever="cascade", rerouted=True)], price, BIG)
    assert counted.baseline == price(BIG, USAGE, "")
    assert counted.lines == {"cascade": -2 * price(SMALL, USAGE, "")}


def test_a_judge_beside_an_untouched_call_makes_the_saving_negative():
    attempts = [burned(BIG, USAGE), burned(SMALL, USAGE, role="shadow")]
    counted = count(attempts, untouched(), (), price, BIG)
    assert counted.lines == {f"{OWN}shadow": -price(SMALL, USAGE, "")}


def test_what_failed_before_would_have_failed_untouched_too():
    attempts = [burned(BIG, USAGE, error="timeout", status=0), burned(SMALL, USAGE)]
    parts = split(attempts)
    assert (parts.failed, parts.own) == (price(BIG, USAGE, ""), ())
    counted = count(attempts, untouched(), [Act(lever="route", rerouted=True)], price, SMALL)
    assert counted.baseline == 2 * price(BIG, USAGE, "")


def test_a_served_answer_is_worth_what_sending_again_would_have_cost_with_the_prefix_still_held():
    served = Attempt(provider="cache", model="big", status=200, cost_nano=Nano(0))
    act = [Act(lever="exact", served=True)]
    cold = count([served], untouched(), act, price, None, USAGE)
    warm = count([served], untouched(held=1_000), act, price, None, USAGE)
    assert cold.lines == {"exact": price(BIG, USAGE, "")}
    assert warm.lines == {"exact": 1_000 * 300 + 50 * 15_000}


@pytest.mark.parametrize(
    ("route", "attempts"),
    [
        (UNKNOWN, [burned(SMALL, USAGE)]),
        (BIG, [burned(SMALL, USAGE, error="reset", cost_nano=None), burned(SMALL, USAGE)]),
    ],
)
def test_without_a_price_there_is_no_baseline_and_nothing_is_credited(route, attempts):
    counted = count(attempts, untouched(route=route, asked=route), [Act(lever="route", rerouted=True)], price, SMALL)
    assert (counted.baseline, counted.lines) == (None, {})


def test_an_unpriced_cost_leaves_a_baseline_and_no_waterfall():
    counted = count([burned(UNKNOWN, USAGE)], untouched(), [Act(lever="route", rerouted=True)], price, UNKNOWN)
    assert (counted.baseline, counted.lines) == (price(BIG, USAGE, ""), {})


def test_a_step_without_a_price_is_carried_by_the_next():
    counted = count(
        [burned(SMALL, USAGE)],
        untouched(route=HUGE, asked=UNKNOWN),
        [Act(lever="route", rerouted=True)],
        price,
        SMALL,
    )
    assert counted.lines == {"route": price(HUGE, USAGE, "") - price(SMALL, USAGE, "")}


@given(
    seen=usages,
    removed=st.integers(0, 40_000),
    retained=st.integers(0, 40_000),
    held=tokens,
    rerouted=st.booleans(),
    retiered=st.booleans(),
    declared=st.sampled_from([BIG, HUGE, SMALL]),
    extra=st.lists(st.sampled_from(["rung", "gate", "judge", "embed", "shadow", "failed"]), max_size=4),
    reported=st.one_of(st.none(), st.integers(0, 10**9)),
)
def test_the_lines_of_any_operation_add_up_to_baseline_minus_cost(
    seen, removed, retained, held, rerouted, retiered, declared, extra, reported
):
    route, tier = (SMALL if rerouted else BIG), ("batch" if retiered else "")
    acts = []
    if removed or retained:
        acts.append(Act(lever="trim", removed=removed, retained=retained))
    if rerouted:
        acts.append(Act(lever="route", rerouted=True))
    if retiered:
        acts.append(Act(lever="batch", retiered=True))
    before = [_extra(role) for role in extra]
    final = burned(route, seen, tier)
    if reported is not None:  # the provider said another cost than the book
        final = burned(route, seen, tier, cost_nano=Nano(reported))
    attempts = [*before, final]
    counted = count(attempts, untouched(route=declared, held=held), acts, price, route)
    cost = sum(attempt.cost_nano for attempt in attempts)
    assert sum(counted.lines.values()) == counted.baseline - cost
    if reported is None:
        assert REST not in counted.lines, "book prices explain everything"


def _extra(role: str) -> Attempt:
    if role == "failed":
        return burned(BIG, USAGE, status=500, error="status")
    return burned(SMALL, USAGE, role="answer" if role == "rung" else role)


@given(seen=usages, removed=st.integers(0, 40_000), held=st.integers(0, 300_000))
def test_no_token_is_lost_or_made_between_kinds(seen, removed, held):
    would = would_have(seen, removed, held)
    assert would.prompt == seen.prompt + removed
    assert would.output == seen.output
    assert would.cached >= min(held, would.prompt)
    assert all(getattr(would, kind) >= 0 for kind in PROMPT_KINDS)


def test_a_prompt_that_was_just_answered_is_held_in_whole_steps_from_a_length_on():
    assert repeated(Usage(input=1_500, output=9), 1_024, 128) == 1_408
    assert repeated(Usage(input=1_000), 1_024, 128) == 0


def test_waterfalls_add_up_line_by_line():
    assert add({"trim": 1, "rest": -1}, {"route": 5, "trim": 2}) == {"trim": 3, "rest": -1, "route": 5}
