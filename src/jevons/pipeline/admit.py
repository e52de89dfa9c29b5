"""May this call burn? Its plan's models, then its budgets: reserved before anything is sent, settled when it is booked.

What lives here: the asks around `plans.budget`. What it must not know: where counters live.
"""

from collections.abc import Generator

from jevons.core.ask import Answer, Ask, Reserve, Settle
from jevons.core.call import Call
from jevons.core.errors import Forbidden
from jevons.core.money import show
from jevons.core.usage import Usage
from jevons.levers.lever import View
from jevons.pipeline.course import BYTES_PER_TOKEN, Course, Price
from jevons.plans.budget import Claim, Denied, Estimate, Granted, actual, claims, refusal
from jevons.plans.plan import Plan

USUAL_OUTPUT_TOKENS = 500
"""What a call without max_tokens is expected to produce: the mean of recorded coding sessions is 400 to 600."""


def admit(call: Call, view: View, course: Course, price: Price) -> Generator[Ask, Answer, tuple[Claim, ...]]:
    """Reserve what this call is expected to take. Returns what was claimed. Raises Forbidden or Limited."""
    plan: Plan = view.plan
    if plan.models and call.peek.model not in plan.models:
        raise Forbidden(
            f"the plan {plan.name!r} does not include {call.peek.model!r}; it has {', '.join(plan.models)}",
            code="model_not_in_plan",
            param="model",
        )
    if not plan.limits and not (view.customer and view.customer.limits):
        return ()
    claimed = claims(call, plan, view.customer, estimate(call, view, price))
    if not claimed:
        return ()
    answer: Granted | Denied = yield Reserve(call.operation, claimed)
    if isinstance(answer, Denied):
        raise refusal(answer, call.at)
    if answer.claim is not None:
        view.pressure = answer.fullest
        course.notices += (("x-jevons-budget", _warning(answer)),)
    return claimed


def settle(claimed: tuple[Claim, ...], course: Course) -> Generator[Ask, Answer, None]:
    """Replace the reservation by what was really burned."""
    if claimed:
        usage = course.usage
        yield Settle(course.call.operation, actual(claimed, course.cost_nano, usage.prompt + usage.output))


def estimate(call: Call, view: View, price: Price) -> Estimate:
    """What this call is expected to take on its first route: its bytes as tokens, its output at the usual length."""
    output = call.peek.max_tokens if call.peek.max_tokens is not None else USUAL_OUTPUT_TOKENS
    usage = Usage(input=len(call.body) // BYTES_PER_TOKEN, output=output)
    priced = price(view.routes[0], usage, call.peek.service_tier, None, call.at, 0.0)
    return Estimate(priced.nano, usage.prompt + usage.output)


def _warning(granted: Granted) -> str:
    claim = granted.claim
    if claim is None:
        return ""
    who = claim.counter.split("|", 1)[0].replace(":", " ")
    cap = show(claim.cap) if claim.limit.kind == "usd" else f"{claim.cap} {claim.limit.kind}"
    return f"{who} is at {granted.fullest:.0%} of {cap} per {claim.limit.per}"
