"""Server-sent events from bytes, whatever pieces they come in: the part of the HTML standard that model APIs use.

What lives here: line ends (LF, CRLF, CR), the byte order mark, comments, data of several lines, and a bound on one
event. Bytes stay bytes, so a character split over two pieces is whole again before anything decodes it. What it must
not know: any dialect.
"""

import msgspec

from jevons.core.errors import UpstreamError

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""One event of a Responses stream repeats the whole answer, images included; a body may be as large as this."""
_BOM = b"\xef\xbb\xbf"


class Sse(msgspec.Struct, frozen=True, gc=False):
    """One event: its name ('' when the stream names none) and its data."""

    event: str
    data: bytes


class Splitter:
    """Pieces in, complete events out. An event without its closing blank line was cut and is never given out."""

    __slots__ = ("_after_cr", "_began", "_buffer")

    def __init__(self) -> None:
        self._buffer = b""
        self._after_cr = False
        self._began = False

    def feed(self, piece: bytes) -> list[Sse]:
        """Raises UpstreamError when an event passes MAX_EVENT_BYTES."""
        if b"\r" in piece or self._after_cr:
            piece = self._newlines(piece)
        data = self._buffer + piece if self._buffer else piece
        if not self._began:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._buffer = data
                return []
            self._began = True
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n\n", max(0, len(data) - len(piece) - 1))
        if end < 0:
            if len(data) > MAX_EVENT_BYTES:
                raise UpstreamError("the upstream's stream holds an event beyond all bounds")
            self._buffer = data
            return []
        self._buffer = data[end + 2 :]
        return [found for block in data[:end].split(b"\n\n") if (found := parse(block)) is not None]

    def _newlines(self, piece: bytes) -> bytes:
        if self._after_cr and piece[:1] == b"\n":
            piece = piece[1:]
            self._after_cr = False
        if piece:
            self._after_cr = piece[-1:] == b"\r"
        return newlines(piece)


def newlines(data: bytes) -> bytes:
    """All three line ends as LF."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def parse(block: bytes) -> Sse | None:
    """One event's lines (LF) -> the event; None when it holds no data (a comment, a lone name)."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return Sse("", block[6:])
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return Sse(name, b"\n".join(data)) if data else None


def write(data: bytes, event: str = "") -> bytes:
    """One event as bytes. `data` holds no line end (JSON on one line)."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data
