"""The dashboard's door: `/`, `/ui/...` and `/static/...` go to the pages process, which starts at the first visit.

What lives here: when that process runs, and a request and an answer on their way over loopback. What it must not know:
any page, any session. Its own headers replace what a browser claims about where it comes from.
"""

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from jevons.core.call import Surface
from jevons.core.errors import CallerError, JevonsError, OurError
from jevons.engines.catalogue import Catalogue
from jevons.engines.http import Exchange, ExchangeFailed, Limits, Pool
from jevons.engines.local_process import Child
from jevons.engines.pages import Options, ShownProvider
from jevons.gateway.asgi import ASGIReceive, ASGISend, read_body, send_error

log = logging.getLogger("jevons.front")

PATHS = ("/", "/ui/", "/static/")
START_TIMEOUT_S = 20.0
MAX_BODY_BYTES = 256 * 1024
"""A form; the largest is a file of plans."""
MOST_CONNECTIONS = 128
"""To the pages process; each open dashboard with live figures holds one."""
LIMITS = Limits(connect_s=2.0, first_byte_s=30.0, idle_s=60.0, total_s=3600.0)
"""A live stream says something every 15 s and ends by itself before the hour."""
ASKED = frozenset({b"accept", b"accept-language", b"content-type", b"cookie", b"host", b"if-none-match", b"origin",
                   b"last-event-id"})  # fmt: skip
ANSWERED = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server"})
"""Headers of one hop, which are not passed on."""


class Front:
    """See the module's first lines. A page for each of PATHS."""

    def __init__(self, database: str, catalogue: Catalogue):
        self._database = database
        self._catalogue = catalogue
        self._child: Child | None = None
        self._pool: Pool | None = None
        self._starting = asyncio.Lock()

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        exchange: Exchange | None = None
        try:
            body = await read_body({}, receive, MAX_BODY_BYTES) if scope["method"] == "POST" else b""
            exchange = await self._ask(scope, body)
        except JevonsError as error:
            await send_error(send, Surface.CHAT, error)
            return
        except ExchangeFailed as failure:
            message = f"the dashboard does not answer ({failure}); it is started again, calls go on"
            await send_error(send, Surface.CHAT, OurError(message))
            return
        leaving = asyncio.ensure_future(_left(receive, exchange))
        try:
            await _answer(exchange, send)
        finally:
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving

    def sweep(self) -> None:
        """Expire late exchanges; called with the upstreams'."""
        if self._pool is not None:
            self._pool.sweep()

    async def stop(self) -> None:
        if self._pool is not None:
            self._pool.close()
        if self._child is not None:
            await self._child.stop()

    async def _ask(self, scope: MutableMapping[str, Any], body: bytes) -> Exchange:
        """Raises ExchangeFailed, CallerError, OurError."""
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            raise CallerError("pages take GET and POST", code="method_not_allowed", status=405, allow="GET, HEAD, POST")
        pool = await self._ready()
        return await pool.send(_head(scope, pool.authority, len(body)), body, LIMITS, stream=True)

    async def _ready(self) -> Pool:
        """The pool to a running pages process. Raises OurError when it does not start."""
        async with self._starting:
            if self._pool is None:
                child = Child(
                    "jevons.web",
                    lambda port: Options(database=self._database, port=port, providers=shown(self._catalogue)),
                    name="the dashboard",
                    log_path=Path(".jevons") / "pages.log",
                    start_timeout_s=START_TIMEOUT_S,
                )
                try:
                    await child.start()
                except JevonsError as error:
                    log.warning("no dashboard: %s", error.message)
                    raise OurError(error.message) from None
                self._child, self._pool = child, Pool(child.url, max_connections=MOST_CONNECTIONS)
            return self._pool


def shown(catalogue: Catalogue) -> tuple[ShownProvider, ...]:
    """The catalogue as the settings page shows it."""
    served: dict[str, list[str]] = {}
    for model in catalogue.names():
        for route in catalogue.routes(model):
            served.setdefault(route.provider.name, []).append(model)
    return tuple(
        ShownProvider(
            name=provider.name,
            dialect=provider.dialect,
            base_url=provider.base_url,
            key_from=provider.key_env or provider.key_file,
            local=provider.local,
            models=tuple(served.get(provider.name, ())),
        )
        for provider in catalogue.providers.values()
    )


def _head(scope: MutableMapping[str, Any], authority: str, length: int) -> bytes:
    """The request's head. Where the caller is and how it came are our words, not the browser's."""
    path = scope["raw_path"].partition(b"?")[0]
    query = scope["query_string"]
    target = path + (b"?" + query if query else b"")
    method = b"POST" if scope["method"] == "POST" else b"GET"  # the server in front leaves a HEAD's body out
    lines = [method + b" " + target + b" HTTP/1.1"]
    headers = [(name, value) for name, value in scope["headers"] if name in ASKED]
    lines += [name + b": " + value for name, value in headers]
    if not any(name == b"host" for name, _ in headers):
        lines.append(b"host: " + authority.encode())
    client = scope.get("client")
    lines.append(b"x-jevons-client: " + (client[0].encode() if client else b"unknown"))
    forwarded = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    lines.append(b"x-jevons-scheme: " + (b"https" if b"https" in (forwarded, scope["scheme"].encode()) else b"http"))
    lines += [b"content-length: %d" % length, b"", b""]
    return b"\r\n".join(lines)


async def _answer(exchange: Exchange, send: ASGISend) -> None:
    """The answer as it comes. One that is cut after its head ends the connection, as a cut answer must."""
    headers = [(name, value) for name, value in exchange.headers if name not in ANSWERED]
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    with contextlib.suppress(ExchangeFailed):
        async for piece in exchange.pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: ASGIReceive, exchange: Exchange) -> None:
    """When the browser leaves, its page is not waited for."""
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.abort()
