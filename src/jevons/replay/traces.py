"""Recorded sessions as values: what was asked when, and how much of each prompt its forerunner had.

What lives here: reading the documented trace format. What it must not know: what is made of a trace.
"""

import gzip
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

BLOCK_TOKENS = 64
"""The traces hash prompts in blocks of this many tokens."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """One request. `kept`: tokens of the stream's previous prompt that it repeats from the start."""

    at: float
    prompt: int
    output: int
    kept: int
    model: str
    think_s: float
    api_s: float


class Trace(msgspec.Struct, frozen=True):
    """One stream of requests: a session, or one of its sub-agents."""

    id: str
    sub: bool
    steps: tuple[Step, ...]


class _Line(msgspec.Struct):
    id: str
    sub: bool
    r: list[tuple[float, int, int, int, list[tuple[int, int]], str, float | None, float | None, float | None]]


def read_sessions(path: Path) -> Iterator[Trace]:
    """Streams of a sessions file (one JSON object a line, gzip or plain). Raises msgspec.ValidationError on a line of
    another format."""
    decode = msgspec.json.Decoder(_Line).decode
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            raw = decode(line)
            steps = tuple(
                Step(at, prompt, output, min(blocks * BLOCK_TOKENS, prompt), model, think or 0.0, api or 0.0)
                for at, prompt, output, blocks, _, model, think, api, _ in raw.r
            )
            yield Trace(raw.id, raw.sub, steps)


def half(unit: str) -> int:
    """0 or 1: the documented split of what is fitted from what is reported, by a unit's own name."""
    return sha256(unit.encode()).digest()[0] & 1
