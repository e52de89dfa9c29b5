"""Capacity against figures that others published or that a pencil gives; shocks against shares."""

import pytest

from jevons.burn import capacity
from jevons.burn.band import Band, exactly
from jevons.burn.materials import bill, load_materials, margin_after, shock
from jevons.burn.meter import Reading, between
from jevons.burn.roofline import Setup
from jevons.burn.tables import load
from jevons.core.errors import CallerError

TABLES = load()
LLAMA = TABLES.shapes.models["llama-3.1-70b"]
H100 = TABLES.hardware.devices["h100"]
FOUR = Setup(device=H100, devices=4)


def test_a_terabyte_holds_three_million_tokens_of_a_70b_with_grouped_queries():
    assert capacity.tokens_held(1e12, LLAMA) == 3_051_757


def test_a_70b_on_four_h100_gets_more_than_an_order_cheaper_from_batch_8_to_898():
    """Published as about 14x. The model's middle is 16x, and its band holds 14."""
    low, high = (
        capacity.point(LLAMA, FOUR, batch, 480, exactly(2.5), TABLES, prompt_per_output=0.65).usd_per_mtok
        for batch in (8, 898)
    )
    assert low.mid / high.mid == pytest.approx(16.4, rel=0.05)
    assert low.low / high.mid < 14 < low.mid / high.low


def test_898_sequences_of_480_tokens_fit_and_twice_the_context_does_not():
    held = capacity.memory(LLAMA, FOUR, 480, TABLES.hardware.host)
    assert held.sequences_in_hbm == pytest.approx(898, rel=0.05)
    assert capacity.memory(LLAMA, FOUR, 960, TABLES.hardware.host).sequences_in_hbm < 898


def test_weights_that_do_not_fit_are_said_not_to_with_the_devices_needed():
    report = capacity.plan(LLAMA, Setup(device=H100, devices=1), 1000, TABLES)
    assert not report.memory.fits
    assert report.points == ()
    assert any("at least 2 devices" in note for note in report.notes)


def test_the_price_falls_with_batch_and_rises_with_context():
    prices = [
        capacity.point(LLAMA, FOUR, batch, 1000, exactly(2.5), TABLES).usd_per_mtok.mid for batch in (1, 8, 64, 512)
    ]
    assert prices == sorted(prices, reverse=True)
    longer = capacity.point(LLAMA, FOUR, 64, 32_000, exactly(2.5), TABLES).usd_per_mtok.mid
    assert longer > prices[2]


def test_the_price_is_the_hours_over_the_tokens():
    row = capacity.point(LLAMA, FOUR, 64, 1000, exactly(3.6), TABLES)
    assert row.usd_per_mtok.mid == pytest.approx(4 * 3.6 / 3600 / row.tokens_per_s.mid * 1e6)


def test_long_contexts_are_loaded_back_and_small_models_kv_is_near_to_recomputing_from_drives():
    assert capacity.restore(LLAMA, FOUR, 32_000, TABLES).dram == "load"
    all_heads = TABLES.shapes.models["llama-2-7b"]
    slow = capacity.restore(all_heads, Setup(device=H100), 2000, TABLES)
    assert slow.from_ssd_s > slow.recompute_s.low
    assert slow.ssd in {"recompute", "either"}


@pytest.mark.parametrize(("batch", "context"), [(0, 100), (1 << 21, 100), (8, 0), (8, 10**9)])
def test_impossible_points_are_refused(batch, context):
    with pytest.raises(CallerError):
        capacity.point(LLAMA, FOUR, batch, context, exactly(2.5), TABLES)


def test_every_share_has_a_band_and_a_source_or_is_called_unknown():
    lines = bill(load_materials())
    middles = sum(line.share.mid for line in lines if line.share)
    assert middles == pytest.approx(1.0)
    assert all(line.source for line in lines)
    assert {line.name for line in lines if line.share is None} == {"optics", "building", "margin"}


def test_a_shock_moves_the_cost_by_its_share_and_the_hour_moves_all_of_it():
    table = load_materials()
    hbm = next(line.share for line in bill(table) if line.name == "hbm")
    assert hbm is not None
    up = shock({"hbm": 1.5}, table)
    assert up.ratio_mid == pytest.approx(1 + 0.5 * hbm.mid)
    assert (up.ratio_low, up.ratio_high) == pytest.approx((1 + 0.5 * hbm.low, 1 + 0.5 * hbm.high))
    rent = shock({"hour": 0.7}, table)
    assert (rent.ratio_low, rent.ratio_mid, rent.ratio_high) == pytest.approx((0.7, 0.7, 0.7))
    assert shock({"electricity": 0.5}, table).ratio_low < shock({"electricity": 0.5}, table).ratio_high < 1


@pytest.mark.parametrize("changes", [{"optics": 2.0}, {"gold": 2.0}, {"hbm": 0.0}, {"hbm": -1.0}])
def test_a_shock_to_the_unknown_or_to_nothing_is_refused(changes):
    with pytest.raises(CallerError):
        shock(changes, load_materials())


def test_a_plans_margin_moves_fully_when_owned_and_between_nothing_and_fully_when_rented():
    up = shock({"hour": 1.5}, load_materials())
    owned = margin_after(1000, 600, up, passed_through=True)
    assert (owned.before_nano, owned.after_low_nano, owned.after_high_nano) == (400, 100, 100)
    rented = margin_after(1000, 600, up, passed_through=False)
    assert (rented.after_low_nano, rented.after_mid_nano, rented.after_high_nano) == (100, 250, 400)


def reading(at, rapl, nvml=0):
    return Reading(at=at, rapl_uj={"package-0": rapl}, rapl_max_uj={"package-0": 1000}, nvml_mj={"gpu": nvml})


def test_a_wrapped_counter_is_counted_right():
    energy = between(reading(0, 900), reading(10, 100, 2000))
    assert energy.joules == pytest.approx(200 / 1e6 + 2.0)
    assert energy.source == "RAPL + NVML"


@pytest.mark.parametrize("last", [reading(-1, 950), reading(1, 950, -5), Reading(at=1, rapl_uj={}, rapl_max_uj={})])
def test_readings_that_cannot_be_compared_are_refused(last):
    with pytest.raises(CallerError):
        between(reading(0, 900), last)


def test_a_given_price_replaces_the_assumed_one():
    report = capacity.plan(LLAMA, FOUR, 1000, TABLES, usd_hour=Band(1, 2, 3), batches=[8])
    assert report.usd_hour == Band(1, 2, 3)
    assert not any("price of an hour" in note for note in report.notes)
