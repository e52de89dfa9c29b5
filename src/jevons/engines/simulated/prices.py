"""The simulator's own price table, from its dated JSON file: what its invoice charges.

It shares nothing with the gateway's price book, so that the two can be checked against each other.
"""

import json
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from jevons.engines.simulated.prompt import Counts

PICO_PER_MTOK_DOLLAR = 1_000_000
"""A dollar per million tokens is a million pico-dollars per token."""
KINDS = ("input", "read", "write_5m", "write_1h", "output")


class Model(msgspec.Struct, frozen=True):
    """A priced model. `rates` by tier ('' standard, flex, priority, long) and kind, in pico-dollars per token."""

    name: str
    provider: str
    kind: str
    rates: dict[str, dict[str, int]]
    minimum: int
    """Anthropic: the shortest prefix that is cached."""
    long_above: int


@cache
def table() -> dict[str, Model]:
    """Every model name that the simulator serves, dated snapshots included."""
    raw = json.loads(resources.files(__package__).joinpath("prices.json").read_text(encoding="utf-8"))
    models = {name: read(name, entry) for name, entry in raw["models"].items()}
    return models | {alias: msgspec.structs.replace(models[of], name=alias) for alias, of in raw["snapshots"].items()}


def read(name: str, entry: dict[str, Any]) -> Model:
    tiers = {"": entry} | {tier: entry[tier] for tier in ("flex", "priority", "long") if tier in entry}
    return Model(
        name=name,
        provider=entry["provider"],
        kind=entry.get("kind", "text"),
        rates={tier: {kind: pico(row[kind]) for kind in KINDS if kind in row} for tier, row in tiers.items()},
        minimum=entry.get("minimum", 1024),
        long_above=entry.get("long", {}).get("above", 0),
    )


def pico(dollars_per_mtok: str) -> int:
    return int(Decimal(dollars_per_mtok) * PICO_PER_MTOK_DOLLAR)


def rates(model: Model, counts: Counts, tier: str) -> dict[str, int]:
    """Pico-dollars per token for this request. Batch is half of standard; a long prompt prices the whole request."""
    if model.long_above and counts.prompt > model.long_above:
        row = model.rates["long"]
    else:
        row = model.rates.get(tier, model.rates[""])
    return {kind: rate // 2 for kind, rate in row.items()} if tier == "batch" else row


def amounts(model: Model, counts: Counts, tier: str) -> dict[str, int]:
    """Pico-dollars by token kind."""
    row = rates(model, counts, tier)
    plain = row["input"]
    return {
        "input": counts.uncached * plain,
        "read": counts.read * row.get("read", plain),
        "write_5m": counts.write_5m * row.get("write_5m", plain),
        "write_1h": counts.write_1h * row.get("write_1h", plain),
        "output": counts.output * row["output"],
    }
