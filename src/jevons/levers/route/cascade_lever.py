"""Offers a call the ladder that was planned and proven for its site.

What it decides: whether the ladder is on offer for this call. What it must not know: how it was chosen (cascade.py),
how its gates look at an answer, prices.

Its memory under a site is a Climb. Whole tasks are drawn, by hash, so that a session's calls all climb or none does;
the governor prices the prefix that a climb destroys.
"""

from collections.abc import Callable, Generator, Sequence
from math import inf

import msgspec

from jevons.core.ask import Answer, Ask, Shadow
from jevons.core.call import Call
from jevons.core.money import NANO_PER_DOLLAR
from jevons.core.route import Route
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.levers.route.cascade import Plan
from jevons.levers.route.lots import falls, task_of

NAME = "cascade"


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """A site's ladder. `share`: of its tasks that climb, as promotion allows; `loss`: the margin that was proven."""

    plan: Plan
    incumbent: str
    gate: str
    gate_nano: int = 0
    share: float = 0.0
    loss: float = 0.05


class CascadeLever:
    """See the module's first lines. `routes(model, call)`: the way to a model, None when it can't carry the call."""

    name = NAME
    risk = Risk.LOSSY

    def __init__(self, routes: Callable[[str, Call], Route | None]):
        self._routes = routes

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        yield from ()
        climb = view.memory.get(NAME)
        if not isinstance(climb, Climb) or view.allowed.get(NAME, Risk.EXACT) < Risk.LOSSY:
            return ()
        if climb.plan.refused or climb.incumbent != call.peek.model:
            return ()
        if not falls(climb.share, "climb", call.site, task_of(call)):
            return ()
        ways = [self._routes(model, call) for model in climb.plan.ladder]
        if any(way is None for way in ways):
            return ()
        stop = climb.plan.stop
        effect = Effect(
            ladder=tuple(way for way in ways if way is not None),
            reach=climb.plan.reach,
            stop_nano=0 if stop == inf else round(stop * NANO_PER_DOLLAR),
        )
        return (
            Offer(
                lever=NAME,
                risk=self.risk,
                effect=effect,
                loss=climb.loss,
                own_nano=climb.gate_nano,
                why=f"{climb.gate} gate; {climb.plan.why}",
            ),
        )

    def learn(self, outcome: Outcome) -> Sequence[Shadow]:  # noqa: ARG002 - trials are paired by the worker
        return ()
