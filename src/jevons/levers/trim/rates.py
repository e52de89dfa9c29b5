"""What a token costs relative to a plain input token, and when taking tokens out of a cached prompt pays.

What lives here: the rates a decision needs, and the break-even arithmetic of one block trim. It knows no provider's
name and no money: the same numbers come from a price book, and all sums are in plain input tokens.
"""

import msgspec

from jevons.prices import prefix


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Relative prices, plain input = 1. `write` is what a token costs when it enters the cache."""

    read: float
    write: float
    output: float
    ttl_s: float
    """Seconds after which an unused prefix is gone; 0 when nothing is cached."""

    @classmethod
    def of(cls, rates: prefix.Rates, ttl_s: float, *, hour: bool = False) -> "Rates":
        """From a price book's rates and how long the session's prefix lives; `hour`: it is written for an hour."""
        plain = max(1, rates.input)
        write = rates.cache_write_1h if hour else rates.cache_write_5m
        return cls(read=rates.cached / plain, write=write / plain, output=rates.output / plain, ttl_s=ttl_s)

    def expired(self, idle_s: float) -> bool:
        return idle_s >= self.ttl_s


class Trim(msgspec.Struct, frozen=True, kw_only=True):
    """A block trim's size, in tokens: what goes, and what stays behind the first edit and is cached now."""

    removed: float
    retained: float


def gain(trim: Trim, rates: Rates, later_calls: float, *, expired: bool) -> float:
    """Plain input tokens won by trimming now, over this call and the expected later ones; negative when it loses.

    Before: this call reads removed + retained (or writes both again when the prefix has expired), later calls read
    both. After: this call writes the retained part again, later calls read only that.
    """
    later = rates.read * trim.removed * later_calls
    if expired:
        return rates.write * trim.removed + later
    return later + rates.read * trim.removed - (rates.write - rates.read) * trim.retained


def reread(tokens: float, prompt: float, rates: Rates, later_calls: float, output_tokens: float) -> float:
    """Plain input tokens that one recall costs: another call over the prompt, and the text carried from there on."""
    return rates.read * prompt + (rates.write + rates.read * later_calls) * tokens + rates.output * output_tokens
