"""Energy counters of a machine that one owns: from two readings to joules.

What lives here: the arithmetic of RAPL's wrapping counters and of NVML's totals, pure. Reading
/sys/class/powercap/*/energy_uj or nvmlDeviceGetTotalEnergyConsumption belongs to whoever owns the machine's I/O.
"""

from collections.abc import Mapping

import msgspec

from jevons.core.errors import CallerError


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at one moment. RAPL counts microjoules up to `rapl_max_uj` and wraps; NVML counts millijoules."""

    at: float
    rapl_uj: Mapping[str, int]
    rapl_max_uj: Mapping[str, int]
    nvml_mj: Mapping[str, int] = {}


class Energy(msgspec.Struct, frozen=True):
    joules: float
    seconds: float
    source: str


def between(first: Reading, last: Reading) -> Energy:
    """Joules between two readings. Refuses changed zones and time that ran backwards.

    A RAPL zone that wrapped once is counted right; twice cannot be seen, so read at least every few minutes
    (a 262 kJ counter wraps after 17 minutes at 250 W).
    """
    if first.rapl_uj.keys() != last.rapl_uj.keys() or first.nvml_mj.keys() != last.nvml_mj.keys():
        raise CallerError("the two readings are of different counters")
    seconds = last.at - first.at
    if seconds < 0:
        raise CallerError("the second reading is older than the first")
    micro = 0
    for zone, before in first.rapl_uj.items():
        step = last.rapl_uj[zone] - before
        micro += step if step >= 0 else step + last.rapl_max_uj[zone]
    milli = sum(last.nvml_mj[card] - before for card, before in first.nvml_mj.items())
    if milli < 0:
        raise CallerError("an NVML counter went backwards: the driver was reloaded between the readings")
    names = [name for name, counters in (("RAPL", first.rapl_uj), ("NVML", first.nvml_mj)) if counters]
    return Energy(micro / 1e6 + milli / 1e3, seconds, " + ".join(names) or "no counter")
