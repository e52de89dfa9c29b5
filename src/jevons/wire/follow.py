"""Follows a stream that passes through untouched, and says at its end what it was.

What it decides: which few bytes of a stream are worth reading. No delta is parsed while it flows: a piece costs an
append and a sum. What a dialect says of itself stands in its first event and its last ones; those are kept and read
once, in `finish`. What it must not know: sockets, prices, other dialects than the stream's own.

The one change it can make: taking the usage chunk out of a chat stream whose client did not ask for it.
"""

import re

import msgspec

from jevons.core.usage import Usage
from jevons.wire import endings
from jevons.wire.sse import newlines, parse

HEAD_BYTES = 4096
"""Holds the first event with room to spare: `message_start` and `response.created` carry no text yet."""
TAIL_BYTES = 4096
"""What is left of the kept tail when it is cut back: the last chunks with usage and end mark take under 1 KiB."""
TAIL_LIMIT = 16 * 1024
"""The tail is cut back when it passes this, about once in 80 pieces."""
MAX_LAST_EVENT = 8 * 1024 * 1024
"""`response.completed` repeats the whole answer; one beyond this is cut, and its usage counts as unreported."""
MAX_HELD = 64 * 1024
"""While usage is stripped an incomplete event waits for its end, up to this."""

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream turned out to be, as far as it got."""

    usage: Usage | None = None
    """As reported. Of a cut Messages stream only the input side is known: its `output` is 0."""
    tier: str = ""
    cost_usd: float | None = None
    model: str = ""
    stop: str = ""
    """In the dialect's own word."""
    done: bool = False
    """The dialect's own end was seen: `[DONE]`, `message_stop`, `response.completed` | `failed` | `incomplete`."""
    failed: bool = False
    """An error event was seen."""
    events: int = 0
    """About: blank lines seen within pieces."""
    output_chars: int = 0
    """UTF-8 bytes of what the model wrote, hidden reasoning that was shown and arguments included; only counted when
    usage is missing or the stream was cut. Exact up to TAIL_LIMIT bytes of stream, then scaled from what was kept."""


class Follower:
    """Feed every piece; then `flush` once and `finish` (which may be asked at any time, and again)."""

    __slots__ = ("_dialect", "_events", "_head", "_held", "_limit", "_parts", "_size", "_strip", "_total")

    def __init__(self, dialect: str, strip_usage: bool = False):
        self._dialect = dialect
        self._strip = strip_usage and dialect == "chat"
        self._held = b""
        self._head = b""
        self._parts: list[bytes] = []
        self._size = 0
        self._total = 0
        self._limit = TAIL_LIMIT
        self._events = 0

    def feed(self, piece: bytes) -> bytes:
        """The bytes to forward: the same object, unless usage is stripped."""
        self._parts.append(piece)
        self._size += len(piece)
        self._events += piece.count(b"\n\n")
        if self._size > self._limit:
            self._trim()
        return self._without_usage(piece) if self._strip else piece

    def flush(self) -> bytes:
        """What was held back and is still owed to the client when the stream has ended."""
        held, self._held = self._held, b""
        return b"" if _is_usage(held) else held

    def finish(self) -> StreamFacts:
        """What is known by now."""
        tail = b"".join(self._parts)
        self._parts = [tail]
        whole = not self._total
        blocks = newlines(tail).removeprefix(b"\xef\xbb\xbf").split(b"\n\n")
        blocks.pop()  # without its blank line it was cut
        head = blocks[:1] if whole else newlines(self._head).split(b"\n\n")[:1]
        found = endings.READERS[self._dialect](head[0] if head else b"", blocks)
        output = 0
        if found.usage is None or not found.done:
            if not whole:
                blocks = newlines(self._head).split(b"\n\n")[:-1] + blocks[1:]
            sample = sum(map(len, blocks)) + 2 * len(blocks)
            output = sum(endings.written(self._dialect, block) for block in blocks)
            if not whole and sample:
                output = output * (self._total + self._size) // sample
        return StreamFacts(
            usage=found.usage,
            tier=found.tier,
            cost_usd=found.cost_usd,
            model=found.model,
            stop=found.stop,
            done=found.done,
            failed=found.failed,
            events=self._events,
            output_chars=output,
        )

    def _trim(self) -> None:
        """Keep the head once, and of the rest the last TAIL_BYTES, but never less than the last event begun."""
        data = b"".join(self._parts)
        if not self._head:
            self._head = data[:HEAD_BYTES]
        last = max(data.rfind(b"\n\n", 0, -4), data.rfind(b"\n\r\n", 0, -4))
        keep = max(0, min(len(data) - TAIL_BYTES, last + 1))
        if len(data) - keep > MAX_LAST_EVENT:
            keep = len(data) - TAIL_BYTES
        kept = data[keep:]
        self._total += keep
        self._parts, self._size = [kept], len(kept)
        self._limit = max(TAIL_LIMIT, 2 * len(kept))  # doubling: one long event costs linear time

    def _without_usage(self, piece: bytes) -> bytes:
        if not self._held and piece[-2:] == b"\n\n" and b"[]" not in piece:
            return piece
        data = self._held + piece
        at, out = 0, []
        for match in _BOUNDARY.finditer(data):
            event = data[at : match.end()]
            at = match.end()
            if b"[" not in event or not _is_usage(event):
                out.append(event)
        self._held = data[at:]
        if len(self._held) > MAX_HELD:
            out.append(self._held)
            self._held = b""
        return b"".join(out)


class _Chunk(msgspec.Struct):
    usage: dict[str, msgspec.Raw]
    choices: list[msgspec.Raw]


_chunk = msgspec.json.Decoder(_Chunk).decode


def _is_usage(event: bytes) -> bool:
    """A chat chunk that holds nothing but usage: no choices."""
    if b"usage" not in event:
        return False
    found = parse(newlines(event).strip(b"\n"))
    if found is None:
        return False
    try:
        return not _chunk(found.data).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
