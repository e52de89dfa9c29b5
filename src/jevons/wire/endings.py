"""What the first and the last events of a stream say, dialect by dialect.

What lives here: which event carries usage, the tier, the stop and the end mark. It reads blocks of SSE lines (LF),
newest first, and decodes only those. Rubbish is skipped, never raised. What it must not know: how blocks were kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jevons.core.usage import Usage
from jevons.wire.sse import parse
from jevons.wire.usage import read_usage, reported_cost, reported_tier

LAST_EVENTS = 8
"""How many of the last events are decoded: usage, stop, end mark, and room for pings."""


class Ending(msgspec.Struct, kw_only=True):
    """Collected while the last events are read."""

    usage: Usage | None = None
    tier: str = ""
    cost_usd: float | None = None
    model: str = ""
    stop: str = ""
    done: bool = False
    failed: bool = False


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    model: Any = None
    usage: Any = None
    timings: Any = None
    service_tier: Any = None
    choices: list[_Choice] | None = None
    error: Any = None


class _Delta(msgspec.Struct):
    stop_reason: Any = None


class _MessageEvent(msgspec.Struct):
    type: str
    message: dict[str, Any] | None = None
    delta: _Delta | None = None
    usage: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    status: Any = None
    incomplete_details: Any = None


class _ResponseEvent(msgspec.Struct):
    type: str
    response: _Response | None = None


_chunk = msgspec.json.Decoder(_Chunk).decode
_message = msgspec.json.Decoder(_MessageEvent).decode
_response = msgspec.json.Decoder(_ResponseEvent).decode
_any = msgspec.json.Decoder(dict[str, Any]).decode
RUBBISH = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_chat(first: bytes, blocks: Sequence[bytes]) -> Ending:
    """Usage stands in a chunk of its own, in the last one, or (llama.cpp, vLLM) in many: the newest counts."""
    del first
    found = Ending()
    for number, block in enumerate(reversed(blocks)):
        if number >= LAST_EVENTS and (found.usage is not None or b'"usage"' not in block):
            continue
        event = parse(block)
        if event is None:
            continue
        if event.data == b"[DONE]":
            found.done = True
            continue
        try:
            chunk = _chunk(event.data)
        except RUBBISH:
            continue
        _take_chunk(found, chunk)
    return found


def _take_chunk(found: Ending, chunk: _Chunk) -> None:
    if chunk.error:
        found.failed = True
    if found.usage is None and chunk.usage is not None:
        found.usage = read_usage(chunk.usage, chunk.timings)
        found.cost_usd = reported_cost(chunk.usage)
    found.tier = found.tier or _text(chunk.service_tier)
    found.model = found.model or _text(chunk.model)
    if not found.stop and chunk.choices:
        found.stop = _text(chunk.choices[0].finish_reason)


def read_messages(first: bytes, blocks: Sequence[bytes]) -> Ending:
    """`message_start` counts the input, `message_delta` the output; where both count one thing the later holds."""
    found = Ending()
    started = _event(_message, first)
    message = (started.message or {}) if started and started.type == "message_start" else {}
    usage: dict[str, Any] = message["usage"] if isinstance(message.get("usage"), dict) else {}
    found.model = _text(message.get("model"))
    counted = False
    for block in reversed(blocks[-LAST_EVENTS:]):
        event = _event(_message, block)
        if event is None:
            continue
        if event.type == "message_stop":
            found.done = True
        elif event.type == "error":
            found.failed = True
        elif event.type == "message_delta" and not counted:
            counted = True
            found.stop = _text(event.delta.stop_reason) if event.delta else ""
            usage = {**usage, **{k: v for k, v in (event.usage or {}).items() if v is not None}}
    found.usage = read_usage(usage)
    found.tier = reported_tier(usage)
    if found.usage is not None and not counted:
        found.usage = msgspec.structs.replace(found.usage, output=0, reasoning=0)
    return found


def read_responses(first: bytes, blocks: Sequence[bytes]) -> Ending:
    """The terminal event repeats the whole response, usage and the tier that was really used included."""
    found = Ending()
    started = _event(_response, first)
    if started and started.response:
        found.model = _text(started.response.model)
    for block in reversed(blocks[-LAST_EVENTS:]):
        if b"response." not in block and b"error" not in block:
            continue
        event = _event(_response, block)
        if event is None:
            continue
        if event.type == "error":
            found.failed = True
        if event.type not in {"response.completed", "response.incomplete", "response.failed"}:
            continue
        found.done = True
        found.failed = found.failed or event.type == "response.failed"
        if event.response is not None:
            _take_response(found, event.response)
        break
    return found


def _take_response(found: Ending, response: _Response) -> None:
    found.usage = read_usage(response.usage)
    found.cost_usd = reported_cost(response.usage)
    found.tier = _text(response.service_tier)
    found.model = _text(response.model) or found.model
    details = response.incomplete_details
    found.stop = (_text(details.get("reason")) if type(details) is dict else "") or _text(response.status)


READERS: dict[str, Callable[[bytes, Sequence[bytes]], Ending]] = {
    "chat": read_chat,
    "messages": read_messages,
    "responses": read_responses,
}


def written(dialect: str, block: bytes) -> int:
    """UTF-8 bytes that the model wrote in one event: text, shown reasoning, arguments."""
    event = parse(block)
    if event is None:
        return 0
    try:
        raw = _any(event.data)
    except RUBBISH:
        return 0
    if dialect == "chat":
        choices = raw.get("choices")
        return sum(_strings(c.get("delta")) for c in choices if type(c) is dict) if type(choices) is list else 0
    if dialect == "messages":
        return _strings(raw.get("delta")) if raw.get("type") == "content_block_delta" else 0
    return _strings(raw.get("delta")) if _text(raw.get("type")).endswith(".delta") else 0


_WRITTEN = frozenset(
    {"content", "reasoning_content", "reasoning", "refusal", "arguments", "name", "text", "thinking", "partial_json"}
)


def _strings(raw: Any, name: str = "content") -> int:
    if type(raw) is str:
        return len(raw.encode("utf-8", "surrogatepass")) if name in _WRITTEN else 0
    if type(raw) is dict:
        return sum(_strings(value, key) for key, value in raw.items())
    if type(raw) is list:
        return sum(_strings(value, name) for value in raw)
    return 0


def _event(decode: Callable[[bytes], Any], block: bytes) -> Any:
    event = parse(block) if block else None
    if event is None:
        return None
    try:
        return decode(event.data)
    except RUBBISH:
        return None


def _text(found: Any) -> str:
    return found if type(found) is str else ""
