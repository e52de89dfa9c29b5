"""A small HTTP/1.1 server on asyncio's protocols, strict and low enough to misbehave on purpose.

It keeps each request's bytes as they came, says when the client has gone, and lets its handler write raw bytes, hang,
cut or reset. It must not know what is being served.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import msgspec

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 128 * 1024 * 1024
MAX_AHEAD_BYTES = 256 * 1024 * 1024
"""What a client may have sent before it is cut off: pipelined bytes included."""

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    529: "Overloaded",
}


class Bad(Exception):
    """The bytes are not a request."""


class Request(msgspec.Struct, frozen=True):
    """A request, parsed, with its bytes. Header names are lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Peer(asyncio.Protocol):
    """One connection: requests one after another, each handed to `handle` with this peer to write to."""

    def __init__(self, handle: Callable[[Request, "Peer"], Awaitable[None]]):
        self._handle = handle
        self._buffer = bytearray()
        self._busy = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self.gone = asyncio.Event()
        self.gone_at = 0.0
        self.received_at = 0.0
        """Loop time at which the current request was whole."""
        self.sent_bytes = 0

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > MAX_AHEAD_BYTES:
            self.reset()
        elif not self._busy:
            self._next()

    def eof_received(self) -> bool:
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._leave()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    # --- for the handler

    def head(self, status: int, headers: list[tuple[str, str]], length: int | None) -> None:
        """Status line and headers; length None means chunked."""
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        if data:
            self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)
            self.sent_bytes += len(data)

    async def flushed(self) -> None:
        """Let the loop run, and wait while the client reads slowly. Returns at once when it has gone."""
        if self._drained.is_set():
            await asyncio.sleep(0)
        else:
            await self._drained.wait()

    async def pause(self, seconds: float) -> bool:
        """Sleep; True when the client left meanwhile."""
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Cut with a TCP reset, so that the client sees a broken connection and no clean end."""
        if self.transport is None:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # --- inside

    def _leave(self) -> None:
        if not self.gone.is_set():
            self.gone_at = asyncio.get_running_loop().time()
            self.gone.set()
        self._drained.set()

    def _next(self) -> None:
        try:
            request = take(self._buffer)
        except Bad as error:
            text = str(error).encode()
            self.head(400, [("content-type", "text/plain"), ("connection", "close")], len(text))
            self.write(text)
            self.close()
            return
        if request is not None:
            self._busy = True
            self.received_at = asyncio.get_running_loop().time()
            self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await self._handle(request, self)
        finally:
            self._busy = False
        if request.header("connection").lower() == "close":
            self.close()
        elif self._buffer and not self.gone.is_set():
            self._next()


def take(buffer: bytearray) -> Request | None:
    """Remove one whole request from `buffer`; None when it isn't all there. Raises Bad."""
    stop = buffer.find(b"\r\n\r\n")
    if stop < 0:
        if len(buffer) > MAX_HEAD_BYTES:
            raise Bad("the head is too long")
        return None
    head = bytes(buffer[: stop + 4])
    method, target, headers = parse_head(head)
    lengths = [value for name, value in headers if name == "content-length"]
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if (lengths and codings) or len(set(lengths)) > 1:
        raise Bad("conflicting lengths")
    if codings:
        found = unchunk(buffer, stop + 4)
    else:
        length = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        end = stop + 4 + length
        found = (bytes(buffer[stop + 4 : end]), end) if len(buffer) >= end else None
    if found is None:
        return None
    body, end = found
    if len(body) > MAX_BODY_BYTES:
        raise Bad("the body is too long")
    del buffer[:end]
    url = urlsplit(target)
    return Request(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, head, body)


def parse_head(head: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """(method, target, headers). Raises Bad."""
    first, *rest = head[:-4].decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise Bad(f"not a request line: {first[:80]!r}")
    headers = []
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise Bad(f"not a header: {line[:80]!r}")
        headers.append((name.lower(), value.strip()))
    return parts[0], parts[1], tuple(headers)


def unchunk(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """(body, end of the last chunk), or None while some is missing. Raises Bad."""
    body = bytearray()
    while True:
        line = buffer.find(b"\r\n", at)
        if line < 0:
            return None
        try:
            size = int(bytes(buffer[at:line]).split(b";")[0], 16)
        except ValueError:
            raise Bad("a chunk's size is not hexadecimal") from None
        at = line + 2
        if len(buffer) < at + size + 2:
            return None
        if buffer[at + size : at + size + 2] != b"\r\n":
            raise Bad("a chunk is longer than its size")
        if size == 0:
            return bytes(body), at + 2
        body += buffer[at : at + size]
        at += size + 2
