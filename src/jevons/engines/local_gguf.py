"""What a GGUF says of itself: its header in short.

The header is read with bounds on everything, so that a foreign, broken or hostile file gives a clear error before the
native library sees it. What must not be here: fetching or running a model.

Source of the format: the GGUF specification in ggml's docs (versions 2 and 3, little-endian).
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.errors import OurError

MAX_PAIRS = 4096
MAX_TENSORS = 65_536
MAX_STRING_BYTES = 4 * 1024 * 1024
"""The longest real one is a chat template of some 10 KB."""
MAX_ARRAY = 4_000_000
"""The largest real arrays are vocabularies of about 260,000 tokens."""
MAX_DIMENSIONS = 4

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
TYPES = {
    0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34), 10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176), 14: ("q6_k", 256, 210), 16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50), 20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136), 24: ("i8", 1, 1), 25: ("i16", 1, 2), 26: ("i32", 1, 4),
    27: ("i64", 1, 8), 28: ("f64", 1, 8), 29: ("iq1_m", 256, 56), 30: ("bf16", 1, 2), 34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66), 39: ("mxfp4", 32, 17),
}  # fmt: skip
"""Tensor type -> (name, weights in a block, bytes of a block), from ggml.h."""
KV_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5}
"""Bits of each number in the KV cache, by its type."""


class ModelError(OurError):
    """A model file that can't be used: missing, truncated, foreign, too large for this machine, or not fetched."""

    code = "model_error"


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF's header in short."""

    path: str
    size_bytes: int
    architecture: str
    name: str
    context_tokens: int
    quantization: str
    """The tensor type that holds most of the bytes: what the file is, whatever it is called."""
    parameters: int
    bits_per_weight: float
    layers: int
    kv_width: int
    """Numbers that one token adds to the KV cache of one layer, keys and values together."""
    has_chat_template: bool

    def kv_bytes_per_token(self, kv_type: str = "f16") -> int:
        """Bytes that one token of context takes in the KV cache."""
        return round(self.layers * self.kv_width * KV_BITS[kv_type] / 8)


class Header:
    """A cursor over a GGUF's header. Every read raises ModelError past the end."""

    def __init__(self, data: mmap.mmap, path: Path):
        self._data, self._path, self.at = data, path, 0

    def bad(self, what: str) -> ModelError:
        return ModelError(f"{self._path}: {what}. Fetch the file again or choose another GGUF.")

    def raw(self, size: int) -> bytes:
        if size > MAX_STRING_BYTES or self.at + size > len(self._data):
            raise self.bad(f"the header ends early or is broken at byte {self.at}")
        self.at += size
        return self._data[self.at - size : self.at]

    def scalar(self, kind: int) -> Any:
        form = SCALARS.get(kind)
        if form is None:
            raise self.bad(f"unknown value type {kind} at byte {self.at}")
        return struct.unpack("<" + form, self.raw(struct.calcsize("<" + form)))[0]

    def u32(self) -> int:
        return int(self.scalar(4))

    def u64(self) -> int:
        return int(self.scalar(10))

    def string(self) -> str:
        return self.raw(self.u64()).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """A scalar or a string; an array is skipped and gives its length."""
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.scalar(kind)
        inner, length = self.u32(), self.u64()
        if length > MAX_ARRAY or inner == ARRAY:
            raise self.bad(f"an array of {length} values of type {inner} is beyond what a model file holds")
        if inner == STRING:
            for _ in range(length):
                size = self.u64()
                self.at += size
            return length
        if inner not in SCALARS:
            raise self.bad(f"unknown value type {inner} at byte {self.at}")
        first = self.scalar(inner) if length else 0
        self.at += struct.calcsize("<" + SCALARS[inner]) * (length - 1 if length else 0)
        return first


def read(path: Path | str) -> ModelFile:
    """A GGUF's header, checked against the file's length. Raises ModelError."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 24:
                raise ModelError(f"{path}: {size} bytes are no model file.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(Header(data, path), path, size)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file. `jevons model fetch` gets the default model.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: can't be read: {error}") from None


def _read(header: Header, path: Path, size: int) -> ModelFile:
    magic = header.raw(4)
    if magic != b"GGUF":
        raise ModelError(f"{path}: not a GGUF file (it starts with {magic!r}). Give a llama.cpp model file.")
    version = header.u32()
    if version not in (2, 3):
        raise header.bad(f"GGUF version {version} is not known (2 and 3 are)")
    tensors, pairs = header.u64(), header.u64()
    if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
        raise header.bad(f"{tensors} tensors and {pairs} keys are beyond what a model file holds")
    meta: dict[str, Any] = {}
    for _ in range(pairs):
        key = header.string()
        meta[key] = header.value(header.u32())
    bits, weights, end = _tensors(header, tensors)
    alignment = meta.get("general.alignment", 32) or 32
    start = -(-header.at // alignment) * alignment
    if start + end > size:
        raise ModelError(f"{path}: truncated: {size} bytes of {start + end}. Fetch the file again.")
    return _describe(meta, path, size, bits, weights)


def _tensors(header: Header, count: int) -> tuple[dict[str, int], int, int]:
    """(bytes by tensor type, weights in all, end of the last tensor's data)."""
    by_type: dict[str, int] = {}
    weights, end = 0, 0
    for _ in range(count):
        header.string()
        dimensions = header.u32()
        if dimensions > MAX_DIMENSIONS:
            raise header.bad(f"a tensor with {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= header.u64()
        kind, offset = header.u32(), header.u64()
        name, block, block_bytes = TYPES.get(kind, (f"type {kind}", 1, 0))
        size = -(-elements // block) * block_bytes
        by_type[name] = by_type.get(name, 0) + size
        weights += elements
        end = max(end, offset + size)
    return by_type, weights, end


def _describe(meta: dict[str, Any], path: Path, size: int, by_type: dict[str, int], weights: int) -> ModelFile:
    architecture = str(meta.get("general.architecture", "unknown"))

    def number(key: str, default: int = 0) -> int:
        value = meta.get(f"{architecture}.{key}", default)
        return int(value) if isinstance(value, (int, float)) else default

    heads = number("attention.head_count", 1) or 1
    width = number("embedding_length") // heads
    per_head = number("attention.key_length", width) + number("attention.value_length", width)
    return ModelFile(
        path=str(path),
        size_bytes=size,
        architecture=architecture,
        name=str(meta.get("general.name", path.stem)),
        context_tokens=number("context_length"),
        quantization=max(by_type, key=lambda name: by_type[name], default="none"),
        parameters=weights,
        bits_per_weight=round(sum(by_type.values()) * 8 / weights, 3) if weights else 0.0,
        layers=number("block_count"),
        kv_width=number("attention.head_count_kv", heads) * per_head,
        has_chat_template="tokenizer.chat_template" in meta,
    )
