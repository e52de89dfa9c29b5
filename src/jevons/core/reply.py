"""A model's answer in neutral form, whole and as a stream of events."""

from typing import Any, Literal

import msgspec

from jevons.core.prompt import Part
from jevons.core.usage import Usage

StopReason = Literal["stop", "length", "tool_use", "content_filter", "stop_sequence", "pause", "refusal", "error", ""]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One finished answer (choice 0; further choices are kept in `more`)."""

    id: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()
    stop: StopReason = ""
    stop_sequence: str = ""
    usage: Usage | None = None
    tier: str = ""
    """Service tier that the provider says it used: it is what is billed, whatever was asked for."""
    cost_usd: float | None = None
    """A cost that the provider itself reports wins over our price book."""
    created: int = 0
    more: tuple["Reply", ...] = ()
    extra: dict[str, Any] | None = None


# --- A stream is a sequence of these. `index` names the block, so interleaved deltas stay apart.


class Started(msgspec.Struct, frozen=True, tag="started"):
    id: str = ""
    model: str = ""
    usage: Usage | None = None
    created: int = 0


class BlockStart(msgspec.Struct, frozen=True, tag="block_start"):
    index: int
    part: Part
    """The block's kind with whatever is known at its start (a tool's id and name, empty text)."""


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    index: int
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag="thinking"):
    index: int
    text: str


class SignatureDelta(msgspec.Struct, frozen=True, tag="signature"):
    index: int
    signature: str


class ArgumentsDelta(msgspec.Struct, frozen=True, tag="arguments"):
    index: int
    json: str


class BlockStop(msgspec.Struct, frozen=True, tag="block_stop"):
    index: int


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    stop: StopReason
    stop_sequence: str = ""


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    usage: Usage
    tier: str = ""
    cost_usd: float | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """An error event inside a stream: it ends the stream, and no stop follows."""

    message: str
    kind: str = ""
    status: int = 0


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The dialect's own end mark was seen. A stream that ends without it was cut."""


Event = (
    Started
    | BlockStart
    | TextDelta
    | ThinkingDelta
    | SignatureDelta
    | ArgumentsDelta
    | BlockStop
    | Stopped
    | Counted
    | Failed
    | Done
)
