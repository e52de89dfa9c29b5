"""Where the conversation, the system text and the tools of a request lie, with nothing of them decoded.

What lives here: each surface's places. What it must not know: what the parts are wanted for. The conversation is given
as a span of the body, so that a reader who wants its end alone pays for its end alone.
"""

import re

import msgspec

from jevons.core.call import Surface
from jevons.wire.toplevel import Fields, span

_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPEAKER = re.compile(rb'\{\s*"role"\s*:\s*"(\w*)"')
_LED = (b"system", b"developer")
MOST_LEADING = 16


class Parts(msgspec.Struct, frozen=True, gc=False):
    """The parts of one request, unread. Empty bytes: absent."""

    body: bytes
    talk: tuple[int, int] = (0, 0)
    """Byte offsets of the conversation: messages (leading system ones included), or a Responses input."""
    system: bytes = b""
    """A JSON string, a list of blocks, or the leading system messages as a list."""
    tools: bytes = b""
    empty: bool = False
    """There is no conversation."""


def parts(surface: Surface, body: bytes, found: Fields) -> Parts:
    """The parts of a body whose top-level fields were found."""
    tools = _bytes(found.get("tools"))
    if surface in {Surface.MESSAGES, Surface.COUNT_TOKENS}:
        return Parts(body, span(body, found, "messages"), _bytes(found.get("system")), tools)
    name = "input" if surface == Surface.RESPONSES else "messages"
    low, high = span(body, found, name)
    system = _bytes(found.get("instructions"))
    if low == high:
        return Parts(body, system=system, tools=tools, empty=True)
    return Parts(body, (low, high), system or _leading(body, low, high), tools)


def _bytes(raw: msgspec.Raw | None) -> bytes:
    return b"" if raw is None else bytes(raw)


def _leading(body: bytes, low: int, high: int) -> bytes:
    """The leading system messages as a JSON list. Where the role stands first, their end is where another role begins;
    else the items are told apart by decoding."""
    at = low + 1
    first = _SPEAKER.match(body, at)
    if first is None:
        return _leading_items(body[low:high])
    end = at
    for _ in range(MOST_LEADING):
        speaker = _SPEAKER.match(body, end)
        if speaker is None or speaker[1] not in _LED:
            break
        end = body.find(b'{"role"', speaker.end(), high)
        if end < 0:
            end = high - 1
    return b"[" + body[at:end].rstrip(b", \t\r\n") + b"]" if end > at else b""


def _leading_items(raw: bytes) -> bytes:
    try:
        items = _items(raw)
    except (msgspec.ValidationError, RecursionError):  # a Responses input that is one string
        return b""
    leading = []
    for item in items[:MOST_LEADING]:
        if not any(b'"' + role + b'"' in bytes(item) for role in _LED) or _role(item) not in _LED:
            break
        leading.append(bytes(item))
    return b"[" + b",".join(leading) + b"]" if leading else b""


def _role(item: msgspec.Raw) -> bytes:
    value = msgspec.json.decode(item)
    return str(value.get("role")).encode() if isinstance(value, dict) else b""
