"""Betting e-processes against simulation and exact enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.judge.betting import SHARES, above, bet, non_inferiority, rejects


def wealth_after(outcomes, wealth):
    for outcome in outcomes:
        wealth = bet(wealth, outcome)
    return wealth


def test_the_expected_wealth_under_the_claim_is_one_by_enumeration():
    # every path of 8 coin flips of bias 0.3, weighted by its probability
    expected = 0.0
    for path in itertools.product((0.0, 1.0), repeat=8):
        chance = math.prod(0.3 if flip else 0.7 for flip in path)
        expected += chance * math.exp(wealth_after(path, above(0.3)).log_e)
    assert expected == pytest.approx(1.0, abs=1e-12)


def test_the_wealth_is_the_mean_over_constant_bets():
    outcomes = [1.0, 0.0, 0.25, 1.0, 1.0]
    by_hand = np.mean([np.prod([1 + share * (x - 0.4) / 0.4 for x in outcomes]) for share in SHARES])
    assert math.exp(wealth_after(outcomes, above(0.4)).log_e) == pytest.approx(by_hand)


def test_a_look_after_every_pair_keeps_the_level():
    dice = np.random.default_rng(3)
    refuted = 0
    for _ in range(300):
        gains = dice.choice([-1.0, 0.0, 1.0], p=[0.15, 0.75, 0.10], size=600)  # worse by exactly 5 points
        refuted += rejects(wealth_after(gains.tolist(), non_inferiority(0.05)), 0.05)
    assert refuted / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_an_equal_model_is_found_not_worse():
    dice = np.random.default_rng(4)
    gains = dice.choice([-1.0, 0.0, 1.0], p=[0.08, 0.84, 0.08], size=1500)
    assert rejects(wealth_after(gains.tolist(), non_inferiority(0.05)), 0.05)


@given(st.lists(st.floats(-1, 1), max_size=60))
def test_the_anytime_p_value_never_rises_and_the_wealth_never_dies(gains):
    wealth, before = non_inferiority(0.05), 1.0
    for gain in gains:
        wealth = bet(wealth, gain)
        assert wealth.p <= before
        assert math.isfinite(wealth.log_e)
        before = wealth.p
    assert wealth.n == len(gains)


def test_an_outcome_below_the_bound_is_refused():
    with pytest.raises(ValueError, match="below the bound"):
        bet(above(0.5), -0.1)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_outside_its_range_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        non_inferiority(margin)


def test_a_claim_at_the_bound_is_refused():
    with pytest.raises(ValueError, match="must lie above"):
        above(0.0, low=0.0)
