"""The time and energy of one decoding step: a data-sheet roofline with a few measured factors.

Theory. A step of a batch reads the weights it touches and every sequence's KV once (bytes / bandwidth), multiplies
(operations / peak), and pays a fixed price per layer, per sequence and per synchronised layer that no data sheet
names: launches, sampling, scheduling. All terms are accelerator-seconds, summed over the devices of one replica:

    S = a_w W/bw + a_k K/bw + a_f F/peak + a_c C/link + n (l L + s B + y L[n>1] + h[stalled])

Joules = rated watts x S with one set of factors, wall seconds = S / n with another; both sets are fitted (lab) to
measured servings and shipped in data/fit.json. The factors for energy are smaller where the chip idles meanwhile.

This file knows neither where factors come from nor what a token costs in dollars.
"""

import msgspec

from jevons.burn import shape as outline
from jevons.burn.tables import Coefficients, Device, Shape

COLLECTIVES = 2.0
"""Per layer: one after attention, one after the feed-forward part (tensor parallel; expert parallel moves as much)."""
ACTIVATION_BYTES = 2.0
MIXTURE_SYNC = 2.5
"""A mixture's experts are spread over the devices: dispatch and combine (two all-to-alls with routing) wait longer than
two reductions. With one price for both, dense models on two devices came out a quarter too slow at batch 8."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """One replica: how a model is laid out on hardware."""

    device: Device
    devices: int = 1
    weights: str = "bfloat16"
    kv: str = "bfloat16"
    block_scaled: bool = False
    """FP8 with a scale per block of weights (Qwen3, DeepSeek): measured 3-4x the per-layer price of per-tensor FP8."""
    stalled: bool = False
    """A host-bound regime seen in the data: long reasoning outputs of bf16 models on one B200 stepped at 30 to 45 ms
    whatever the model. Nothing physical predicts it, so it is a measured constant of that regime only."""


class Work(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step's work at data-sheet speed, in accelerator-seconds, beside the counts that fixed prices hang on."""

    weights_s: float
    kv_s: float
    flops_s: float
    link_s: float
    layers: int
    batch: float
    devices: int
    mixture: bool
    block_scaled: bool
    stalled: bool
    blackwell: bool


def peak_flops(device: Device, weights: str, block_scaled: bool) -> float:
    """Operations per second at the weights' precision; block-scaled FP8 was measured at the bf16 rate."""
    if weights == "fp8" and not block_scaled and device.fp8_tflops:
        return device.fp8_tflops * 1e12
    return device.bf16_tflops * 1e12


def step_work(shape: Shape, setup: Setup, batch: float, context: float, prompt_per_output: float = 0.0) -> Work:
    """The work of one decoding step of `batch` sequences that hold `context` tokens each.

    `prompt_per_output` charges the step with the prefill of newcomers: prompt tokens per token produced.
    """
    bandwidth = setup.device.hbm_gb_s * 1e9
    held = outline.kv_bytes(shape, context, setup.kv) - shape.state_bytes
    moved = batch * (held + 2.0 * shape.state_bytes)  # a recurrent state is read and written
    tokens = batch * (1.0 + prompt_per_output)
    flops = tokens * outline.flops_per_token(shape) + batch * outline.attention_flops(shape, context)
    return Work(
        weights_s=outline.touched_weight_bytes(shape, setup.weights, batch) / bandwidth,
        kv_s=moved / bandwidth,
        flops_s=flops / peak_flops(setup.device, setup.weights, setup.block_scaled),
        link_s=_collectives_s(shape, setup, tokens),
        layers=shape.layers,
        batch=batch,
        devices=setup.devices,
        mixture=shape.experts > 0,
        block_scaled=setup.block_scaled,
        stalled=setup.stalled,
        blackwell=setup.device.generation == "blackwell",
    )


def prefill_work(shape: Shape, setup: Setup, tokens: float, context: float) -> Work:
    """The work of one chunk of a single prompt: `tokens` at once behind a mean of `context` earlier tokens.

    The products of a step of as many sequences, but one reading of the earlier KV and one sequence's fixed price.
    """
    chunk = step_work(shape, setup, tokens, context)
    return msgspec.structs.replace(chunk, kv_s=chunk.kv_s / tokens, batch=1.0, stalled=False)


def _collectives_s(shape: Shape, setup: Setup, tokens: float) -> float:
    """Accelerator-seconds of two ring reductions of the hidden state per layer, at the links' one-way speed."""
    n = setup.devices
    per_device = COLLECTIVES * shape.layers * tokens * shape.hidden * ACTIVATION_BYTES * 2.0 * (n - 1) / n
    return n * per_device / (setup.device.link_gb_s * 1e9)


def accelerator_seconds(work: Work, fit: Coefficients) -> float:
    """S of the module's theory: the weighted sum over the devices of the replica."""
    fixed = fit.layer_s * work.layers * (fit.block_layer if work.block_scaled else 1.0) + fit.sequence_s * work.batch
    if work.devices > 1:
        fixed += fit.sync_s * work.layers * (MIXTURE_SYNC if work.mixture else 1.0)
    if work.stalled:
        fixed += fit.stall_s
    flops = fit.flops * work.flops_s * (fit.moe_flops if work.mixture else 1.0)
    streams = fit.weights * work.weights_s + fit.kv * work.kv_s + fit.link * work.link_s
    total = streams + flops + work.devices * fixed
    return total * fit.blackwell if work.blackwell else total


def joules_per_token(work: Work, watts: float, fit: Coefficients) -> float:
    """Accelerators' joules per token produced, from rated watts per device."""
    return watts * accelerator_seconds(work, fit) / work.batch


def step_seconds(work: Work, fit: Coefficients) -> float:
    """Wall seconds of one step; every sequence of the batch gains one token in it."""
    return accelerator_seconds(work, fit) / work.devices
