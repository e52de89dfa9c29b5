"""How a reply leaves: whole or as server-sent events, straight or with a fault.

It says how far it came, so that the books bill what was produced. It must not know what a reply means.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from jevons.engines.simulated.faults import Fault
from jevons.engines.simulated.http11 import Peer
from jevons.engines.simulated.prompt import Event

RUBBISH = b"<html><head><title>502 Bad Gateway</title></head><body>upstream sent rubbish</body></html>"
ODD_CACHED = 1_000_000
INDEXED = ("content_block_start", "response.output_item.added")
Headers = list[tuple[str, str]]


def dump(value: object) -> bytes:
    """JSON with its characters as UTF-8; a lone surrogate is escaped, as JSON allows."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def spoiled(value: Any, fault: Fault) -> Any:
    """A body or event with the faults that change its content."""
    if fault.kind not in ("no_usage", "odd_cached") or not isinstance(value, dict):
        return value
    out = {}
    for name, sub in value.items():
        if name == "usage" and fault.kind == "no_usage":
            continue
        if name in ("cached_tokens", "cache_read_input_tokens"):
            out[name] = ODD_CACHED if fault.kind == "odd_cached" else sub
        else:
            out[name] = spoiled(sub, fault)
    return out


async def send_whole(peer: Peer, status: int, headers: Headers, body: bytes, fault: Fault) -> bool:
    """Send a body; True when all of it left for a client that was still there."""
    if fault.kind == "stall_first" and await peer.pause(fault.s):
        return False
    if fault.kind == "rubbish":
        body = RUBBISH
        headers = [(name, "text/html" if name == "content-type" else value) for name, value in headers]
    elif fault.kind == "truncated_json":
        body = body[: len(body) // 2]
    if peer.gone.is_set():
        return False
    peer.head(status, headers, len(body))
    half = len(body) // 2
    if fault.kind in ("cut", "reset_mid", "stall_mid"):
        peer.write(body[:half])
        await peer.flushed()
        if fault.kind == "stall_mid":
            if await peer.pause(fault.s):
                return False
            peer.write(body[half:])
            return True
        peer.reset() if fault.kind == "reset_mid" else peer.close()
        return False
    await write(peer, body, fault, chunked=False)
    return not peer.gone.is_set()


class Stream:
    """One server-sent-event reply on its way. `sent` and `tokens` say how far it came."""

    def __init__(self, peer: Peer, headers: Headers, fault: Fault, error: dict[str, Any], event_s: float):
        self._peer, self._headers, self._fault, self._error, self._event_s = peer, headers, fault, error, event_s
        self.sent = 0
        self.tokens = 0

    async def send(self, events: Iterable[Event]) -> bool:
        """True when the stream ended as it should and the client was there."""
        peer, fault = self._peer, self._fault
        if fault.kind == "stall_first" and await peer.pause(fault.s):
            return False
        peer.head(200, [*self._headers, ("content-type", "text/event-stream; charset=utf-8")], None)
        for event in repeated(events, fault):
            if self.sent == fault.after and await self._break():
                return False
            if self._event_s and await peer.pause(self._event_s):
                return False
            await write(peer, frame(event, fault), fault, chunked=True)
            await peer.flushed()
            if peer.gone.is_set():
                return False
            self.sent += 1
            self.tokens += event.tokens
        peer.end()
        return True

    async def _break(self) -> bool:
        """The fault that strikes here; True when it ends the stream."""
        peer, fault = self._peer, self._fault
        if fault.kind == "stall_mid":
            return await peer.pause(fault.s)
        if fault.kind == "rubbish":
            peer.chunk(b"data: <html>not json</html>\n\n")
        elif fault.kind == "truncated_json":
            peer.chunk(b'data: {"id":"chatcmpl-sim","object":"chat.comple\n\n')
        elif fault.kind == "error_event":
            named = b"event: error\n" if self._error.get("type") == "error" else b""
            peer.chunk(named + b"data: " + dump(self._error) + b"\n\n")
            peer.end()
            return True
        elif fault.kind == "no_done":
            peer.end()
            return True
        elif fault.kind in ("cut", "reset_mid"):
            await peer.flushed()
            peer.reset() if fault.kind == "reset_mid" else peer.close()
            return True
        return False


def frame(event: Event, fault: Fault) -> bytes:
    """One server-sent event's bytes."""
    data = event.data if isinstance(event.data, str) else dump(spoiled(event.data, fault)).decode()
    named = f"event: {event.name}\n" if event.name else ""
    text = f"{named}data: {data}\n\n"
    if fault.kind == "comments":
        text = f": keep-alive\n\n{text}:\n\n"
    return (text.replace("\n", "\r\n") if fault.kind == "crlf" else text).encode()


def repeated(events: Iterable[Event], fault: Fault) -> Iterator[Event]:
    """With `repeat_index`, each start of a block or tool call comes twice."""
    for event in events:
        yield event
        if fault.kind == "repeat_index" and starts(event):
            yield event


def starts(event: Event) -> bool:
    if event.name:
        return event.name in INDEXED
    if not isinstance(event.data, dict) or not event.data["choices"]:
        return False
    return any("id" in call for call in event.data["choices"][0]["delta"].get("tool_calls", ()))


async def write(peer: Peer, data: bytes, fault: Fault, *, chunked: bool) -> None:
    """Write in one piece, in odd pieces, or byte by byte."""
    put = peer.chunk if chunked else peer.write
    if fault.kind not in ("split_utf8", "drip"):
        put(data)
        return
    for piece in odd_pieces(data) if fault.kind == "split_utf8" else (data[at : at + 1] for at in range(len(data))):
        put(piece)
        await peer.flushed()
        if peer.gone.is_set() or (fault.s and fault.kind == "drip" and await peer.pause(fault.s)):
            return


def odd_pieces(data: bytes) -> Iterator[bytes]:
    """Cut behind the first byte of each longer character, and every 7 bytes elsewhere."""
    start = 0
    for at in range(1, len(data)):
        if data[at - 1] >= 0xC0 or at - start >= 7:
            yield data[start:at]
            start = at
    yield data[start:]
