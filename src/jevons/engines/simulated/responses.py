"""OpenAI responses as its API reference writes them: body -> Ask, Answer -> body and events.

`stored` gives the items of an earlier response for `previous_response_id`; keeping them is the service's work.
"""

from collections.abc import Callable, Iterator
from typing import Any

from jevons.engines.simulated import chat, tokens
from jevons.engines.simulated.prompt import Answer, Ask, Block, Counts, Event, Segment

Items = list[dict[str, Any]]


def read(body: dict[str, Any], earlier: Items) -> Ask:
    """`earlier`: the items of the chain behind previous_response_id. Raises Refused."""
    given = body.get("input")
    if given is None:
        raise chat.bad("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    items = earlier + as_items(given)
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]
    choice = body.get("tool_choice")
    form = (body.get("text") or {}).get("format") or {}
    tier = body.get("service_tier") or ""
    if tier not in chat.TIERS:
        raise chat.bad(f"Invalid service_tier argument: {tier}", "service_tier")
    segments = [Segment(chat.dump(tool), "tools") for tool in body.get("tools") or []]
    if body.get("instructions"):
        segments.append(Segment(f"<system>{body['instructions']}", "system", framing=tokens.PER_MESSAGE))
    segments += [Segment(rendered(item), "messages", framing=tokens.PER_MESSAGE) for item in items]
    users = [rendered(item) for item in items if item.get("role") == "user"]
    return Ask(
        surface="responses",
        model=body["model"],
        stream=body.get("stream") is True,
        segments=segments,
        last_user=users[-1] if users else "",
        max_tokens=body.get("max_output_tokens"),
        tools=[(tool["name"], tool.get("parameters") or {}) for tool in tools],
        must_call=choice.get("name", "*") if isinstance(choice, dict) else "*" if choice == "required" else "",
        schema=form.get("schema") if form.get("type") == "json_schema"
        else {"type": "object"} if form.get("type") == "json_object" else None,
        tier="" if tier in ("auto", "default") else tier,
        effort=(body.get("reasoning") or {}).get("effort") or "",
        include_usage=True,
        cache_key=body.get("prompt_cache_key") or "",
        retention=body.get("prompt_cache_retention") or "",
        body=body,
    )  # fmt: skip


def as_items(given: str | Items) -> Items:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list):
        raise chat.bad("Invalid type for 'input': expected a string or an array.", "input", "invalid_type")
    return list(given)


def rendered(item: dict[str, Any]) -> str:
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        text = content if isinstance(content, str) else "".join(chat.part_text(part) for part in content or [])
        return f"<{item.get('role')}>{text}"
    if kind == "function_call":
        return f"<call {item.get('call_id')} {item.get('name')}>{item.get('arguments')}"
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else "".join(chat.part_text(part) for part in output or [])
        return f"<result {item.get('call_id')}>{text}"
    return chat.dump(item)


# --- the answer


def usage(counts: Counts) -> dict[str, Any]:
    return {
        "input_tokens": counts.prompt,
        "input_tokens_details": {"cached_tokens": counts.read},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.prompt + counts.output,
    }


def output_items(answer: Answer) -> Items:
    """The answer's items: reasoning first, then messages and function calls."""
    tail = answer.id.removeprefix("resp_")
    out: Items = []
    if answer.counts.reasoning:
        out.append({"id": f"rs_{tail}", "type": "reasoning", "summary": []})
    for index, block in enumerate(answer.blocks):
        out.append(item(block, f"{tail}{index}", "incomplete" if answer.stop == "length" else "completed"))
    return out


def item(block: Block, tail: str, status: str) -> dict[str, Any]:
    if block.kind == "tool":
        return {"id": f"fc_{tail}", "type": "function_call", "status": status, "call_id": block.id,
                "name": block.name, "arguments": block.text}  # fmt: skip
    return {"id": f"msg_{tail}", "type": "message", "status": status, "role": "assistant", "content": [part(block)]}


def part(block: Block) -> dict[str, Any]:
    if block.kind == "refusal":
        return {"type": "refusal", "refusal": block.text}
    return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}


def shell(ask: Ask, answer: Answer, status: str, output: Items) -> dict[str, Any]:
    body = ask.body
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.stop)
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": cut} if cut and status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": ask.effort or None, "summary": None},
        "service_tier": answer.tier or "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": usage(answer.counts) if status in ("completed", "incomplete") else None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def status(answer: Answer) -> str:
    return "incomplete" if answer.stop in ("length", "content_filter") else "completed"


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """A `response` object."""
    return shell(ask, answer, status(answer), output_items(answer))


def events(ask: Ask, answer: Answer) -> Iterator[Event]:
    """Numbered semantic events from response.created to response.completed (or .incomplete)."""
    number = 0

    def event(name: str, data: dict[str, Any], size: int = 0) -> Event:
        nonlocal number
        made = Event(name, {"type": name, "sequence_number": number, **data}, size)
        number += 1
        return made

    begun = shell(ask, answer, "in_progress", [])
    yield event("response.created", {"response": begun}, answer.counts.reasoning)
    yield event("response.in_progress", {"response": begun})
    finished = output_items(answer)
    blocks: list[Block | None] = [None] if answer.counts.reasoning else []
    blocks += answer.blocks
    for index, (done, block) in enumerate(zip(finished, blocks, strict=True)):
        opened = {**done, "status": "in_progress"} if "status" in done else done
        opened = (
            opened | ({"content": []} if "content" in done else {}) | ({"arguments": ""} if "arguments" in done else {})
        )
        yield event("response.output_item.added", {"output_index": index, "item": opened})
        if block is not None:
            yield from block_events(event, index, done, block, answer.per_delta)
        yield event("response.output_item.done", {"output_index": index, "item": done})
    end = status(answer)
    yield event(f"response.{end}", {"response": shell(ask, answer, end, finished)})


def block_events(
    event: Callable[..., Event], index: int, done: dict[str, Any], block: Block, per_delta: int
) -> Iterator[Event]:
    at: dict[str, Any] = {"item_id": done["id"], "output_index": index}
    if block.kind == "tool":
        name, field = "response.function_call_arguments", "arguments"
    else:
        at["content_index"] = 0
        name, field = ("response.refusal", "refusal") if block.kind == "refusal" else ("response.output_text", "text")
        yield event("response.content_part.added", {**at, "part": part(Block(kind=block.kind))})
    extra: dict[str, Any] = {"logprobs": []} if field == "text" else {}
    for position, piece in enumerate(tokens.pieces(block.text, per_delta)):
        size = tokens.count(piece) + (tokens.count(block.name) if position == 0 else 0)
        yield event(f"{name}.delta", {**at, "delta": piece, **extra}, size)
    named = {"name": block.name} if block.kind == "tool" else {}
    yield event(f"{name}.done", {**at, field: block.text, **extra, **named})
    if block.kind != "tool":
        yield event("response.content_part.done", {**at, "part": done["content"][0]})
