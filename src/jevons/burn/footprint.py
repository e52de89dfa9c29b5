"""From joules at the chip to the world: heat, electricity at the meter, water and CO2e by region.

What lives here: the conversion with its bands. It does not know where joules come from. A region that is not in the
table is widened to the whole table's range, with a word that says so; it is never refused, never a bare figure.
"""

import msgspec

from jevons.burn.band import Band
from jevons.burn.tables import Region, Regions

JOULES_PER_WH = 3600.0
JOULES_PER_BTU = 1055.056
JOULES_PER_KWH = 3.6e6


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a quantity of electricity at the data centre's meter means. All of it ends as heat."""

    region: str
    heat_wh: Band
    heat_btu: Band
    water_l: Band
    co2e_g: Band
    notes: tuple[str, ...] = ()


def resolve(region: str, table: Regions) -> tuple[str, str]:
    """(canonical region, note). Country codes, `world`, common cloud regions; else ('unknown', why)."""
    name = region.strip().lower()
    name = table.aliases.get(name, name)
    if name in table.regions:
        return name, ""
    return "unknown", f"region {region!r} is not in the table: widened to the range of all regions in it"


def _grid(name: str, table: Regions) -> tuple[Band, Band]:
    """(g per kWh, litres of the power plants per kWh)."""
    rows = list(table.regions.values()) if name == "unknown" else [table.regions[name]]
    world = table.regions["world"]
    middle: Region = world if name == "unknown" else rows[0]
    carbon = Band(
        min(row.g_kwh for row in rows) * table.grid_spread[0],
        middle.g_kwh,
        max(row.g_kwh for row in rows) * table.grid_spread[1],
    )
    water = Band(
        min(row.water_l_kwh for row in rows) * table.water_spread[0],
        middle.water_l_kwh,
        max(row.water_l_kwh for row in rows) * table.water_spread[1],
    )
    return carbon, water


def at_the_meter(chip_joules: Band, table: Regions) -> Band:
    """Joules at the data centre's meter: hosts and network beside the accelerators, then cooling and losses (PUE)."""
    return chip_joules * Band(*table.server_overhead) * Band(*table.pue)


def footprint(meter_joules: Band, region: str, table: Regions) -> Footprint:
    """Heat, water and CO2e of joules drawn at the meter in a region."""
    name, note = resolve(region, table)
    carbon, plant_water = _grid(name, table)
    kwh = meter_joules * (1.0 / JOULES_PER_KWH)
    return Footprint(
        region=name,
        heat_wh=meter_joules * (1.0 / JOULES_PER_WH),
        heat_btu=meter_joules * (1.0 / JOULES_PER_BTU),
        water_l=kwh * (plant_water + Band(*table.site_water_l_kwh)),
        co2e_g=kwh * carbon,
        notes=(note,) if note else (),
    )
