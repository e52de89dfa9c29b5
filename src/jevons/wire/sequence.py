"""Interleaved blocks, one after the other: what Messages and Responses clients expect of a stream.

Chat completions key the deltas of parallel tool calls by index and may interleave them. Here each block opens once,
is filled, and closes before the next opens; no delta follows a stop. A block that must wait is held back, and
waits no longer than it has to: arguments that are whole JSON can't go on, so they close when the next block begins.
What it must not know: any dialect.
"""

import msgspec

from jevons.core.prompt import Part, Text, Thinking, ToolUse
from jevons.core.reply import (
    ArgumentsDelta,
    BlockStart,
    BlockStop,
    Event,
    SignatureDelta,
    Stopped,
    TextDelta,
    ThinkingDelta,
)
from jevons.wire.body import loads

Delta = TextDelta | ThinkingDelta | SignatureDelta | ArgumentsDelta
MAX_BLOCKS = 1024
"""More parallel blocks than this in one answer are rubbish; later ones are dropped."""


class _Block:
    __slots__ = ("arguments", "held", "part", "stopped")

    def __init__(self, part: Part):
        self.part = part
        self.held: list[Delta] = []
        self.arguments: list[str] = []
        self.stopped = False


class Sequencer:
    """Feed events; take the events that may go out now, with blocks numbered from 0 in their order."""

    __slots__ = ("_blocks", "_closed", "_next", "_open", "_waiting")

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._waiting: list[int] = []
        self._closed: set[int] = set()
        self._open: int | None = None
        self._next = 0

    def feed(self, event: Event) -> list[Event]:
        """Events that are no block's pass through; `Stopped` closes every block first."""
        if isinstance(event, BlockStart):
            return self._start(event.index, event.part)
        if isinstance(event, TextDelta | ThinkingDelta | SignatureDelta | ArgumentsDelta):
            return self._delta(event)
        if isinstance(event, BlockStop):
            return self._stop(event.index)
        if isinstance(event, Stopped):
            return [*self.drain(), event]
        return [event]

    def drain(self) -> list[Event]:
        """All that is held, each block closed."""
        for block in self._blocks.values():
            block.stopped = True
        return self._settle()

    def _start(self, index: int, part: Part) -> list[Event]:
        if index in self._blocks or self._next + len(self._waiting) >= MAX_BLOCKS:
            return []
        self._closed.discard(index)
        block = self._blocks[index] = _Block(part)
        if isinstance(part, ToolUse) and part.arguments:
            block.arguments.append(part.arguments)
        self._waiting.append(index)
        return self._settle()

    def _delta(self, delta: Delta) -> list[Event]:
        out: list[Event] = []
        if delta.index not in self._blocks:
            again = _reopened(delta)  # text that goes on after a call is a new block
            if again is None or delta.index not in self._closed:
                return []
            out.extend(self._start(delta.index, again))
        block = self._blocks.get(delta.index)
        if block is None or block.stopped:
            return out
        if isinstance(delta, ArgumentsDelta):
            block.arguments.append(delta.json)
        if delta.index != self._open:
            block.held.append(delta)
            return out
        out.append(msgspec.structs.replace(delta, index=self._next - 1))
        if self._waiting and isinstance(delta, ArgumentsDelta) and delta.json.rstrip().endswith("}"):
            out.extend(self._settle())
        return out

    def _stop(self, index: int) -> list[Event]:
        block = self._blocks.get(index)
        if block is None:
            return []
        block.stopped = True
        return self._settle()

    def _settle(self) -> list[Event]:
        """Close what is finished and open what waits, as far as that goes."""
        out: list[Event] = []
        while True:
            if self._open is None:
                if not self._waiting:
                    return out
                out.extend(self._begin())
            elif self._finished(self._blocks[self._open]):
                del self._blocks[self._open]
                self._closed.add(self._open)
                self._open = None
                out.append(BlockStop(self._next - 1))
            else:
                return out

    def _begin(self) -> list[Event]:
        self._open = self._waiting.pop(0)
        block = self._blocks[self._open]
        number, self._next = self._next, self._next + 1
        held, block.held = block.held, []
        return [BlockStart(number, block.part), *(msgspec.structs.replace(delta, index=number) for delta in held)]

    def _finished(self, block: _Block) -> bool:
        if block.stopped:
            return True
        if not self._waiting:
            return False
        return not isinstance(block.part, ToolUse) or isinstance(loads("".join(block.arguments)), dict)


def _reopened(delta: Delta) -> Part | None:
    if isinstance(delta, TextDelta):
        return Text("")
    if isinstance(delta, ThinkingDelta):
        return Thinking("")
    return None
