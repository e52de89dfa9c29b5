"""One operation is what a caller asked for; its attempts are everything that was burned to answer it.

Retries, fallbacks, gates, judges, embeddings and shadows are attempts of the same operation, and its cost is their
sum. An attempt whose price is unknown has cost None, and then so has the operation: unknown is never zero.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from jevons.core.money import Nano
from jevons.core.usage import NOTHING, Usage


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to one upstream (or one served answer of a cache, which burned nothing)."""

    provider: str
    model: str
    role: str = "answer"
    """answer | gate | judge | embed | shadow | audit"""
    status: int = 0
    error: str = ""
    started: float = 0.0
    duration_s: float = 0.0
    first_byte_s: float | None = None
    usage: Usage = NOTHING
    usage_source: str = "reported"
    """reported | estimated (the stream was cut and the provider's bill can only be modelled) | none"""
    tier: str = ""
    cost_nano: Nano | None = None
    cost_source: str = "book"
    """book | override | provider (it reported the cost itself) | machine (local, modelled) | unpriced"""
    price_version: str = ""
    rates: dict[str, int] | None = None
    """The pico-dollars per token it was booked with, by usage field: history does not change when a price does."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger with its attempts."""

    operation: str
    tenant: str
    key_id: str
    customer: str
    plan: str
    task: str
    task_source: str
    parent: str
    task_name: str
    site: str
    surface: str
    model: str
    """The public name that the caller asked for."""
    served_model: str
    status: int
    error: str = ""
    started: float
    duration_s: float = 0.0
    stream: bool = False
    cancelled: bool = False
    cache: str = ""
    """'' | hit | coalesced | semantic | miss"""
    arm: str = ""
    attempts: tuple[Attempt, ...] = ()
    baseline_nano: Nano | None = None
    levers: dict[str, Any] | None = None
    """What each chosen lever is credited with, and what the governor weighed: for `jevons explain`."""

    @property
    def usage(self) -> Usage:
        """All tokens of all attempts."""
        return usage_of(self.attempts)

    @property
    def cost_nano(self) -> Nano | None:
        """The sum over attempts; None as soon as one of them is unpriced."""
        return cost_of(self.attempts)


def usage_of(attempts: Iterable[Attempt]) -> Usage:
    """All tokens of these attempts."""
    total = NOTHING
    for attempt in attempts:
        total = total + attempt.usage
    return total


def cost_of(attempts: Iterable[Attempt]) -> Nano | None:
    """What these attempts cost together; None as soon as one of them is unpriced."""
    total = 0
    for attempt in attempts:
        if attempt.cost_nano is None:
            return None
        total += attempt.cost_nano
    return Nano(total)
