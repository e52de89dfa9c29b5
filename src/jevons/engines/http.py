"""A pooled HTTP/1.1 client for upstreams: one origin a pool, one call a connection at a time, parsed by httptools.

What lives here: connections, their reuse, their deadlines and the bytes of one exchange. What it must not know: JSON,
tokens, retries or who asked. It follows no redirect, keeps no cookie and asks for no compression: what an upstream
says is handed on as it came. Why not a library: docs/decisions/0001-upstream-client.md.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httptools
import msgspec

from jevons.core.errors import SettingsError

MAX_HEADER_BYTES = 64 * 1024
"""An answer whose head is larger is rubbish; the largest seen from a provider is under 8 KiB."""
HIGH_WATER_BYTES = 256 * 1024
"""A stream that the caller does not read is paused here: one slow reader holds no more than this."""
MAX_WHOLE_BYTES = 256 * 1024 * 1024
"""A reply that is read whole may not be larger."""
IDLE_KEEP_S = 25.0
"""An idle connection is dropped before the common 30 s and 60 s server limits, so that few reuses race a close."""
SWEEP_S = 0.25
"""How often deadlines are looked at: one timer for all connections in place of one a call."""


class ExchangeFailed(Exception):
    """The exchange did not end well. `kind`: connect | timeout | reset | rubbish. `started`: bytes had come."""

    def __init__(self, kind: str, message: str, *, started: bool = False, reused: bool = False):
        super().__init__(message)
        self.kind = kind
        self.started = started
        self.reused = reused


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, each its own clock: to connect, to the first byte, between two bytes, and for all of it."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0


class Exchange:
    """One request's answer: its head is here, its body is read whole or piece by piece."""

    __slots__ = ("_connection", "_size", "_waiter", "chunks", "complete", "failure", "headers", "status")

    def __init__(self, connection: "Connection"):
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self._size = 0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.complete = False
        self.failure: ExchangeFailed | None = None

    def header(self, name: bytes) -> bytes:
        """The first header of this lower-case name, or b''."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""

    async def whole(self) -> bytes:
        """The rest of the body. Raises ExchangeFailed when it is cut, late or too large."""
        while not self.complete:
            if self._size > MAX_WHOLE_BYTES:
                self.abort()
                raise ExchangeFailed("rubbish", "the upstream's answer is too large to hold", started=True)
            await self._wait()
        if self.failure is not None:
            raise self.failure
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, all that has arrived in one piece. Raises ExchangeFailed when it is cut or stalls."""
        while True:
            if self.chunks:
                chunks, self.chunks, self._size = self.chunks, [], 0
                self._connection.resume()
                yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
            elif self.failure is not None:
                raise self.failure
            elif self.complete:
                return
            else:
                await self._wait()

    def abort(self) -> None:
        """Stop now: the connection is closed, which is how an upstream learns that nobody listens."""
        if not self.complete:
            self._connection.close()

    async def head(self) -> None:
        while not self.status and self.failure is None:
            await self._wait()
        if self.failure is not None and not self.status:
            raise self.failure

    def push(self, chunk: bytes) -> int:
        self.chunks.append(chunk)
        self._size += len(chunk)
        return self._size

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = waiter = self._connection.loop.create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self.abort()
            raise


