"""The prefix model against two-position books kept by hand, against published numbers, and against odd reports."""

from datetime import date
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.usage import Usage
from jevons.prices import prefix, terms
from jevons.prices.prefix import EMPTY, Block, Layout, Rates

ENTRIES = terms.load()
OPUS = terms.find(ENTRIES, "anthropic", "claude-opus-4-1", date(2026, 1, 1))
GPT = terms.find(ENTRIES, "openai", "gpt-4o", date(2026, 1, 1))
ANTHROPIC = Rates(
    input=3_000_000, cached=300_000, cache_write_5m=3_750_000, cache_write_1h=6_000_000, output=15_000_000
)


def plain(share: str) -> Rates:
    cached = {"0.1": 100, "0.25": 250, "0.5": 500, "1": 1000}[share]
    return Rates(input=1000, cached=cached, cache_write_5m=1000, cache_write_1h=1000, output=4000)


def layout(*blocks: tuple[str, int], marks: tuple[tuple[int, str], ...] = (), retention: str = "") -> Layout:
    seen, out = "", []
    for name, tokens in blocks:
        seen += "/" + name
        out.append(Block(seen.encode(), tokens))
    return Layout(tuple(out), marks, retention)


def test_terms_are_dated_and_the_longest_model_prefix_wins() -> None:
    assert OPUS is not None
    assert OPUS.min_tokens == 1024
    newer = terms.find(ENTRIES, "anthropic", "claude-opus-4-5-20251101", date(2026, 1, 1))
    assert newer is not None
    assert newer.min_tokens == 4096
    before = terms.find(ENTRIES, "anthropic", "claude-opus-4-5-20251101", date(2025, 9, 1))
    assert before is not None
    assert before.min_tokens == 1024
    assert terms.find(ENTRIES, "anthropic", "claude-opus-4-1", date(2024, 1, 1)) is None
    assert terms.find(ENTRIES, "nobody", "x", date(2026, 1, 1)) is None


def test_every_entry_names_its_source_and_lives_longer_than_nothing() -> None:
    for entry in ENTRIES:
        assert entry.source
        assert all(seconds > 0 for seconds in entry.ttl_s.values())
        assert entry.style in {"marked", "automatic"}


def test_a_prefix_is_written_then_read_then_gone() -> None:
    first = layout(("system", 2000), ("a", 500), marks=((1, "5m"),))
    usage = prefix.predict(OPUS, EMPTY, first, 0.0)
    assert usage == Usage(cache_write_5m=2500)
    state = prefix.after(OPUS, EMPTY, first, usage, 0.0)
    second = layout(("system", 2000), ("a", 500), ("b", 300), marks=((2, "5m"),))
    assert prefix.predict(OPUS, state, second, 299.0) == Usage(cached=2500, cache_write_5m=300)
    assert prefix.predict(OPUS, state, second, 301.0) == Usage(cache_write_5m=2800)


def test_below_the_minimum_length_a_breakpoint_does_nothing() -> None:
    short = layout(("system", 1000), marks=((0, "5m"),))
    assert prefix.predict(OPUS, EMPTY, short, 0.0) == Usage(input=1000)


def test_without_breakpoints_nothing_is_cached() -> None:
    assert prefix.predict(OPUS, EMPTY, layout(("system", 5000)), 0.0) == Usage(input=5000)


def test_a_breakpoint_looks_twenty_blocks_back_and_no_further() -> None:
    first = layout(("system", 2000), marks=((0, "5m"),))
    state = prefix.after(OPUS, EMPTY, first, Usage(cache_write_5m=2000), 0.0)

    def grown(extra: int) -> Layout:
        return layout(("system", 2000), *((f"m{i}", 100) for i in range(extra)), marks=((extra, "5m"),))

    assert prefix.predict(OPUS, state, grown(19), 10.0).cached == 2000
    assert prefix.predict(OPUS, state, grown(20), 10.0).cached == 0


