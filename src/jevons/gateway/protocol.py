"""The server's HTTP protocol: uvicorn's on httptools, with bounds on a head, and errors in the caller's dialect.

What it decides: what happens to bytes that are no HTTP request. Whatever two readers could take for two different
requests (two lengths, a length and chunks, odd chunks) is refused by the parser, and the connection ends there. What it
must not know: surfaces beyond their paths' beginnings, calls, keys.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jevons.core.call import Surface
from jevons.core.errors import CallerError
from jevons.gateway.cork import Corked
from jevons.wire.errors import error_body

MAX_HEAD_BYTES = 64 * 1024
"""All headers together; nginx takes 32 KiB, and the largest seen from an SDK is under 4 KiB. An address of more than
64 KiB is refused by the parser itself."""
HEAD_S = 60.0
"""A connection that has sent no whole head by then is closed."""
BAD = CallerError("this is no valid HTTP request (its head, its lengths or its chunks); the connection is closed")
LONG = CallerError(
    f"the request's head is larger than {MAX_HEAD_BYTES} bytes", code="request_header_too_large", status=431
)
HOP_BY_HOP = frozenset({b"connection", b"upgrade", b"http2-settings"})
REASONS = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class Protocol(HttpToolsProtocol):
    """See the module's first lines."""

    def __init__(self, *arguments: Any, **more: Any):
        super().__init__(*arguments, **more)
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # a transport by shape
        self._late = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(LONG if self._head_bytes > MAX_HEAD_BYTES else BAD)

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's, with the bound: written out, since a call of `super` for each header costs 3 us a request."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # httptools hands it on as a parser's error
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _stay(self, rest: bytes) -> None:
        """An upgrade is not taken (RFC 9110, 7.8): the parser stopped behind the head, and is given it without.

        Java's HttpClient offers h2c with every request to a plain address, those with a body too.
        """
        method: bytes = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(BAD)
            return
        kept = b"".join(b"%b: %b\r\n" % (n, v) for n, v in self.headers if n not in HOP_BY_HOP)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.url, kept) + rest)

    def _refuse(self, error: CallerError) -> None:
        """Say what was wrong, unless an answer has begun, and close."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            url = getattr(self, "url", b"")
            surface = Surface.MESSAGES if url.startswith(b"/v1/messages") else Surface.CHAT
            body = error_body(surface.value, error)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-jevons-error: %b\r\n"
                b"connection: close\r\n\r\n%b"
                % (error.status, REASONS[error.status], len(body), error.code.encode(), body)
            )
        self.transport.close()

    def _give_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
