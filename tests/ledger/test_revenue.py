"""Months cut anywhere add up; an allowance is taken off use and never below it; shares of an amount are whole."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.money import Nano
from jevons.ledger.margin import Margin, Used, allocate, ordered, shares
from jevons.ledger.revenue import Revenue, allowed, fixed, metered, parts
from jevons.plans.plan import Plan


def at(*when):
    return int(datetime(*when, tzinfo=UTC).timestamp())


PRO = Plan(
    name="pro",
    price_month_nano=Nano(49_000_000_000),
    price_seat_nano=Nano(10_000_000_000),
    price_task_nano=Nano(100_000_000),
    price_mtok_nano=Nano(2_000_000_000),
    included_nano=Nano(20_000_000_000),
)
FEBRUARY = (at(2026, 2, 1), at(2026, 3, 1))


def test_a_whole_month_is_the_months_price_with_its_seats():
    (february,) = parts(*FEBRUARY)
    assert fixed(PRO, 3, february) == Revenue(month=49_000_000_000, seats=30_000_000_000)


def test_seven_days_of_february_are_a_quarter():
    (week,) = parts(at(2026, 2, 8), at(2026, 2, 15))
    assert fixed(PRO, 0, week).month == 49_000_000_000 // 4


def test_use_is_metered_and_the_allowance_taken_off_at_most_the_use():
    (february,) = parts(*FEBRUARY)
    used = metered(PRO, tasks=50, tokens=1_500_000)
    assert (used.tasks, used.tokens) == (5_000_000_000, 3_000_000_000)
    assert allowed(PRO, used, february).total == 0
    heavy = allowed(PRO, metered(PRO, tasks=500, tokens=0), february)
    assert heavy.total == 50_000_000_000 - 20_000_000_000


@given(st.lists(st.integers(at(2023, 12, 1), at(2026, 3, 1)), min_size=2, max_size=12))
def test_however_a_span_is_cut_its_parts_add_up(cuts):
    cuts = sorted(cuts)
    whole = sum(fixed(PRO, 2, part).total for part in parts(cuts[0], cuts[-1]))
    pieces = [part for a, b in pairwise(cuts) for part in parts(a, b)]
    assert sum(fixed(PRO, 2, part).total for part in pieces) == whole


@pytest.mark.parametrize(("year", "month"), [(2024, 2), (2025, 12), (2026, 1)])
def test_all_days_of_any_month_are_its_price(year, month):
    start, end = at(year, month, 1), at(year + month // 12, month % 12 + 1, 1)
    days = [part for day in range(start, end, 86_400) for part in parts(day, day + 86_400)]
    assert sum(fixed(PRO, 0, part).month for part in days) == PRO.price_month_nano


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**9), max_size=20))
def test_shares_add_up_to_the_amount(amount, weights):
    split = shares(amount, weights)
    assert len(split) == len(weights)
    assert sum(split) == (amount if weights else 0)


def test_shares_follow_their_weights_and_are_even_without_any():
    assert shares(100, [1, 3]) == [25, 75]
    assert shares(10, [0, 0]) == [5, 5]


def test_metered_tasks_go_where_the_tasks_were_and_fees_by_tokens():
    revenue = Revenue(month=900, tasks=100)
    used = [Used(tasks=4, tokens=0), Used(tasks=1, tokens=300), Used(tasks=0, tokens=600)]
    assert allocate(revenue, used) == [80, 20 + 300, 600]


def test_who_loses_most_comes_first():
    lines = [
        Margin(name="fine", revenue_nano=100, used=Used(cost_nano=10)),
        Margin(name="loses", revenue_nano=10, used=Used(cost_nano=40)),
        Margin(name="loses more", revenue_nano=0, used=Used(cost_nano=90)),
        Margin(name="thin", revenue_nano=100, used=Used(cost_nano=60), target=0.5),
        Margin(name="dark", revenue_nano=100, used=Used(cost_nano=0, unpriced=3)),
    ]
    assert [(line.name, line.state) for line in ordered(lines)] == [
        ("loses more", "losing"),
        ("loses", "losing"),
        ("thin", "below target"),
        ("fine", "ok"),
        ("dark", "unknown"),
    ]
    assert lines[2].share is None
