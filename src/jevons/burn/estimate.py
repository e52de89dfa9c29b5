"""What one operation burned, with its band and its source: the estimate that the ledger books beside the money.

What lives here: a few products of token counts with a card's bands. Plain arithmetic, a few microseconds; it reads no
clock and no file beyond the package's tables. Measured joules (meter.py) replace the modelled ones where they exist.
"""

import math
from collections.abc import Mapping

import msgspec

from jevons.burn.band import NONE, Band, exactly
from jevons.burn.footprint import Footprint, at_the_meter, footprint
from jevons.burn.rates import Card, card
from jevons.burn.tables import Tables, load
from jevons.core.errors import CallerError
from jevons.core.usage import Usage

FIVE_MINUTES_S = 300.0
ONE_HOUR_S = 3600.0
MAX_TOKENS = 10**9
"""More tokens than that in one operation is a unit mixed up, not a call."""


class Burn(msgspec.Struct, frozen=True, kw_only=True):
    """An operation's burn. `joules` is at the data centre's meter; the four terms are at the accelerators."""

    model: str
    joules: Band
    prefill_j: Band
    cached_j: Band
    decode_j: Band
    residency_j: Band
    flops: Band
    bytes_moved: Band
    kv_byte_seconds: Band
    footprint: Footprint
    method: str
    """modelled | measured"""
    source: str
    notes: tuple[str, ...] = ()


def _checked(usage: Usage, duration_s: float) -> None:
    counts: Mapping[str, int] = msgspec.structs.asdict(usage)
    for name, count in counts.items():
        if not 0 <= count <= MAX_TOKENS:
            raise CallerError(f"usage.{name} = {count} is not a token count between 0 and {MAX_TOKENS}")
    if not (0.0 <= duration_s < math.inf):
        raise CallerError(f"duration_s = {duration_s} is not a number of seconds")


def _held(usage: Usage, duration_s: float, rates: Card) -> tuple[Band, Band]:
    """(KV byte-seconds while running, KV byte-seconds kept for later by cache writes)."""
    mean_context = usage.prompt + usage.output / 2.0
    running = rates.kv_bytes * (mean_context * duration_s)
    resting = rates.kv_bytes * (usage.cache_write_5m * FIVE_MINUTES_S + usage.cache_write_1h * ONE_HOUR_S)
    return running, resting


def estimate(
    model: str | Card,
    usage: Usage,
    duration_s: float,
    region: str = "world",
    hardware: str = "",
    *,
    tables: Tables | None = None,
) -> Burn:
    """The modelled burn of one operation.

    `model`: a name (its public outline, else its size class with wide bands) or a Card made by `local_card`.
    `usage`: core token counts, disjoint. `duration_s`: how long its KV was held. `hardware`: only for a known outline.
    Raises CallerError for negative or absurd counts; an unknown model or region is widened and noted, not refused.
    """
    _checked(usage, duration_s)
    book = tables or load()
    rates = card(model, hardware) if isinstance(model, str) else model
    fresh = usage.prompt - usage.cached
    prefill = rates.prefill_j * fresh + rates.prefill_slope_j * (fresh * (usage.cached + fresh / 2.0))
    cached = rates.cached_j * usage.cached
    mean_context = usage.prompt + usage.output / 2.0
    decode = rates.decode_j * usage.output + rates.decode_slope_j * (usage.output * mean_context)
    running, resting = _held(usage, duration_s, rates)
    residency = rates.hold_w_per_byte * running + rates.rest_w_per_byte * resting
    tokens = fresh + usage.output
    pairs = fresh * (usage.cached + fresh / 2.0) + usage.output * mean_context
    meter = at_the_meter(prefill + cached + decode + residency, book.regions)
    return Burn(
        model=rates.model,
        joules=meter,
        prefill_j=prefill,
        cached_j=cached,
        decode_j=decode,
        residency_j=residency,
        flops=rates.flops * tokens + rates.attention_flops * pairs,
        bytes_moved=rates.step_bytes * usage.output + rates.kv_bytes * (usage.cached + usage.output * mean_context),
        kv_byte_seconds=running + resting,
        footprint=footprint(meter, region, book.regions),
        method="modelled",
        source=rates.source,
        notes=rates.notes,
    )


def measured(
    model: str, meter_joules: float, spread: float, region: str, source: str, *, tables: Tables | None = None
) -> Burn:
    """A burn that was read from a meter: the whole machine's joules over the operation, with the reading's own spread.

    `spread` >= 1 is the factor either way (a share of a busy machine is not a clean reading). The terms are not
    separable by a meter and stay zero; `notes` say so.
    """
    if meter_joules < 0 or not math.isfinite(meter_joules) or spread < 1.0:
        raise CallerError(f"a reading needs joules >= 0 and spread >= 1, got {meter_joules} and {spread}")
    book = tables or load()
    joules = exactly(meter_joules).widened(spread)
    return Burn(
        model=model,
        joules=joules,
        prefill_j=NONE,
        cached_j=NONE,
        decode_j=NONE,
        residency_j=NONE,
        flops=NONE,
        bytes_moved=NONE,
        kv_byte_seconds=NONE,
        footprint=footprint(joules, region, book.regions),
        method="measured",
        source=source,
        notes=("a meter does not separate prefill, decode and residency; those terms are not stated",),
    )
