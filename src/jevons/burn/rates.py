"""What one token burns on one model: the price list of physics, from which an operation is a few products.

A card is made once per model and kept; it holds bands per prefilled token, per cached token, per decoded token, each
with a slope in the context's length, and the bytes of KV per token. A model whose serving is unseen (every remote
one) gets three corners: served best, middling and worst. This file knows no usage and no region.
"""

import re
from functools import lru_cache

import msgspec

from jevons.burn import shape as outline
from jevons.burn.band import Band, span
from jevons.burn.roofline import Setup, accelerator_seconds, joules_per_token, prefill_work, step_work
from jevons.burn.tables import Coefficients, Device, Shape, SizeClass, Tables, load
from jevons.core.errors import CallerError

CONTEXT_STEP = 8192.0
"""Slopes in the context are secants over this many tokens; windowed layers have stopped growing well before its end."""
PREFILL_CHUNK = 2048.0
"""Tokens of a prefill that share one reading of the weights, the usual chunk of serving engines."""
OUTSIDE_FIT = 1.5
"""Extra factor either way where the fit saw no such hardware, outline or regime. A judgement, not a measurement."""
MOVED_FAR = 10.0
"""Reading a cached token's KV from a host or another node instead of HBM: up to this many times the energy."""
MAX_CARDS = 512
SEPARATORS = re.compile(r"[/:_ .]")


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Joules at the accelerators, per token (slopes: per token and token of context); bytes and operations beside."""

    model: str
    prefill_j: Band
    prefill_slope_j: Band
    cached_j: Band
    decode_j: Band
    decode_slope_j: Band
    kv_bytes: Band
    hold_w_per_byte: Band
    """Watts per byte of KV held in HBM."""
    rest_w_per_byte: Band
    """Watts per byte of KV kept for later in a host's memory."""
    flops: Band
    attention_flops: Band
    """Per token and token of context."""
    step_bytes: Band
    """Bytes of weights read per decoded token: a step's reading shared by its batch."""
    source: str
    notes: tuple[str, ...]


class _Corner(msgspec.Struct, frozen=True):
    """One way in which the model may be served, with the watts to assume."""

    shape: Shape
    setup: Setup
    batch: float
    watts: float
    factor: float
    """Multiplies joules: the fit's own error in the corner's direction."""


def classify(model: str, tables: Tables) -> str:
    """The size class of a model by its name; `unknown` when no rule matches.

    A rule matches at the start of a part of the name, so that `mini` does not match `gemini`.
    """
    name = "-" + SEPARATORS.sub("-", model.lower())
    for part, size in tables.classes.rules:
        if f"-{part}" in name:
            return size
    return "unknown"


def device(name: str, tables: Tables) -> Device:
    """A device by name; refuses an unknown one and says which are known."""
    try:
        return tables.hardware.devices[name.lower()]
    except KeyError:
        known = ", ".join(tables.hardware.devices)
        raise CallerError(f"unknown hardware {name!r}; one of {known}") from None


def devices_for(shape: Shape, weights: str, unit: Device) -> int:
    """The smallest power of two of devices that holds the weights in 80% of their memory."""
    needed = outline.weight_bytes(shape, weights) / (0.8 * unit.hbm_gb * 1e9)
    count = 1
    while count < needed:
        count *= 2
    return count


def _corner_values(corner: _Corner, fit: Coefficients) -> dict[str, float]:
    shape, setup, batch = corner.shape, corner.setup, corner.batch

    def decode(context: float) -> float:
        work = step_work(shape, setup, batch, context)
        return joules_per_token(work, corner.watts, fit) * corner.factor

    def prefill(context: float) -> float:
        work = prefill_work(shape, setup, PREFILL_CHUNK, context)
        return corner.watts * accelerator_seconds(work, fit) * corner.factor / PREFILL_CHUNK

    kv = outline.kv_bytes_per_token(shape, setup.kv)
    hbm = setup.device.hbm_gb_s * 1e9
    return {
        "prefill_j": prefill(0.0),
        "prefill_slope_j": (prefill(CONTEXT_STEP) - prefill(0.0)) / CONTEXT_STEP,
        "cached_j": kv / hbm * fit.kv * corner.watts * corner.factor,
        "decode_j": decode(0.0),
        "decode_slope_j": (decode(CONTEXT_STEP) - decode(0.0)) / CONTEXT_STEP,
        "kv_bytes": (outline.kv_bytes(shape, CONTEXT_STEP, setup.kv) - shape.state_bytes) / CONTEXT_STEP,
        "flops": outline.flops_per_token(shape),
        "attention_flops": outline.attention_flops(shape, CONTEXT_STEP) / CONTEXT_STEP,
        "step_bytes": outline.touched_weight_bytes(shape, setup.weights, batch) / batch,
    }


