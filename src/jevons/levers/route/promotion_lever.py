"""Offers a call to the candidate that its site has promoted, and shadows calls for the evidence.

What it decides: which candidate a task gets (by hash of the task, so that a session stays where it is), and which calls
are answered twice. What it must not know: when a candidate may be promoted (promotion.py), prices, judging.

Its memory under a site is a tuple of Candidates. The worker that judges pairs writes it back through
`promotion.observe`; this lever only counts a demoted candidate's rest.
"""

from collections.abc import Callable, Generator, Sequence

import msgspec

from jevons.core.ask import Answer, Ask, Change, Shadow
from jevons.core.call import Call
from jevons.core.route import Route
from jevons.levers.lever import MAX_OFFERS_PER_LEVER, Effect, Offer, Outcome, Risk, View
from jevons.levers.route.lots import falls, task_of
from jevons.levers.route.promotion import (
    Candidate,
    Pin,
    Stage,
    Terms,
    checked_share,
    rest,
    serving_share,
)

NAME = "promotion"


class _Seen(msgspec.Struct, frozen=True):
    """What was looked at, until the outcome is known."""

    candidates: tuple[Candidate, ...]
    checks: tuple[tuple[Candidate, Route], ...]
    """Whom to ask beside the answer: the candidate in shadow, the incumbent afterwards."""
    terms: Terms
    now: float


class PromotionLever:
    """See the module's first lines. `routes(model)` is the way to a model now, None when it has vanished or can't carry
    this call (tools, images, context); `terms(view)` the plan's word."""

    name = NAME
    risk = Risk.LOSSY

    def __init__(self, routes: Callable[[str, Call], Route | None], terms: Callable[[View], Terms]):
        self._routes, self._terms = routes, terms

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        """At most three offers, one a serving candidate."""
        yield from ()
        if view.allowed.get(NAME, Risk.EXACT) < Risk.LOSSY or not view.memory.get(NAME):
            return ()
        candidates: tuple[Candidate, ...] = view.memory[NAME]
        terms, offers = self._terms(view), []
        checks: list[tuple[Candidate, Route]] = []
        for candidate in candidates:
            if candidate.incumbent != call.peek.model:
                continue
            route = self._routes(candidate.model, call)
            if route is None:
                continue
            share = serving_share(candidate, terms)
            serving = falls(share, "serve", candidate.model, candidate.site, task_of(call))
            if serving:
                offers.append(_offer(candidate, route, terms))
            if falls(checked_share(candidate, terms), "check", candidate.model, call.operation):
                if serving:
                    checks += [(candidate, usual) for usual in view.routes[:1]]
                elif candidate.stage is Stage.SHADOW:
                    checks.append((candidate, route))
        view.notes[NAME] = _Seen(candidates, tuple(checks), terms, view.now)
        return tuple(offers[:MAX_OFFERS_PER_LEVER])

    def learn(self, outcome: Outcome) -> Sequence[Shadow | Change]:
        """The shadows that are due, only for answers that came; and the rest of demoted candidates."""
        seen = outcome.notes.get(NAME)
        if not isinstance(seen, _Seen):
            return ()
        call = outcome.call
        asks: list[Shadow | Change] = []
        if outcome.usage is not None and outcome.usage.output:
            asks += [
                Shadow(lever=NAME, route=way, surface=call.surface.value, body=call.body) for _, way in seen.checks
            ]
        if any(candidate.stage is Stage.DEMOTED for candidate in seen.candidates):
            asks.append(Change(NAME, call.site, tuple(rest(each, seen.terms, seen.now) for each in seen.candidates)))
        return asks


def _offer(candidate: Candidate, route: Route, terms: Terms) -> Offer:
    pinned = candidate.pinned is Pin.CANDIDATE
    why = f"{candidate.model} is {candidate.stage.value} here: {candidate.reason}"
    return Offer(
        lever=NAME,
        risk=Risk.LOSSY,
        effect=Effect(route=route),
        loss=0.0 if pinned else terms.margin,
        why=f"pinned by the operator; {why}" if pinned else why,
    )
