"""The split of a bill is exact for any history, zeros included; its words say what the numbers say."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.errors import CallerError
from jevons.rebound import Period, factors, say, split, summed, waterfall
from jevons.rebound.divisia import CORRECTION, log_mean
from jevons.rebound.factors import FACTORS


def month(
    period="2026-10", group="", *, customers=10, tasks=50, steps=500, prompt=50_000, cached=20_000, bill=9_000, **more
):
    return Period(
        period=period, group=group, customers=customers, tasks=tasks, steps=steps, prompt_tokens=prompt,
        cached_tokens=cached, bill_nano=bill, **more,
    )  # fmt: skip


@st.composite
def months(draw, period, group=""):
    """Any row that a ledger could hold: a zero stops everything behind it."""
    counts, alive = [], True
    for top in (10**4, 10**6, 10**8, 10**12):
        alive = alive and draw(st.integers(0, 9)) > 0
        counts.append(draw(st.integers(1, top)) if alive else 0)
    customers, tasks, steps, prompt = counts
    cached = draw(st.integers(0, prompt))
    bill = draw(st.integers(0, 10**15)) if prompt > cached else 0
    correction = draw(st.integers(-(10**9), 10**9))
    return month(
        period, group, customers=customers, tasks=tasks, steps=steps, prompt=prompt, cached=cached,
        bill=bill + correction, correction_nano=correction,
    )  # fmt: skip


@given(months("a"))
def test_the_factors_multiply_to_the_bill(row):
    values = factors(row)
    product = math.prod(value for value in values if value is not None)
    assert product == pytest.approx(row.metered_nano, rel=1e-9, abs=1e-3)


@given(st.lists(months("a"), max_size=3), st.lists(months("b"), max_size=3))
def test_the_parts_add_up_to_the_change_to_the_last_nano_dollar(before, after):
    def name(rows):
        return [month_in(row, str(i)) for i, row in enumerate(rows)]

    def month_in(row, group):
        return Period(**{**{f: getattr(row, f) for f in row.__struct_fields__}, "group": group})

    if not before and not after:
        return
    change = split(name(before), name(after))
    assert sum(change.parts.values()) == change.change_nano
    assert tuple(change.parts) == (*FACTORS, CORRECTION)
    bars = waterfall(change)
    assert bars[0].end_nano == change.bill_before_nano
    for left, right in itertools.pairwise(bars[:-1]):
        assert left.end_nano == right.start_nano
    assert bars[-2].end_nano == bars[-1].end_nano == change.bill_after_nano


@given(months("a"), months("b"))
def test_swapping_the_periods_flips_every_part(before, after):
    there, back = split([before], [after]), split([after], [before])
    for name in FACTORS:
        assert there.parts[name] == pytest.approx(-back.parts[name], abs=1 + 1e-9 * abs(there.parts[name]))


@given(months("a"), st.integers(2, 9))
def test_more_customers_alike_move_only_the_customers(row, times):
    if not row.metered_nano:
        return
    many = month(
        "b", customers=row.customers * times, tasks=row.tasks * times, steps=row.steps * times,
        prompt=row.prompt_tokens * times, cached=row.cached_tokens * times, bill=row.metered_nano * times,
    )  # fmt: skip
    plain = month(
        "a", customers=row.customers, tasks=row.tasks, steps=row.steps, prompt=row.prompt_tokens,
        cached=row.cached_tokens, bill=row.metered_nano,
    )  # fmt: skip
    change = split([plain], [many])
    assert change.parts["customers"] == pytest.approx(change.change_nano, rel=1e-6, abs=6)


def test_each_part_is_the_logarithmic_mean_times_the_factors_log_ratio():
    before, after = month(bill=9_000_000), month("2026-11", steps=1000, prompt=100_000, cached=40_000, bill=9_000_000)
    change = split([before], [after])  # steps doubled, the price halved, the bill stood still
    assert change.parts["steps"] == pytest.approx(9_000_000 * math.log(2), abs=1)
    assert change.parts["price"] == pytest.approx(-9_000_000 * math.log(2), abs=1)
    assert change.parts["context"] == change.parts["tasks"] == 0


def test_the_mean_lies_between_and_is_continuous_where_its_arguments_meet():
    assert log_mean(5.0, 5.0) == 5.0
    assert log_mean(5.0, 5.0 * (1 + 1e-10)) == pytest.approx(5.0)
    assert 1 < log_mean(1, 3) < 3
    assert log_mean(0.0, 3.0) == 0.0


def test_a_new_group_is_the_customers_doing_and_a_free_month_the_prices():
    start = split([], [month(group="pro", bill=500)])
    assert start.parts["customers"] == start.change_nano == 500
    free = split([month(bill=0)], [month("b", bill=700)])
    assert free.parts["price"] == 700


def test_a_price_correction_stands_apart_from_the_factors():
    change = split([month(bill=9_000)], [month("b", bill=7_000, correction_nano=-2_000)])
    assert change.parts[CORRECTION] == -2_000
    assert all(change.parts[name] == 0 for name in FACTORS)


def test_the_words_follow_the_ratios():
    before = month(bill=10_000)
    after = month("b", steps=1050, prompt=105_000, cached=42_000, bill=13_100)
    assert say(split([before], [after])) == (
        "steps per task rose 2.1x, the price per uncached token fell 38%: the bill rose 31%"
    )
    assert "lower bound" in say(split([before], [month("b", unpriced=3)]))


@pytest.mark.parametrize(
    "bad",
    [
        {"customers": -1}, {"cached": 60_000}, {"unit": "eur"}, {"bill": -5}, {"prompt": 20_000},
        {"tasks": 0}, {"customers": 0}, {"bill": 10**25},
    ],
)  # fmt: skip
def test_rows_that_cannot_be_are_refused_with_their_period(bad):
    with pytest.raises(CallerError, match="2026-10"):
        split([month()], [month(**bad)])


def test_no_history_and_repeated_groups_are_refused():
    with pytest.raises(CallerError, match="no history"):
        split([], [])
    with pytest.raises(CallerError, match="two rows"):
        split([month(), month()], [month("b")])


def test_groups_sum_to_one_row():
    whole = summed([month(group="a"), month(group="b")], "2026-10")
    assert (whole.customers, whole.bill_nano) == (20, 18_000)
