"""A stored whole answer told as a stream of its own dialect, with every field that it has.

What it must not know: stores, and how the answer was made. Misshapen answers raise one of MISSHAPEN.
"""

from collections.abc import Callable, Iterator

from jevons.wire.body import Object, encode
from jevons.wire.sse import write

MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError)
"""What reading an answer that is none comes to; both callers turn it into what they owe."""


def write_chat(whole: Object, include_usage: bool) -> bytes:
    """Each choice is one chunk with its whole message, then one with its finish reason."""
    frame = {key: value for key, value in whole.items() if key not in {"choices", "usage", "object"}}
    frame["object"] = "chat.completion.chunk"
    out: list[bytes] = []

    def chunk(choices: list[Object], **more: object) -> None:
        out.append(write(encode({**frame, "choices": choices, **more})))

    for choice in whole["choices"]:
        delta = dict(choice["message"])
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(delta["tool_calls"])]
        index = choice.get("index", 0)
        chunk([{"index": index, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}])
        rest = {k: v for k, v in choice.items() if k not in {"message", "index", "logprobs", "finish_reason"}}
        chunk([{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop", **rest}])
    if include_usage and isinstance(whole.get("usage"), dict):
        chunk([], usage=whole["usage"])
    return b"".join(out) + b"data: [DONE]\n\n"


def write_messages(whole: Object, include_usage: bool) -> bytes:
    """Anthropic's order of events; a block's text is one delta. Usage is part of the dialect and always told."""
    del include_usage
    usage = whole["usage"]
    started = {
        **whole,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 0},
    }
    out = [_event({"type": "message_start", "message": started})]
    for index, block in enumerate(whole["content"]):
        start, deltas = _block(block)
        out.append(_event({"type": "content_block_start", "index": index, "content_block": start}))
        out.extend(_event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas)
        out.append(_event({"type": "content_block_stop", "index": index}))
    ended = ("stop_reason", "stop_sequence", "stop_details", "container")
    delta = {key: whole[key] for key in ended if key in whole}
    out.append(_event({"type": "message_delta", "delta": delta, "usage": usage}))
    return b"".join(out) + _event({"type": "message_stop"})


def _block(block: Object) -> tuple[Object, list[Object]]:
    kind = block["type"]
    if kind == "text":
        citations = [{"type": "citations_delta", "citation": each} for each in block.get("citations") or ()]
        start = {**block, "text": "", **({"citations": []} if citations else {})}
        return start, [{"type": "text_delta", "text": block["text"]}, *citations]
    if kind == "thinking":
        deltas: list[Object] = [{"type": "thinking_delta", "thinking": block["thinking"]}]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    if kind in {"tool_use", "server_tool_use"}:
        json = encode(block["input"]).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json}]
    return block, []


def write_responses(whole: Object, include_usage: bool) -> bytes:
    """Items one after the other; the terminal event is the stored response itself."""
    del include_usage
    out: list[bytes] = []

    def event(kind: str, **fields: object) -> None:
        out.append(write(encode({"type": kind, "sequence_number": len(out), **fields}), kind))

    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    event("response.created", response=begun)
    event("response.in_progress", response=begun)
    for at, item in enumerate(whole["output"]):
        place = {"item_id": item.get("id", ""), "output_index": at}
        kind = item["type"]
        opened = {**item, "status": "in_progress"}
        if kind in _EMPTY:
            name, value = _EMPTY[kind]
            opened[name] = value
        event("response.output_item.added", output_index=at, item=opened)
        for kinds, fields in _pieces(item):
            event(kinds, **place, **fields)
        event("response.output_item.done", output_index=at, item=item)
    event(f"response.{whole.get('status') or 'completed'}", response=whole)
    return b"".join(out)


_EMPTY: dict[str, tuple[str, object]] = {
    "message": ("content", []),
    "function_call": ("arguments", ""),
    "reasoning": ("summary", []),
}
"""What an item has not yet when it opens."""


def _pieces(item: Object) -> Iterator[tuple[str, Object]]:
    """(event type, fields) between an item's opening and its end."""
    if item["type"] == "function_call":
        yield "response.function_call_arguments.delta", {"delta": item["arguments"]}
        yield "response.function_call_arguments.done", {"name": item["name"], "arguments": item["arguments"]}
    for number, part in enumerate(item.get("summary") or () if item["type"] == "reasoning" else ()):
        at, text = {"summary_index": number}, part["text"]
        yield "response.reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**at, "delta": text}
        yield "response.reasoning_summary_text.done", {**at, "text": text}
        yield "response.reasoning_summary_part.done", {**at, "part": part}
    for number, part in enumerate(item["content"] if item["type"] == "message" else ()):
        name = "refusal" if part["type"] == "refusal" else "text"
        kind, at = "response.refusal" if name == "refusal" else "response.output_text", {"content_index": number}
        more: Object = {} if name == "refusal" else {"logprobs": part.get("logprobs") or []}
        yield "response.content_part.added", {**at, "part": {**part, name: ""}}
        yield f"{kind}.delta", {**at, "delta": part[name], **more}
        yield f"{kind}.done", {**at, name: part[name], **more}
        yield "response.content_part.done", {**at, "part": part}


def _event(data: Object) -> bytes:
    return write(encode(data), data["type"])


WRITERS: dict[str, Callable[[Object, bool], bytes]] = {
    "chat": write_chat,
    "messages": write_messages,
    "responses": write_responses,
}
