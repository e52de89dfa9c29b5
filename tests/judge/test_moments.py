"""Running moments against numpy and the stdlib."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.judge.moments import Moments, add, join

pairs = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=40)


def of(rows):
    moments = Moments()
    for x, y in rows:
        moments = add(moments, x, y)
    return moments


@given(pairs)
def test_moments_are_those_of_the_stdlib(rows):
    xs, ys = [x for x, _ in rows], [y for _, y in rows]
    found = of(rows)
    assert found.x == pytest.approx(statistics.fmean(xs), abs=1e-7)
    assert found.yy / (found.n - 1) == pytest.approx(statistics.variance(ys), abs=1e-6, rel=1e-6)
    assert found.xy / (found.n - 1) == pytest.approx(statistics.covariance(xs, ys), abs=1e-6, rel=1e-6)


@given(pairs, pairs)
def test_joined_streams_are_one_stream(one, other):
    both, whole = join(of(one), of(other)), of(one + other)
    for name in Moments.__struct_fields__:
        assert getattr(both, name) == pytest.approx(getattr(whole, name), abs=1e-5, rel=1e-9)


def test_a_large_offset_loses_no_precision():
    dice = np.random.default_rng(0)
    ys = 1e9 + dice.random(200)
    assert of([(0.0, y) for y in ys]).yy == pytest.approx(np.sum((ys - ys.mean()) ** 2), rel=1e-6)
