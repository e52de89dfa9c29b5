"""Confidence sequences against least squares, the delta method by bootstrap, and simulation."""

import math

import numpy as np
import pytest

from jevons.judge.moments import Moments, add
from jevons.judge.sequence import Bernstein, difference, interval, mean, multiple, observe, ratio, tuned


def of(xs, ys):
    moments = Moments()
    for x, y in zip(xs, ys, strict=True):
        moments = add(moments, float(x), float(y))
    return moments


def test_the_adjusted_difference_is_that_of_the_interacted_regression():
    dice = np.random.default_rng(1)
    x, arm = dice.normal(size=400), dice.random(400) < 0.3
    y = 2 * x + 0.5 * arm * x + arm + dice.normal(size=400)
    centred = x - x.mean()
    design = np.column_stack([np.ones(400), arm, centred, arm * centred])
    effect = np.linalg.lstsq(design, y, rcond=None)[0][1]
    found = difference(of(x[arm], y[arm]), of(x[~arm], y[~arm]))
    assert found.value == pytest.approx(effect)
    plain = difference(of(np.zeros(arm.sum()), y[arm]), of(np.zeros((~arm).sum()), y[~arm]))
    assert plain.value == pytest.approx(y[arm].mean() - y[~arm].mean())
    assert found.variance < plain.variance


def test_a_ratio_has_the_spread_of_the_bootstrap():
    dice = np.random.default_rng(2)
    solved = (dice.random(2_000) < 0.6).astype(float)
    dollars = dice.lognormal(0, 1, 2_000) * (1.5 - solved)
    found = ratio(of(solved, dollars))
    draws = [dice.integers(0, 2_000, 2_000) for _ in range(400)]
    spread = np.std([dollars[rows].mean() / solved[rows].mean() for rows in draws])
    assert found.value == pytest.approx(dollars.mean() / solved.mean())
    assert math.sqrt(found.variance) == pytest.approx(spread, rel=0.12)


def test_the_boundary_is_tightest_near_the_size_it_is_tuned_for():
    widths = {n: multiple(1_000, tuned(n, 0.05), 0.05) for n in (10, 300, 1_000, 3_000, 100_000)}
    assert min(widths, key=widths.__getitem__) == 1_000
    assert 2.9 < widths[1_000] < 3.1


def test_looking_at_every_observation_of_a_heavy_tail_keeps_the_coverage():
    dice = np.random.default_rng(3)
    missed, mixture = 0, tuned(1_500, 0.05)
    widths = np.array([multiple(n, mixture, 0.05) for n in range(200, 3_001)])
    n = np.arange(1, 3_001)
    for _ in range(300):
        y = dice.lognormal(0, 1, 3_000)
        centre = y.cumsum() / n
        error = np.sqrt(((y**2).cumsum() / n - centre**2) / n)
        missed += bool((np.abs(centre - math.exp(0.5))[199:] > widths * error[199:]).any())
    assert missed / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_the_exact_sequence_covers_and_shrinks():
    dice = np.random.default_rng(4)
    missed, widths = 0, []
    for _ in range(150):
        state = Bernstein(alpha=0.1)
        for outcome in dice.beta(2, 6, 400):
            state = observe(state, float(outcome))
        missed += not state.low <= 0.25 <= state.high
        widths.append(state.high - state.low)
    assert missed / 150 <= 0.1
    assert np.mean(widths) < 0.12


def test_an_interval_is_symmetric_and_bears_a_rounding_below_zero():
    found = interval(mean(of([0, 0, 0], [1.0, 2.0, 3.0])), 2.0)
    assert found.high - found.value == pytest.approx(found.value - found.low)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="before the first"):
        multiple(0, 1.0, 0.05)
    with pytest.raises(ValueError, match="outside"):
        observe(Bernstein(alpha=0.1), 1.5)
