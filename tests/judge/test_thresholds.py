"""Fixed-sequence testing and the sample-ratio check."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from jevons.judge.mismatch import log_bayes_factor, mismatched
from jevons.judge.thresholds import refute, walk


def test_the_walk_stops_at_the_first_failure():
    good, bad = [1.0] * 100, [0.0, 1.0] * 50
    found = walk([good, good, bad, good], floor=0.6, alpha=0.05)
    assert found.passed == 1
    assert len(found.log_e) == 3


def test_nothing_passes_without_evidence():
    assert walk([[1.0]], floor=0.9, alpha=0.05).passed == -1
    assert walk([], floor=0.9, alpha=0.05).passed == -1


def test_a_threshold_at_the_floor_passes_no_more_often_than_alpha():
    dice = np.random.default_rng(7)
    passed = sum(walk([(dice.random(500) < 0.9).astype(float).tolist()], 0.9, 0.1).passed == 0 for _ in range(300))
    assert passed / 300 <= 0.1 + 2 * math.sqrt(0.09 / 300)


def test_the_expected_wealth_at_the_floor_is_at_most_one_by_enumeration():
    # all paths of 10 flips of bias 0.3: the chance to reach 1/alpha is at most alpha
    chance = 0.0
    for path in itertools.product((0.0, 1.0), repeat=10):
        weight = math.prod(0.3 if flip else 0.7 for flip in path)
        chance += weight * (refute(path, 0.3, 0.2) >= -math.log(0.2))
    assert chance <= 0.2


def test_a_test_stops_when_the_claim_is_refuted():
    class Counted(list):
        read = 0

        def __iter__(self):
            for value in super().__iter__():
                self.read += 1
                yield value

    outcomes = Counted([1.0] * 1_000)
    assert refute(outcomes, 0.5, 0.05) >= -math.log(0.05)
    assert outcomes.read < 1_000


def test_outcomes_below_the_bound_and_floors_at_it_are_refused():
    with pytest.raises(ValueError, match="below the bound"):
        refute([-1.0], 0.5, 0.05)
    with pytest.raises(ValueError, match="must lie above"):
        refute([1.0], 0.0, 0.05)


def test_the_bayes_factor_is_that_of_scipys_dirichlet_multinomial():
    counts, shares = (230, 770), (0.2, 0.8)
    marginal = stats.dirichlet_multinomial([200.0, 800.0], 1_000).logpmf(counts)
    exact = stats.multinomial(1_000, shares).logpmf(counts)
    assert log_bayes_factor(counts, shares) == pytest.approx(marginal - exact)


def test_a_broken_draw_is_found_and_a_fair_one_is_not():
    assert mismatched((4_000, 4_400), (0.5, 0.5))
    dice = np.random.default_rng(8)
    held = (dice.random(4_000) < 0.2).cumsum()
    assert not any(mismatched((int(held[n - 1]), n - int(held[n - 1])), (0.2, 0.8)) for n in range(10, 4_001, 10))


def test_shares_must_fit_the_arms():
    with pytest.raises(ValueError, match="sum to 1"):
        log_bayes_factor((1, 2), (0.5, 0.6))
