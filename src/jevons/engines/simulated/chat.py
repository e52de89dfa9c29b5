"""OpenAI chat completions as its API reference writes them: body -> Ask, Answer -> body and chunks."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from jevons.engines.simulated import tokens
from jevons.engines.simulated.prompt import Answer, Ask, Block, Counts, Event, Refused, Segment

FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", "stop_sequence": "stop",
          "content_filter": "content_filter", "refusal": "stop", "pause": "stop"}  # fmt: skip
DONE = "[DONE]"
FINGERPRINT = "fp_simulated"
TIERS = ("", "auto", "default", "flex", "priority")


def bad(message: str, param: str | None = None, code: str | None = None) -> Refused:
    return Refused(400, "invalid_request_error", message, param=param, code=code)


def read(body: dict[str, Any]) -> Ask:
    """Raises Refused where the API reference says that the request is wrong."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    check_tools(messages)
    tools = [tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    form = body.get("response_format") or {}
    stop = body.get("stop") or []
    tier = body.get("service_tier") or ""
    if tier not in TIERS:
        raise bad(f"Invalid service_tier argument: {tier}", "service_tier")
    return Ask(
        surface="chat",
        model=body["model"],
        stream=body.get("stream") is True,
        segments=[
            *(Segment(dump(tool), "tools") for tool in body.get("tools") or []),
            *(Segment(rendered(message), "messages", framing=tokens.PER_MESSAGE) for message in messages),
        ],
        last_user=last_user(messages),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=[(tool["name"], tool.get("parameters") or {}) for tool in tools],
        must_call=choice["function"]["name"] if isinstance(choice, dict) else "*" if choice == "required" else "",
        schema=form["json_schema"].get("schema", {}) if form.get("type") == "json_schema"
        else {"type": "object"} if form.get("type") == "json_object" else None,
        tier="" if tier in ("auto", "default") else tier,
        effort=body.get("reasoning_effort") or "",
        choices=body.get("n") or 1,
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        cache_key=body.get("prompt_cache_key") or "",
        retention=body.get("prompt_cache_retention") or "",
        body=body,
    )  # fmt: skip


def check_tools(messages: list[dict[str, Any]]) -> None:
    """Each tool call is answered by the messages right behind it. Raises Refused."""
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise bad(f"Missing required parameter: 'messages[{index}].role'.", f"messages[{index}].role")
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise bad(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.", f"messages.[{index}].role",
                )  # fmt: skip
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            raise bad(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to "
                f"each 'tool_call_id'. The following tool_call_ids did not have response messages: "
                f"{', '.join(sorted(waiting))}",
                f"messages.[{index}].role",
            )
        waiting = {call["id"] for call in message.get("tool_calls") or []}


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rendered(message: dict[str, Any]) -> str:
    """A message as the simulated model reads it; an image counts as its hash."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part_text(part) for part in content)
    calls = "".join(
        f"<call {call['id']} {call.get('function', {}).get('name')}>{call.get('function', {}).get('arguments')}"
        for call in message.get("tool_calls") or []
    )
    return f"<{message['role']} {message.get('tool_call_id', '')}>{content or ''}{calls}"


def part_text(part: dict[str, Any]) -> str:
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            return str(part[key])
    return hashlib.sha256(dump(part).encode("utf-8", "surrogatepass")).hexdigest()


def last_user(messages: list[dict[str, Any]]) -> str:
    return next((rendered(message) for message in reversed(messages) if message.get("role") == "user"), "")


# --- the answer


def usage(counts: Counts) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.output,
        "total_tokens": counts.prompt + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    }  # fmt: skip


def tool_call(block: Block) -> dict[str, Any]:
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.text}}


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """A `chat.completion` object."""
    texts = [block.text for block in answer.blocks if block.kind == "text"]
    refusal = next((block.text for block in answer.blocks if block.kind == "refusal"), None)
    calls = [tool_call(block) for block in answer.blocks if block.kind == "tool"]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": refusal}
    message["annotations"] = []
    if calls:
        message["tool_calls"] = calls
    return {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created,
        "model": answer.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": FINISH[answer.stop]}
            for index in range(ask.choices)
        ],
        "usage": usage(answer.counts),
        "service_tier": answer.tier or "default",
        "system_fingerprint": FINGERPRINT,
    }


def events(ask: Ask, answer: Answer) -> Iterator[Event]:
    """The chunks; with `include_usage` each carries `usage` (null until the last), as documented."""

    def chunk(choices: list[dict[str, Any]], counted: dict[str, Any] | None = None, size: int = 0) -> Event:
        data: dict[str, Any] = {
            "id": answer.id, "object": "chat.completion.chunk", "created": answer.created, "model": answer.model,
            "service_tier": answer.tier or "default", "system_fingerprint": FINGERPRINT, "choices": choices,
        }  # fmt: skip
        if ask.include_usage:
            data["usage"] = counted
        return Event("", data, size)

    def delta(index: int, value: dict[str, Any], finish: str | None = None, size: int = 0) -> Event:
        return chunk([{"index": index, "delta": value, "logprobs": None, "finish_reason": finish}], size=size)

    for index in range(ask.choices):
        spent = answer.counts.reasoning if index == 0 else 0
        yield delta(index, {"role": "assistant", "content": "", "refusal": None}, size=spent)
        for value, size in deltas(answer):
            yield delta(index, value, size=size)
        yield delta(index, {}, FINISH[answer.stop])
    if ask.include_usage:
        yield chunk([], usage(answer.counts))
    yield Event("", DONE)


def deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], int]]:
    """(delta, tokens) for each block; parallel calls one after another or, interleaved, in turns."""
    for block in answer.blocks:
        if block.kind != "tool":
            field = "refusal" if block.kind == "refusal" else "content"
            for piece in tokens.pieces(block.text, answer.per_delta):
                yield {field: piece}, tokens.count(piece)
    calls = [block for block in answer.blocks if block.kind == "tool"]
    queues = [list(call_deltas(index, block, answer.per_delta)) for index, block in enumerate(calls)]
    if not answer.interleave:
        for queue in queues:
            yield from queue
        return
    while any(queues):
        for queue in queues:
            if queue:
                yield queue.pop(0)


def call_deltas(index: int, block: Block, per_delta: int) -> Iterator[tuple[dict[str, Any], int]]:
    head = {"index": index, "id": block.id, "type": "function", "function": {"name": block.name, "arguments": ""}}
    yield {"tool_calls": [head]}, tokens.count(block.name)
    for piece in tokens.pieces(block.text, per_delta):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, tokens.count(piece)


def error(refused: Refused) -> dict[str, Any]:
    """OpenAI's error body, for all its surfaces."""
    kind, code = refused.kind, refused.code
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": code}}
