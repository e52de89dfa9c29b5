"""The bill of materials of an accelerator-hour, as ranges with sources, and what price shocks do to a token.

What lives here: shares of the cost of owning and running a server, by what the money buys, and the arithmetic that
carries a shock through to $/Mtok and to a plan's margin. What has no source is said to be unknown, not guessed.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec

from jevons.burn.band import Band
from jevons.burn.tables import Three
from jevons.core.errors import CallerError

HOURS_PER_YEAR = 8760.0
CHIP_PARTS = ("hbm", "packaging", "logic", "other")
LINES = (
    "hbm",
    "logic",
    "packaging",
    "accelerator_maker",
    "dram",
    "ssd",
    "network",
    "cpu",
    "server_rest",
    "cooling",
    "electricity",
)
"""`accelerator_maker`: the boards' price beyond the chip's materials: development, margin, NVSwitch and board parts.
`cooling`: fans and cold plates in the server, and the electricity that PUE adds. `electricity`: the servers' own."""


class Server(msgspec.Struct, frozen=True):
    usd: float
    source: str
    spread: tuple[float, float]
    spread_source: str
    lines: dict[str, float]


class Chip(msgspec.Struct, frozen=True):
    usd: Three
    per_server: int
    source: str
    shares: dict[str, Three]
    shares_source: str


class Materials(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    note: str
    server: Server
    chip: Chip
    years: Three
    years_source: str
    server_watts: Three
    server_watts_source: str
    usd_kwh: Three
    usd_kwh_source: str
    pue: Three
    unknown: dict[str, str]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A share of an accelerator-hour's known cost; None where no source exists."""

    name: str
    share: Band | None
    source: str


class Shocked(msgspec.Struct, frozen=True, kw_only=True):
    """$/Mtok or a bill after a shock: the ratio to before, as a band, with the pass-through that it assumes."""

    ratio_low: float
    ratio_mid: float
    ratio_high: float
    word: str


@cache
def load_materials() -> Materials:
    """The data file, once per process."""
    text = resources.files("jevons.burn").joinpath("data", "materials.json").read_bytes()
    return msgspec.json.decode(text, type=Materials)


def _hour_costs(table: Materials, at: int) -> dict[str, float]:
    """Dollars per server-hour by line at one corner (0 low, 1 mid, 2 high) of every assumption at once."""
    scale = (table.server.spread[0], 1.0, table.server.spread[1])[at]
    hours = table.years[2 - at] * HOURS_PER_YEAR  # a longer life is the cheap corner
    parts = {name: scale * usd / hours for name, usd in table.server.lines.items()}
    chip = table.chip.usd[at] * table.chip.per_server / hours
    shares = {name: table.chip.shares[name][at] for name in CHIP_PARTS}
    kwh = table.server_watts[at] / 1000.0
    return {
        "hbm": chip * shares["hbm"],
        "logic": chip * shares["logic"],
        "packaging": chip * shares["packaging"],
        "accelerator_maker": max(parts["accelerator_board"] + parts["markup"] - chip * sum(shares.values()), 0.0)
        + chip * shares["other"],
        "dram": parts["dram"],
        "ssd": parts["ssd"],
        "network": parts["network"],
        "cpu": parts["cpu"],
        "server_rest": parts["assembly"] + parts["power_supply"] + parts["board"] + parts["chassis"],
        "cooling": parts["cooling"] + kwh * (table.pue[at] - 1.0) * table.usd_kwh[at],
        "electricity": kwh * table.usd_kwh[at],
    }


def bill(table: Materials) -> tuple[Line, ...]:
    """Every line's share of the known cost of a server-hour: its low against the others' high, and the other way."""
    low, mid, high = (_hour_costs(table, at) for at in range(3))
    lines = []
    for name in LINES:
        ends = sorted((low[name], mid[name], high[name]))
        rest_high = sum(max(low[n], mid[n], high[n]) for n in LINES if n != name)
        rest_low = sum(min(low[n], mid[n], high[n]) for n in LINES if n != name)
        share = Band(
            ends[0] / (ends[0] + rest_high) if ends[0] else 0.0,
            mid[name] / sum(mid.values()),
            ends[2] / (ends[2] + rest_low),
        )
        lines.append(Line(name=name, share=share, source=_source(name, table)))
    lines.extend(Line(name=name, share=None, source=why) for name, why in table.unknown.items())
    return tuple(lines)


def _source(name: str, table: Materials) -> str:
    if name in ("hbm", "logic", "packaging"):
        return f"{table.chip.source}; {table.chip.shares_source}"
    if name == "electricity":
        return f"{table.server_watts_source}; {table.usd_kwh_source}"
    return table.server.source


def shock(changes: Mapping[str, float], table: Materials) -> Shocked:
    """The cost of a token after price changes of lines: `{"hbm": 1.5, "electricity": 2.0}`, ratios to today's price.

    `hour` is the rent of the accelerator-hour itself (`{"hour": 0.7}`) and multiplies the rest. A ratio of zero or
    below, or an unknown line, is refused. Doubling electricity also doubles what cooling draws.
    """
    shares = {line.name: line.share for line in bill(table)}
    known = [name for name, share in shares.items() if share]
    low = mid = high = 1.0
    hour = 1.0
    for name, ratio in changes.items():
        if not 0.0 < ratio < 1000.0:
            raise CallerError(f"a price shock is a positive ratio to today's price, got {name} = {ratio}")
        if name == "hour":
            hour = ratio
            continue
        share = shares.get(name)
        if share is None:
            raise CallerError(f"no cost share is known for {name!r}; known: {', '.join(known)}, hour")
        ends = sorted((share.low * (ratio - 1.0), share.high * (ratio - 1.0)))
        low, mid, high = low + ends[0], mid + share.mid * (ratio - 1.0), high + ends[1]
    word = "cost of an owned machine, fully passed through; a provider's list price may move by anything from 0 to this"
    return Shocked(ratio_low=max(low, 0.0) * hour, ratio_mid=mid * hour, ratio_high=high * hour, word=word)


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's margin in nano-dollars before and after; `after_*` from worst to best case for the plan."""

    before_nano: int
    after_low_nano: int
    after_mid_nano: int
    after_high_nano: int


def margin_after(revenue_nano: int, cost_nano: int, shocked: Shocked, *, passed_through: bool) -> Margin:
    """A plan's margin when its cost moves by the shock.

    `passed_through`: True for machines of one's own. Else the provider decides: the band also holds an unmoved price.
    """
    if revenue_nano < 0 or cost_nano < 0:
        raise CallerError("revenue and cost are amounts of at least zero")
    ratios = [shocked.ratio_low, shocked.ratio_mid, shocked.ratio_high]
    if not passed_through:
        middle = (1.0 + shocked.ratio_mid) / 2.0
        ratios = [min(1.0, shocked.ratio_low), middle, max(1.0, shocked.ratio_high)]
    low, mid, high = (revenue_nano - round(cost_nano * ratio) for ratio in ratios)
    return Margin(before_nano=revenue_nano - cost_nano, after_low_nano=high, after_mid_nano=mid, after_high_nano=low)