class Connection(asyncio.Protocol):
    """One socket. It is idle in its pool, or carries exactly one exchange."""

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop):
        self.loop = loop
        self.pool = pool
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport | None = None
        self.parser: httptools.HttpResponseParser | None = None
        self.closed = False
        self.served = 0
        self.idle_since = 0.0
        self.deadline = 0.0
        self.total_deadline = 0.0
        self.idle_s = 0.0
        self._paused = False
        self._keep = False
        self._head_bytes = 0
        self.stream = False

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream transport by construction

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None or self.parser is None:  # bytes that nobody asked for: never reuse such a connection
            self.close()
            return
        self.deadline = self.pool.now + self.idle_s
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(
                ExchangeFailed("rubbish", f"the upstream's answer is not HTTP: {error}", started=bool(exchange.status))
            )
            return
        exchange.wake()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.pool.forget(self)
        exchange = self.exchange
        if exchange is not None and not exchange.complete:
            if self._ends_at_close():
                self.on_message_complete()
                exchange.wake()
                return
            reused = self.served > 0 and not exchange.status
            what = f": {exc}" if exc else ""
            self._fail(
                ExchangeFailed(
                    "reset", f"the upstream closed the connection{what}", started=bool(exchange.status), reused=reused
                )
            )

    # --- httptools callbacks

    def on_message_begin(self) -> None:
        if self.exchange is None:  # a second answer to one request: this connection can't be trusted
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEADER_BYTES:
            raise httptools.HttpParserError("the head is too large")
        if exchange is not None and not exchange.status:
            exchange.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, exchange = self.parser, self.exchange
        if parser is None or exchange is None:
            return
        status = parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints
            exchange.headers.clear()
            return
        self._keep = parser.should_keep_alive()
        exchange.status = status

    def on_body(self, body: bytes) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.push(body) > HIGH_WATER_BYTES and not self._paused and self.stream:
            self._paused = True
            if self.transport is not None:
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or not exchange.status:  # the end of an interim answer
            return
        exchange.complete = True
        self.resume()
        self.exchange = None
        self.deadline = self.total_deadline = 0.0
        if self.closed:
            return
        if self._keep:
            self.pool.give_back(self)
        else:
            self.close()

    # --- one exchange

    def begin(self, head: bytes, body: bytes, limits: Limits, *, stream: bool) -> Exchange:
        """Write the request; the answer arrives in the Exchange."""
        self.exchange = exchange = Exchange(self)
        self.parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self.stream = stream
        now = self.pool.now
        self.idle_s = limits.idle_s
        self.deadline = now + limits.first_byte_s
        self.total_deadline = now + limits.total_s
        if self.transport is not None:
            self.transport.writelines((head, body))
        return exchange

    def resume(self) -> None:
        if self._paused and self.transport is not None and not self.closed:
            self._paused = False
            self.transport.resume_reading()

    def expire(self) -> None:
        exchange = self.exchange
        started = exchange is not None and bool(exchange.status)
        what = "went silent" if started else "sent no first byte in time"
        self._fail(ExchangeFailed("timeout", f"the upstream {what}", started=started))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.pool.forget(self)
            if self.transport is not None:
                self.transport.abort()
            exchange = self.exchange
            if exchange is not None and not exchange.complete:
                exchange.failure = exchange.failure or ExchangeFailed("reset", "the call was given up", started=True)
                exchange.complete = True
                exchange.wake()

    def _fail(self, failure: ExchangeFailed) -> None:
        exchange = self.exchange
        if exchange is not None and not exchange.complete:
            exchange.failure = failure
            exchange.complete = True
            exchange.wake()
        self.exchange = None
        self.close()

    def _ends_at_close(self) -> bool:
        """An HTTP/1.0-style body without a length ends with the connection; a chunked or counted one was cut."""
        exchange = self.exchange
        if exchange is None or not exchange.status:
            return False
        return (
            not exchange.header(b"content-length") and b"chunked" not in exchange.header(b"transfer-encoding").lower()
        )


class Pool:
    """Connections to one origin. Newest idle first, so that a quiet pool shrinks."""

    def __init__(self, base_url: str, *, max_connections: int = 512, ssl_context: ssl.SSLContext | None = None):
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(f"{base_url!r} is not an http(s) address; give base_url like https://api.openai.com/v1")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc.rpartition("@")[2]
        self.path = parts.path.rstrip("/")
        self.now = time.monotonic()
        self._tls = (ssl_context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._max = max_connections
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def busy_connections(self) -> int:
        """Those that carry an exchange, or are being opened for one."""
        return len(self._open) - len(self._idle) + self._opening

    async def send(self, head: bytes, body: bytes, limits: Limits, *, stream: bool = False) -> Exchange:
        """One exchange; returns when the answer's head is here. `head` ends with the empty line.

        Raises ExchangeFailed. A kept connection that turns out closed before any byte of an answer is replaced by a
        fresh one, once: the request never reached a handler (RFC 9112, 9.3.1).
        """
        fresh = False
        while True:
            self.now = time.monotonic()
            connection = self._idle.pop() if self._idle and not fresh else await self._connect(limits)
            if connection.closed:
                continue
            exchange = connection.begin(head, body, limits, stream=stream)
            try:
                await exchange.head()
            except ExchangeFailed as failure:
                if failure.reused and not fresh:
                    fresh = True
                    continue
                raise
            return exchange

    def give_back(self, connection: Connection) -> None:
        connection.served += 1
        connection.idle_since = self.now
        self._idle.append(connection)
        self._wake_one()

    def forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._wake_one()

    def sweep(self) -> None:
        """Expire what is late and drop what was idle too long. Called every SWEEP_S by the owner."""
        self.now = now = time.monotonic()
        for connection in [c for c in self._open if c.exchange is not None]:
            if 0 < connection.deadline < now or 0 < connection.total_deadline < now:
                connection.expire()
        for connection in [c for c in self._idle if now - c.idle_since > IDLE_KEEP_S]:
            connection.close()

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()

    async def _connect(self, limits: Limits) -> Connection:
        while len(self._open) + self._opening >= self._max:
            if self._idle:
                return self._idle.pop()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, limits.connect_s)
            except TimeoutError:
                raise ExchangeFailed("connect", f"all {self._max} connections to {self.authority} are busy") from None
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            async with asyncio.timeout(limits.connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, loop),
                    self.host,
                    self.port,
                    ssl=self._tls,
                    server_hostname=self.host if self._tls else None,
                )
        except TimeoutError:
            raise ExchangeFailed(
                "connect", f"no connection to {self.authority} within {limits.connect_s:g} s"
            ) from None
        except OSError as error:
            raise ExchangeFailed("connect", f"cannot connect to {self.authority}: {error.strerror or error}") from None
        finally:
            self._opening -= 1
        self.now = time.monotonic()
        self._open.add(connection)
        return connection

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
