"""The table of pauses against tokens followed one by one."""

from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.cache.pauses import Pace, Request, cells, chance, fate, fit, shipped, step, survival

calls = st.lists(
    st.tuples(st.sampled_from([10.0, 299.0, 500.0, 3600.0, 9000.0]), st.integers(1, 40), st.floats(0, 1)),
    min_size=1,
    max_size=12,
)


def session(drawn: list[tuple[float, int, float]]) -> list[Request]:
    at, before, out = 0.0, 0, []
    for gap, prompt, share in drawn:
        at += gap
        out.append(Request(at, prompt, min(prompt, int(before * share))))
        before = prompt
    return out


def followed_by_hand(requests: list[Request], index: int) -> tuple[int, int]:
    """Each token on its own: written here, is it still there at the next long pause, and does an hour bridge that?"""
    here = requests[index]
    fresh = index == 0 or here.at - requests[index - 1].at > 300
    tokens = range(0 if fresh else here.kept, here.prompt)
    bridged = 0
    for token in tokens:
        for before, later in zip(requests[index:], requests[index + 1 :], strict=False):
            if token >= later.kept:
                break
            if later.at - before.at > 300:
                bridged += later.at - before.at <= 3600
                break
    return len(tokens), bridged


@given(calls)
def test_the_fate_of_tokens_is_that_of_each_token(drawn: list[tuple[float, int, float]]) -> None:
    requests = session(drawn)
    for index in range(len(requests)):
        assert fate(requests, index) == followed_by_hand(requests, index)


def test_nothing_known_is_an_even_chance() -> None:
    assert chance({}, Pace()) == 500_000
    assert survival({}, Pace()) == 500_000


def test_a_cell_outweighs_the_coarser_one_with_its_own_tokens() -> None:
    pace = Pace(first_tokens=20_000)
    coarse, _, fine = cells(pace)
    table = {coarse: (10_000_000, 0)}
    low = chance(table, pace)
    assert low < 60_000
    assert chance({**table, fine: (1_000_000, 1_000_000)}, pace) > 400_000


def test_the_pace_counts_what_came_before() -> None:
    pace = step(Pace(), None, 18_000)
    pace = step(pace, 20.0, 19_000)
    assert (pace.calls, pace.pauses, pace.resumed) == (1, 0, False)
    pace = step(pace, 301.0, 19_500)
    assert (pace.calls, pace.pauses, pace.resumed, pace.first_tokens) == (2, 1, True, 18_000)
    pace = step(pace, 3601.0, 20_000)
    assert (pace.pauses, pace.resumed) == (1, True)


def test_sub_agents_are_told_apart_and_seldom_pause() -> None:
    table = shipped()
    assert chance(table, Pace(sub=True, first_tokens=9_000)) < 250_000
    assert chance(table, Pace(first_tokens=20_000)) > 500_000
    assert survival(table, Pace(first_tokens=20_000)) > 900_000


def test_fitting_adds_to_what_was_known() -> None:
    requests = [Request(0.0, 100, 0), Request(400.0, 120, 100), Request(420.0, 130, 120)]
    once = fit([(False, requests)])
    assert once["small"] == (100 + 120 + 10, 100)
    assert once["small/next"] == (3, 1)
    assert fit([(False, requests)], once)["small"] == (460, 200)
