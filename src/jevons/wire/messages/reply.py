"""A whole Anthropic message, read into the neutral reply and written from it.

What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.errors import JevonsError, UpstreamError
from jevons.core.prompt import Part, RedactedThinking, Refusal, Text, Thinking, ToolUse, Unknown
from jevons.core.reply import Reply, StopReason
from jevons.core.usage import NOTHING
from jevons.wire.body import Object, Warnings, arguments_object, encode, text_field
from jevons.wire.messages.prompt import read_part
from jevons.wire.usage import read_usage, reported_cost, reported_tier, write_messages

STOPS: dict[str, StopReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "pause",
    "refusal": "refusal",
}
REASONS: dict[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause": "pause_turn",
    "content_filter": "refusal",
    "refusal": "refusal",
    "error": "end_turn",
}
"""Neutral stop -> `stop_reason`."""
TIERS = frozenset({"standard", "priority", "batch"})


class _Message(msgspec.Struct):
    content: list[msgspec.Raw]
    id: Any = None
    model: Any = None
    stop_reason: Any = None
    stop_sequence: Any = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Message).decode


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamError when the body is no message."""
    try:
        found = _decode(body)
        parts = tuple(read_part(raw, f"content[{number}]") for number, raw in enumerate(found.content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, JevonsError) as error:
        raise UpstreamError(f"the upstream's answer is no Anthropic message: {error}") from None
    return Reply(
        id=text_field(found.id),
        model=text_field(found.model),
        parts=parts,
        stop=STOPS.get(text_field(found.stop_reason), ""),
        stop_sequence=text_field(found.stop_sequence),
        usage=read_usage(found.usage),
        tier=reported_tier(found.usage),
        cost_usd=reported_cost(found.usage),
    )


def write_reply(reply: Reply) -> bytes:
    """A `message` object. Of several choices the first is given: the dialect has no place for more."""
    calls = any(isinstance(part, ToolUse) for part in reply.parts)
    usage = write_messages(reply.usage or NOTHING)
    if reply.tier in TIERS:
        usage["service_tier"] = reply.tier
    body = {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [block for part in reply.parts if (block := write_block(part)) is not None],
        "stop_reason": REASONS.get(reply.stop, "tool_use" if calls else "end_turn"),
        "stop_sequence": reply.stop_sequence or None,
        "usage": usage,
    }
    return encode(body)


def write_block(part: Part) -> Object | None:
    """A content block of an answer; None for what only another dialect understands."""
    if isinstance(part, Text):
        citations = (part.extra or {}).get("citations")
        return {"type": "text", "text": part.text, **({"citations": citations} if citations else {})}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, RedactedThinking):
        return {"type": "redacted_thinking", "data": part.data}
    if isinstance(part, ToolUse):
        arguments = arguments_object(part.arguments, Warnings(""))
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, Unknown) and part.dialect == "messages":
        return part.raw
    return None
