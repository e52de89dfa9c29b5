"""Anthropic messages as its API reference writes them: body -> Ask, Answer -> body and events."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from jevons.engines.simulated import brain, tokens
from jevons.engines.simulated.prompt import Answer, Ask, Block, Counts, Event, Refused, Segment

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "stop_sequence": "stop_sequence",
         "content_filter": "refusal", "refusal": "refusal", "pause": "pause_turn"}  # fmt: skip
TTLS = {None: "5m", "5m": "5m", "1h": "1h"}
MIN_THINKING_TOKENS = 1024


def bad(message: str) -> Refused:
    return Refused(400, "invalid_request_error", message)


def read(body: dict[str, Any]) -> Ask:
    """Raises Refused where the API reference says that the request is wrong."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("messages: Field required")
    limit = body.get("max_tokens")
    if not isinstance(limit, int) or limit < 1:
        raise bad("max_tokens: Field required")
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens", 0)
        if budget < MIN_THINKING_TOKENS:
            raise bad("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= limit:
            raise bad("`max_tokens` must be greater than `thinking.budget_tokens`.")
    check_turns(messages)
    choice = body.get("tool_choice") or {}
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    segments = linear(body)
    return Ask(
        surface="messages",
        model=body["model"],
        stream=body.get("stream") is True,
        segments=segments,
        last_user=last_user(messages),
        max_tokens=limit,
        stop=tuple(body.get("stop_sequences") or ()),
        tools=[
            (tool["name"], tool.get("input_schema") or {}) for tool in body.get("tools") or [] if "input_schema" in tool
        ],
        must_call={"any": "*", "tool": choice.get("name", "")}.get(choice.get("type", ""), ""),
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        tier=body.get("service_tier") or "",
        thinks=thinking.get("type") in ("enabled", "adaptive"),
        include_usage=True,
        body=body,
    )


def check_turns(messages: list[dict[str, Any]]) -> None:
    """Roles, tool pairs, and thinking signatures. Raises Refused."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise bad(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        if content in ("", []) and not (index == len(messages) - 1 and message["role"] == "assistant"):
            raise bad(f"messages.{index}: all messages must have non-empty content")
        answered = {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}
        if waiting - answered:
            raise bad(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(sorted(waiting - answered))}. Each `tool_use` block must have a corresponding "
                "`tool_result` block in the next message."
            )
        if answered - waiting:
            raise bad(
                f"messages.{index}.content: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(sorted(answered - waiting))}. Each `tool_result` block must have a corresponding "
                "`tool_use` block in the previous message."
            )
        waiting = {block["id"] for block in blocks if block.get("type") == "tool_use"}
        for at, block in enumerate(blocks):
            if block.get("type") == "thinking" and not brain.verify(
                block.get("thinking", ""), block.get("signature", "")
            ):
                raise bad(f"messages.{index}.content.{at}: Invalid `signature` in `thinking` block")


# --- the prompt in cache order


def linear(body: dict[str, Any]) -> list[Segment]:
    """Tools, system, messages, one segment a block; a top-level cache_control marks the last block."""
    out = [Segment(dump(without_mark(tool)), "tools", ttl(tool)) for tool in body.get("tools") or []]
    system = body.get("system") or []
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    out += [Segment(block.get("text", ""), "system", ttl(block)) for block in system]
    for message in body["messages"]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        framing = tokens.PER_MESSAGE
        for block in blocks:
            out.append(Segment(f"<{message['role']}>{block_text(block)}", "messages", ttl(block), framing))
            framing = 0
    top = body.get("cache_control")
    if top and out and not out[-1].ttl:
        last = out[-1]
        out[-1] = Segment(last.text, last.level, ttl({"cache_control": top}), last.framing)
    return out


def ttl(block: dict[str, Any]) -> str:
    mark = block.get("cache_control")
    if not mark:
        return ""
    if mark.get("type") != "ephemeral" or mark.get("ttl") not in TTLS:
        raise bad("cache_control: Input should be {'type': 'ephemeral', 'ttl': '5m' or '1h'}")
    return TTLS[mark.get("ttl")]


def without_mark(value: dict[str, Any]) -> dict[str, Any]:
    return {key: sub for key, sub in value.items() if key != "cache_control"}


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def block_text(block: dict[str, Any]) -> str:
    """A block as the simulated model reads it; images and documents count as their hash."""
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind in ("image", "document"):
        return hashlib.sha256(dump(without_mark(block)).encode("utf-8", "surrogatepass")).hexdigest()
    return dump(without_mark(block))


def last_user(messages: list[dict[str, Any]]) -> str:
    """The text of the last user message that holds more than tool results."""
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            if isinstance(content, str):
                return content
            texts = [block["text"] for block in content if block.get("type") == "text"]
            if texts:
                return "\n".join(texts)
    return ""


def salt(body: dict[str, Any]) -> str:
    """What makes the messages' part of a cached prefix another one (prompt caching guide, invalidation table)."""
    return dump([body.get("tool_choice"), body.get("thinking")])


# --- the answer


def usage(counts: Counts, tier: str, *, output: int | None = None) -> dict[str, Any]:
    return {
        "input_tokens": counts.uncached,
        "cache_creation_input_tokens": counts.write_5m + counts.write_1h,
        "cache_read_input_tokens": counts.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.write_5m, "ephemeral_1h_input_tokens": counts.write_1h,
        },
        "output_tokens": counts.output if output is None else output,
        "service_tier": tier or "standard",
    }  # fmt: skip


