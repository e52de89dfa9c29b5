"""A chat completion stream, read into neutral events and written from them. Sans-IO.

What lives here: how chunks name their blocks (text, reasoning, calls by index), and chat's end: a finish reason, a
usage chunk, `[DONE]`. What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.prompt import Part, RedactedThinking, Refusal, Text, Thinking, ToolUse
from jevons.core.reply import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Counted,
    Done,
    Event,
    Failed,
    SignatureDelta,
    Started,
    Stopped,
    StopReason,
    TextDelta,
    ThinkingDelta,
)
from jevons.core.usage import Usage
from jevons.wire.body import Object, encode, number_field, text_field, without_none
from jevons.wire.chat.reply import FINISHES, STOPS, TIERS, Call, Function, Message, arguments_text
from jevons.wire.chat.write import thinking_block
from jevons.wire.errors import shape_error
from jevons.wire.sse import Splitter, write
from jevons.wire.usage import read_usage, reported_cost, write_chat


class _Choice(msgspec.Struct):
    delta: Message | None = None
    finish_reason: Any = None
    index: Any = 0


class _Chunk(msgspec.Struct):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    timings: Any = None
    service_tier: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class StreamReader:
    """Feed bytes, take events. Only choice 0 is read. Raises UpstreamError when one event passes all bounds."""

    def __init__(self) -> None:
        self._sse = Splitter()
        self._started = False
        self._blocks: dict[object, int] = {}
        self._calls: dict[int, tuple[int, str]] = {}
        self._next = 0
        self._stopped = False
        self._over = False

    def feed(self, piece: bytes) -> list[Event]:
        """Events that the piece completes."""
        out: list[Event] = []
        for event in self._sse.feed(piece):
            if self._over:
                break
            out.extend(self._event(event.data))
        return out

    def _event(self, data: bytes) -> list[Event]:
        if data == b"[DONE]":
            self._over = True
            return [*([] if self._stopped else self._finish("")), Done()]
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._over = True
            return [Failed("the upstream's stream holds an event that is no chat chunk", "rubbish")]
        if chunk.error:
            self._over = True
            error = chunk.error if isinstance(chunk.error, dict) else {"message": str(chunk.error)}
            status = number_field(error.get("code"), int) or 0
            return [Failed(text_field(error.get("message")), text_field(error.get("type")), status)]
        out: list[Event] = []
        if not self._started:
            self._started = True
            created = number_field(chunk.created, int) or 0
            out.append(Started(text_field(chunk.id), text_field(chunk.model), None, created))
        for choice in chunk.choices or ():
            if choice.index is None or choice.index == 0:
                out.extend(self._choice(choice))
        usage = read_usage(chunk.usage, chunk.timings)
        if usage is not None:
            out.append(Counted(usage, text_field(chunk.service_tier), reported_cost(chunk.usage)))
        return out

    def _choice(self, choice: _Choice) -> list[Event]:
        out: list[Event] = []
        if choice.delta is not None and not self._stopped:
            out.extend(self._delta(choice.delta))
        if isinstance(choice.finish_reason, str) and choice.finish_reason and not self._stopped:
            out.extend(self._finish(STOPS.get(choice.finish_reason, "stop")))
        return out

    def _finish(self, stop: StopReason) -> list[Event]:
        self._stopped = True
        return [*(BlockStop(index) for index in range(self._next)), Stopped(stop)]

    def _delta(self, delta: Message) -> list[Event]:
        out: list[Event] = []
        reasoning = delta.reasoning_content or text_field(delta.reasoning)
        if reasoning:
            out.append(ThinkingDelta(self._block("thinking", Thinking(""), out), reasoning))
        for block in delta.thinking_blocks or ():
            out.extend(self._signed(block))
        if isinstance(delta.content, str) and delta.content:
            out.append(TextDelta(self._block("text", Text(""), out), delta.content))
        if delta.refusal:
            out.append(TextDelta(self._block("refusal", Refusal(""), out), delta.refusal))
        for number, call in enumerate(delta.tool_calls or ()):
            out.extend(self._call(call, number))
        return out

    def _signed(self, block: Object) -> list[Event]:
        """A signed block follows its text, which came as `reasoning_content`; a redacted one stands alone."""
        out: list[Event] = []
        if block.get("type") == "redacted_thinking":
            index = self._next
            self._next += 1
            return [BlockStart(index, RedactedThinking(text_field(block.get("data")))), BlockStop(index)]
        index = self._block("thinking", Thinking(""), out)
        if out and (text := text_field(block.get("thinking"))):
            out.append(ThinkingDelta(index, text))
        if signature := text_field(block.get("signature")):
            out.extend((SignatureDelta(index, signature), BlockStop(index)))
            del self._blocks["thinking"]
        return out

    def _call(self, call: Call, number: int) -> list[Event]:
        """A call is named by its index; a new id at an index that is taken is another call (some servers repeat 0)."""
        out: list[Event] = []
        key = call.index if call.index is not None else number
        function = call.function or Function()
        known = self._calls.get(key)
        if known is None or (call.id and known[1] and call.id != known[1] and function.name):
            known = (self._next, call.id or "")
            self._next += 1
            self._calls[key] = known
            out.append(BlockStart(known[0], ToolUse(known[1], function.name or "", "")))
        if arguments := arguments_text(function.arguments):
            out.append(ArgumentsDelta(known[0], arguments))
        return out

    def _block(self, key: str, part: Part, out: list[Event]) -> int:
        index = self._blocks.get(key)
        if index is None:
            index = self._blocks[key] = self._next
            self._next += 1
            out.append(BlockStart(index, part))
        return index


class StreamWriter:
    """Give events, take bytes. With `include_usage` a usage chunk stands before the end, as OpenAI sends it."""

    def __init__(self, model: str, include_usage: bool = True):
        self._model = model
        self._id = ""
        self._created = 0
        self._include_usage = include_usage
        self._calls: dict[int, int] = {}
        self._empty: set[int] = set()
        self._thinking: dict[int, list[str]] = {}
        self._counted: Counted | None = None
        self._kinds: dict[int, Part] = {}
        self._stopped = False

    def write(self, event: Event) -> bytes:
        """The bytes of an event; b'' for one that chat has nothing for."""
        if isinstance(event, Started):
            self._id, self._created = event.id, event.created
            return self._chunk({"role": "assistant", "content": ""})
        if isinstance(event, BlockStart):
            return self._start(event)
        if isinstance(event, TextDelta):
            name = "refusal" if isinstance(self._kinds.get(event.index), Refusal) else "content"
            return self._chunk({name: event.text})
        if isinstance(event, ThinkingDelta):
            self._thinking.setdefault(event.index, ["", ""])[0] += event.text
            return self._chunk({"reasoning_content": event.text})
        if isinstance(event, SignatureDelta):
            self._thinking.setdefault(event.index, ["", ""])[1] += event.signature
            return b""
        if isinstance(event, ArgumentsDelta):
            return self._arguments(event.index, event.json)
        if isinstance(event, BlockStop):
            return self._stop(event.index)
        if isinstance(event, Counted):
            self._counted = event
            return b""
        return self._end(event)

    def _start(self, event: BlockStart) -> bytes:
        part = event.part
        self._kinds[event.index] = part
        if isinstance(part, ToolUse):
            number = self._calls[event.index] = len(self._calls)
            self._empty.add(event.index)
            function = {"name": part.name, "arguments": ""}
            return self._chunk(
                {"tool_calls": [{"index": number, "id": part.id, "type": "function", "function": function}]}
            ) + (self._arguments(event.index, part.arguments) if part.arguments else b"")
        if isinstance(part, RedactedThinking):
            return self._chunk({"thinking_blocks": [thinking_block(part)]})
        if isinstance(part, Thinking):
            self._thinking[event.index] = [part.text, part.signature]
        text = part.text if isinstance(part, Text | Thinking | Refusal) else ""
        names = {Text: "content", Thinking: "reasoning_content", Refusal: "refusal"}
        return self._chunk({names[type(part)]: text}) if text else b""

    def _arguments(self, index: int, json: str) -> bytes:
        number = self._calls.get(index)
        if number is None or not json:
            return b""
        self._empty.discard(index)
        return self._chunk({"tool_calls": [{"index": number, "function": {"arguments": json}}]})

    def _stop(self, index: int) -> bytes:
        if index in self._empty:
            return self._arguments(index, "{}")
        held = self._thinking.pop(index, None)
        if held is None or not held[1]:
            return b""
        return self._chunk({"thinking_blocks": [thinking_block(Thinking(held[0], held[1]))]})

    def _end(self, event: Event) -> bytes:
        if isinstance(event, Failed):
            error = shape_error("chat", event.message, event.status or 502, code=event.kind or "upstream_error")
            return write(encode(error))
        if isinstance(event, Stopped):
            self._stopped = True
            reason = "tool_calls" if self._calls and event.stop in {"stop", ""} else FINISHES.get(event.stop, "stop")
            return self._chunk({}, reason)
        if not isinstance(event, Done) or not self._stopped:
            return b""
        usage = b""
        if self._include_usage and self._counted is not None:
            usage = self._usage(self._counted.usage, self._counted.tier)
        return usage + b"data: [DONE]\n\n"

    def _chunk(self, delta: Object, finish: str | None = None) -> bytes:
        return self._write([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _usage(self, usage: Usage, tier: str) -> bytes:
        return self._write([], usage=write_chat(usage), service_tier=tier if tier in TIERS else None)

    def _write(self, choices: list[Object], **more: Any) -> bytes:
        chunk = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **without_none(more),
        }
        return write(encode(chunk))
