"""The order of attempts, and which outcomes deserve another."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.ask import Sent
from jevons.core.route import Provider, Route
from jevons.pipeline.retry import RetryPolicy, delays, may_retry, order

PROVIDER = Provider(name="p", dialect="openai", base_url="http://h")


def route(name: str, weight: int = 1, level: int = 0) -> Route:
    return Route(provider=PROVIDER, upstream_model=name, weight=weight, order=level)


def sent(**fields: object) -> Sent:
    return Sent(route=route("m"), **{"status": 0, **fields})  # type: ignore[arg-type]


def test_routes_of_one_order_share_by_weight() -> None:
    routes = [route("a", 1), route("b", 3)]
    firsts = Counter(order(routes, (n + 0.5) / 1000)[0].upstream_model for n in range(1000))
    assert firsts == {"a": 250, "b": 750}


def test_a_later_order_is_only_a_fallback() -> None:
    routes = [route("last", 100, 1), route("a"), route("b")]
    for dice in (0.0, 0.49, 0.5, 0.99):
        assert order(routes, dice)[-1].upstream_model == "last"


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=6), st.floats(0, 0.999))
def test_every_route_is_tried_exactly_once_in_a_round(shape: list[tuple[int, int]], dice: float) -> None:
    routes = [route(str(n), weight, level) for n, (weight, level) in enumerate(shape)]
    tried = order(routes, dice)
    assert sorted(tried, key=routes.index) == routes
    assert [r.order for r in tried] == sorted(r.order for r in routes)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_callers_fault_is_not_retried(status: int) -> None:
    assert not may_retry(sent(status=status), elsewhere=True)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_not_now_is_retried(status: int) -> None:
    assert may_retry(sent(status=status), elsewhere=False)


def test_what_may_have_been_billed_is_retried_only_elsewhere() -> None:
    for error in ("timeout", "rubbish"):
        assert may_retry(sent(error=error), elsewhere=True)
        assert not may_retry(sent(error=error), elsewhere=False)


def test_a_stream_that_began_is_never_retried() -> None:
    assert not may_retry(sent(status=200, handle=object()), elsewhere=True)


def test_pauses_double_with_full_jitter_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=4.0)
    assert list(itertools.islice(delays(policy, itertools.repeat(0.5)), 4)) == [0.5, 1.0, 2.0, 2.0]
