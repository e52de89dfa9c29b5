"""What a replica can hold and produce: memory, spills, and the price of a token against batch and context.

What lives here: the planning arithmetic behind `jevons capacity`, for one model outline on one kind of hardware. It
uses the same roofline as the ledger's estimates. It knows no traffic: utilisation is the caller's word.
"""

import math
from collections.abc import Sequence

import msgspec

from jevons.burn import shape as outline
from jevons.burn.band import Band, exactly
from jevons.burn.rates import OUTSIDE_FIT, PREFILL_CHUNK
from jevons.burn.roofline import Setup, joules_per_token, prefill_work, step_seconds, step_work
from jevons.burn.tables import Host, Shape, Tables
from jevons.core.errors import CallerError

ACTIVATIONS = 0.10
"""Of the memory, what activations, graphs and fragmentation take: serving engines reserve 10% by default."""
MAX_BATCH = 1 << 20
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica's bytes go. Tokens are of context, summed over sequences."""

    weight_bytes: float
    kv_bytes_per_token: float
    kv_bytes_per_sequence: float
    """At the asked context, windows and recurrent state counted."""
    hbm_bytes: float
    free_bytes: float
    fits: bool
    tokens_in_hbm: int
    sequences_in_hbm: int
    tokens_in_dram: int
    """More tokens that the hosts' memory would hold."""
    tokens_on_ssd: int


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence's KV that left HBM: bring it back, or compute it again? Seconds for one sequence of the context."""

    recompute_s: Band
    from_dram_s: float
    from_ssd_s: float
    dram: str
    """load | recompute | either: `either` where the recompute band straddles the loading time."""
    ssd: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the curve. Prices per million tokens produced, at full use of the machine and no idle hour."""

    batch: int
    context: int
    step_ms: Band
    tokens_per_s: Band
    usd_per_mtok: Band
    joules_per_token: Band
    fits: bool


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    memory: Memory
    restore: Restore
    points: tuple[Point, ...]
    usd_hour: Band
    notes: tuple[str, ...]


def tokens_held(storage_bytes: float, shape: Shape, kv_precision: str = "bfloat16") -> int:
    """Tokens of KV that a store holds: 1 TB holds 3.05 million of a 70B with grouped queries."""
    return int(storage_bytes // outline.kv_bytes_per_token(shape, kv_precision))


def memory(shape: Shape, setup: Setup, context: int, host: Host) -> Memory:
    """How a replica's memory is spent at `context` tokens per sequence."""
    if not 0 < context <= 10**8:
        raise CallerError(f"context must be between 1 and 100,000,000 tokens, got {context}")
    weights = outline.weight_bytes(shape, setup.weights)
    hbm = setup.devices * setup.device.hbm_gb * 1e9
    free = hbm * (1.0 - ACTIVATIONS) - weights
    per_sequence = outline.kv_bytes(shape, context, setup.kv)
    sequences = int(max(free, 0.0) // per_sequence)
    per_token = outline.kv_bytes_per_token(shape, setup.kv)
    average = per_sequence / context  # windows make long contexts cheaper than the first tokens
    return Memory(
        weight_bytes=weights,
        kv_bytes_per_token=per_token,
        kv_bytes_per_sequence=per_sequence,
        hbm_bytes=hbm,
        free_bytes=max(free, 0.0),
        fits=free > 0.0,
        tokens_in_hbm=int(max(free, 0.0) // average),
        sequences_in_hbm=sequences,
        tokens_in_dram=int(host.dram_gb_per_device * 1e9 * setup.devices // average),
        tokens_on_ssd=int(host.ssd_gb_per_device * 1e9 * setup.devices // average),
    )


def _factor(factor: float, setup: Setup, shape: Shape) -> float:
    """The fit's own factor, wider where the fit saw neither such hardware nor such an outline."""
    fitted = setup.device.generation in ("hopper", "blackwell") and shape.known
    return factor * (1.0 if fitted else OUTSIDE_FIT)


def restore(shape: Shape, setup: Setup, context: int, tables: Tables) -> Restore:
    """Compares one sequence's prefill with reading its KV from the hosts' memory or drives, all devices in parallel."""
    host = tables.hardware.host
    size = outline.kv_bytes(shape, context, setup.kv)
    chunk = min(PREFILL_CHUNK, float(context))
    work = prefill_work(shape, setup, chunk, context / 2.0)
    factor = _factor(tables.fit.seconds_factor, setup, shape)
    compute = exactly(step_seconds(work, tables.fit.seconds) * context / chunk).widened(factor)
    dram = size / (host.dram_link_gb_s * 1e9 * setup.devices)
    ssd = size / (host.ssd_gb_s * 1e9 * setup.devices)

    def verdict(load_s: float) -> str:
        if load_s <= compute.low:
            return "load"
        return "recompute" if load_s >= compute.high else "either"

    return Restore(recompute_s=compute, from_dram_s=dram, from_ssd_s=ssd, dram=verdict(dram), ssd=verdict(ssd))


def point(
    shape: Shape,
    setup: Setup,
    batch: int,
    context: int,
    usd_hour: Band,
    tables: Tables,
    *,
    prompt_per_output: float = 0.0,
) -> Point:
    """One row of the curve: `batch` sequences of `context` tokens on one replica. `usd_hour` is per device."""
    if not 1 <= batch <= MAX_BATCH:
        raise CallerError(f"batch must be between 1 and {MAX_BATCH}, got {batch}")
    work = step_work(shape, setup, batch, context, prompt_per_output)
    step = exactly(step_seconds(work, tables.fit.seconds)).widened(_factor(tables.fit.seconds_factor, setup, shape))
    rate = Band(batch / step.high, batch / step.mid, batch / step.low)
    machine_s = step * (setup.devices / batch)
    watts = Band(*setup.device.watts)
    joules = exactly(joules_per_token(work, 1.0, tables.fit.joules)) * watts
    return Point(
        batch=batch,
        context=context,
        step_ms=step * 1e3,
        tokens_per_s=rate,
        usd_per_mtok=machine_s * usd_hour * (1e6 / 3600.0),
        joules_per_token=joules.widened(_factor(tables.fit.joules_factor, setup, shape)),
        fits=batch <= memory(shape, setup, context, tables.hardware.host).sequences_in_hbm,
    )


def plan(
    shape: Shape,
    setup: Setup,
    context: int,
    tables: Tables,
    *,
    usd_hour: Band | None = None,
    batches: Sequence[int] = (),
    prompt_per_output: float = 0.0,
) -> Capacity:
    """Everything of `jevons capacity`. Without `batches`, powers of two up to what HBM holds, and that itself."""
    price = usd_hour or Band(*setup.device.usd_hour)
    held = memory(shape, setup, context, tables.hardware.host)
    notes = [f"hardware: {setup.device.source}", f"time and energy: {tables.fit.source}"]
    if usd_hour is None:
        notes.append(f"price of an hour: {tables.hardware.source.rsplit(';', 1)[-1].strip()}")
    if not shape.known:
        notes.append("outline guessed from the parameter counts: widened")
    if setup.device.generation not in ("hopper", "blackwell"):
        notes.append("no serving on this hardware was measured: data-sheet roofline, widened")
    if not held.fits:
        short = math.ceil(held.weight_bytes / (held.hbm_bytes / setup.devices * (1 - ACTIVATIONS)))
        notes.append(f"the weights do not fit: at least {short} devices are needed")
    asked = batches or [size for size in BATCHES if size < held.sequences_in_hbm] + [held.sequences_in_hbm]
    rows = tuple(
        point(shape, setup, size, context, price, tables, prompt_per_output=prompt_per_output)
        for size in asked
        if size and held.fits
    )
    return Capacity(
        memory=held,
        restore=restore(shape, setup, context, tables),
        points=rows,
        usd_hour=price,
        notes=tuple(notes),
    )
