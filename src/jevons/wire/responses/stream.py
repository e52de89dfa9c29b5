"""A Responses stream read into neutral events. Sans-IO.

What lives here: which events open, fill and close a block; a block is an output item, or one content part of a
message. What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.prompt import Part, Refusal, Text, Thinking, ToolUse, Unknown
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
from jevons.wire.body import Object, number_field, text_field
from jevons.wire.reasoning import block_of
from jevons.wire.responses.reply import Body, failure, stop_of
from jevons.wire.sse import Splitter
from jevons.wire.usage import read_usage, reported_cost

Key = tuple[int, int]
"""(output index, content index); -1 for an item that is a block itself."""


class _Event(msgspec.Struct):
    type: str
    response: Body | None = None
    item: Object | None = None
    part: Object | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None
    text: Any = None
    arguments: Any = None
    message: Any = None
    code: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class StreamReader:
    """Feed bytes, take events. Raises UpstreamError when one event passes all bounds."""

    def __init__(self) -> None:
        self._sse = Splitter()
        self._blocks: dict[Key, int] = {}
        self._filled: set[int] = set()
        self._signed: set[int] = set()
        self._called = False
        self._started = False
        self._over = False

    def feed(self, piece: bytes) -> list[Event]:
        """Events that the piece completes."""
        out: list[Event] = []
        for event in self._sse.feed(piece):
            if self._over:
                break
            if event.data == b"[DONE]":
                continue  # some servers end every dialect so
            try:
                found = _decode(event.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._over = True
                out.append(Failed("the upstream's stream holds an event that is no Responses event", "rubbish"))
                break
            out.extend(self._event(found))
        return out

    def _event(self, found: _Event) -> list[Event]:
        kind = found.type
        if kind.endswith(".delta"):
            return self._delta(found)
        if kind == "response.output_item.added":
            return self._added(found)
        if kind == "response.output_item.done":
            return self._done(found)
        if kind == "response.content_part.added":
            return self._part(found)
        if kind == "response.content_part.done":
            index = self._blocks.get((found.output_index, found.content_index))
            return [] if index is None else [BlockStop(index)]
        if kind == "response.reasoning_summary_part.added" and found.summary_index > 0:
            index = self._blocks.get((found.output_index, -1))
            return [] if index is None else [ThinkingDelta(index, "\n\n")]
        return self._frame(found)

    def _frame(self, found: _Event) -> list[Event]:
        """The response itself: begun, ended, failed."""
        kind, response = found.type, found.response or Body()
        if kind in {"response.created", "response.in_progress", "response.queued"}:
            if self._started:
                return []
            self._started = True
            created = int(number_field(response.created_at, int) or number_field(response.created_at, float) or 0)
            return [Started(text_field(response.id), text_field(response.model), None, created)]
        if kind in {"response.completed", "response.incomplete"}:
            self._over = True
            out: list[Event] = [BlockStop(index) for index in self._blocks.values()]
            out.append(Stopped(stop_of(response, self._called)))
            if (usage := read_usage(response.usage)) is not None:
                out.append(Counted(usage, text_field(response.service_tier), reported_cost(response.usage)))
            return [*out, Done()]
        if kind in {"response.failed", "error"}:
            self._over = True
            inner = found.error if isinstance(found.error, dict) else {}
            said = text_field(found.message) or text_field(inner.get("message")) or failure(response.error)
            return [Failed(said, text_field(found.code) or text_field(inner.get("code")))]
        return []

    def _open(self, key: Key, part: Part) -> BlockStart:
        index = self._blocks[key] = len(self._blocks)
        return BlockStart(index, part)

    def _added(self, found: _Event) -> list[Event]:
        item = found.item or {}
        kind, key = text_field(item.get("type")), (found.output_index, -1)
        if kind == "message" or key in self._blocks:
            return []
        if kind == "function_call":
            self._called = True
            call_id = text_field(item.get("call_id")) or text_field(item.get("id"))
            return [self._open(key, ToolUse(call_id, text_field(item.get("name")), ""))]
        if kind == "reasoning":
            return [self._open(key, Thinking(""))]
        return [self._open(key, Unknown("responses", kind, item))]

    def _part(self, found: _Event) -> list[Event]:
        key = (found.output_index, found.content_index)
        kind = text_field((found.part or {}).get("type"))
        if key in self._blocks or kind not in {"output_text", "refusal"}:
            return []
        return [self._open(key, Refusal("") if kind == "refusal" else Text(""))]

    def _delta(self, found: _Event) -> list[Event]:
        text = text_field(found.delta)
        kind = found.type
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            key = (found.output_index, found.content_index)
            out: list[Event] = []
            if key not in self._blocks:
                out.append(self._open(key, Refusal("") if "refusal" in kind else Text("")))
            return [*out, TextDelta(self._blocks[key], text)]
        index = self._blocks.get((found.output_index, -1))
        if index is None or not text:
            return []
        if kind == "response.function_call_arguments.delta":
            self._filled.add(index)
            return [ArgumentsDelta(index, text)]
        if kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            return [ThinkingDelta(index, text)]
        return []

    def _done(self, found: _Event) -> list[Event]:
        """An item's end: what its deltas left out (whole arguments, what signs the reasoning), then the stop."""
        item = found.item or {}
        index = self._blocks.get((found.output_index, -1))
        if index is None:
            return []
        out: list[Event] = []
        arguments = text_field(item.get("arguments"))
        if item.get("type") == "function_call" and arguments and index not in self._filled:
            self._filled.add(index)
            out.append(ArgumentsDelta(index, arguments))
        if item.get("type") == "reasoning" and index not in self._signed:
            self._signed.add(index)
            block = block_of("", text_field(item.get("id")), text_field(item.get("encrypted_content")))
            if isinstance(block, Thinking) and block.signature:
                out.append(SignatureDelta(index, block.signature))
        return [*out, BlockStop(index)]
