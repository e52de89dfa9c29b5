"""A candidate's way up and down, told as behaviour."""

import numpy as np
import pytest

from jevons.judge.betting import non_inferiority, rejects
from jevons.levers.route.promotion import (
    Pair,
    Pin,
    Stage,
    Terms,
    checked_share,
    level,
    move,
    observe,
    pin,
    rest,
    serving_share,
    start,
)

TERMS = Terms()
TIE = Pair(new=1.0, old=1.0, cost_nano=10)


def fresh(terms=TERMS):
    return start("site", "gpt-large", "gpt-small", terms, now=1.0)


def after(candidate, pairs, terms=TERMS):
    for each in pairs:
        candidate = observe(candidate, each, terms, now=2.0)
    return candidate


def full():
    return move(fresh(), Stage.FULL, "promoted", now=1.0)


def test_an_equal_candidate_climbs_to_canary_and_then_to_full():
    canary = fresh()
    while canary.stage is Stage.SHADOW:
        canary = observe(canary, TIE, TERMS, now=2.0)
    assert canary.stage is Stage.CANARY
    assert "not worse by 5%" in canary.reason
    assert serving_share(canary, TERMS) == TERMS.canary_share
    promoted = after(canary, [TIE] * TERMS.canary_pairs)
    assert promoted.stage is Stage.FULL
    assert serving_share(promoted, TERMS) == 1.0
    assert checked_share(promoted, TERMS) == TERMS.audit_share


def test_in_shadow_nobody_sees_it():
    assert serving_share(fresh(), TERMS) == 0.0


def test_a_worse_candidate_is_rarely_promoted_however_long_one_looks():
    dice, promoted = np.random.default_rng(1), 0
    for _ in range(60):
        candidate = fresh()
        for gain in dice.choice([-1, 0, 1], p=[0.15, 0.75, 0.10], size=800):
            candidate = observe(candidate, Pair(new=float(gain > 0), old=float(gain < 0)), TERMS, now=2.0)
        promoted += candidate.stage is not Stage.SHADOW
    assert promoted <= 6


def test_a_drop_demotes_and_the_incumbent_answers_at_once():
    dice = np.random.default_rng(2)
    candidate, pairs = full(), 0
    while candidate.stage is Stage.FULL:
        gain = dice.choice([-1, 0, 1], p=[0.2, 0.7, 0.1])
        candidate = observe(candidate, Pair(new=float(gain > 0), old=float(gain < 0)), TERMS, now=2.0)
        pairs += 1
    assert pairs <= 400
    assert serving_share(candidate, TERMS) == 0.0
    assert "fell behind" in candidate.reason


@pytest.mark.parametrize("stage", [Stage.CANARY, Stage.FULL])
def test_a_candidate_that_vanishes_is_demoted_after_a_few_failures(stage):
    failed = Pair(new=None, old=1.0, failed=True)
    demoted = after(move(fresh(), stage, "x", 1.0), [failed] * TERMS.failures)
    assert demoted.stage is Stage.DEMOTED
    assert "failures in a row" in demoted.reason


def test_failures_in_shadow_count_as_losses():
    candidate = after(fresh(), [Pair(new=None, old=1.0, failed=True)] * 20)
    assert candidate.stage is Stage.SHADOW
    assert not rejects(candidate.wealth, 0.5)


def test_a_judge_that_is_down_proves_nothing_but_is_paid():
    candidate = after(fresh(), [Pair(new=None, old=None, cost_nano=7)] * 100)
    assert (candidate.pairs, candidate.unjudged, candidate.spent_nano) == (0, 100, 700)
    assert candidate.wealth == non_inferiority(TERMS.margin)


def test_shadows_stop_at_their_cap():
    terms = Terms(cap_nano=55)
    stopped = after(fresh(terms), [Pair(new=0.0, old=1.0, cost_nano=10)] * 6, terms)
    assert stopped.stage is Stage.STOPPED
    assert "cap" in stopped.reason
    assert after(stopped, [TIE], terms) == stopped


def test_a_demoted_candidate_rests_and_comes_back_at_half_the_level():
    terms = Terms(rest_calls=3, trials=2)
    candidate = move(fresh(terms), Stage.DEMOTED, "x", 1.0)
    for _ in range(3):
        candidate = rest(candidate, terms, now=3.0)
    assert (candidate.stage, candidate.trial) == (Stage.SHADOW, 1)
    assert level(candidate, terms) == terms.alpha / 4
    candidate = move(candidate, Stage.DEMOTED, "x", 1.0)
    for _ in range(3):
        candidate = rest(candidate, terms, now=3.0)
    assert candidate.stage is Stage.STOPPED


def test_the_levels_of_all_trials_stay_below_alpha():
    assert sum(TERMS.alpha / 2 ** (trial + 1) for trial in range(TERMS.trials)) < TERMS.alpha
    single = Terms(trials=1)
    assert level(fresh(single), single) == single.alpha


def test_a_pin_overrides_serving_and_evidence_goes_on():
    pinned = pin(full(), Pin.INCUMBENT, now=5.0)
    assert serving_share(pinned, TERMS) == 0.0
    assert observe(pinned, TIE, TERMS, now=6.0).pairs == 1
    assert serving_share(pin(fresh(), Pin.CANDIDATE, now=5.0), TERMS) == 1.0
    assert serving_share(pin(pinned, Pin.NONE, now=5.0), TERMS) == 1.0
