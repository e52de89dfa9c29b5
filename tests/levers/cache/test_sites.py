"""A call site's own pauses come to outweigh the shipped table."""

import pytest

from jevons.core.usage import Usage
from jevons.levers.cache.pauses import Pace, chance, fit, shipped, survival
from jevons.levers.cache.pauses import Request as Row
from jevons.levers.cache.session import advance, pace_at
from jevons.levers.cache.sites import Sites

MAIN = Pace(calls=3, first_tokens=20_000)
WROTE = Usage(cache_write_5m=5_000, output=100)


def play(sites: Sites, sessions: int, gap_s: float, calls: int = 6) -> None:
    for number in range(sessions):
        session, at = None, 0.0
        for _ in range(calls):
            gap = None if session is None else gap_s
            pace = pace_at(session, at, 20_000)
            sites.see("site", f"s{number}", gap, pace, WROTE)
            session = advance(session, at, Usage(cache_write_5m=20_000))
            at += gap_s


def test_an_unknown_site_has_the_shipped_table() -> None:
    prior = shipped()
    assert Sites(prior).table("new") is prior


@pytest.mark.parametrize(("gap_s", "low", "high"), [(20.0, 0, 60_000), (1_000.0, 700_000, 1_000_000)])
def test_a_site_s_own_pauses_outweigh_the_prior(gap_s: float, low: int, high: int) -> None:
    sites = Sites(shipped())
    play(sites, 100, gap_s)
    pace = pace_at(advance(None, 0.0, Usage(cache_write_5m=20_000)), gap_s, 20_000)
    assert low <= chance(sites.table("site"), pace) <= high


def test_after_one_session_the_prior_still_rules() -> None:
    prior, sites = shipped(), Sites(shipped())
    play(sites, 1, 20.0)
    assert chance(sites.table("site"), MAIN) > chance(prior, MAIN) // 2


def test_a_site_that_never_pauses_is_expected_to_call_again_soon() -> None:
    sites = Sites({})
    play(sites, 60, 20.0, calls=20)
    assert survival(sites.table("site"), MAIN) > 850_000


def test_tokens_are_counted_as_the_fit_over_finished_sessions_counts_them() -> None:
    gaps = [None, 20.0, 900.0, 30.0, 5_000.0, 10.0]
    at, rows = 0.0, []
    for gap in gaps:
        at += gap or 0.0
        rows.append(Row(at=at, prompt=20_000, kept=20_000))
    fitted = fit([(False, rows)])
    sites, session, now = Sites({}), None, 0.0
    for gap in gaps:
        now += gap or 0.0
        fresh = session is None or (gap or 0.0) > 300.0
        usage = Usage(cache_write_5m=20_000 if fresh else 0, cached=0 if fresh else 20_000)
        sites.see("site", "s", gap, pace_at(session, now, 20_000), usage)
        session = advance(session, now, usage)
    assert sites.table("site").counts["main"] == fitted["main"]  # type: ignore[union-attr]
