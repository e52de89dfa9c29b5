"""What a model's outline implies: bytes of weights, bytes of KV per token, floating-point operations per token.

Exact arithmetic on a Shape; nothing here knows hardware, time or energy. A model that is not in the table gets a
typical outline of its size, marked as not known.
"""

import math
import re

import msgspec

from jevons.burn.tables import Shape, Shapes
from jevons.core.errors import CallerError

BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "mxfp4": 0.53,
    "nvfp4": 0.56,
    "int4": 0.56,
}
"""Bytes per element, block scales included (mxfp4: an 8-bit scale to 32 values; nvfp4: to 16; int4: 16 bits to 32)."""

VARIANT = re.compile(r"[-_](instruct|thinking|chat|it|fp8|bf16|hf|base|fp4|mxfp4|gguf|nvfp4|\d{4}|\d{6,8})(?=[-_]|$)")

# Layers and hidden size of dense models by total parameters, and of mixtures likewise: read off the table of shapes.
DENSE_OUTLINE = ((0.6, 28, 1024), (4, 36, 2560), (8, 34, 4096), (32, 64, 5120), (70, 80, 8192), (405, 126, 16384))
MIXTURE_OUTLINE = ((20, 24, 2880), (30, 48, 2048), (120, 40, 3500), (235, 94, 4096), (480, 62, 6144), (671, 61, 7168))
ROUTED_SHARE = 0.95
"""Of a mixture's parameters, about this share sits in routed experts (.93 to .98 for those in the table)."""
TYPICAL_EXPERTS = 128


def family(model: str) -> str:
    """A model's name without its maker, variant, date and precision: `Qwen/Qwen3-8B-FP8` -> `qwen3-8b`."""
    name = model.rsplit("/", 1)[-1].lower().replace("nvidia-nemotron", "nemotron").replace("meta-llama", "llama")
    while (shorter := VARIANT.sub("", name)) != name:
        name = shorter
    return name


def find(model: str, shapes: Shapes) -> Shape | None:
    """The outline of a model whose configuration is public and in the table, else None."""
    return shapes.models.get(family(model))


def _interpolate(outline: tuple[tuple[float, int, int], ...], total_b: float) -> tuple[int, int]:
    nearest = min(outline, key=lambda row: abs(math.log(row[0] / total_b)))
    return nearest[1], nearest[2]


def typical(total_b: float, active_b: float) -> Shape:
    """A plausible outline from the parameter counts (billions): grouped-query attention, 8 KV heads of 128."""
    if not 0 < active_b <= total_b < 1e5:
        raise CallerError(f"parameters must satisfy 0 < active <= total (billions), got {active_b} of {total_b}")
    mixture = active_b < 0.7 * total_b
    layers, hidden = _interpolate(MIXTURE_OUTLINE if mixture else DENSE_OUTLINE, total_b)
    heads = max(8, hidden // 128)
    dense = Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        total_b=total_b,
        active_b=active_b,
        known=False,
    )
    if not mixture:
        return dense
    routed = ROUTED_SHARE * total_b
    active_routed = max(active_b - (total_b - routed), 0.1 * active_b)
    return msgspec.structs.replace(
        dense,
        experts=TYPICAL_EXPERTS,
        experts_per_token=max(1, round(TYPICAL_EXPERTS * active_routed / routed)),
        expert_params_b=routed / TYPICAL_EXPERTS,
    )


def element_bytes(precision: str) -> float:
    """Bytes per element; refuses a precision that is not known rather than guessing one."""
    try:
        return BYTES[precision]
    except KeyError:
        raise CallerError(f"unknown precision {precision!r}; one of {', '.join(BYTES)}") from None


def kv_bytes_per_token(shape: Shape, kv_precision: str = "bfloat16") -> float:
    """Bytes that one more token of context adds to the KV cache, before any sliding window fills.

    70B with grouped queries: 80 layers x 2 x 8 heads x 128 x 2 bytes = 327,680.
    """
    layers = shape.attention_layers or shape.layers
    per_layer = shape.latent if shape.attention == "mla" else 2 * shape.kv_heads * shape.head_dim
    return layers * per_layer * element_bytes(kv_precision)


def kv_bytes(shape: Shape, context: float, kv_precision: str = "bfloat16") -> float:
    """Bytes held by one sequence of `context` tokens; windowed layers stop growing at their window."""
    layers = shape.attention_layers or shape.layers
    per_token_layer = kv_bytes_per_token(shape, kv_precision) / layers
    windowed = min(context, shape.window) if shape.window else context
    return (
        per_token_layer * ((layers - shape.window_layers) * context + shape.window_layers * windowed)
        + shape.state_bytes
    )


def weight_bytes(shape: Shape, weights: str) -> float:
    """Bytes of all weights. With mxfp4 only the routed experts are packed; the rest stays at 2 bytes."""
    size = element_bytes(weights)
    if weights == "mxfp4" and shape.experts:
        routed = shape.experts * shape.expert_params_b
        return (routed * size + max(shape.total_b - routed, 0.0) * 2.0) * 1e9
    return shape.total_b * size * 1e9


def touched_weight_bytes(shape: Shape, weights: str, batch: float) -> float:
    """Bytes of weights that one decoding step reads: an expert counts when any of the batch's tokens picks it."""
    if not shape.experts:
        return weight_bytes(shape, weights)
    routed = shape.experts * shape.expert_params_b * element_bytes(weights) * 1e9
    missed: float = (1.0 - shape.experts_per_token / shape.experts) ** batch
    return weight_bytes(shape, weights) - routed * missed


def flops_per_token(shape: Shape) -> float:
    """Two operations per active parameter: the matrix products of one token, attention over the context aside."""
    return 2.0 * shape.active_b * 1e9


def attention_flops(shape: Shape, context: float) -> float:
    """Operations of one token's attention over `context` tokens (scores and values), windows respected."""
    layers = shape.attention_layers or shape.layers
    width = shape.latent if shape.attention == "mla" else shape.head_dim
    windowed = min(context, shape.window) if shape.window else context
    return 4.0 * shape.heads * width * ((layers - shape.window_layers) * context + shape.window_layers * windowed)
