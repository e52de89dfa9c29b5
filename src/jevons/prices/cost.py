"""Usage to money: one rate card, one multiplication, one rounding.

What lives here: the rates of one request and their arithmetic. What it must not know: which card applies (book.py).
An unknown rate is None and makes the cost of tokens of that kind None, never zero; a rate of 0 is free.
"""

from decimal import Decimal

import msgspec

from jevons.core.money import Nano, from_pico, nano
from jevons.core.usage import Usage

SECONDS_PER_HOUR = 3600


class Priced(msgspec.Struct, frozen=True, gc=False):
    """What a usage costs, and by which rates. `nano` None: no price is known."""

    nano: Nano | None
    source: str
    """book | override | provider (it reported the cost itself) | machine (local, modelled) | unpriced"""
    version: str = ""
    rates: dict[str, int] | None = None
    """Pico-dollars per token by the field of Usage."""


UNPRICED = Priced(None, "unpriced")


class Rates(msgspec.Struct, frozen=True):
    """Pico-dollars per token; None: not known."""

    input: int | None = None
    cached: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None

    def completed(self) -> "Rates":
        """What a provider that names no rate of its own for a kind bills it at.

        Cached and written tokens are input tokens; a one-hour write is a write; hidden reasoning is output.
        """
        write = self.input if self.cache_write_5m is None else self.cache_write_5m
        return Rates(
            input=self.input,
            cached=self.input if self.cached is None else self.cached,
            cache_write_5m=write,
            cache_write_1h=write if self.cache_write_1h is None else self.cache_write_1h,
            output=self.output,
            reasoning=self.output if self.reasoning is None else self.reasoning,
        )

    def scaled(self, factor: Decimal) -> "Rates":
        """Every rate times a discount or a surcharge, half to even."""
        return Rates(*(None if rate is None else round(rate * factor) for rate in msgspec.structs.astuple(self)))

    def over(self, under: "Rates") -> "Rates":
        """These rates where they are known, else those of `under`."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(under), strict=True)
        return Rates(*(below if rate is None else rate for rate, below in pairs))

    def known(self) -> dict[str, int]:
        return {name: rate for name, rate in msgspec.structs.asdict(self).items() if rate is not None}


class Card(msgspec.Struct, frozen=True):
    """The rates of one model, tier and moment, by how long the prompt is."""

    steps: tuple[tuple[int, Rates], ...]
    """(applies above so many prompt tokens, completed rates), ascending; the first is (-1, base)."""
    source: str
    version: str

    def price(self, usage: Usage) -> Priced:
        """The whole request at the one step that its total prompt, cached tokens included, falls into."""
        rates = self.steps[0][1]
        if len(self.steps) > 1:
            prompt = usage.prompt
            for above, longer in self.steps:
                if prompt > above:
                    rates = longer
        pico = amount(rates, usage)
        return Priced(None if pico is None else from_pico(pico), self.source, self.version, rates.known())


def amount(rates: Rates, usage: Usage) -> int | None:
    """Pico-dollars; None when a kind of token that was used has no known rate."""
    plain = usage.output - usage.reasoning
    total = 0
    for tokens, rate in (
        (usage.input, rates.input),
        (usage.cached, rates.cached),
        (usage.cache_write_5m, rates.cache_write_5m),
        (usage.cache_write_1h, rates.cache_write_1h),
        (plain, rates.output),
        (usage.reasoning, rates.reasoning),
    ):
        if tokens:
            if rate is None:
                return None
            total += tokens * rate
    return total


def reported(cost_usd: float) -> Priced:
    """A cost that the provider itself reported: it is the bill, so it wins over any book."""
    return Priced(nano(cost_usd), "provider", "reported")


def machine(usd_per_hour: Decimal, seconds: float) -> Priced:
    """A local machine's time at its price: modelled, and labelled so."""
    spent = usd_per_hour * Decimal(str(max(0.0, seconds))) / SECONDS_PER_HOUR
    return Priced(nano(spent), "machine", f"machine {usd_per_hour}/h, modelled")
