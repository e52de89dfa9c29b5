"""Reserve, then settle: what a call may take from which counters, and what a denial says.

What it decides: the claims of a call (which counters, how much of each, up to which cap) and the windows that they
fall in. What it must not know: where counters live, sockets, clocks. A claim is made before tokens burn and replaced
by the truth afterwards, so N calls at once pass a cap by at most one call's estimate error.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from jevons.core.call import Call
from jevons.core.errors import Limited
from jevons.core.money import show
from jevons.plans.plan import Customer, Limit, Plan

MINUTE_S, DAY_S = 60, 86_400


class Claim(msgspec.Struct, frozen=True, gc=False):
    """So much of one counter, which may reach its cap and ends with its window."""

    counter: str
    amount: int
    cap: int
    limit: Limit
    ends: float
    """Unix seconds at which the window closes; 0: never."""


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """A claim that did not fit: nothing was taken of any counter."""

    claim: Claim
    spent: int
    reserved: int


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """All claims fit. `fullest` is the highest share of a cap after them; `claim` is whose."""

    fullest: float = 0.0
    claim: Claim | None = None


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What a call is expected to take. `nano` None: its model has no known price."""

    nano: int | None
    tokens: int


def claims(call: Call, plan: Plan, customer: Customer | None, estimate: Estimate) -> tuple[Claim, ...]:
    """Every counter that this call touches. Raises Limited where a dollar budget meets a model without a price."""
    limits = plan.limits + (customer.limits if customer else ())
    return tuple(_claim(call, plan, limit, estimate) for limit in limits if _applies(call, limit))


def actual(claimed: Iterable[Claim], spent_nano: int | None, tokens: int) -> Mapping[str, int]:
    """What the call really took, by counter. An unpriced call takes what was estimated: a budget fails closed."""
    return {
        claim.counter: {
            "usd": claim.amount if spent_nano is None else spent_nano,
            "tokens": tokens,
            "requests": 1,
            "concurrent": 0,
        }[claim.limit.kind]
        for claim in claimed
    }


def refusal(denied: Denied, now: float) -> Limited:
    """A denial as an error that a person and a program can act on."""
    claim, limit = denied.claim, denied.claim.limit
    left = max(0, claim.cap - denied.spent - denied.reserved)
    who = claim.counter.split("|", 1)[0].replace(":", " ")
    period = {
        "minute": "this minute",
        "day": "today (UTC)",
        "month": "this month (UTC)",
        "total": "in all",
        "now": "at once",
    }
    said = show if limit.kind == "usd" else str
    message = (
        f"{who} may take {said(claim.cap)} {'' if limit.kind == 'usd' else limit.kind + ' '}{period[limit.per]}: "
        f"{said(denied.spent)} is spent, {said(denied.reserved)} is reserved by calls in flight, "
        f"{said(left)} is left and this call needs about {said(claim.amount)}"
    )
    code = "budget_exhausted" if limit.kind == "usd" or limit.per in {"total", "month", "day"} else "rate_limited"
    if limit.kind == "concurrent":
        return Limited(message, code="concurrency_limited", retry_after_s=1.0)
    return Limited(message, code=code, retry_after_s=max(1.0, claim.ends - now) if claim.ends else None)


def window(per: str, now: float) -> tuple[str, float]:
    """The name of the window that holds `now` (Unix seconds, UTC), and when it closes (0: never)."""
    if per == "minute":
        start = int(now) // MINUTE_S * MINUTE_S
        return f"m{start}", start + MINUTE_S
    if per == "day":
        start = int(now) // DAY_S * DAY_S
        return f"d{start}", start + DAY_S
    if per == "month":
        day = datetime.fromtimestamp(now, UTC)
        after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        return f"M{day.year}-{day.month:02d}", after.timestamp()
    return per, 0.0


def _applies(call: Call, limit: Limit) -> bool:
    return limit.scope != "task" or (call.task is not None and bool(call.task.task))


def _claim(call: Call, plan: Plan, limit: Limit, estimate: Estimate) -> Claim:
    name, ends = window(limit.per, call.at)
    if limit.kind == "usd":
        if estimate.nano is None:
            if plan.unpriced == "refuse":
                raise Limited(
                    f"the price of {call.peek.model!r} is not known, and a budget in dollars covers this call; "
                    'add a price (`jevons prices`), or set unpriced = "allow" in the plan',
                    code="unpriced_model",
                )
            amount = 0
        else:
            amount = estimate.nano
    else:
        amount = estimate.tokens if limit.kind == "tokens" else 1
    return Claim(f"{_who(call, limit)}|{limit.kind}|{name}", amount, limit.amount, limit, ends)


def _who(call: Call, limit: Limit) -> str:
    caller = call.caller
    if limit.scope == "task":
        root = (call.task.root or call.task.task) if call.task else ""
        return f"task:{caller.tenant}/{root}"
    name = {"key": caller.key_id, "customer": caller.customer or caller.tenant, "plan": caller.plan}[limit.scope]
    return f"{limit.scope}:{name}"
