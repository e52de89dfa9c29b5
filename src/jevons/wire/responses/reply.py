"""A whole Responses object, read into the neutral reply and written from it.

What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.errors import JevonsError, UpstreamError
from jevons.core.prompt import Part, RedactedThinking, Refusal, Text, Thinking, ToolUse, Unknown
from jevons.core.reply import Reply, StopReason
from jevons.wire.body import Object, encode, number_field, text_field
from jevons.wire.reasoning import encrypted_of, is_openai_reasoning, item_of
from jevons.wire.responses.prompt import read_content, read_reasoning
from jevons.wire.usage import read_usage, reported_cost, write_responses

REASONS: dict[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Neutral stop -> `incomplete_details.reason`; every other stop is a completed response."""
TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


class Body(msgspec.Struct):
    """A response, as an answer or inside an event."""

    output: list[Object] = msgspec.field(default_factory=list)
    id: Any = None
    model: Any = None
    created_at: Any = None
    status: Any = None
    incomplete_details: Any = None
    error: Any = None
    usage: Any = None
    service_tier: Any = None


class _Whole(Body):
    output: list[Object]


_decode = msgspec.json.Decoder(_Whole).decode


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamError when the body is no response, or one that failed."""
    try:
        found = _decode(body)
        parts = tuple(part for item in found.output for part in read_item(item))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, JevonsError) as error:
        raise UpstreamError(f"the upstream's answer is no response: {error}") from None
    if found.status == "failed":
        raise UpstreamError(failure(found.error))
    return Reply(
        id=text_field(found.id),
        model=text_field(found.model),
        parts=parts,
        stop=stop_of(found, any(isinstance(part, ToolUse) for part in parts)),
        usage=read_usage(found.usage),
        tier=text_field(found.service_tier),
        cost_usd=reported_cost(found.usage),
        created=int(number_field(found.created_at, int) or number_field(found.created_at, float) or 0),
    )


def failure(error: Any) -> str:
    """What a failed response says of itself."""
    said = text_field(error.get("message")) if isinstance(error, dict) else ""
    return said or "the upstream's response failed"


def stop_of(found: Body, called: bool) -> StopReason:
    """The neutral stop of a finished response."""
    details = found.incomplete_details
    reason = text_field(details.get("reason")) if isinstance(details, dict) else ""
    if found.status == "incomplete" or reason:
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_use" if called else "stop"


def read_item(item: Object) -> list[Part]:
    """The parts of one output item."""
    kind = item.get("type")
    if kind == "message":
        return read_content(item.get("content"), "output.content")
    if kind == "function_call":
        call_id = text_field(item.get("call_id")) or text_field(item.get("id"))
        return [ToolUse(call_id, text_field(item.get("name")), text_field(item.get("arguments")))]
    if kind == "reasoning":
        return [read_reasoning(item)]
    return [Unknown("responses", text_field(kind), item)]


def write_reply(reply: Reply) -> bytes:
    """A `response` object."""
    return encode(response_object(reply, write_items(reply.parts, reply.id)))


def response_object(reply: Reply, output: list[Object], status: str = "") -> Object:
    """The response around its output items. `status` is given for one that is still being made."""
    reason = REASONS.get(reply.stop)
    return {
        "id": reply.id,
        "object": "response",
        "created_at": reply.created,
        "status": status or ("incomplete" if reason else "completed"),
        "error": None,
        "incomplete_details": {"reason": reason} if reason and not status else None,
        "instructions": None,
        "metadata": {},
        "model": reply.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": write_responses(reply.usage) if reply.usage else None,
        **({"service_tier": reply.tier} if reply.tier in TIERS else {}),
    }


def write_items(parts: tuple[Part, ...], reply_id: str) -> list[Object]:
    """Parts as output items; texts that follow each other share a message."""
    items: list[Object] = []
    for part in parts:
        written = write_item(part, f"{reply_id}_{len(items)}")
        if written is None:
            continue
        if written["type"] == "message" and items and items[-1]["type"] == "message":
            items[-1]["content"].extend(written["content"])
        else:
            items.append(written)
    return items


def write_item(part: Part, key: str, status: str = "completed") -> Object | None:
    """One output item with an id made from `key`; None for what only another dialect understands."""
    if isinstance(part, Text | Refusal):
        return {
            "type": "message",
            "id": f"msg_{key}",
            "role": "assistant",
            "status": status,
            "content": [write_content(part)],
        }
    if isinstance(part, ToolUse):
        return {
            "type": "function_call",
            "id": f"fc_{key}",
            "call_id": part.id,
            "name": part.name,
            "arguments": part.arguments or "{}",
            "status": status,
        }
    if isinstance(part, Thinking | RedactedThinking):
        text = part.text if isinstance(part, Thinking) else ""
        own = isinstance(part, Thinking) and is_openai_reasoning(part.signature)
        item: Object = {
            "type": "reasoning",
            "id": item_of(part.signature)[0] if own and isinstance(part, Thinking) else f"rs_{key}",
            "summary": [{"type": "summary_text", "text": text}] if text else [],
        }
        if encrypted := encrypted_of(part):
            item["encrypted_content"] = encrypted
        return item
    if isinstance(part, Unknown) and part.dialect == "responses":
        return part.raw
    return None


def write_content(part: Text | Refusal) -> Object:
    """A content part of an output message."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": []}