def test_an_hour_over_five_minutes_writes_all_of_it_again() -> None:
    first = layout(("s", 2000), ("a", 500), marks=((1, "5m"),))
    state = prefix.after(OPUS, EMPTY, first, Usage(cache_write_5m=2500), 0.0)
    again = layout(("s", 2000), ("a", 500), ("b", 100), marks=((2, "1h"),))
    assert prefix.predict(OPUS, state, again, 10.0) == Usage(cache_write_1h=2600)


def test_an_hour_in_front_of_five_minutes_outlives_them() -> None:
    both = layout(("s", 2000), ("a", 500), marks=((0, "1h"), (1, "5m")))
    usage = prefix.predict(OPUS, EMPTY, both, 0.0)
    assert usage == Usage(cache_write_1h=2000, cache_write_5m=500)
    state = prefix.after(OPUS, EMPTY, both, usage, 0.0)
    assert prefix.predict(OPUS, state, both, 200.0) == Usage(cached=2500)
    assert prefix.predict(OPUS, state, both, 900.0) == Usage(cached=2000, cache_write_5m=500)
    assert prefix.alive(state, 900.0) == (2000, 2000)
    assert prefix.alive(state, 5000.0) == (0, 0)


def test_a_report_of_nothing_cached_empties_the_state_and_counts_as_error() -> None:
    first = layout(("s", 2000), ("a", 500), marks=((1, "5m"),))
    state = prefix.after(OPUS, EMPTY, first, Usage(cache_write_5m=2500), 0.0)
    state = prefix.after(OPUS, state, first, Usage(input=2500), 10.0)
    assert state.error == 1.0
    assert prefix.predict(OPUS, state, first, 20.0).cached == 0


def test_our_token_counts_are_scaled_to_the_reported_ones() -> None:
    first = layout(("s", 2000), ("a", 500), marks=((1, "5m"),))
    state = prefix.after(OPUS, EMPTY, first, Usage(cache_write_5m=3000), 0.0)
    assert prefix.predict(OPUS, state, first, 10.0) == Usage(cached=3000)


@pytest.mark.parametrize("odd", [Usage(input=-5, cached=2500), Usage(cached=-1, input=2500)])
def test_counts_that_cannot_be_are_clamped_and_counted(odd: Usage) -> None:
    state = prefix.after(OPUS, EMPTY, layout(("s", 2500), marks=((0, "5m"),)), odd, 0.0)
    assert state.odd == 1


def test_an_automatic_cache_reads_in_whole_steps_from_its_minimum_on() -> None:
    first = layout(("s", 1500))
    state = prefix.after(GPT, EMPTY, first, Usage(input=1500), 0.0)
    assert prefix.predict(GPT, state, layout(("s", 1500), ("a", 10)), 10.0) == Usage(input=102, cached=1408)
    short = prefix.after(GPT, EMPTY, layout(("s", 1000)), Usage(input=1000), 0.0)
    assert prefix.predict(GPT, short, layout(("s", 1000), ("a", 10)), 10.0).cached == 0


def test_retention_that_was_asked_for_is_kept() -> None:
    gpt5 = terms.find(ENTRIES, "openai", "gpt-5", date(2026, 1, 1))
    day = layout(("s", 2048), retention="24h")
    state = prefix.after(gpt5, EMPTY, day, Usage(input=2048), 0.0)
    assert prefix.predict(gpt5, state, day, 80_000.0).cached == 2048


