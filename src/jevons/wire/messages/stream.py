"""A Messages stream, read into neutral events and written from them. Sans-IO.

What lives here: Anthropic's events and their order: one start, blocks one after the other, a delta with stop and
usage, the stop. What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.prompt import Part, RedactedThinking, Text, Thinking, ToolUse, Unknown
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
    TextDelta,
    ThinkingDelta,
)
from jevons.core.usage import NOTHING
from jevons.wire.body import Object, encode, text_field
from jevons.wire.errors import anthropic_type, shape_error
from jevons.wire.messages.reply import REASONS, STOPS, write_block
from jevons.wire.sequence import Sequencer
from jevons.wire.sse import Splitter, write
from jevons.wire.usage import read_usage, reported_cost, reported_tier, write_messages


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: Object | None = None
    content_block: Object | None = None
    delta: Object | None = None
    usage: Object | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class StreamReader:
    """Feed bytes, take events. Raises UpstreamError when one event passes all bounds."""

    def __init__(self) -> None:
        self._sse = Splitter()
        self._usage: Object = {}
        self._unknown: set[int] = set()
        self._open: set[int] = set()
        self._over = False

    def feed(self, piece: bytes) -> list[Event]:
        """Events that the piece completes."""
        out: list[Event] = []
        for event in self._sse.feed(piece):
            if self._over:
                break
            try:
                found = _decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._over = True
                out.append(Failed("the upstream's stream holds an event that is no Messages event", "rubbish"))
                break
            out.extend(self._event(found))
        return out

    def _event(self, found: _Event) -> list[Event]:
        kind = found.type
        if kind == "content_block_delta":
            return self._delta(found.index, found.delta or {}) if found.index in self._open else []
        if kind == "content_block_start":
            return self._start(found.index, found.content_block or {})
        if kind == "content_block_stop":
            if found.index not in self._open:
                return []
            self._open.discard(found.index)
            return [BlockStop(found.index)]
        if kind == "message_start":
            message = found.message or {}
            self._merge(message.get("usage"))
            return [Started(text_field(message.get("id")), text_field(message.get("model")), read_usage(self._usage))]
        if kind == "message_delta":
            return self._message_delta(found)
        if kind == "message_stop":
            self._over = True
            return [Done()]
        if kind == "error":
            self._over = True
            error = found.error if isinstance(found.error, dict) else {}
            said = text_field(error.get("message")) or "the upstream's stream failed"
            return [Failed(said, text_field(error.get("type")))]
        return []

    def _start(self, index: int, block: Object) -> list[Event]:
        kind = block.get("type")
        self._open.add(index)
        whole = ""
        part: Part
        if kind == "text":
            part = Text(text_field(block.get("text")))
        elif kind == "thinking":
            part = Thinking(text_field(block.get("thinking")), text_field(block.get("signature")))
        elif kind == "redacted_thinking":
            part = RedactedThinking(text_field(block.get("data")))
        elif kind == "tool_use":
            part = ToolUse(text_field(block.get("id")), text_field(block.get("name")), "")
            if block.get("input"):
                whole = encode(block["input"]).decode()  # some servers send it whole
        else:
            part = Unknown("messages", text_field(kind), block)
        start = BlockStart(index, part)
        return [start, ArgumentsDelta(index, whole)] if whole else [start]

    def _delta(self, index: int, delta: Object) -> list[Event]:
        kind = delta.get("type")
        if kind == "text_delta":
            return [TextDelta(index, text_field(delta.get("text")))]
        if kind == "input_json_delta":
            return [ArgumentsDelta(index, json)] if (json := text_field(delta.get("partial_json"))) else []
        if kind == "thinking_delta":
            return [ThinkingDelta(index, text_field(delta.get("thinking")))]
        if kind == "signature_delta":
            return [SignatureDelta(index, text_field(delta.get("signature")))]
        return []

    def _message_delta(self, found: _Event) -> list[Event]:
        delta = found.delta or {}
        self._merge(found.usage)
        out: list[Event] = []
        if reason := text_field(delta.get("stop_reason")):
            out.append(Stopped(STOPS.get(reason, "stop"), text_field(delta.get("stop_sequence"))))
        if (usage := read_usage(self._usage)) is not None:
            out.append(Counted(usage, reported_tier(self._usage), reported_cost(self._usage)))
        return out

    def _merge(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage.update({key: value for key, value in usage.items() if value is not None})


class StreamWriter:
    """Give events, take bytes. Stop and usage are held until the source's own end, as `message_delta` says both."""

    def __init__(self, model: str):
        self._model = model
        self._sequencer = Sequencer()
        self._started = False
        self._stop: Stopped | None = None
        self._counted: Counted | None = None
        self._kinds: dict[int, Part] = {}

    def write(self, event: Event) -> bytes:
        """The bytes of an event; b'' for one that waits or that Messages have nothing for."""
        if isinstance(event, BlockStart) and isinstance(event.part, Unknown) and event.part.dialect != "messages":
            return b""  # its deltas and its stop find no block and go nowhere
        return b"".join(self._write(each) for each in self._sequencer.feed(event))

    def _write(self, event: Event) -> bytes:
        if isinstance(event, Started):
            return self._start(event)
        begun = b"" if self._started or isinstance(event, Failed) else self._start(Started())
        if isinstance(event, BlockStart):
            return begun + self._block(event)
        if isinstance(event, BlockStop):
            return self._event({"type": "content_block_stop", "index": event.index})
        if isinstance(event, TextDelta | ThinkingDelta | SignatureDelta | ArgumentsDelta):
            return self._delta(event)
        if isinstance(event, Stopped):
            self._stop = event
        elif isinstance(event, Counted):
            self._counted = event
        elif isinstance(event, Failed):
            kind = event.kind if event.kind.endswith("_error") else anthropic_type(event.status or 502)
            return write(encode(shape_error("messages", event.message, event.status, kind=kind)), "error")
        elif isinstance(event, Done) and self._stop is not None:
            return begun + self._end(self._stop)
        return begun

    def _start(self, event: Started) -> bytes:
        if self._started:
            return b""
        self._started = True
        message: Object = {
            "id": event.id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_messages(event.usage or NOTHING),
        }
        return self._event({"type": "message_start", "message": message})

    def _block(self, event: BlockStart) -> bytes:
        part = event.part
        self._kinds[event.index] = part
        more = b""
        block = write_block(part) or {"type": "text", "text": ""}
        if isinstance(part, ToolUse):
            block["input"] = {}
            if part.arguments:
                more = self._delta(ArgumentsDelta(event.index, part.arguments))
        return self._event({"type": "content_block_start", "index": event.index, "content_block": block}) + more

    def _delta(self, event: TextDelta | ThinkingDelta | SignatureDelta | ArgumentsDelta) -> bytes:
        if isinstance(event, TextDelta):
            delta = {"type": "text_delta", "text": event.text}
        elif isinstance(event, ThinkingDelta):
            delta = {"type": "thinking_delta", "thinking": event.text}
        elif isinstance(event, SignatureDelta):
            delta = {"type": "signature_delta", "signature": event.signature}
        else:
            delta = {"type": "input_json_delta", "partial_json": event.json}
        return self._event({"type": "content_block_delta", "index": event.index, "delta": delta})

    def _end(self, stop: Stopped) -> bytes:
        called = any(isinstance(part, ToolUse) for part in self._kinds.values())
        reason = "tool_use" if called and stop.stop in {"stop", ""} else REASONS.get(stop.stop, "end_turn")
        counted = self._counted
        usage = write_messages(counted.usage if counted else NOTHING)
        delta = {"stop_reason": reason, "stop_sequence": stop.stop_sequence or None}
        return self._event({"type": "message_delta", "delta": delta, "usage": usage}) + self._event(
            {"type": "message_stop"}
        )

    def _event(self, data: Object) -> bytes:
        return write(encode(data), data["type"])
