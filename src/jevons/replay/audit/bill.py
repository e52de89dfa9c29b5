"""Where a recorded call went, and what it cost there or would have cost otherwise.

What lives here: a model's name to a route, and a usage to money by the gateway's price book. What it must not know:
sessions, levers.
"""

import re
from functools import lru_cache

import msgspec

from jevons.core.route import Provider, Route
from jevons.core.usage import Usage
from jevons.engines.catalogue import KNOWN
from jevons.levers.cache.breakpoints import Lookup
from jevons.prices.book import Book
from jevons.prices.prefix import Rates
from jevons.prices.terms import Terms
from jevons.replay.audit.seen import Seen

ALIASES = {
    "azure": "openai",
    "azure_openai": "openai",
    "vertex_ai": "gemini",
    "google": "gemini",
    "claude": "anthropic",
}
"""Sellers that bill a model at its maker's list price."""
PRICED_AS = {"gemini": "google"}
"""Names of providers in the price book where they are others than the catalogue's."""


class Place(msgspec.Struct, frozen=True):
    """A call's route with what holds there at its time. None: not known."""

    route: Route
    at: float
    tier: str
    rates: Rates | None
    terms: Terms | None


class Bill:
    """Prices calls. `now` (Unix seconds) stands for a time that was not recorded."""

    def __init__(self, book: Book, lookup: Lookup, now: float):
        self._book, self._lookup, self._now = book, lookup, now

    def place(self, seen: Seen) -> Place:
        found = route(seen.provider, seen.model)
        at = seen.at or self._now
        return Place(found, at, seen.tier, self._lookup.rates(found, seen.tier, at), self._lookup.terms(found, at))

    def burned(self, place: Place, seen: Seen) -> int | None:
        """Nano-dollars of a call as recorded: what the recorder reports, else the book's price, else None."""
        return self._book.price_route(place.route, seen.usage, place.tier, seen.cost_usd, place.at, 0.0).nano

    def price(self, place: Place, usage: Usage) -> int:
        """Nano-dollars of a usage at a place whose rates are known."""
        return self._book.price_route(place.route, usage, place.tier, None, place.at, 0.0).nano or 0

    def batch(self, place: Place) -> Rates | None:
        return self._lookup.rates(place.route, "batch", place.at)


@lru_cache(maxsize=4096)
def route(provider: str, model: str) -> Route:
    """The route that a recorded name stands for: `openai/gpt-4o` and `gpt-4o` are one."""
    head, _, tail = model.partition("/")
    known = {each.name for each in KNOWN}
    if tail and ALIASES.get(head, head) in known:
        provider, model = head, tail
    name = ALIASES.get(provider.lower(), provider.lower())
    maker = next((each for each in KNOWN if re.match(each.models, model)), None)
    if (not name or name not in known) and maker is not None and provider.lower() in {"", "unknown", "none"}:
        name = maker.name
    dialect = "anthropic" if name == "anthropic" else "openai"
    seller = Provider(name=name, dialect=dialect, base_url="", price_provider=PRICED_AS.get(name, name))
    return Route(provider=seller, upstream_model=model)
