"""Energy of a span, modelled from rollups: each series' mean call, times its calls, with bands.

What lives here: the tie between rollups and burn/. Attention's part grows with the square of a call's length, so a
mean call understates series whose calls differ much; series are kept apart by call site for that reason, and pages
say that the figure is from mean calls.
"""

from collections.abc import Iterable

import msgspec

from jevons.burn import Band, Burn, estimate
from jevons.burn.band import NONE
from jevons.core.usage import Usage
from jevons.store import rollups
from jevons.store.db import Database
from jevons.store.rollups import Sums

MOST_SERIES = 300
"""Groups of a span, the longest-running first; a house has a few dozen models and call sites."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a span or a group burned in the world. `parts`: joules at the accelerator, by what they did."""

    joules: Band = NONE
    co2e_g: Band = NONE
    water_l: Band = NONE
    heat_wh: Band = NONE
    parts: dict[str, Band] = {}


PARTS = {"prefill": "prefill_j", "cache reads": "cached_j", "decode": "decode_j", "held memory": "residency_j"}


def of(db: Database, since: float, until: float, *, grain: int | None = None) -> Spent:
    """The whole span."""
    return total(spent for _, spent in by_model(db, since, until, grain=grain))


def by_model(db: Database, since: float, until: float, *, grain: int | None = None) -> list[tuple[str, Spent]]:
    """By the model that answered, largest middle first. Answers that burned nothing are left out."""
    groups = rollups.by(db, ("served_model", "site"), since, until, order="duration_s", limit=MOST_SERIES, grain=grain)
    found: dict[str, list[Spent]] = {}
    for group in groups:
        model, sums = group.key[0], group.sums
        if model and (sums.output or sums.input or sums.cached):
            found.setdefault(model, []).append(_times(_mean_call(model, sums), sums.calls))
    summed = [(model, total(each)) for model, each in found.items()]
    return sorted(summed, key=lambda item: -item[1].joules.mid)


def total(spent: Iterable[Spent]) -> Spent:
    """Sums, band by band."""
    joules = carbon = water = heat = NONE
    parts = dict.fromkeys(PARTS, NONE)
    for each in spent:
        joules, carbon = joules + each.joules, carbon + each.co2e_g
        water, heat = water + each.water_l, heat + each.heat_wh
        parts = {name: band + each.parts.get(name, NONE) for name, band in parts.items()}
    return Spent(joules=joules, co2e_g=carbon, water_l=water, heat_wh=heat, parts=parts)


def _mean_call(model: str, sums: Sums) -> Burn:
    calls = sums.calls
    usage = Usage(
        input=sums.input // calls,
        cached=sums.cached // calls,
        cache_write_5m=sums.cache_write_5m // calls,
        cache_write_1h=sums.cache_write_1h // calls,
        output=sums.output // calls,
    )
    return estimate(model, usage, sums.duration_s / calls)


def _times(burn: Burn, calls: int) -> Spent:
    return Spent(
        joules=burn.joules * calls,
        co2e_g=burn.footprint.co2e_g * calls,
        water_l=burn.footprint.water_l * calls,
        heat_wh=burn.footprint.heat_wh * calls,
        parts={name: getattr(burn, field) * calls for name, field in PARTS.items()},
    )
