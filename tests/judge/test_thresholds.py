"""Fixed-sequence testing and the sample-ratio check."""

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


def test_betting_stops_when_the_claim_is_refuted():
    assert refute([1.0] * 1_000, 0.5, 0.05).n < 20


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
