"""The e-detector against brute force and simulation."""

import numpy as np
import pytest

from jevons.judge.betting import SHARES
from jevons.judge.drift import see, watch


def run(outcomes, patience=200.0):
    state = watch(floor=-0.025, high=1.0, patience=patience)
    for outcome in outcomes:
        state = see(state, float(outcome))
    return state


def test_the_sums_are_the_wealths_of_all_starting_times():
    outcomes = [0.0, -1.0, 1.0, 0.0, -1.0]
    state = run(outcomes, patience=1e9)
    for share, total in zip(SHARES, state.sums, strict=True):
        factors = [1 + share * (-0.025 - x) / 1.025 for x in outcomes]
        assert total == pytest.approx(sum(np.prod(factors[start:]) for start in range(len(factors))))


def test_the_mean_time_to_a_false_alarm_is_at_least_the_patience():
    dice = np.random.default_rng(5)
    times = []
    for _ in range(40):
        state = watch(floor=-0.025, high=1.0, patience=200.0)
        while not state.alarmed and state.n < 3_000:  # cutting off only lowers the mean
            state = see(state, float(dice.choice([-1.0, 0.0, 1.0], p=[0.1125, 0.8, 0.0875])))
        times.append(state.n)
    assert np.mean(times) >= 200


def test_a_drop_is_found_and_the_alarm_stays():
    dice = np.random.default_rng(6)
    state = run(dice.choice([-1.0, 0.0, 1.0], p=[0.18, 0.74, 0.08], size=600))
    assert state.alarmed
    assert see(state, 1.0) is state


def test_an_outcome_above_the_bound_is_refused():
    with pytest.raises(ValueError, match="above the bound"):
        run([1.5])


def test_a_floor_at_the_bound_is_refused():
    with pytest.raises(ValueError, match="must lie below"):
        watch(floor=1.0, high=1.0, patience=10)
