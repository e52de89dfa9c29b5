"""The price book's file (data/book.json, made from genai-prices): who has which model, and its dated rates.

What lives here: reading the file, matching a model's name, and the rates that the file gives for a moment. What it
must not know: overrides, usage, money. A provider's models are decoded when one of them is first asked for.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import date
from importlib import resources
from typing import Any

import msgspec

from jevons.core.errors import OurError
from jevons.prices.cost import Rates
from jevons.prices.dated import ALWAYS, Entry, current, unix

CLAUDE_HOUR_WRITE = 2
"""A one-hour cache write costs twice the input (Anthropic, prompt caching; from general knowledge, to be checked
against the provider's page), wherever Claude is sold; used where the file names a five-minute write only."""
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")

Rate = int | tuple[int, tuple[tuple[int, int], ...]]
Steps = tuple[tuple[int, Rates], ...]


class Dated(msgspec.Struct, frozen=True, rename={"since": "f", "hours": "h", "rates": "r", "tier": "t"}):
    """Rates by short name (see lab/prices_snapshot.py), and when they hold."""

    rates: dict[str, Rate]
    since: date | None = None
    hours: tuple[int, int] | None = None
    tier: str = ""

    @property
    def entry(self) -> Entry:
        return Entry(since=ALWAYS if self.since is None else unix(self.since), hours=self.hours)


class Model(
    msgspec.Struct,
    frozen=True,
    rename={"match": "m", "prices": "p", "tiers": "t", "context_tokens": "x", "deprecated": "d"},
):
    id: str
    match: list[Any]
    prices: list[Dated]
    tiers: list[Dated] = []
    context_tokens: int = 0
    deprecated: bool = False

    def steps(self, at: float, tier: str) -> Steps | None:
        """Completed rates by prompt length. None when the file has no price for this tier at this moment."""
        merged = dict(self._standard(at).rates)
        if tier:
            priced: dict[str, Rate] = {}
            for dated in self.tiers:
                if dated.tier == tier and dated.entry.holds(at):
                    priced = dated.rates | priced
            if not priced:
                return None
            merged |= priced
        starts = {start for rate in merged.values() if not isinstance(rate, int) for start, _ in rate[1]}
        return tuple((start, self._rates(merged, start + 1)) for start in (-1, *sorted(starts)))

    def entries(self) -> Iterator[Entry]:
        """All dated entries: when the answer may change."""
        for dated in (*self.prices, *self.tiers):
            yield dated.entry

    def _standard(self, at: float) -> Dated:
        by_entry = [(dated.entry, dated) for dated in self.prices]
        found = current([entry for entry, _ in by_entry], at)
        return next((dated for entry, dated in by_entry if entry is found), self.prices[0])

    def _rates(self, merged: Mapping[str, Rate], prompt: int) -> Rates:
        def one(name: str) -> int | None:
            rate = merged.get(name)
            if rate is None or isinstance(rate, int):
                return rate
            return next((price for start, price in reversed(rate[1]) if prompt > start), rate[0])

        plain, hour = one("i"), one("h")
        if hour is None and plain is not None and "claude" in self.id and "w" in merged:
            hour = plain * CLAUDE_HOUR_WRITE
        return Rates(
            input=plain,
            cached=one("c"),
            cache_write_5m=one("w"),
            cache_write_1h=hour,
            output=one("o"),
            reasoning=one("q"),
        ).completed()


class Provider(msgspec.Struct, frozen=True):
    models: list[Model]
    fallback: list[str] = []


class _File(msgspec.Struct, frozen=True):
    source: str
    version: str
    sha256: str
    aliases: list[tuple[str, list[Any]]]
    providers: msgspec.Raw


class Snapshot:
    """The whole file. Raises OurError when it is not what its own hash says."""

    def __init__(self, content: bytes):
        file = msgspec.json.decode(content, type=_File)
        body = bytes(file.providers)
        if hashlib.sha256(body).hexdigest() != file.sha256:
            raise OurError("prices/data/book.json was changed by hand; put prices into an overrides file instead")
        self.version = f"{file.source} {file.version} {file.sha256[:12]}"
        self._aliases = file.aliases
        self._raw: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        self._decoded: dict[str, Provider] = {}

    def providers(self) -> tuple[str, ...]:
        return tuple(self._raw)

    def provider(self, name: str) -> Provider | None:
        """By the file's name, or by a name that the file says means the same."""
        if name not in self._raw:
            name = next((known for known, match in self._aliases if matches(match, name)), "")
            if name not in self._raw:
                return None
        found = self._decoded.get(name)
        if found is None:
            found = self._decoded[name] = msgspec.json.decode(self._raw[name], type=Provider)
        return found

    def model(self, provider: str, name: str) -> Model | None:
        """The first model that matches; a reseller's missing model is looked for where the file says."""
        seller = self.provider(provider)
        if seller is None:
            return None
        sellers = [seller, *filter(None, map(self.provider, seller.fallback))]
        for spelling in dict.fromkeys((name, _COMPACT_DATE.sub(r"-\1-\2-\3", name))):
            for who in sellers:
                for model in who.models:
                    if matches(model.match, spelling):
                        return model
        return None


def matches(rule: list[Any], text: str) -> bool:
    """Whether a rule of the file holds for a (lower-case) name."""
    operator, operand = rule
    if operator == "=":
        return bool(text == operand)
    if operator == "^":
        return bool(text.startswith(operand))
    if operator == "$":
        return bool(text.endswith(operand))
    if operator == "*":
        return operand in text
    if operator == "~":
        return re.search(operand, text) is not None
    return (any if operator == "|" else all)(matches(inner, text) for inner in operand)


def load() -> Snapshot:
    """The file that this version ships."""
    return Snapshot(resources.files("jevons.prices").joinpath("data/book.json").read_bytes())
