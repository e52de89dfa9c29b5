"""Numbers as people read them: money, counts, shares, times. Pure.

What lives here: rounding and units. A figure is never rounded to look better: small sums keep three digits.
"""

import time

from jevons.core.money import NANO_PER_DOLLAR, show


def money(nano: float) -> str:
    """Nano-dollars: `$1,204.50`, `$0.0312`; see core/money."""
    return show(round(nano))


def axis_money(nano: float) -> str:
    """Nano-dollars on an axis: as short as the tick allows."""
    dollars = nano / NANO_PER_DOLLAR
    size = abs(dollars)
    if size >= 1000:
        return f"${dollars / 1000:,.3g}k"
    return f"${dollars:,.3g}" if size >= 0.001 or not size else f"${dollars:.0e}"


def count(value: float) -> str:
    """`1,204` up to a million, then three digits and M, G or T."""
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:,.0f}" if size >= 10 or value == int(value) else f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """`12.3%`; a dash of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "–"


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def seconds(value: float) -> str:
    """`0.42 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if value <= 0:
        return "0 s"
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{int(value // 60)} min" + (f" {int(value % 60)} s" if int(value % 60) else "")
    return f"{int(value // 3600)} h" + (f" {int(value % 3600 // 60)} min" if int(value % 3600 // 60) else "")


def energy(joules: float) -> str:
    """Joules as watt-hours, the unit of an electricity bill."""
    return watt_hours(joules / 3600) if joules else "0 Wh"


def watt_hours(value: float) -> str:
    """Watt-hours with the prefix that fits: an axis of energy."""
    for limit, unit in ((1e6, "MWh"), (1e3, "kWh"), (1.0, "Wh"), (1e-3, "mWh")):
        if value >= limit * 0.999:
            return f"{value / limit:.3g} {unit}"
    return f"{value * 1e6:.3g} µWh"


def moment(at: float) -> str:
    """UTC, to the minute; the browser shows it in the viewer's zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


def iso(at: float) -> str:
    """For a <time> element."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def plural(number: int, one: str, many: str = "") -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
