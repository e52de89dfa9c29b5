"""The tensors that a GGUF lists, and a tiny model written as one: what quantizing must check, and what it is tried on.

The reader is the engine's own bounded cursor. What must not be here: native code.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from jevons.engines import local_gguf
from jevons.engines.local_gguf import MAX_TENSORS, TYPES, Header, ModelError

ALIGNMENT = 32
TINY_WIDTH = 256
"""One K-quant block: the smallest width that every type stores without a fallback."""
F32 = 0


class Tensor(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, ...]
    """Fastest dimension first: a weight's first one is the width of the input that it is multiplied with."""
    kind: str
    offset: int
    """From the file's start, in bytes."""
    size: int

    @property
    def weights(self) -> int:
        product = 1
        for width in self.shape:
            product *= width
        return product


def tensors(path: Path) -> tuple[Tensor, ...]:
    """Every tensor of a GGUF whose header has been read well before. Raises ModelError."""
    local_gguf.read(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        header = Header(mapped, path)
        header.raw(8)
        count, pairs = header.u64(), header.u64()
        alignment = ALIGNMENT
        for _ in range(pairs):
            key = header.string()
            value = header.value(header.u32())
            alignment = value if key == "general.alignment" and isinstance(value, int) and value else alignment
        found = [_tensor(header) for _ in range(min(count, MAX_TENSORS))]
        start = -(-header.at // alignment) * alignment
    return tuple(msgspec.structs.replace(tensor, offset=tensor.offset + start) for tensor in found)


def _tensor(header: Header) -> Tensor:
    name = header.string()
    shape = tuple(header.u64() for _ in range(header.u32()))
    kind, offset = header.u32(), header.u64()
    label, block, block_bytes = TYPES.get(kind, (f"type {kind}", 1, 0))
    made = Tensor(name, shape, label, offset, 0)
    return msgspec.structs.replace(made, size=-(-made.weights // block) * block_bytes)


def weight_names(found: tuple[Tensor, ...]) -> dict[str, int]:
    """Matrices by name with the width of their input: what an importance matrix may name."""
    return {tensor.name: tensor.shape[0] for tensor in found if len(tensor.shape) > 1}


def check_matrix(matrix: Mapping[str, int], found: tuple[Tensor, ...], where: str) -> None:
    """Raises ModelError when an importance matrix (name -> width) is of another model."""
    own = weight_names(found)
    foreign = [name for name, width in matrix.items() if own.get(name) != width]
    if foreign or not matrix:
        what = f"it has {foreign[0]} of width {matrix[foreign[0]]}" if foreign else "it is empty"
        raise ModelError(f"{where}: the importance matrix is of another model: {what}. Make one for this model.")


def tiny(path: Path) -> None:
    """Write a one-layer llama of random weights: about 2 MB, no vocabulary; for trying a quantizer on."""
    width, names = TINY_WIDTH, ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (width, 32), "output.weight": (width, 32)}
    shapes |= dict.fromkeys(("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"), (width,))
    shapes |= {f"blk.0.{name}.weight": (width, width) for name in names}
    facts: dict[str, Any] = {"general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 32}
    facts |= {"llama.embedding_length": width, "llama.feed_forward_length": width, "llama.attention.head_count": 4}
    facts |= {"llama.attention.head_count_kv": 4, "llama.attention.layer_norm_rms_epsilon": 1e-5}
    facts |= {"llama.vocab_size": 32, "llama.rope.dimension_count": width // 4, "general.file_type": F32}
    write(path, facts, {name: (shape, _noise(shape, seed)) for seed, (name, shape) in enumerate(shapes.items())})


def write(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, tuple[tuple[int, ...], bytes]]) -> None:
    """A GGUF (version 3) of text, int and float facts and of f32 tensors (shape, bytes)."""
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(arrays), len(facts)))
    for key, value in facts.items():
        head += _text(key)
        if isinstance(value, str):
            head += struct.pack("<I", local_gguf.STRING) + _text(value)
        else:
            head += struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
    offset = 0
    for name, (shape, data) in arrays.items():
        head += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", F32, offset)
        offset += -(-len(data) // ALIGNMENT) * ALIGNMENT
    with path.open("wb") as file:
        file.write(head + b"\0" * (-len(head) % ALIGNMENT))
        for _, data in arrays.values():
            file.write(data + b"\0" * (-len(data) % ALIGNMENT))


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _noise(shape: tuple[int, ...], seed: int) -> bytes:
    """Values in -1..1 from a small congruential generator: the same on every machine."""
    state, values = seed * 7919 + 1, []
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        values.append(state / 0x40000000 - 1.0)
    return struct.pack(f"<{count}f", *values)
