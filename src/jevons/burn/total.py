"""Burns summed: per task, customer, plan or lever. Sums of bands, end to end; nothing is estimated here."""

from collections.abc import Iterable

import msgspec

from jevons.burn.band import NONE, Band
from jevons.burn.estimate import Burn


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """A sum of burns. `measured_share` is the share of the joules (middles) that a meter read."""

    operations: int
    joules: Band
    heat_wh: Band
    water_l: Band
    co2e_g: Band
    kv_byte_seconds: Band
    measured_share: float


def total(burns: Iterable[Burn]) -> Total:
    """The sum; an empty one is zero of nothing."""
    joules = heat = water = carbon = held = NONE
    operations, read = 0, 0.0
    for burn in burns:
        operations += 1
        joules += burn.joules
        heat += burn.footprint.heat_wh
        water += burn.footprint.water_l
        carbon += burn.footprint.co2e_g
        held += burn.kv_byte_seconds
        read += burn.joules.mid if burn.method == "measured" else 0.0
    share = read / joules.mid if joules.mid else 0.0
    return Total(
        operations=operations,
        joules=joules,
        heat_wh=heat,
        water_l=water,
        co2e_g=carbon,
        kv_byte_seconds=held,
        measured_share=share,
    )


def grouped(pairs: Iterable[tuple[str, Burn]]) -> dict[str, Total]:
    """Totals by a name of the caller's choice (task, customer, plan, lever), largest middle first."""
    groups: dict[str, list[Burn]] = {}
    for name, burn in pairs:
        groups.setdefault(name, []).append(burn)
    totals = {name: total(burns) for name, burns in groups.items()}
    return dict(sorted(totals.items(), key=lambda item: -item[1].joules.mid))


class Saved(msgspec.Struct, frozen=True):
    """Joules that a lever left unburned. The same model's error moves both sides together, so the ends are paired;
    a lever can burn more than it saves, and then the figures are negative."""

    low: float
    mid: float
    high: float

    def show(self) -> str:
        """`saved 3.1 kWh (1.9 to 5.2), modelled`"""
        low, mid, high = (value / 3.6e6 for value in (self.low, self.mid, self.high))
        verb = "saved" if mid >= 0 else "cost"
        ends = sorted((abs(low), abs(high)))
        if low * high < 0:
            return f"{verb} {abs(mid):.3g} kWh (from {low:.3g} to {high:.3g}: the sign is not settled), modelled"
        return f"{verb} {abs(mid):.3g} kWh ({ends[0]:.3g} to {ends[1]:.3g}), modelled"


def saved(without: Band, with_lever: Band) -> Saved:
    """Joules without the lever minus joules with it, each end against its own end."""
    ends = sorted((without.low - with_lever.low, without.mid - with_lever.mid, without.high - with_lever.high))
    return Saved(ends[0], without.mid - with_lever.mid, ends[2])
