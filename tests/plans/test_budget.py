"""Reserve, then settle: caps hold under any interleaving, leases end, windows roll, refusals say what to do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.errors import Limited
from jevons.plans.budget import Claim, Denied, Estimate, Granted, actual, claims, refusal, window
from jevons.plans.plan import Customer, Limit, Plan
from jevons.store.counters import Counters

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
USD = Limit(scope="customer", per="day", kind="usd", amount=1_000)


def call(task: TaskRef | None = None, at: float = 0.0) -> Call:
    caller = Caller(key_id="k", tenant="acme", customer="acme", plan="pro")
    peek = Peek(model="m")
    return Call(
        operation="op", surface=Surface.CHAT, caller=caller, peek=peek, body=b"", headers=NO_HEADERS, at=at, task=task
    )


def claim(amount: int, cap: int = 1_000, limit: Limit = USD) -> Claim:
    return Claim("customer:acme|usd|d0", amount, cap, limit, 86_400.0)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.booleans()), max_size=60))
def test_a_cap_is_passed_by_no_more_than_estimates_were_wrong(calls: list[tuple[int, int, bool]]) -> None:
    """Any interleaving of reservations and settlements: spent <= cap + the errors of the estimates."""
    counters, open_calls, errors = Counters(), [], 0
    for number, (guess, took, settle_now) in enumerate(calls):
        if isinstance(counters.reserve(str(number), [claim(guess)], 1e9), Granted):
            open_calls.append((str(number), guess, took))
        if settle_now and open_calls:
            name, estimated, real = open_calls.pop(0)
            counters.settle(name, {"customer:acme|usd|d0": real})
            errors += max(0, real - estimated)
        spent, reserved = counters.spent("customer:acme|usd|d0")
        assert spent + reserved <= 1_000 + errors
    for name, _, real in open_calls:
        counters.settle(name, {"customer:acme|usd|d0": real})
    assert counters.spent("customer:acme|usd|d0")[1] == 0


def test_a_thousand_calls_at_once_pass_exactly_what_fits() -> None:
    counters = Counters()
    granted = [counters.reserve(str(n), [claim(7)], 1e9) for n in range(1000)]
    assert sum(isinstance(answer, Granted) for answer in granted) == 1_000 // 7


def test_a_denied_claim_takes_nothing_of_the_others() -> None:
    counters = Counters()
    small = Claim("key:k|requests|m0", 1, 10, Limit(scope="key", per="minute", kind="requests", amount=10), 60.0)
    assert isinstance(counters.reserve("a", [small, claim(2_000)], 1e9), Denied)
    assert counters.spent("key:k|requests|m0") == (0, 0)


def test_a_reservation_ends_with_its_lease_and_not_before() -> None:
    counters = Counters()
    counters.reserve("a", [claim(1_000)], lease_ends=100.0)
    counters.renew("a", 200.0)
    assert counters.expire(150.0) == 0
    assert isinstance(counters.reserve("b", [claim(1)], 300.0), Denied)
    assert counters.expire(201.0) == 1
    assert isinstance(counters.reserve("b", [claim(1)], 300.0), Granted)
    counters.settle("a", {"customer:acme|usd|d0": 5})  # it answered after all: what burned is spent
    assert counters.spent("customer:acme|usd|d0") == (5, 1)


def test_spent_amounts_come_back_from_the_ledger_after_a_start() -> None:
    counters = Counters(seed={"customer:acme|usd|d0": 990}.__getitem__)
    assert isinstance(counters.reserve("a", [claim(11)], 1e9), Denied)
    assert isinstance(counters.reserve("b", [claim(10)], 1e9), Granted)


def test_near_the_cap_the_caller_is_warned() -> None:
    counters = Counters()
    assert counters.reserve("a", [claim(700)], 1e9) == Granted()
    answer = counters.reserve("b", [claim(150)], 1e9)
    assert isinstance(answer, Granted)
    assert answer.fullest == pytest.approx(0.85)


def test_closed_windows_are_forgotten() -> None:
    counters = Counters()
    counters.reserve("a", [claim(1)], 1e9)
    counters.settle("a", {"customer:acme|usd|d0": 1})
    counters.expire(86_401.0)
    assert len(counters) == 0


def test_windows_close_at_utc_midnight_and_at_the_month_s_end() -> None:
    at = datetime(2026, 12, 31, 23, 59, 30, tzinfo=UTC).timestamp()
    newyear = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert [window(per, at)[1] for per in ("minute", "day", "month", "total")] == [newyear, newyear, newyear, 0.0]
    assert window("month", at)[0] != window("month", newyear)[0]
    assert window("day", at) == window("day", at - 3600)


def test_a_task_and_its_sub_agents_share_one_budget() -> None:
    plan = Plan(name="pro", limits=(Limit(scope="task", per="total", kind="usd", amount=100),))
    names = {
        claims(call(task), plan, None, Estimate(1, 1))[0].counter
        for task in (TaskRef(task="run"), TaskRef(task="sub", parent="run", root="run"))
    }
    assert len(names) == 1
    assert claims(call(None), plan, None, Estimate(1, 1)) == ()


def test_the_customer_s_own_limits_come_on_top() -> None:
    own = Customer(name="acme", limits=(Limit(scope="key", per="minute", kind="requests", amount=5),))
    found = claims(call(), Plan(name="pro", limits=(USD,)), own, Estimate(9, 50))
    assert [(c.limit.kind, c.amount, c.cap) for c in found] == [("usd", 9, 1_000), ("requests", 1, 5)]


def test_a_budget_in_dollars_fails_closed_on_an_unknown_price() -> None:
    with pytest.raises(Limited, match="price of 'm' is not known"):
        claims(call(), Plan(name="pro", limits=(USD,)), None, Estimate(None, 50))
    allowed = claims(call(), Plan(name="pro", limits=(USD,), unpriced="allow"), None, Estimate(None, 50))
    assert allowed[0].amount == 0


def test_what_was_taken_replaces_what_was_claimed() -> None:
    kinds = [("usd", "day"), ("tokens", "minute"), ("requests", "minute"), ("concurrent", "now")]
    limits = tuple(Limit(scope="key", per=per, kind=kind, amount=10**9) for kind, per in kinds)  # type: ignore[arg-type]
    claimed = claims(call(), Plan(name="p", limits=limits), None, Estimate(500, 40))
    assert list(actual(claimed, 123, 77).values()) == [123, 77, 1, 0]
    assert list(actual(claimed, None, 77).values()) == [500, 77, 1, 0]


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        (USD, "budget_exhausted"),
        (Limit(scope="key", per="minute", kind="requests", amount=1), "rate_limited"),
        (Limit(scope="key", per="now", kind="concurrent", amount=1), "concurrency_limited"),
    ],
)
def test_a_refusal_says_what_was_spent_and_what_is_needed(limit: Limit, code: str) -> None:
    denied = Denied(claim=Claim("key:k|x|d0", 500, 1_000, limit, 60.0), spent=700, reserved=200)
    error = refusal(denied, now=0.0)
    assert (error.status, error.code) == (429, code)
    for part in ("key k", "700" if limit.kind != "usd" else "$0.00000070", "spent", "needs"):
        assert part in error.message