def test_an_unknown_provider_caches_nothing() -> None:
    assert prefix.predict(None, EMPTY, layout(("s", 9000)), 0.0) == Usage(input=9000)
    assert prefix.after(None, EMPTY, layout(("s", 9000)), Usage(input=9000), 0.0).entries == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([5.0, 200.0, 900.0, 4000.0]),
            st.integers(min_value=1, max_value=900),
            st.sampled_from(["5m", "1h"]),
        ),
        min_size=1,
        max_size=25,
    )
)
def test_prediction_agrees_with_two_positions_kept_by_hand(calls: list[tuple[float, int, str]]) -> None:
    """A chain that grows and is marked at its end with either lifetime."""
    state, now, hour, held = EMPTY, 0.0, 0, 0
    blocks: list[tuple[str, int]] = [("system", 1100)]
    for number, (gap, tokens, ttl) in enumerate(calls):
        now += gap
        hour = hour if gap <= 3600 else 0
        held = held if gap <= 300 else hour
        blocks.append((f"m{number}", tokens))
        total = sum(size for _, size in blocks)
        if len(blocks) > 19:  # out of the look-back's sight positions are found by chance of the last mark only
            break
        expected = (
            Usage(cached=hour, cache_write_1h=total - hour)
            if ttl == "1h"
            else Usage(cached=held, cache_write_5m=total - held)
        )
        asked = layout(*blocks, marks=((len(blocks) - 1, ttl),))
        assert prefix.predict(OPUS, state, asked, now) == expected
        state = prefix.after(OPUS, state, asked, expected, now)
        held = total
        hour = total if ttl == "1h" else hour


def test_an_edit_pays_after_the_published_number_of_calls() -> None:
    assert prefix.calls_to_pay_edit(ANTHROPIC, removed=1000, retained=1000) == pytest.approx(11.5)
    assert prefix.calls_to_pay_edit(plain("0.25"), 1000, 1000) == pytest.approx(3)
    assert prefix.calls_to_pay_edit(plain("0.5"), 1000, 1000) == pytest.approx(1)
    assert prefix.calls_to_pay_edit(plain("1"), 1000, 1000) == 0
    assert prefix.calls_to_pay_edit(ANTHROPIC, 1000, 0) == 0
    assert prefix.calls_to_pay_edit(ANTHROPIC, 0, 10) == inf


def test_a_switch_to_a_three_times_cheaper_model_pays_after_five_and_three_quarter_calls() -> None:
    cheap = Rates(input=1_000_000, cached=100_000, cache_write_5m=1_250_000, cache_write_1h=2_000_000, output=0)
    assert prefix.calls_to_pay_switch(ANTHROPIC, cheap, warm=50_000) == pytest.approx(5.75)
    assert prefix.calls_to_pay_switch(cheap, ANTHROPIC, warm=50_000) == inf
    assert prefix.calls_to_pay_switch(ANTHROPIC, cheap, warm=0, growth=100, output=10) == 0


def test_an_hour_pays_above_the_chance_at_which_its_gain_is_nothing() -> None:
    chance = prefix.chance_to_pay_hour(ANTHROPIC)
    assert chance == pytest.approx(0.75 / 1.9)
    at = round(chance * 1_000_000)
    assert prefix.pico_hour_gain(ANTHROPIC, 1000, 0, at + 100) > 0 > prefix.pico_hour_gain(ANTHROPIC, 1000, 0, at - 100)
    assert prefix.pico_hour_gain(ANTHROPIC, 0, 1000, 1_000_000) == 0


def test_writing_pays_from_a_fifth_on() -> None:
    assert prefix.chance_to_pay_write(ANTHROPIC) == pytest.approx(0.25 / 1.15)
    assert prefix.chance_to_pay_write(plain("0.5")) == 0


def test_a_batch_that_loses_a_warm_prefix_is_dearer_than_now() -> None:
    half = Rates(input=1_500_000, cached=150_000, cache_write_5m=1_875_000, cache_write_1h=3_000_000, output=7_500_000)
    now, later = prefix.pico_later(ANTHROPIC, half, 50_000, 1_000, 250, keeps_prefix=False)
    assert later > 2.4 * now
    now, later = prefix.pico_later(ANTHROPIC, half, 50_000, 1_000, 250, keeps_prefix=True)
    assert later * 2 == now


def test_a_rented_prefix_pays_after_storage_over_saving() -> None:
    rented = Rates(input=1000, cached=100, cache_write_5m=1000, cache_write_1h=1000, output=0, storage_hour=4500)
    assert prefix.reads_to_pay_storage(rented, hours=2) == pytest.approx(10)
