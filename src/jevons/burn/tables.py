"""The dated data files of this room, read once: model shapes, hardware, classes, regions, fitted coefficients.

What lives here: their types and the one function that reads them. Every file names its date and its sources; a
figure that has no source says that it is an assumption. Nothing here computes a burn.
"""

from functools import cache
from importlib import resources
from typing import TypeVar

import msgspec

Three = tuple[float, float, float]
"""low, mid, high"""

Table = TypeVar("Table", bound=msgspec.Struct)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A transformer's outline, as its public configuration gives it. Parameters in billions."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    total_b: float
    active_b: float
    attention: str = "gqa"
    """mha | gqa | mla"""
    attention_layers: int = 0
    """Layers with attention where only some have it (hybrids); 0: all of them."""
    latent: int = 0
    """Elements cached per token and layer under MLA."""
    window: int = 0
    window_layers: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_params_b: float = 0.0
    """One expert, summed over the layers that hold one."""
    state_bytes: float = 0.0
    """Recurrent state per sequence, for hybrids."""
    known: bool = True
    """False: guessed from the parameter count, so every figure is widened."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One accelerator (or one CPU socket), by its data sheet. Decimal units."""

    hbm_gb: float
    hbm_gb_s: float
    bf16_tflops: float
    fp8_tflops: float | None
    watts: Three
    link_gb_s: float
    usd_hour: Three
    source: str
    generation: str


class Host(msgspec.Struct, frozen=True, kw_only=True):
    dram_gb_per_device: float
    dram_link_gb_s: float
    ssd_gb_per_device: float
    ssd_gb_s: float
    source: str


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    source: str
    devices: dict[str, Device]
    host: Host
    dram_w_per_gb: Three
    hbm_w_per_gb: Three
    memory_source: str


class SizeClass(msgspec.Struct, frozen=True):
    active_b: Three
    total_b: Three
    note: str


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How an unseen provider may serve: best, middling and worst case, in that order."""

    batch: tuple[int, int, int]
    hardware: tuple[str, str, str]
    weights: tuple[str, str, str]
    source: str


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    source: str
    classes: dict[str, SizeClass]
    rules: list[tuple[str, str]]
    """(a part of the lower-case name, class): the first that matches wins."""
    serving: Serving


class Region(msgspec.Struct, frozen=True):
    g_kwh: float
    water_l_kwh: float


class Regions(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    source: str
    grid_spread: tuple[float, float]
    grid_spread_source: str
    water_spread: tuple[float, float]
    water_spread_source: str
    pue: Three
    pue_source: str
    site_water_l_kwh: Three
    site_water_source: str
    server_overhead: Three
    server_overhead_source: str
    regions: dict[str, Region]
    aliases: dict[str, str]


class Coefficients(msgspec.Struct, frozen=True, kw_only=True):
    """What the roofline needs beyond data sheets: the first four multiply its times; the rest see roofline.py."""

    weights: float
    kv: float
    flops: float
    link: float
    layer_s: float
    sequence_s: float
    sync_s: float
    stall_s: float
    moe_flops: float
    block_layer: float
    blackwell: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Coefficients for joules (at full rated power) and for seconds, with the 90% factors they were found to hold."""

    date: str
    source: str
    joules: Coefficients
    seconds: Coefficients
    joules_factor: float
    seconds_factor: float


class Shapes(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    source: str
    models: dict[str, Shape]


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    shapes: Shapes
    hardware: Hardware
    classes: Classes
    regions: Regions
    fit: Fit


def _read(name: str, table: type[Table]) -> Table:
    text = resources.files("jevons.burn").joinpath("data", name).read_bytes()
    return msgspec.json.decode(text, type=table)


@cache
def load() -> Tables:
    """All tables of the package, decoded and checked against their types, once per process."""
    return Tables(
        shapes=_read("shapes.json", Shapes),
        hardware=_read("hardware.json", Hardware),
        classes=_read("classes.json", Classes),
        regions=_read("regions.json", Regions),
        fit=_read("fit.json", Fit),
    )