def block_body(block: Block) -> dict[str, Any]:
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}
    if block.kind == "redacted":
        return {"type": "redacted_thinking", "data": block.text}
    if block.kind == "tool":
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": parsed(block.text)}
    return {"type": "text", "text": block.text}


def parsed(arguments: str) -> Any:
    """A tool's input; arguments cut by the token limit give the empty object."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return {}


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:  # noqa: ARG001
    """A `message` object."""
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [block_body(block) for block in answer.blocks],
        "stop_reason": STOPS[answer.stop],
        "stop_sequence": answer.stop_sequence or None,
        "usage": usage(answer.counts, answer.tier),
    }


def events(ask: Ask, answer: Answer) -> Iterator[Event]:  # noqa: ARG001
    """message_start, the blocks with their deltas, message_delta with the usage, message_stop."""
    start: dict[str, Any] = {
        "id": answer.id, "type": "message", "role": "assistant", "model": answer.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage(answer.counts, answer.tier, output=1),
    }  # fmt: skip
    yield event("message_start", {"message": start})
    for index, block in enumerate(answer.blocks):
        yield from block_events(index, block, answer.per_delta)
        if index == 0:
            yield event("ping", {})
    end = {"stop_reason": STOPS[answer.stop], "stop_sequence": answer.stop_sequence or None}
    total = usage(answer.counts, answer.tier)
    kept = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    yield event("message_delta", {"delta": end, "usage": {key: total[key] for key in kept}})
    yield event("message_stop", {})


def event(name: str, data: dict[str, Any], size: int = 0) -> Event:
    return Event(name, {"type": name, **data}, size)


def block_events(index: int, block: Block, per_delta: int) -> Iterator[Event]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"type": "text", "text": ""},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "redacted": {"type": "redacted_thinking", "data": block.text},
        "tool": {"type": "tool_use", "id": block.id, "name": block.name, "input": {}},
        "refusal": {"type": "text", "text": ""},
    }
    deltas = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking"),
              "tool": ("input_json_delta", "partial_json"), "refusal": ("text_delta", "text")}  # fmt: skip
    yield event("content_block_start", {"index": index, "content_block": empty[block.kind]}, tokens.count(block.name))
    if block.kind == "tool":
        yield event("content_block_delta", {"index": index, "delta": {"type": "input_json_delta", "partial_json": ""}})
    if block.kind in deltas:
        kind, field = deltas[block.kind]
        for piece in tokens.pieces(block.text, per_delta):
            delta = {"type": kind, field: piece}
            yield event("content_block_delta", {"index": index, "delta": delta}, tokens.count(piece))
    if block.kind == "thinking":
        signed = {"type": "signature_delta", "signature": block.signature}
        yield event("content_block_delta", {"index": index, "delta": signed})
    yield event("content_block_stop", {"index": index}, tokens.count(block.text) if block.kind == "redacted" else 0)


def error(refused: Refused, request_id: str) -> dict[str, Any]:
    """Anthropic's error body."""
    return {"type": "error", "error": {"type": refused.kind, "message": refused.message}, "request_id": request_id}
