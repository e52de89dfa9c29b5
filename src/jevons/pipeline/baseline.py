"""What would have run instead of a finished call: a decision and a view put in the ledger's terms.

What lives here: which chosen offers count as acts, and where the call would have gone. What it must not know: the
arithmetic (ledger/counterfactual.py, ledger/waterfall.py). Most calls end in the first lines: nothing acted, nothing
was our own, so the baseline is the cost, and no price is looked up (under 1 us; docs/reports.md has the figure).
"""

from collections.abc import Callable, Iterator, Sequence

from jevons.core.ask import Stored
from jevons.core.call import Call
from jevons.core.money import ZERO, Nano
from jevons.core.route import Route
from jevons.core.usage import NOTHING, Usage
from jevons.governor import Decision
from jevons.ledger.counterfactual import Act, Untouched, repeated
from jevons.ledger.operation import Attempt
from jevons.ledger.waterfall import Counted, count
from jevons.levers.cache.session import prompt_estimate, standing
from jevons.levers.lever import Offer, View
from jevons.prices.cost import Priced
from jevons.prices.terms import Terms

Price = Callable[[Route, Usage, str, float | None, float, float], Priced]
TermsOf = Callable[[Route, float], Terms | None]


def baseline(
    call: Call,
    attempts: Sequence[Attempt],
    cost: Nano | None,
    decision: Decision | None,
    view: View,
    stored: Stored | None,
    price: Price,
    terms: TermsOf,
) -> Counted:
    """The operation's baseline and its waterfall; the waterfall is empty where nothing was saved or lost."""
    if decision is None or not view.routes or not attempts:
        return Counted(cost)
    acts = tuple(_acts(decision.chosen)) if decision.chosen else ()
    declared: Route | None = view.baseline
    asked = view.routes[0]
    if not acts and (declared is None or declared.name == asked.name) and _plain(attempts):
        return Counted(cost)
    burned = stored.usage if stored is not None else None
    if stored is not None and burned is None:
        return Counted(None)
    return count(
        attempts,
        Untouched(
            route=declared or asked,
            asked=asked,
            tier=call.peek.service_tier,
            held=_held(call, view, asked, stored, terms) if acts else 0,
        ),
        acts,
        _pricing(price, call.at),
        _route_of(attempts, decision, view),
        burned,
    )


def _acts(chosen: Sequence[Offer]) -> Iterator[Act]:
    """Offers that change what is burned. Breakpoints, cache keys and the order of tools are none: the baseline has the
    provider's cache on, at the mix that was seen."""
    for offer in chosen:
        effect = offer.effect
        if effect.reply is not None:
            yield Act(lever=offer.lever, served=True)
        elif effect.edits or effect.route or effect.ladder or effect.tier or effect.defer_until:
            yield Act(
                lever=offer.lever,
                removed=effect.removed_tokens,
                retained=effect.retained_tokens,
                rerouted=effect.route is not None or bool(effect.ladder),
                retiered=bool(effect.tier or effect.defer_until),
            )


def _plain(attempts: Sequence[Attempt]) -> bool:
    """Nothing but answers that were passed on, or failed: no gate, judge, embedding or shadow."""
    return all(attempt.role == "answer" for attempt in attempts) and attempts[-1].provider != "cache"


def _held(call: Call, view: View, asked: Route, stored: Stored | None, terms: TermsOf) -> int:
    """Prompt tokens that the provider would have held: of the session, or of an equal prompt answered just now."""
    session = view.session
    held = 0
    if session is not None:
        held = int(standing(session, view.now, prompt_estimate(session, len(call.body))).held * session.luck)
    if stored is None or stored.usage is None or stored.joined:
        return held
    known = terms(asked, view.now)
    if known is None or view.now - stored.at > known.ttl_s[known.default_ttl]:
        return held
    marked = stored.usage.cached + stored.usage.cache_write_5m + stored.usage.cache_write_1h
    return max(held, marked if known.marked else repeated(stored.usage, known.min_tokens, known.step_tokens))


def _route_of(attempts: Sequence[Attempt], decision: Decision, view: View) -> Route | None:
    """The route of the last answering attempt; a fallback's too."""
    last = attempts[-1]
    if last.role != "answer":
        answers = [attempt for attempt in attempts if attempt.role == "answer"]
        if not answers:
            return None
        last = answers[-1]
    effect = decision.effect
    for route in (effect.route, *effect.ladder, *view.routes):
        if route is not None and route.upstream_model == last.model and route.provider.name == last.provider:
            found: Route = route
            return found
    return view.routes[0]


def _pricing(price: Price, at: float) -> Callable[[Route, Usage, str], Nano | None]:
    def priced(route: Route, usage: Usage, tier: str) -> Nano | None:
        if usage == NOTHING:
            return ZERO
        if route.provider.local:  # a machine is priced by its time, and nobody knows what would have taken how long
            return None
        return price(route, usage, tier, None, at, 0.0).nano

    return priced
