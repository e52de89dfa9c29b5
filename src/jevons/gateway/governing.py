"""What the governor and its levers are told of routes: how a provider caches there, and what tokens cost there now.

What lives here: look-ups by route, remembered for as long as they hold. What it must not know: the arithmetic.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from jevons.core.call import Call
from jevons.core.errors import CallerError
from jevons.core.prompt import Prompt
from jevons.core.route import Route
from jevons.gateway.arms import arm_of
from jevons.governor import Decision, Governor
from jevons.levers.cache import pauses
from jevons.levers.cache.breakpoints import Breakpoints, Lookup
from jevons.levers.cache.pauses import SHORT_S
from jevons.levers.cache.sites import Sites
from jevons.levers.lever import Lever, Offer, View
from jevons.levers.trim.lever import TrimLever
from jevons.levers.trim.rates import Rates as Relative
from jevons.prices import horizon, terms
from jevons.prices.book import Book
from jevons.prices.cost import Card
from jevons.prices.prefix import Rates
from jevons.prices.terms import Terms
from jevons.wire.translate import dialect

Choose = Callable[[Call, View, Sequence[Offer]], Decision]
DAY_S = 86_400
MOST_REMEMBERED = 4_096
UNCACHED = Relative(read=1.0, write=1.0, output=4.0, ttl_s=0.0)


class Tariffs:
    """Terms and rates by route. Terms are dated by the day; rates by the price book's own spans."""

    def __init__(self, book: Book):
        self._book = book
        self._entries = terms.load()
        self._terms: dict[tuple[str, str, int], Terms | None] = {}
        self._rates: dict[int, tuple[Card, Rates | None]] = {}

    def terms(self, route: Route, at: float) -> Terms | None:
        provider = _seller(route)
        key = (provider, route.upstream_model, int(at) // DAY_S)
        if key not in self._terms:
            if len(self._terms) >= MOST_REMEMBERED:
                self._terms.clear()
            day = datetime.fromtimestamp(at, UTC).date()
            self._terms[key] = terms.find(self._entries, provider, route.upstream_model, day)
        return self._terms[key]

    def relative(self, call: Call, view: View) -> Relative:
        """Rates as the trim lever reads them: relative to plain input. Unknown prices count as no cache at all."""
        route = view.routes[0]
        rates = self.rates(route, call.peek.service_tier, view.now)
        return Relative.of(rates, SHORT_S) if rates is not None else UNCACHED

    def rates(self, route: Route, tier: str, at: float) -> Rates | None:
        """None where any rate that the arithmetic needs is unknown."""
        card = self._book.card(_seller(route), route.upstream_model, at, tier)
        if card is None:
            return None
        found = self._rates.get(id(card))
        if found is None or found[0] is not card:
            if len(self._rates) >= MOST_REMEMBERED:
                self._rates.clear()
            found = self._rates[id(card)] = (card, _rates(card.steps[0][1].known()))
        return found[1]


def governing(book: Book) -> tuple[tuple[Lever, ...], Choose]:
    """The levers that are priced, and the governor's `choose`, over one price book."""
    tariffs = Tariffs(book)
    lookup = Lookup(terms=tariffs.terms, rates=tariffs.rates)
    sites, calls = Sites(pauses.shipped()), horizon.shipped()
    governor = Governor(lookup, sites.table, lambda _site: calls, arm_of)
    levers = (
        Breakpoints(lookup, sites.table, sites.see),
        TrimLever(_decode, tariffs.relative, recall=False),
    )
    return levers, governor.choose


def _decode(call: Call) -> Prompt | None:
    """The conversation of a call, for levers that look at its text. None when it is none."""
    try:
        return dialect(call.surface.value).read_prompt(call.body)
    except CallerError:
        return None


def _seller(route: Route) -> str:
    return route.provider.price_provider or route.provider.name


def _rates(known: dict[str, int]) -> Rates | None:
    names = ("input", "cached", "cache_write_5m", "cache_write_1h", "output")
    if any(name not in known for name in names):
        return None
    return Rates(**{name: known[name] for name in names})
