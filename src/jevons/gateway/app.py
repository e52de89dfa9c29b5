"""The ASGI application: paths to surfaces, a request to a Call, and the answers that need no pipeline.

What lives here: the hot path from bytes to a driven pipeline, in raw ASGI (a framework costs 1.2-1.5x here). What it
must not know: what levers do, how rows are written, what a token costs.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError, JevonsError, NotFound, OurError
from jevons.engines.catalogue import Catalogue
from jevons.gateway.asgi import ASGIReceive, ASGISend, read_body, send_error, wanted
from jevons.gateway.auth import Keys
from jevons.gateway.drive import LEASE_S, Drive, World
from jevons.gateway.metrics import Metrics
from jevons.gateway.pages import Page
from jevons.levers.lever import View
from jevons.pipeline.run import House, run
from jevons.wire.peek import peek as peek_at

log = logging.getLogger("jevons.gateway")

PATHS = {
    "/v1/chat/completions": Surface.CHAT,
    "/v1/responses": Surface.RESPONSES,
    "/v1/messages": Surface.MESSAGES,
    "/v1/messages/count_tokens": Surface.COUNT_TOKENS,
    "/v1/embeddings": Surface.EMBEDDINGS,
}
WATCH_AFTER_S = 0.25
"""A call younger than this is not watched for its caller's leaving: most end before, and a watcher costs a task."""


class Gateway:
    """The application. Its parts are given; `sweep` is called a few times a second by whoever runs it."""

    def __init__(
        self,
        *,
        world: World,
        house: House,
        catalogue: Catalogue,
        keys: Keys,
        metrics: Metrics,
        view: Callable[[Call], View],
        pages: Mapping[str, Page],
        max_body_bytes: int,
    ):
        self.world = world
        self.house = house
        self.catalogue = catalogue
        self.keys = keys
        self.metrics = metrics
        self.active: set[Drive] = set()
        self.draining = False
        self._view = view
        self._pages = pages
        self._max_body = max_body_bytes
        self._node = secrets.token_hex(4)
        self._number = itertools.count()
        self._watchers: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        if scope["type"] != "http":
            await _lifespan(scope, receive, send)
            return
        surface = PATHS.get(scope["path"])
        if surface is not None and scope["method"] == "POST":
            await self._serve(surface, scope, receive, send)
            return
        await self._elsewhere(surface, scope, receive, send)

    async def _serve(
        self, surface: Surface, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> None:
        drive: Drive | None = None
        try:
            headers = wanted(scope["headers"])
            caller = self.keys.caller(headers)
            body = await read_body(headers, receive, self._max_body)
            peek = peek_at(surface, body)
            now = time.time()
            call = Call(
                operation=f"op_{int(now * 1e6):014x}{self._node}{next(self._number) & 0xFFFFFF:06x}",
                surface=surface,
                caller=caller,
                peek=peek,
                body=body,
                headers=headers,
                at=now,
            )
            view = self._view(call)
            view.routes = self.catalogue.routes(peek.model)
            drive = Drive(call, self.world, send, receive)
            self.active.add(drive)
            await drive.run(run(call, view, self.house))
        except JevonsError as error:
            self.metrics.refuse(error.code)
            await send_error(send, surface, error)
        except Exception:  # a fault of ours must still be an answer in the caller's dialect
            log.exception("a call failed inside the gateway")
            self.metrics.refuse("internal_error")
            if drive is None or not drive.answered:
                await send_error(send, surface, OurError("the gateway failed on this call; its log says more"))
            else:
                raise
        finally:
            if drive is not None:
                self.active.discard(drive)

    async def _elsewhere(
        self, surface: Surface | None, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> None:
        path: str = scope["path"]
        page = self._pages.get(path) or self._pages.get(path[: path.rfind("/") + 1])
        if page is None or surface is not None:
            self.metrics.refuse("not_found")
            if surface is not None:
                error: JevonsError = CallerError(f"{scope['path']} takes POST", code="method_not_allowed", status=405)
            else:
                error = NotFound(f"there is nothing at {scope['path']}; the surfaces are {', '.join(PATHS)}")
            await send_error(send, surface or Surface.CHAT, error)
            return
        await page(scope, receive, send)

    def sweep(self) -> None:
        """Expire late upstreams, and begin to watch callers of calls that take their time."""
        for upstream in list(self.world.upstreams.values()):
            upstream.sweep()
        self.world.counters.expire(time.time())
        now = time.monotonic()
        for drive in self.active:
            if now - drive.renewed > LEASE_S / 4:
                drive.renewed = now
                self.world.counters.renew(drive.call.operation, time.time() + LEASE_S)
            if not drive.watched and now - drive.begun > WATCH_AFTER_S:
                drive.watched = True
                task = asyncio.ensure_future(drive.watch())
                self._watchers.add(task)
                task.add_done_callback(self._watchers.discard)


async def _lifespan(scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
    """Start and stop are the runner's business; the protocol wants an answer all the same."""
    if scope["type"] != "lifespan":
        return
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
