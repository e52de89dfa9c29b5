"""Reads the machine's energy counters where it has any that this process may read: RAPL and NVML.

The arithmetic is `burn/meter.py`'s. What must not be here: what the joules were spent on.
"""

import importlib.util
from pathlib import Path

from jevons.burn.meter import Reading

ZONES = Path("/sys/class/powercap")
PACKAGE_ZONE = "intel-rapl:[0-9]"
"""Whole packages only (AMD's too carry this name): their parts would be counted twice."""


def reading(at: float, zones: Path = ZONES) -> Reading | None:
    """All counters at `at` (Unix seconds); None when none can be read."""
    rapl: dict[str, int] = {}
    limits: dict[str, int] = {}
    for zone in sorted(zones.glob(PACKAGE_ZONE)):
        try:
            rapl[zone.name] = int((zone / "energy_uj").read_text(encoding="ascii"))
            limits[zone.name] = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
        except (OSError, ValueError):
            rapl.pop(zone.name, None)
    cards = _nvml()
    return Reading(at=at, rapl_uj=rapl, rapl_max_uj=limits, nvml_mj=cards) if rapl or cards else None


def _nvml() -> dict[str, int]:
    """Millijoules since the driver's start, by card; empty without pynvml, a driver or the right."""
    if importlib.util.find_spec("pynvml") is None:
        return {}
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
        return {str(at): int(pynvml.nvmlDeviceGetTotalEnergyConsumption(one)) for at, one in enumerate(handles)}
    except pynvml.NVMLError:
        return {}
