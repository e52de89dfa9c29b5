"""A transport that sends the head of an answer together with what follows it: one write to the socket in place of two.

What it decides: only when the bytes of a head leave: with the next write, or when the event loop comes round. What it
must not know: HTTP beyond the first bytes of a status line. uvicorn writes a head and a body apart, and each write is a
system call and may wake the reader twice.
"""

import asyncio
from typing import Any

HEAD = b"HTTP/1.1 "


class Corked:
    """Wraps a transport; everything but `write`, `close` and `abort` is the transport's own."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(HEAD):
            self._held = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._held = b""
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)