def _card(model: str, corners: list[_Corner], tables: Tables, source: str, notes: tuple[str, ...]) -> Card:
    columns = [_corner_values(corner, tables.fit.joules) for corner in corners]
    bands = {name: span([column[name] for column in columns]) for name in columns[0]}
    bands["cached_j"] = Band(bands["cached_j"].low, bands["cached_j"].mid, bands["cached_j"].high * MOVED_FAR)
    return Card(
        model=model,
        hold_w_per_byte=Band(*tables.hardware.hbm_w_per_gb) * 1e-9,
        rest_w_per_byte=Band(*tables.hardware.dram_w_per_gb) * 1e-9,
        source=source,
        notes=notes,
        **bands,
    )


def _served(shape: Shape, tables: Tables, active: SizeClass | None) -> list[_Corner]:
    """Three corners of an unseen serving; with a class, the size moves along with them."""
    serving, widen = tables.classes.serving, tables.fit.joules_factor * OUTSIDE_FIT
    corners = []
    for i, factor in enumerate((1.0 / widen, 1.0, widen)):
        unit = device(serving.hardware[i], tables)
        outlined = outline.typical(active.total_b[i], active.active_b[i]) if active else shape
        weights = serving.weights[i]
        setup = Setup(device=unit, devices=devices_for(outlined, weights, unit), weights=weights)
        corners.append(_Corner(outlined, setup, float(serving.batch[i]), unit.watts[i], factor))
    return corners


def remote_card(model: str, tables: Tables) -> Card:
    """A card for a model that someone else serves: by its public outline if there is one, else by its class."""
    unseen = f"serving unseen: {tables.classes.serving.source}"
    shape = outline.find(model, tables.shapes)
    if shape is not None:
        return _card(model, _served(shape, tables, None), tables, f"outline: {tables.shapes.source}", (unseen,))
    size = classify(model, tables)
    active = tables.classes.classes[size]
    guess = outline.typical(active.total_b[1], active.active_b[1])
    notes = (f"class {size!r} ({active.note}): {tables.classes.source}", unseen)
    return _card(model, _served(guess, tables, active), tables, f"class {size}", notes)


def local_card(shape: Shape, setup: Setup, batch: float, tables: Tables, *, name: str = "local") -> Card:
    """A card for a serving that one knows: outline, layout, mean batch. The fit's band, wider off its data."""
    if not 1.0 <= batch < 1e6:
        raise CallerError(f"batch must be at least 1, got {batch}")
    fitted = setup.device.generation in ("hopper", "blackwell")
    widen = tables.fit.joules_factor * (1.0 if fitted and shape.known else OUTSIDE_FIT)
    notes = () if fitted else ("no serving on this hardware was measured: data-sheet roofline, widened",)
    low, mid, high = setup.device.watts
    corners = [
        _Corner(shape, setup, batch, watts, factor) for watts, factor in ((low, 1.0 / widen), (mid, 1.0), (high, widen))
    ]
    return _card(name, corners, tables, f"roofline: {tables.fit.source}", notes)


@lru_cache(maxsize=MAX_CARDS)
def card(model: str, hardware: str = "", batch: float = 0.0) -> Card:
    """The card of a model by name, on the package's tables; kept. With `hardware`, its serving there at `batch`."""
    tables = load()
    if not hardware:
        return remote_card(model, tables)
    shape = outline.find(model, tables.shapes)
    if shape is None:
        raise CallerError(f"no public outline of {model!r} in the table: give a Shape, or leave the hardware out")
    unit = device(hardware, tables)
    setup = Setup(device=unit, devices=devices_for(shape, "bfloat16", unit))
    return local_card(shape, setup, batch or float(tables.classes.serving.batch[1]), tables, name=model)
