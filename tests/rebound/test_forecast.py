"""Forecasts carry bands and a measured error; scenarios move them as arithmetic says; what can't be is refused."""

import math
import random

import pytest

from jevons.core.errors import CallerError
from jevons.rebound import Period
from jevons.rebound.elasticity import Elasticity
from jevons.rebound.forecast import Scenario, forecast
from jevons.rebound.walk import MIN_HISTORY, backtest, following, usable


def history(months=18, plan="pro", growth=0.08, noise=0.05, seed=1, **more):
    dice = random.Random(seed)
    label, rows, steps = "2025-01", [], 20_000.0
    for _ in range(months):
        steps *= math.exp(dice.gauss(growth, noise))
        count = round(steps)
        rows.append(
            Period(
                period=label, group=plan, customers=40, tasks=900, steps=count, prompt_tokens=count * 3000,
                cached_tokens=count * 2000, bill_nano=count * 5_000_000, revenue_nano=200 * 10**9, **more,
            )
        )  # fmt: skip
        label = following(label)
    return rows


def outlook(rows, scenario=None, plan="pro", ahead=3):
    found = forecast(rows, ahead, random.Random(5), scenario)
    return next(o for o in found.outlooks if o.plan == plan and o.ahead == ahead)


def test_every_figure_is_an_ordered_band_and_the_margin_mirrors_the_bill():
    for row in forecast(history(), 4, random.Random(1)).outlooks:
        assert row.bill.p10 < row.bill.p50 < row.bill.p90
        assert row.margin.p10 < row.margin.p50 < row.margin.p90
        assert row.margin.p50 == pytest.approx(200 * 10**9 - row.bill.p50, abs=2)


def test_steady_growth_is_continued():
    rows = history(noise=0.0)
    assert outlook(rows).bill.p50 == pytest.approx(rows[-1].bill_nano * math.exp(3 * 0.08), rel=0.01)


def test_bands_widen_with_the_horizon_and_with_a_rougher_past():
    def width(row):
        return math.log(row.bill.p90 / row.bill.p10)

    calm = history(noise=0.03)
    assert width(outlook(calm, ahead=6)) > width(outlook(calm, ahead=1))
    assert width(outlook(history(noise=0.2))) > width(outlook(calm))


def test_the_backtest_of_walks_holds_about_four_fifths_and_beats_as_last_month():
    tests = [backtest(history(months=30, seed=seed), 3, random.Random(2)) for seed in range(8)]
    held = sum(test.coverage_80 * test.forecasts for test in tests) / sum(test.forecasts for test in tests)
    assert 0.65 < held < 0.95
    assert sum(t.median_error for t in tests) < sum(t.naive_error for t in tests)


def test_a_short_history_is_widened_for_want_of_a_backtest():
    test = backtest(history(months=MIN_HISTORY + 1), 3, random.Random(2))
    assert test.median_error is None
    assert test.spread > 1


def test_factors_of_a_scenario_multiply_the_bill():
    rows = history()
    base, deeper = outlook(rows), outlook(rows, Scenario(factors={"context": 2.0, "steps": 3.0}))
    assert deeper.bill.p50 == pytest.approx(6 * base.bill.p50, rel=1e-6)


def test_half_the_price_with_a_measured_answer_follows_the_elasticity():
    rows = history()
    known = Elasticity(point=-1.2, low=-1.2, high=-1.2, level=0.95, method="ppml", source="test")
    halved = outlook(rows, Scenario(factors={"price": 0.5}, elasticity=known))
    assert halved.bill.p50 == pytest.approx(outlook(rows).bill.p50 * 0.5 ** (1 - 1.2), rel=0.02)


def test_half_the_price_with_no_measured_answer_is_wide_and_says_so():
    found = forecast(history(), 3, random.Random(5), Scenario(factors={"price": 0.5}))
    assert any("not measured" in note for note in found.notes)
    wide, plain = found.outlooks[0].bill, outlook(history(), ahead=1).bill
    assert math.log(wide.p90 / wide.p10) > 2 * math.log(plain.p90 / plain.p10)


def test_a_cap_bounds_the_bill_and_a_lever_scales_it():
    rows = history()
    capped = outlook(rows, Scenario(cap_nano=10**9))
    assert capped.bill.p90 <= 40 * 10**9
    assert outlook(rows, Scenario(lever=(0.7, 0.7, 0.7))).bill.p50 == pytest.approx(
        0.7 * outlook(rows).bill.p50, rel=1e-6
    )


def test_plans_are_forecast_apart_and_summed_and_a_young_one_is_named():
    rows = history() + history(plan="team", seed=4) + history(plan="new", months=3)
    found = forecast(rows, 1, random.Random(5))
    assert [o.plan for o in found.outlooks] == ["pro", "team", "*"]
    assert found.outlooks[2].bill.p50 == pytest.approx(sum(o.bill.p50 for o in found.outlooks[:2]), rel=0.02)
    assert "no history" in found.refused["new"]


def test_months_before_the_last_free_one_are_left_out():
    rows = history()
    rows[4] = Period(**{**{f: getattr(rows[4], f) for f in rows[4].__struct_fields__}, "bill_nano": 0})
    assert len(usable(rows)) == len(rows) - 5


def test_a_missing_month_and_a_repeated_one_are_refused():
    rows = history()
    with pytest.raises(CallerError, match="2025-05 is missing"):
        usable(rows[:4] + rows[5:])
    with pytest.raises(CallerError, match="two rows"):
        usable([*rows, rows[3]])


def test_corrections_and_unpriced_operations_are_told():
    rows = history(unpriced=2, correction_nano=-1000)
    notes = " ".join(forecast(rows, 1, random.Random(5)).notes)
    assert "corrections" in notes
    assert "lower bounds" in notes


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(factors={"price": 0.0}), Scenario(factors={"moods": 2.0}), Scenario(cap_nano=-1),
        Scenario(lever=(0.9, 0.5, 1.0)), Scenario(revenue=-1.0),
    ],
)  # fmt: skip
def test_scenarios_that_cannot_be_are_refused(scenario):
    with pytest.raises(CallerError):
        forecast(history(), 3, random.Random(5), scenario)


def test_no_history_at_all_is_refused():
    with pytest.raises(CallerError, match="no plan can be forecast"):
        forecast([], 3, random.Random(5))
    with pytest.raises(CallerError, match="horizon"):
        forecast(history(), 0, random.Random(5))


@pytest.mark.parametrize(
    ("label", "after"),
    [("2025-12", "2026-01"), ("2024-02-28", "2024-02-29"), ("2025-12-31", "2026-01-01"), ("w3", None)],
)
def test_labels_follow_the_calendar(label, after):
    assert following(label) == after
