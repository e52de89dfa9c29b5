"""The price book: what a usage costs at a provider, for a model, at a moment, on a tier.

What lives here: which price wins. From strong to weak: the operator's overrides, our own entries (data/extras.toml,
each with its source), the snapshot, and last a factor on the standard price (a batch discount that holds for all of a
provider's models). A tier without a price is unpriced, and so is an unknown model: None, never zero. What it must not
know: clocks, sockets, who asks. History is safe: every answer carries its rates and the version of its source.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib import resources

import msgspec

from jevons.core.route import Route
from jevons.core.usage import Usage
from jevons.prices import overrides as files
from jevons.prices import snapshot as snapshots
from jevons.prices.cost import UNPRICED, Card, Priced, Rates, machine, reported
from jevons.prices.dated import Entry, current, span
from jevons.prices.overrides import Override
from jevons.prices.snapshot import Snapshot, Steps

STANDARD = frozenset({"", "default", "standard", "auto", "on_demand", "scale", "standard_only"})
"""What providers call the tier that nothing was paid for or saved on (OpenAI, Anthropic, Groq).
From general knowledge of their APIs; to be checked against their reference pages."""
MOST_CARDS = 4_096
"""Cards remembered; past it all are forgotten. A card is under 1 kB."""
USD_PER_HOUR = "0.10"
"""The local machine's price when nobody set one."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the catalogue shows it."""

    provider: str
    model: str
    context_tokens: int
    deprecated: bool
    rates: Rates | None
    """At the moment asked for, for the shortest prompts on the standard tier."""
    tiers: tuple[str, ...]


class Book:
    """See the module's first lines. Not thread-safe; one per process is enough."""

    def __init__(
        self,
        snapshot: Snapshot,
        extras: Sequence[Override] = (),
        overrides: Sequence[Override] = (),
        usd_per_hour: str = USD_PER_HOUR,
    ):
        self._snapshot = snapshot
        self._extras = extras
        self._overrides = overrides
        self._usd_per_hour = Decimal(usd_per_hour)
        self._cards: dict[tuple[str, str, str], tuple[float, float, Card | None]] = {}
        self._quoted: dict[tuple[str, str], Card] = {}
        self.version = snapshot.version

    @classmethod
    def load(cls, overrides: str = "", usd_per_hour: str = USD_PER_HOUR) -> "Book":
        """The shipped book with the operator's overrides (a TOML file's path; empty: none). Raises SettingsError."""
        extras = resources.files("jevons.prices").joinpath("data/extras.toml").read_text(encoding="utf-8")
        return cls(
            snapshots.load(),
            files.parse(extras, "data/extras.toml", source="book"),
            files.read(overrides) if overrides else (),
            usd_per_hour,
        )

    def price(self, provider: str, model: str, at: float, usage: Usage, tier: str = "") -> Priced:
        """What this usage costs. `at`: Unix seconds. `tier`: what the provider says it used, else what was asked."""
        card = self.card(provider, model, at, tier)
        return UNPRICED if card is None else card.price(usage)

    def price_route(
        self, route: Route, usage: Usage, tier: str, cost_usd: float | None, at: float, seconds: float
    ) -> Priced:
        """The same for an attempt on a route: a reported cost wins, and a local machine is priced by its seconds."""
        if cost_usd is not None:
            return reported(cost_usd)
        provider = route.provider.price_provider or route.provider.name
        card = self.card(provider, route.upstream_model, at, tier)
        if card is not None:
            return card.price(usage)
        return machine(self._usd_per_hour, seconds) if route.provider.local else UNPRICED

    def card(self, provider: str, model: str, at: float, tier: str = "") -> Card | None:
        """The rates that hold, or None. Remembered until the next moment at which they may change."""
        key = (provider, model, tier)
        found = self._cards.get(key)
        if found is None or not found[0] <= at < found[1]:
            if len(self._cards) >= MOST_CARDS:
                self._cards.clear()
            found = self._cards[key] = self._look_up(provider, model.lower(), at, tier.lower())
        return found[2]

    def quote(self, provider: str, model: str, rates: Rates | None, version: str) -> None:
        """What a token costs on a machine of one's own, as measured there; None: no longer. An override still wins."""
        self._quoted.pop((provider, model), None)
        if rates is not None:
            self._quoted[provider, model] = Card(((-1, rates.completed()),), "machine", version)
        self._cards.clear()

    def context_tokens(self, provider: str, model: str) -> int:
        """The longest prompt and answer together; 0: not known."""
        found = self._snapshot.model(provider, model.lower())
        return found.context_tokens if found else 0

    def models(self, at: float, provider: str = "") -> Iterator[Listed]:
        """The catalogue: all models of one provider, or of all."""
        for name in (provider,) if provider else self._snapshot.providers():
            seller = self._snapshot.provider(name)
            for model in seller.models if seller else ():
                card = self.card(name, model.id, at)
                yield Listed(
                    provider=name,
                    model=model.id,
                    context_tokens=model.context_tokens,
                    deprecated=model.deprecated,
                    rates=card.steps[0][1] if card else None,
                    tiers=tuple(dict.fromkeys(dated.tier for dated in model.tiers)),
                )

    def _look_up(self, provider: str, model: str, at: float, tier: str) -> tuple[float, float, Card | None]:
        tier = "" if tier in STANDARD else tier
        found = self._snapshot.model(provider, model)
        entries = [line.entry for line in (*self._overrides, *self._extras) if line.fits(provider, model)]
        start, end = span([*entries, *(found.entries() if found else ())], at)
        return start, end, self._find(provider, model, at, tier)

    def _find(self, provider: str, model: str, at: float, tier: str) -> Card | None:
        for lines in (self._overrides, self._extras):
            fixed = current(_entries(lines, provider, model, tier, factor=False), at)
            if fixed is not None:
                return Card(_steps(fixed), fixed.source, fixed.version)
        if (provider, model) in self._quoted:
            return self._quoted[provider, model]
        found = self._snapshot.model(provider, model)
        steps = found.steps(at, tier) if found else None
        if steps is not None:
            return Card(steps, "book", self.version)
        for lines in (self._overrides, self._extras):
            share = current(_entries(lines, provider, model, tier, factor=True), at)
            standard = self._find(provider, model, at, "") if tier and share else None
            if share is not None and share.factor is not None and standard is not None:
                scaled = tuple((above, rates.scaled(share.factor)) for above, rates in standard.steps)
                return Card(scaled, share.source, f"{standard.version} x {share.factor} {share.version}")
        return None


def _entries(lines: Sequence[Override], provider: str, model: str, tier: str, *, factor: bool) -> Iterator[Entry]:
    for line in lines:
        if line.tier == tier and (line.entry.factor is not None) == factor and line.fits(provider, model):
            yield line.entry


def _steps(entry: Entry) -> Steps:
    longer = ((prompt, rates.over(entry.rates).completed()) for prompt, rates in entry.above)
    return ((-1, entry.rates.completed()), *longer)
