"""Expected further calls against a count by hand."""

from hypothesis import given
from hypothesis import strategies as st

from jevons.prices import horizon


@given(
    st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=30), st.integers(min_value=1, max_value=40)
)
def test_it_is_the_mean_of_what_longer_sessions_had_left(lengths: list[int], calls: int) -> None:
    left = [length - calls for length in lengths if length >= calls]
    found = horizon.learn(lengths).after(calls)
    assert found == (sum(left) * 1000 // len(left) if left else 0)


def test_without_history_no_call_is_promised() -> None:
    assert horizon.NOTHING_KNOWN.after(1) == 0
    assert horizon.learn([]).after(5) == 0


def test_a_site_of_one_shots_overrules_what_is_shipped() -> None:
    shipped = horizon.shipped()
    assert shipped.after(1) > 10_000
    assert horizon.learn([1] * 1000, shipped).after(1) < 500
    assert horizon.learn([1], shipped).after(1) > 10_000


def test_beyond_the_longest_session_nothing_is_expected() -> None:
    assert horizon.shipped().after(5000) == 0
