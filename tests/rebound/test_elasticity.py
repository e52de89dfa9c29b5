"""No arm, no point; with one, the estimates of an independent package; the break-even by its own definition."""

import math

import numpy as np
import pandas as pd
import pyfixest
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.errors import CallerError
from jevons.lab.rebound_fit import Observation, measure, solve
from jevons.rebound.elasticity import ASSUMED_RANGE, Elasticity, bill_ratio, break_even, judge, refusal

PANDAS = pytest.mark.filterwarnings("ignore:The inplace keyword")
"""pyfixest 0.60 uses an argument that pandas 3.1 deprecates."""


def customers(n=120, periods=3, elasticity=-0.8, cut=0.6, seed=3, applied=True):
    """A clean experiment; with `applied` false a third of the treated never see the lower price."""
    rng = np.random.default_rng(seed)
    size, base = np.exp(rng.normal(0, 0.8, n)), np.exp(rng.normal(0, 0.1, n))
    arm = np.where(np.arange(n) % 2 == 0, cut, 1.0)
    reached = arm if applied else np.where(np.arange(n) % 3 == 0, 1.0, arm)
    return [
        Observation(
            unit=f"c{i}", period=t, assigned=float(arm[i]), price=float(base[i] * reached[i]),
            quantity=float(rng.poisson(40 * size[i] * (base[i] * reached[i]) ** elasticity)),
            applied=bool(arm[i] == reached[i]),
        )
        for t in range(periods) for i in range(n)
    ]  # fmt: skip


def frame(rows):
    return pd.DataFrame(
        {
            "q": [row.quantity for row in rows],
            "arm": np.log([row.assigned for row in rows]),
            "t": [row.period for row in rows],
            "unit": [int(row.unit[1:]) for row in rows],
        }
    )


@PANDAS
def test_the_point_is_pyfixests_poisson_point():
    rows = customers()
    truth = pyfixest.fepois("q ~ arm | t", data=frame(rows), vcov={"CRV1": "unit"})
    assert measure(rows).point == pytest.approx(float(truth.coef()["arm"]), abs=1e-6)


@PANDAS
def test_the_sandwich_is_pyfixests_clustered_sandwich():
    data = frame(customers())
    truth = pyfixest.fepois("q ~ arm", data=data, vcov={"CRV1": "unit"}, ssc=pyfixest.ssc(k_adj=False))
    x = np.column_stack([np.ones(len(data)), data["arm"]])
    fit = solve(data["q"].to_numpy(), x, data["unit"].to_numpy())
    assert math.sqrt(fit.sandwich[1, 1]) == pytest.approx(float(truth.se()["arm"]), rel=1e-4)


def test_the_one_step_jackknife_is_close_to_leaving_each_customer_out():
    data = frame(customers(n=200, periods=1))
    x = np.column_stack([np.ones(len(data)), data["arm"]])
    y, unit = data["q"].to_numpy(), data["unit"].to_numpy()
    whole = solve(y, x, unit)
    left_out = np.array([solve(y[unit != u], x[unit != u], np.arange((unit != u).sum())).beta[1] for u in range(200)])
    brute = 199 / 200 * np.sum((left_out - left_out.mean()) ** 2)
    assert whole.jackknife[1, 1] == pytest.approx(brute, rel=0.15)


def test_two_arms_without_periods_are_the_log_ratio_of_their_means():
    rows = customers(periods=1)
    mean = {arm: np.mean([row.quantity for row in rows if row.assigned == arm]) for arm in (0.6, 1.0)}
    assert measure(rows).point == pytest.approx(math.log(mean[0.6] / mean[1.0]) / math.log(0.6), abs=1e-6)


def test_an_arm_that_did_not_reach_everyone_is_an_instrument():
    found = measure(customers(n=600, applied=False))
    assert found.method == "iv"
    assert found.low < -0.8 < found.high
    ignored = measure([row if row.applied else row_applied(row) for row in customers(n=600, applied=False)])
    assert ignored.point is not None
    assert abs(ignored.point) < 0.8  # the diluted contrast of the arms


