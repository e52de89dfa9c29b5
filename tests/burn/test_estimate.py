"""An operation's burn: bands that hold together, terms that follow physics, bad input that is refused or widened."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.burn import Band, estimate, grouped, measured, saved, total
from jevons.burn.rates import card, classify, local_card
from jevons.burn.roofline import Setup
from jevons.burn.tables import load
from jevons.core.errors import CallerError
from jevons.core.usage import Usage

TABLES = load()
COUNT = st.integers(0, 2_000_000)


def bands(value):
    found = [field for field in msgspec.structs.asdict(value).values() if isinstance(field, Band)]
    for field in msgspec.structs.asdict(value).values():
        if isinstance(field, msgspec.Struct) and not isinstance(field, Band):
            found += bands(field)
    return found


@given(
    COUNT,
    COUNT,
    COUNT,
    COUNT,
    st.floats(0, 1e5),
    st.sampled_from(["gpt-4o", "claude-opus-4-1", "no-such", "llama-3.1-8b"]),
)
def test_every_figure_is_an_ordered_finite_band(fresh, cached, written, output, seconds, model):
    burn = estimate(model, Usage(input=fresh, cached=cached, cache_write_1h=written, output=output), seconds, "de")
    for band in bands(burn):
        assert 0 <= band.low <= band.mid <= band.high < math.inf
    assert burn.source


@given(COUNT, COUNT, COUNT)
def test_one_more_token_of_any_kind_never_burns_less(fresh, cached, output):
    def joules(**more):
        usage = Usage(input=fresh, cached=cached, output=output)
        return estimate("gpt-4o", msgspec.structs.replace(usage, **more), 1.0).joules.mid

    base = joules()
    assert joules(input=fresh + 1) >= base
    assert joules(cached=cached + 1) >= base
    assert joules(output=output + 1) >= base


def test_a_cached_token_burns_far_less_than_a_fresh_one():
    fresh = estimate("llama-3.1-70b", Usage(input=10_000), 1.0)
    cached = estimate("llama-3.1-70b", Usage(cached=10_000), 1.0)
    assert cached.joules.high < 0.2 * fresh.joules.mid


def test_prefill_operations_match_two_per_parameter_and_token():
    burn = estimate("llama-3.1-8b", Usage(input=1000), 1.0)
    assert burn.flops.mid == pytest.approx(2 * 8.0e9 * 1000, rel=0.05)  # attention over 1,000 tokens adds little


def test_kv_residency_is_bytes_times_seconds():
    short = estimate("llama-3.1-70b", Usage(input=1000), 10.0)
    assert short.kv_byte_seconds.mid == pytest.approx(327_680 * 1000 * 10)
    written = estimate("llama-3.1-70b", Usage(cache_write_5m=1000), 0.0)
    assert written.kv_byte_seconds.mid == pytest.approx(327_680 * 1000 * 300)


def test_all_electricity_ends_as_heat():
    burn = estimate("gpt-4o", Usage(input=5000, output=500), 5.0, "us")
    assert burn.footprint.heat_wh.mid == pytest.approx(burn.joules.mid / 3600)
    assert burn.footprint.heat_btu.mid == pytest.approx(burn.footprint.heat_wh.mid * 3.412, rel=1e-3)


def test_a_region_moves_carbon_but_not_joules():
    usage = Usage(input=5000, output=500)
    france, poland = (estimate("gpt-4o", usage, 5.0, region) for region in ("fr", "pl"))
    assert france.joules == poland.joules
    assert france.footprint.co2e_g.mid < 0.1 * poland.footprint.co2e_g.mid
    assert estimate("gpt-4o", usage, 5.0, "eu-west-3").footprint == france.footprint


def test_an_unknown_region_is_widened_and_says_so():
    usage = Usage(input=5000, output=500)
    lost = estimate("gpt-4o", usage, 5.0, "atlantis").footprint
    assert "atlantis" in lost.notes[0]
    for region in TABLES.regions.regions:
        there = estimate("gpt-4o", usage, 5.0, region).footprint
        assert lost.co2e_g.low <= there.co2e_g.low
        assert lost.co2e_g.high >= there.co2e_g.high


def test_an_unknown_model_is_wider_than_any_class_and_says_so():
    usage = Usage(input=5000, output=500)
    lost, large = estimate("zzz", usage, 5.0), estimate("claude-sonnet-4-5", usage, 5.0)
    assert lost.joules.high / lost.joules.low > large.joules.high / large.joules.low
    assert any("unknown" in note for note in lost.notes)


def test_a_known_serving_is_much_narrower_than_an_unseen_one():
    usage = Usage(input=5000, output=500)
    unseen, seen = (estimate("llama-3.3-70b", usage, 5.0, "us", hardware) for hardware in ("", "h100"))
    assert seen.joules.high / seen.joules.low < 0.3 * unseen.joules.high / unseen.joules.low


@pytest.mark.parametrize(
    ("model", "size"),
    [("gpt-4o-mini", "medium"),
     ("gpt-5-nano", "small"), ("claude-opus-4-1", "frontier"), ("claude-haiku-4-5", "medium"), ("o4-mini", "medium"),
     ("gemini-2.5-pro", "large"), ("text-embedding-3-small", "tiny"), ("mystery", "unknown")],
)  # fmt: skip
def test_a_closed_model_is_placed_by_its_name(model, size):
    assert classify(model, TABLES) == size


@pytest.mark.parametrize("usage", [Usage(input=-1), Usage(output=10**10)])
def test_absurd_token_counts_are_refused(usage):
    with pytest.raises(CallerError, match="token count"):
        estimate("gpt-4o", usage, 1.0)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_duration_that_is_none_is_refused(seconds):
    with pytest.raises(CallerError, match="duration"):
        estimate("gpt-4o", Usage(input=1), seconds)


def test_unknown_hardware_is_refused_with_the_known_names():
    with pytest.raises(CallerError, match="mi300x"):
        card("llama-3.1-8b", "abacus")


def test_hardware_off_the_fit_is_widened_and_says_so():
    shape = TABLES.shapes.models["llama-3.1-8b"]
    on, off = (local_card(shape, Setup(device=TABLES.hardware.devices[name]), 8, TABLES) for name in ("h100", "mi300x"))
    assert off.decode_j.high / off.decode_j.low > on.decode_j.high / on.decode_j.low
    assert "widened" in off.notes[0]


def test_a_meter_reading_wins_and_keeps_its_own_spread():
    burn = measured("local", 3.6e6, 1.1, "fr", "RAPL package 0")
    assert (burn.method, burn.footprint.heat_wh.mid) == ("measured", 1000.0)
    assert burn.joules.low == pytest.approx(3.6e6 / 1.1)
    with pytest.raises(CallerError):
        measured("local", -1.0, 1.1, "fr", "RAPL")


def test_totals_add_and_groups_partition():
    burns = [estimate("gpt-4o", Usage(input=1000 * i, output=10), 1.0) for i in range(1, 5)]
    groups = grouped(zip(["a", "b", "a", "b"], burns, strict=True))
    assert list(groups) == ["b", "a"]
    whole = total(burns)
    assert whole.joules.mid == pytest.approx(groups["a"].joules.mid + groups["b"].joules.mid)
    assert (whole.operations, whole.measured_share) == (4, 0.0)


def test_savings_pair_the_ends_and_may_be_negative():
    more, less = Band(2e6, 4e6, 8e6), Band(1e6, 2e6, 4e6)
    assert saved(more, less).show().startswith("saved 0.556 kWh (0.278 to 1.11)")
    assert saved(less, more).show().startswith("cost 0.556 kWh")


def test_a_band_out_of_order_is_refused():
    for ends in ((2, 1, 3), (-1, 0, 1), (0, 1, math.inf), (math.nan, 1, 2)):
        with pytest.raises(CallerError):
            Band(*ends)
