"""Offers a call to the cheap model when the fitted pre-router expects no loss.

What it decides: whether to read the prompt at all (a settled site needs no embedding), and the offer. What it must not
know: how the router was fitted, prices. Its memory under a site is a Router. Without an embedding in time nothing is
offered: the incumbent answers.
"""

from array import array
from collections.abc import Callable, Generator, Sequence

from jevons.core.ask import Answer, Ask, Embed
from jevons.core.call import Call
from jevons.core.route import Route
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.levers.route.prerouter import Router, choose, settled

NAME = "prerouter"


class PreRouterLever:
    """See the module's first lines. `text(call)`: the prompt's words, None when it has none; `routes(model, call)`: the
    way to a model, None when it can't carry the call."""

    name = NAME
    risk = Risk.LOSSY

    def __init__(self, text: Callable[[Call], str | None], routes: Callable[[str, Call], Route | None]):
        self._text, self._routes = text, routes

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        router = view.memory.get(NAME)
        if not isinstance(router, Router) or view.allowed.get(NAME, Risk.EXACT) < Risk.LOSSY:
            return ()
        if router.incumbent != call.peek.model or settled(router, call.site) is False:
            return ()
        route = self._routes(router.cheap, call)
        text = self._text(call) if route is not None else None
        if route is None or text is None:
            return ()
        vector = None
        if settled(router, call.site) is None:
            found = yield Embed((text,))
            vector = unpack(found[0]) if found else None
        choice = choose(router, call.site, text, vector)
        if not choice.cheap:
            return ()
        effect = Effect(route=route)
        return (Offer(lever=NAME, risk=self.risk, effect=effect, loss=1.0 - router.target, why=choice.why),)

    def learn(self, outcome: Outcome) -> Sequence[Ask]:  # noqa: ARG002 - it learns from shadows, fitted by the worker
        return ()


def unpack(raw: bytes) -> Sequence[float]:
    """The floats of an Embed answer."""
    return array("f", raw)
