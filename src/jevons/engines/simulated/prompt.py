"""What a request asks of the simulated model, and what the model answers, whatever the wire format.

The dialect files read a body into an Ask and write an Answer into a body. Nothing here knows a socket, a price or a
cache.
"""

from typing import Any

import msgspec


class Segment(msgspec.Struct, frozen=True):
    """A piece of the prompt in the provider's cache order: tools, then system, then messages."""

    text: str
    level: str = "messages"
    """tools | system | messages"""
    ttl: str = ""
    """An explicit cache breakpoint behind this segment: '' | 5m | 1h."""
    framing: int = 0
    """Tokens of framing that belong to it."""


class ToolCall(msgspec.Struct, frozen=True):
    name: str
    arguments: str
    """JSON text, sent as it is."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a script (or a `SIM {...}` line in the prompt) makes the model answer. Unset: a deterministic text."""

    text: str | None = None
    tools: tuple[ToolCall, ...] = ()
    thinking: str | None = None
    redacted: str | None = None
    """Anthropic: a redacted_thinking block with these data."""
    reasoning_tokens: int | None = None
    """OpenAI: hidden reasoning tokens."""
    output_tokens: int | None = None
    """Length of the deterministic text, in the simulator's tokens."""
    stop: str = ""
    """Forces the reason: length | content_filter | refusal | pause."""
    interleave: bool = False
    """Parallel tool calls' argument deltas come interleaved (OpenAI chat)."""
    per_delta: int = 3
    """Tokens in each streamed delta."""
    first_byte_s: float = 0.0
    event_s: float = 0.0
    fault: str = ""
    """As the header `x-sim-fault`."""


class Ask(msgspec.Struct, kw_only=True):
    """A request as the simulated model sees it."""

    surface: str
    """chat | responses | messages"""
    model: str
    stream: bool
    segments: list[Segment]
    last_user: str
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: list[tuple[str, dict[str, Any]]] = msgspec.field(default_factory=list)
    """(name, JSON schema) of the function tools."""
    must_call: str = ""
    """'' | '*' (any tool) | a tool's name."""
    schema: dict[str, Any] | None = None
    tier: str = ""
    thinks: bool = False
    effort: str = ""
    choices: int = 1
    include_usage: bool = False
    cache_key: str = ""
    retention: str = ""
    body: dict[str, Any] = msgspec.field(default_factory=dict)


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One block of an answer."""

    kind: str
    """text | tool | thinking | redacted | refusal"""
    text: str = ""
    """The text; for a tool its arguments as JSON text; for redacted its data."""
    name: str = ""
    id: str = ""
    signature: str = ""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the simulator bills them; the input kinds are disjoint, reasoning is inside output."""

    uncached: int = 0
    read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        return self.uncached + self.read + self.write_5m + self.write_1h


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said."""

    id: str
    created: int
    model: str
    blocks: tuple[Block, ...]
    stop: str
    """stop | length | tool | stop_sequence | content_filter | refusal | pause"""
    stop_sequence: str = ""
    counts: Counts
    tier: str
    per_delta: int = 3
    interleave: bool = False


class Event(msgspec.Struct, frozen=True):
    """One server-sent event: its name ('' where the dialect has none), its data, and the output tokens it carries."""

    name: str
    data: dict[str, Any] | str
    tokens: int = 0


class Refused(Exception):
    """The simulated provider says no. The dialect writes the body."""

    def __init__(self, status: int, kind: str, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.kind, self.message, self.param, self.code = status, kind, message, param, code
