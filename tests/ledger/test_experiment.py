"""The experiment, one task at a time and all looks at once."""

import numpy as np
import pytest

from jevons.judge.sequence import difference, interval, multiple
from jevons.ledger.experiment import (
    BURN_IN,
    HELD,
    TREATED,
    Arm,
    Design,
    assign,
    begin,
    look,
    named,
    net_negative,
    permitted,
    record,
)

DESIGN = Design(tenant="acme", salt="s1", levers=("trim", "route"))


def run(n, saving=0.0, design=DESIGN, seed=0, lever_cost=0.0, solved=0.7, treated_solved=0.7, until=None):
    dice, evidence = np.random.default_rng(seed), begin(design)
    for number in range(n):
        arm = assign(design, f"task {seed} {number}")
        site = dice.integers(0, 2)
        dollars = dice.lognormal(0, 0.5) * (1 + 3 * site)
        if not arm.held:
            dollars *= 1 - saving
            dollars += lever_cost * ("route" not in arm.off)
        good = dice.random() < (solved if arm.held else treated_solved)
        evidence = record(evidence, design, arm, dollars, 1.0 + 3.0 * site, bool(good))
        if until and until(look(evidence, design)):
            break
    return evidence


def test_a_task_stays_in_its_arm_and_the_shares_are_the_designs():
    arms = [assign(DESIGN, str(number)) for number in range(5_000)]
    assert arms == [assign(DESIGN, str(number)) for number in range(5_000)]
    held = np.mean([arm.held for arm in arms])
    treated = [arm for arm in arms if not arm.held]
    assert held == pytest.approx(DESIGN.holdout, abs=0.02)
    off = np.array([["trim" in arm.off, "route" in arm.off] for arm in treated])
    assert off.mean(axis=0) == pytest.approx([DESIGN.lever_off] * 2, abs=0.02)
    assert abs(np.corrcoef(off.T)[0, 1]) < 0.05  # a factorial: the levers are drawn independently


def test_another_tenant_or_salt_is_another_draw():
    others = (Design(tenant="other", salt="s1"), Design(tenant="acme", salt="s2"))
    same = [assign(DESIGN, str(number)).held for number in range(2_000)]
    for other in others:
        drawn = [assign(other, str(number)).held for number in range(2_000)]
        assert abs(np.corrcoef(same, drawn)[0, 1]) < 0.08


def test_arms_have_the_names_that_the_ledger_stores():
    arms = {"hold-out": Arm(held=True, off=DESIGN.levers), "on": Arm(held=False)}
    arms |= {"on-trim": Arm(held=False, off=("trim",)), "on-trim+route": Arm(held=False, off=("trim", "route"))}
    assert {name: named(name, DESIGN) for name in arms} == arms
    assert [arm.name for arm in arms.values()] == list(arms)
    with pytest.raises(ValueError, match="is no arm"):
        named("off", DESIGN)


def test_an_arm_runs_without_its_levers_and_the_hold_out_without_any():
    allowed = {"trim": 1, "route": 2, "exact": 0}
    assert permitted(Arm(held=False, off=("route",)), allowed) == {"trim": 1, "exact": 0}
    assert permitted(Arm(held=True), allowed) == {}


def test_no_headline_before_both_arms_suffice_and_it_says_about_how_many_more():
    found = look(run(300), DESIGN)
    assert not found.shown
    assert found.saved_per_task is None
    assert found.more_tasks == pytest.approx((BURN_IN - found.tasks[HELD]) / DESIGN.holdout, abs=1)


def test_a_saving_is_shown_with_its_interval_and_the_way_there_was_announced():
    seen = []
    evidence = run(12_000, saving=0.2, until=lambda found: seen.append(found) or found.shown)
    found = look(evidence, DESIGN)
    assert found.shown
    assert found.saved_per_task.low > 0
    assert found.saved_share.low < 0.2 < found.saved_share.high
    assert found.more_tasks is None
    assert "a saving" in found.why
    waiting = [each for each in seen if each.saved_per_task is not None and not each.shown]
    assert all(each.more_tasks >= 1 and "more tasks" in each.why for each in waiting)
    assert found.per_task[TREATED].value < found.per_task[HELD].value
    assert found.per_solved[TREATED].value < found.per_solved[HELD].value


def test_success_is_proven_kept_and_a_fall_is_not():
    assert look(run(8_000, solved=0.9, treated_solved=0.9), DESIGN).success_kept
    worse = look(run(8_000, solved=0.9, treated_solved=0.84), DESIGN)
    assert not worse.success_kept
    assert worse.success_p > 0.05


def test_a_lever_that_costs_more_than_it_saves_is_switched_off():
    evidence = run(9_000, lever_cost=1.0)
    assert look(evidence, DESIGN).switch_off == ("route",)
    assert not net_negative(evidence, DESIGN, "trim")


def test_a_broken_draw_stops_everything_and_stays():
    evidence = begin(DESIGN)
    for number in range(3_000):
        evidence = record(evidence, DESIGN, Arm(held=number % 3 == 0), 1.0, 1.0, None)
    found = look(evidence, DESIGN)
    assert not found.shown
    assert "do not fit the draw" in found.why
    for _ in range(50):
        evidence = record(evidence, DESIGN, Arm(held=False), 1.0, 1.0, None)
    assert evidence.broken


@pytest.mark.parametrize("dollars", [float("nan"), float("inf")])
def test_an_unpriced_task_is_refused(dollars):
    with pytest.raises(ValueError, match="unpriced"):
        record(begin(DESIGN), DESIGN, Arm(held=False), dollars, 1.0, None)


def test_the_benchmarks_path_is_the_gateways_one_by_one():
    from benchmarks.experiment import Pool, expected, running

    dice = np.random.default_rng(9)
    pool = Pool(dice.lognormal(0, 1, 300), (dice.random(300) < 0.7).astype(float), dice.integers(0, 3, 300))
    picked, held = dice.integers(0, 300, 1_500), dice.random(1_500) < 0.2
    dollars = pool.dollars[picked]
    known = expected(dollars, pool.site[picked])
    start = 1_200
    arms = running(known, dollars, held, start), running(known, dollars, ~held, start)
    design, evidence = Design(tenant="", salt=""), begin(Design(tenant="", salt=""))
    at_once = difference(*arms)
    totals: dict[int, list[float]] = {}
    for number in range(1_500):
        site = int(pool.site[picked][number])
        earlier = totals.setdefault(site, [])
        guess = np.mean(earlier) if earlier else np.mean(dollars[:number]) if number else 0.0
        assert guess == pytest.approx(known[number])
        earlier.append(float(dollars[number]))
        evidence = record(evidence, design, Arm(held=bool(held[number])), float(dollars[number]), float(guess), None)
        if number >= start:
            one = difference(*evidence.dollars)
            assert one.value == pytest.approx(at_once.value[number - start], abs=1e-9)
            assert one.variance == pytest.approx(at_once.variance[number - start])
    last = interval(difference(*evidence.dollars), multiple(1_500, evidence.mixture, design.alpha))
    assert look(evidence, design).saved_per_task == last
