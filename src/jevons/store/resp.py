"""One pipelined connection to Valkey (or any server of the Redis protocol), and what happens when it is away.

What lives here: the wire format (RESP2), the order of answers, one timer for all waits, reconnecting. What it must not
know: any key. Written for this because the usual client costs several times as much processor per command
(docs/decisions/0110-own-valkey-link.md). Everything is bounded: a command is answered within `timeout_s` or the
connection is given up, and all that wait on it learn that the server is `Away`.
"""

import asyncio
import contextlib
import hashlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from jevons.core.errors import SettingsError

log = logging.getLogger("jevons.valkey")

MAX_WAITING = 20_000
"""Commands without an answer on one connection; a further one finds the server `Away`."""
MAX_REPLY_BYTES = 64 * 1024 * 1024
"""A reply larger than this is none of ours: the connection is given up."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Between tries to connect; doubled each time."""

START_OVER = ("NOSCRIPT", "READONLY", "LOADING", "MASTERDOWN")
"""Answers of a server that was restarted, or is no primary any more: connecting again finds the right one."""

Part = bytes | str | int


class Away(Exception):
    """The server does not answer: nothing is known of what it did with the command."""


class Refused(Exception):
    """The server answered with an error."""


class Link:
    """See the module's first lines. One event loop owns it; `run` keeps it connected until it is cancelled.

    `on_up` is called with the connection just opened, before anyone else may use it.
    """

    def __init__(self, url: str, timeout_s: float, scripts: Sequence[str] = ()):
        self._address = address(url)
        self._timeout_s = timeout_s
        self._scripts = [script.encode() for script in scripts]
        self._wire: _Wire | None = None
        self.on_up: Callable[[], None] = lambda: None
        self.up = False
        self.tried = asyncio.Event()
        """Set once the first try to connect has ended, well or not."""
        self.losses = 0
        """How often the server went away."""

    def ask(self, *parts: Part) -> "asyncio.Future[Any]":
        """Send a command. The future ends with the reply, or raises Away or Refused."""
        wire = self._wire
        if wire is None or len(wire.waiting) >= MAX_WAITING:
            raise Away
        return wire.ask(parts)

    async def run(self) -> None:
        """Connect, watch, connect again."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                wire = await self._connect()
            except (OSError, TimeoutError, Away, Refused) as error:
                if pause == FIRST_PAUSE_S:
                    log.warning("valkey can't be reached: %s", error or type(error).__name__)
                self.tried.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
                continue
            pause = FIRST_PAUSE_S
            self.tried.set()
            try:
                await self._watch(wire)
            finally:
                self.up, self._wire = False, None
                wire.give_up()
            self.losses += 1
            log.warning("valkey is away")

    async def _connect(self) -> "_Wire":
        at = self._address
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s):
            if at.path:
                _, wire = await loop.create_unix_connection(_Wire, at.path)
            else:
                tls = ssl.create_default_context() if at.tls else None
                _, wire = await loop.create_connection(_Wire, at.host, at.port, ssl=tls)
        try:
            async with asyncio.timeout(self._timeout_s):
                if at.password:
                    await wire.ask(("AUTH", *([at.user] if at.user else []), at.password))
                if at.number:
                    await wire.ask(("SELECT", at.number))
                for script in self._scripts:
                    await wire.ask(("SCRIPT", "LOAD", script))
                await wire.ask(("PING",))
        except BaseException:
            wire.give_up()
            raise
        self._wire = wire
        self.on_up()
        self.up = True
        return wire

    async def _watch(self, wire: "_Wire") -> None:
        """Return when the connection is lost, or the oldest command has waited too long."""
        while not wire.lost:
            oldest = wire.sent
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await wire.ended.wait()
            if wire.waiting and wire.answered < oldest:  # nothing that was sent before this wait came back
                return
            if not wire.lost and not wire.waiting:
                wire.ask(("PING",)).add_done_callback(_seen)  # a half-open connection shows at the next look


class _Wire(asyncio.Protocol):
    """One open connection: replies come in the order of commands."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.sent = self.answered = 0
        self.lost = False
        self.ended = asyncio.Event()
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's protocol is given a Transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True
        self.ended.set()
        waiting, self.waiting = self.waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(Away())

    def give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def ask(self, parts: Sequence[Part]) -> "asyncio.Future[Any]":
        if self.lost or self._transport is None:
            raise Away
        self._transport.write(encode(parts))
        future: asyncio.Future[Any] = self._loop.create_future()
        self.waiting.append(future)
        self.sent += 1
        return future

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at = 0
        try:
            while (found := decode(data, at)) is not None:
                value, at = found
                self.answered += 1
                future = self.waiting.popleft()
                if future.done():
                    continue  # who asked was cancelled
                if isinstance(value, Refused):
                    future.set_exception(value)
                    if str(value).startswith(START_OVER):
                        self.give_up()
                        return
                else:
                    future.set_result(value)
        except (ValueError, IndexError):
            self.give_up()
            return
        self._rest = data[at:]
        if len(self._rest) > MAX_REPLY_BYTES:
            self.give_up()


def encode(parts: Sequence[Part]) -> bytes:
    """A command as an array of bulk strings."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(out)


def decode(data: bytes, at: int) -> tuple[Any, int] | None:
    """(value, end) of the reply that begins at `at`; None while it is not whole. Raises ValueError for rubbish."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, line, after = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b":":
        return int(line), after
    if kind == b"+":
        return line, after
    if kind == b"-":
        return Refused(line.decode("utf-8", "replace")), after
    size = int(line)
    if kind == b"$":
        if size < 0:
            return None if size < -1 else (None, after)
        stop = after + size
        return (data[after:stop], stop + 2) if len(data) >= stop + 2 else None
    if kind == b"*":
        values = []
        for _ in range(size):
            found = decode(data, after)
            if found is None:
                return None
            values.append(found[0])
            after = found[1]
        return values, after
    raise ValueError(f"{kind!r} begins no reply")


class Address:
    """Where a `redis://`, `rediss://` or `unix://` URL leads."""

    def __init__(self, host: str, port: int, path: str, *, tls: bool, user: str, password: str, number: int):
        self.host, self.port, self.path, self.tls = host, port, path, tls
        self.user, self.password, self.number = user, password, number


def address(url: str) -> Address:
    """Read a URL. Raises SettingsError, without the password that it may hold."""
    parts = urlsplit(url)
    number = parts.path.strip("/")
    unix = parts.scheme == "unix"
    if parts.scheme not in {"redis", "rediss", "valkey", "valkeys", "unix"} or (
        number and not unix and not number.isdigit()
    ):
        raise SettingsError(
            f"shared.url: {parts.scheme}://... is not understood; use redis://[user:password@]host[:port][/number], "
            "rediss:// for TLS, or unix:///path"
        )
    return Address(
        parts.hostname or "127.0.0.1",
        parts.port or 6379,
        parts.path if unix else "",
        tls=parts.scheme in {"rediss", "valkeys"},
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        number=0 if unix else int(number or 0),
    )


def digest(script: str) -> str:
    """A script's name for EVALSHA."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _seen(future: "asyncio.Future[Any]") -> None:
    """Take note of the outcome, so that asyncio does not call it forgotten."""
    if not future.cancelled():
        future.exception()