def row_applied(row):
    return Observation(**{**{f: getattr(row, f) for f in row.__struct_fields__}, "applied": True})


def test_without_an_arm_there_is_no_point_but_a_stated_range():
    rows = [Observation(unit=f"c{i}", period=0, assigned=1.0, price=1 + i / 9, quantity=9.0 - i / 9) for i in range(60)]
    found = measure(rows)
    assert (found.point, found.low, found.high) == (None, *ASSUMED_RANGE)
    assert "nothing was randomised" in found.source
    assert "assumption" in found.source


def test_too_few_units_an_unused_product_and_a_dead_arm_are_refused_a_point():
    assert measure(customers(n=20)).point is None
    assert measure([Observation(**{**as_dict(row), "quantity": 0.0}) for row in customers()]).point is None
    dead = [
        Observation(**{**as_dict(row), "price": 1.0 + (int(row.unit[1:]) % 7) / 10, "applied": False})
        for row in customers()
    ]
    assert "first-stage" in measure(dead).source


def as_dict(row):
    return {f: getattr(row, f) for f in row.__struct_fields__}


@pytest.mark.parametrize("bad", [{"price": 0.0}, {"quantity": -1.0}, {"assigned": 0.0}, {"quantity": math.nan}])
def test_zero_prices_and_negative_quantities_are_refused(bad):
    rows = customers()
    rows[0] = Observation(**{**as_dict(rows[0]), **bad})
    with pytest.raises(CallerError):
        measure(rows)


def test_a_unit_in_two_arms_is_refused():
    rows = customers()
    rows[0] = Observation(**{**as_dict(rows[0]), "assigned": 0.9})
    with pytest.raises(CallerError, match="two arms"):
        measure(rows)


@given(st.floats(0.05, 0.95), st.floats(0.0, 0.9))
def test_at_the_break_even_the_bill_stands_still(price_ratio, own):
    assert bill_ratio(break_even(price_ratio, own), price_ratio) + own == pytest.approx(1.0)


def test_a_plain_price_cut_breaks_even_at_minus_one():
    assert break_even(0.5) == -1.0


def test_the_verdict_follows_the_interval():
    def known(low, high, point=-0.5):
        return Elasticity(point=point, low=low, high=high, level=0.95, method="ppml", source="test")

    assert judge(known(-0.9, -0.1), 0.5).word.startswith("saves")
    assert judge(known(-1.9, -1.1, -1.5), 0.5).word.startswith("raises")
    assert judge(known(-1.5, -0.5), 0.5).word.startswith("not settled")
    assert "assumed range" in judge(refusal("no arm"), 0.5).word


@pytest.mark.parametrize(("ratio", "own"), [(0.0, 0.0), (1.0, 0.0), (1.5, 0.0), (0.5, 1.0), (0.5, -0.1)])
def test_a_cut_that_is_none_is_refused(ratio, own):
    with pytest.raises(CallerError):
        break_even(ratio, own)


def test_the_instrumental_estimate_meets_its_moment_conditions():
    """Checked by putting the solution back into the equations, and against two-stage least squares of logs."""
    rng = np.random.default_rng(0)
    n = 4000
    shock, arm = rng.normal(0, 0.5, n), np.where(np.arange(n) % 2 == 0, math.log(0.6), 0.0)
    paid = arm + 0.6 * shock + rng.normal(0, 0.2, n)
    y = np.exp(1.0 - 0.8 * paid + shock)
    x, z = np.column_stack([np.ones(n), paid]), np.column_stack([np.ones(n), arm])
    fit = solve(y, x, np.arange(n), z)
    assert np.allclose(z.T @ (y * np.exp(-x @ fit.beta) - 1.0) / n, 0.0, atol=1e-9)
    two_stage = np.cov(arm, np.log(y))[0, 1] / np.cov(arm, paid)[0, 1]
    assert fit.beta[1] == pytest.approx(two_stage, abs=0.1)
    assert fit.beta[1] == pytest.approx(-0.8, abs=3 * math.sqrt(fit.jackknife[1, 1]))
    naive = np.polyfit(paid, np.log(y), 1)[0]
    assert naive > -0.2  # what a regression on the price paid would have said
