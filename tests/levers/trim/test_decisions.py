"""When a block trim pays, and what is known of a tool's results: against the book's break-even and plain counting."""

import random

from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.trim.need import Need, strings
from jevons.levers.trim.rates import Rates, Trim, gain, reread
from jevons.prices import prefix

BOOK = prefix.Rates(
    input=3_000_000, cached=300_000, cache_write_5m=3_750_000, cache_write_1h=6_000_000, output=15_000_000
)


def bill(rates: Rates, removed: float, retained: float, calls: int, *, trimmed: bool, expired: bool) -> float:
    """The same choice by adding up calls: this one, then `calls` more."""
    if not trimmed:
        first = (rates.write if expired else rates.read) * (removed + retained)
        return first + calls * rates.read * (removed + retained)
    return rates.write * retained + calls * rates.read * retained


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.integers(0, 100), st.booleans(), st.booleans())
def test_gain_is_the_difference_of_two_bills(
    removed: float, retained: float, calls: int, expired: bool, hour: bool
) -> None:
    rates = Rates.of(BOOK, 300.0, hour=hour)
    kept = bill(rates, removed, retained, calls, trimmed=False, expired=expired)
    cut = bill(rates, removed, retained, calls, trimmed=True, expired=expired)
    won = gain(Trim(removed=removed, retained=retained), rates, calls, expired=expired)
    assert abs(won - (kept - cut)) < 1e-6 * (1 + kept + cut)


@given(st.integers(1, 100_000), st.integers(0, 100_000), st.booleans())
def test_gain_turns_where_the_book_breaks_even(removed: int, retained: int, hour: bool) -> None:
    rates = Rates.of(BOOK, 300.0, hour=hour)
    pays = prefix.calls_to_pay_edit(BOOK, removed, retained, hour=hour)
    trim = Trim(removed=removed, retained=retained)
    # The book counts later calls only; this one already reads less.
    assert gain(trim, rates, pays, expired=False) >= rates.read * removed - 1e-6
    assert gain(trim, rates, max(0.0, pays - 2), expired=False) <= 0 or pays < 2


def test_anthropic_pays_after_eleven_and_a_half_times_the_tail() -> None:
    rates = Rates.of(BOOK, 300.0)
    trim = Trim(removed=1_000, retained=1_000)
    assert gain(trim, rates, 10, expired=False) < 0 < gain(trim, rates, 12, expired=False)
    assert gain(trim, rates, 0, expired=True) > 0


def test_a_recall_costs_a_call_and_the_text_from_then_on() -> None:
    rates = Rates(read=0.1, write=1.25, output=5.0, ttl_s=300.0)
    assert reread(1_000, 20_000, rates, 10, 60) == 0.1 * 20_000 + (1.25 + 1.0) * 1_000 + 300


def test_an_unseen_tool_is_probably_still_needed_early_on() -> None:
    need = Need()
    assert need.chance("Read", 0) == 1.0
    assert need.chance("Read", 1) > need.chance("Read", 16) > 0


def test_the_chance_of_ever_follows_the_truth_although_most_results_still_wait() -> None:
    """Results are quoted with hazard h per call; sessions end after 4 to 120 calls, so "ever" is seen to about 96."""
    dice, need, hazard = random.Random(5), Need(), 0.02
    ever = looked = 0
    for _ in range(4_000):
        end = dice.randrange(4, 120)
        quoted_at = next((call for call in range(1, 400) if dice.random() < hazard), None)
        for idle in range(1, end):
            need.reach("t", idle)
            if quoted_at == idle:
                need.quote("t", idle)
                break
        if quoted_at is None or quoted_at > 8:
            looked += 1
            ever += quoted_at is not None and quoted_at < 96
    assert abs(need.chance("t", 8) - ever / looked) < 0.08


def test_removal_turns_itself_off_when_too_much_comes_back() -> None:
    need = Need(expected=1.0, returned=5)
    assert not need.off
    need.returned += 1
    assert need.off


def test_plain_words_are_not_distinctive() -> None:
    found = strings("the function load_fixture in lib/spotter/a.ex returned HAT069 and other things Quickly 2024-05-20")
    assert found == {"load_fixture", "lib/spotter/a.ex", "HAT069", "2024-05-20"}
