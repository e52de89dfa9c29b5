"""Neutral events written as a Responses stream. Sans-IO.

What lives here: the events around each output item, their numbers, and the terminal event that repeats the whole
response. What it must not know: where the events come from.
"""

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
    Reply,
    SignatureDelta,
    Started,
    Stopped,
    TextDelta,
    ThinkingDelta,
)
from jevons.wire.body import Object, encode
from jevons.wire.responses.reply import response_object, write_content, write_item
from jevons.wire.sequence import Sequencer
from jevons.wire.sse import write


class StreamWriter:
    """Give events, take bytes. Stop and usage are held until the source's own end."""

    def __init__(self, model: str):
        self._reply = Reply(model=model)
        self._sequencer = Sequencer()
        self._number = 0
        self._started = False
        self._stopped = False
        self._output: list[Object] = []
        self._part: Part | None = None
        self._shown: list[str] = []

    def write(self, event: Event) -> bytes:
        """The bytes of an event; b'' for one that waits or that Responses have nothing for."""
        if isinstance(event, BlockStart) and isinstance(event.part, Unknown) and event.part.dialect != "responses":
            return b""  # its deltas and its stop find no block and go nowhere
        return b"".join(self._write(each) for each in self._sequencer.feed(event))

    def _write(self, event: Event) -> bytes:
        if isinstance(event, Failed):
            return self._failed(event)
        begun = b"" if self._started else self._start(event)
        if isinstance(event, BlockStart):
            return begun + self._open(event.part)
        if isinstance(event, TextDelta | ThinkingDelta | ArgumentsDelta | SignatureDelta):
            return begun + self._delta(event)
        if isinstance(event, BlockStop):
            return begun + self._close()
        if isinstance(event, Stopped):
            self._stopped = True
            self._reply = msgspec.structs.replace(self._reply, stop=event.stop)
        elif isinstance(event, Counted):
            self._reply = msgspec.structs.replace(self._reply, usage=event.usage, tier=event.tier)
        elif isinstance(event, Done) and self._stopped:
            whole = response_object(self._reply, self._output)
            return begun + self._event(f"response.{whole['status']}", response=whole)
        return begun

    def _start(self, event: Event) -> bytes:
        self._started = True
        if isinstance(event, Started):
            self._reply = msgspec.structs.replace(self._reply, id=event.id, created=event.created)
        begun = response_object(self._reply, [], "in_progress")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def _failed(self, event: Failed) -> bytes:
        return self._event("error", code=event.kind or "upstream_error", message=event.message, param=None)

    def _open(self, part: Part) -> bytes:
        self._part = part
        item = self._item("in_progress")
        if item is None:
            return b""
        text = part.text if isinstance(part, Text | Refusal | Thinking) else ""
        if isinstance(part, Text | Refusal | Thinking):
            self._part = msgspec.structs.replace(part, text="")
        self._shown = []
        if item["type"] == "message":
            item["content"] = []
        elif item["type"] == "reasoning":
            item["summary"] = []
        elif item["type"] == "function_call":
            item["arguments"] = ""
        out = self._event("response.output_item.added", output_index=self._at, item=item)
        if isinstance(part, Text | Refusal):
            empty = write_content(msgspec.structs.replace(part, text=""))
            out += self._event("response.content_part.added", **self._place(item), content_index=0, part=empty)
        if isinstance(part, Thinking) and not text:
            return out  # its summary part opens with the first delta: a block may hold nothing but a signature
        if isinstance(part, ToolUse) and part.arguments:
            self._part = msgspec.structs.replace(part, arguments="")
            return out + self._delta(ArgumentsDelta(0, part.arguments))
        if text:
            return out + self._delta(ThinkingDelta(0, text) if isinstance(part, Thinking) else TextDelta(0, text))
        return out

    def _delta(self, event: TextDelta | ThinkingDelta | ArgumentsDelta | SignatureDelta) -> bytes:
        part, item = self._part, self._item("in_progress")
        if part is None or item is None:
            return b""
        place = self._place(item)
        if isinstance(event, SignatureDelta):
            if isinstance(part, Thinking):
                self._part = msgspec.structs.replace(part, signature=part.signature + event.signature)
            return b""
        if isinstance(event, ArgumentsDelta):
            self._shown.append(event.json)
            return self._event("response.function_call_arguments.delta", **place, delta=event.json)
        first, text = not self._shown, event.text
        self._shown.append(text)
        if isinstance(event, ThinkingDelta):
            opened = b""
            if first:
                piece = {"type": "summary_text", "text": ""}
                opened = self._event("response.reasoning_summary_part.added", **place, summary_index=0, part=piece)
            return opened + self._event("response.reasoning_summary_text.delta", **place, summary_index=0, delta=text)
        if isinstance(part, Refusal):
            return self._event("response.refusal.delta", **place, content_index=0, delta=text)
        return self._event("response.output_text.delta", **place, content_index=0, delta=text, logprobs=[])

    def _close(self) -> bytes:
        part = self._part
        if part is None:
            return b""
        text = "".join(self._shown)
        if isinstance(part, Text | Refusal | Thinking):
            part = self._part = msgspec.structs.replace(part, text=text)
        elif isinstance(part, ToolUse):
            part = self._part = msgspec.structs.replace(part, arguments=text or "{}")
        item = self._item("completed")
        self._part = None
        if item is None:
            return b""
        place, out = self._place(item), b""
        if isinstance(part, Text):
            out = self._event("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
        elif isinstance(part, Refusal):
            out = self._event("response.refusal.done", **place, content_index=0, refusal=text)
        elif isinstance(part, ToolUse):
            done = "response.function_call_arguments.done"
            out = self._event(done, **place, name=part.name, arguments=part.arguments)
        elif isinstance(part, Thinking) and text:
            out = self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
            piece = {"type": "summary_text", "text": text}
            out += self._event("response.reasoning_summary_part.done", **place, summary_index=0, part=piece)
        if isinstance(part, Text | Refusal):
            out += self._event("response.content_part.done", **place, content_index=0, part=write_content(part))
        out += self._event("response.output_item.done", output_index=self._at, item=item)
        self._output.append(item)
        return out

    @property
    def _at(self) -> int:
        return len(self._output)

    def _item(self, status: str) -> Object | None:
        return write_item(self._part, f"{self._reply.id}_{self._at}", status) if self._part is not None else None

    def _place(self, item: Object) -> Object:
        return {"item_id": item["id"], "output_index": self._at}

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._number = self._number, self._number + 1
        return write(encode({"type": kind, "sequence_number": number, **fields}), kind)
