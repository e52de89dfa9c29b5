"""How a provider's prompt cache behaves, as dated data: what may be cached, for how long, from which length on.

What lives here: reading data/prefix.toml and finding the entry that holds for a model on a day. What it must not
know: prices (they are arguments everywhere) and any call.
"""

import tomllib
from collections.abc import Sequence
from datetime import date
from importlib import resources

import msgspec


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """One dated entry of data/prefix.toml; its head explains the fields."""

    provider: str
    models: tuple[str, ...]
    since: date
    style: str
    """marked | automatic"""
    min_tokens: int
    ttl_s: dict[str, int]
    guaranteed: bool
    source: str
    step_tokens: int = 1
    max_breakpoints: int = 0
    lookback_blocks: int = 0
    storage: bool = False
    """An explicit cache is billed by the token-hour."""

    @property
    def marked(self) -> bool:
        return self.style == "marked"

    @property
    def default_ttl(self) -> str:
        return next(iter(self.ttl_s))


def load() -> tuple[Terms, ...]:
    """All entries that this version ships."""
    text = resources.files("jevons.prices").joinpath("data/prefix.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert(tomllib.loads(text)["terms"], list[Terms]))


def find(entries: Sequence[Terms], provider: str, model: str, on: date) -> Terms | None:
    """The entry that holds for a model on a day, or None: an unknown provider is taken to cache nothing.

    Among matching entries the longest model prefix wins, then the latest date.
    """
    best: tuple[int, date] | None = None
    found = None
    for entry in entries:
        if entry.provider != provider or entry.since > on:
            continue
        fits = [len(prefix) for prefix in entry.models if model.startswith(prefix)]
        rank = (max(fits), entry.since) if fits else None
        if rank is not None and (best is None or rank >= best):
            best, found = rank, entry
    return found
