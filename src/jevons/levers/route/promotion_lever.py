"""Offers a call to the candidate that its site has promoted, and shadows calls for the evidence.

What it decides: which candidate a task gets (by hash of the task, so that a session stays where it is), and which calls
are answered twice. What it must not know: when a candidate may be promoted (promotion.py), prices, judging.

Its memory under a site is a tuple of Candidates. Who judges the pairs (gateway/routing.py) keeps it, through
`promotion.observe`; a pair's two answers come together in a Check.
"""

from collections.abc import Callable, Generator, Sequence

import msgspec

from jevons.core.ask import Answer, Ask, Shadow, Stored
from jevons.core.call import Call
from jevons.core.route import Route
from jevons.levers.lever import MAX_OFFERS_PER_LEVER, Effect, Offer, Outcome, Risk, View
from jevons.levers.route.lots import falls, task_of
from jevons.levers.route.promotion import Candidate, Pin, Stage, Terms, checked_share, serving_share

NAME = "route"
"""As plans name it."""


class Check(msgspec.Struct, frozen=True):
    """What a shadow's answer is compared with: the answer that the caller got, and whose it is."""

    candidate: Candidate
    serving: bool
    """The caller got the candidate's answer, and the incumbent is asked beside it."""
    reply: Stored


class _Due(msgspec.Struct, frozen=True):
    """A check to make once the answer is there."""

    candidate: Candidate
    serving: bool
    own: Route
    """The candidate's way."""
    ask: Route
    """Whom to ask: the candidate in shadow, the incumbent afterwards."""


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
        terms, offers, due = self._terms(view), [], []
        for candidate in candidates:
            route = self._routes(candidate.model, call) if candidate.incumbent == call.peek.model else None
            if route is None:
                continue
            share = serving_share(candidate, terms)
            serving = falls(share, "serve", candidate.model, candidate.site, task_of(call))
            if serving:
                offers.append(_offer(candidate, route, terms))
            if falls(checked_share(candidate, terms), "check", candidate.model, call.operation):
                if serving:
                    due += [_Due(candidate, True, route, usual) for usual in view.routes[:1]]
                elif candidate.stage is Stage.SHADOW:
                    due.append(_Due(candidate, False, route, route))
        if due:
            view.notes[NAME], view.collect = tuple(due), True
        return tuple(offers[:MAX_OFFERS_PER_LEVER])

    def learn(self, outcome: Outcome) -> Sequence[Shadow]:
        """The shadows that are due: only for answers that came whole, from whom the pair wants them."""
        reply = outcome.reply
        if reply is None or outcome.usage is None or not outcome.usage.output:
            return ()
        call, moved = outcome.call, _moved(outcome.chosen)
        return [
            Shadow(
                lever=NAME,
                route=due.ask,
                surface=call.surface.value,
                body=call.body,
                role="audit" if due.serving else "shadow",
                about=Check(due.candidate, due.serving, reply),
            )
            for due in outcome.notes.get(NAME, ())
            if (reply.model == due.own.upstream_model) == due.serving and moved == (due.own.name if due.serving else "")
        ]


def _moved(chosen: Sequence[Offer]) -> str:
    """Where the governor sent the call: the route's name, '' for the incumbent, 'ladder' for a cascade."""
    for offer in chosen:
        if offer.effect.ladder:
            return "ladder"
        if offer.effect.route is not None:
            return offer.effect.route.name
    return ""


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
