"""A route rests after failures in a row, and one call tries it again."""

from jevons.engines.upstream import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failures=3, open_s=10.0)


def failed(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(times):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    assert failed(2).admits(0.0)
    assert not failed(3).admits(0.0)
    mixed = failed(2)
    mixed.succeeded()
    mixed.failed(0.0)
    assert mixed.admits(0.0)


def test_when_rested_exactly_one_call_tries() -> None:
    breaker = failed(3)
    assert not breaker.admits(9.9)
    assert [breaker.admits(10.0) for _ in range(3)] == [True, False, False]


def test_a_trial_closes_it_or_opens_it_again() -> None:
    breaker = failed(3)
    breaker.admits(10.0)
    breaker.failed(10.0)
    assert not breaker.admits(19.9)
    assert breaker.admits(20.0)
    breaker.succeeded()
    assert all(breaker.admits(20.0) for _ in range(3))


def test_a_trial_whose_caller_left_leaves_the_next_call_to_try() -> None:
    breaker = failed(3)
    assert breaker.admits(10.0)
    breaker.forgot()
    assert breaker.admits(10.0)
