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

from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.errors import CallerError, JevonsError, NotFound, OurError
from jevons.engines.catalogue import Catalogue
from jevons.gateway.asgi import ASGIReceive, ASGISend, read_body, send_error, wanted
from jevons.gateway.auth import Keys
from jevons.gateway.binding import bind, take_key
from jevons.gateway.drive import LEASE_S, Drive, Pipeline, World
from jevons.gateway.identify import Identifier, customer_of
from jevons.gateway.metrics import Metrics
from jevons.gateway.pages import Page
from jevons.gateway.passthrough import PREFIX, look, route, target
from jevons.gateway.state import State
from jevons.levers.lever import View
from jevons.pipeline.raw import raw
from jevons.pipeline.run import House, run
from jevons.settings import Access
from jevons.wire.peek import peek_fields
from jevons.wire.toplevel import fields

log = logging.getLogger("jevons.gateway")

PATHS = {
    "/v1/chat/completions": Surface.CHAT,
    "/v1/responses": Surface.RESPONSES,
    "/v1/messages": Surface.MESSAGES,
    "/v1/messages/count_tokens": Surface.COUNT_TOKENS,
    "/v1/embeddings": Surface.EMBEDDINGS,
}
BODY_S = 120.0
"""A request whose body is not whole by then is given up: at 32 MiB that is 280 KB a second."""
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
        admits: Callable[[], None],
        pages: Mapping[str, Page],
        state: State,
        access: Access,
        max_body_bytes: int,
    ):
        self.world = world
        self.house = house
        self.catalogue = catalogue
        self.keys = keys
        self.metrics = metrics
        self.active: set[Drive] = set()
        self.draining = False
        self.identifier = Identifier()
        self._view = view
        self._admits = admits
        self._pages = pages
        self._trees = tuple((path, page) for path, page in pages.items() if path.endswith("/") and path != "/")
        self._state = state
        state.answered = self.identifier.answered
        self._access = access
        self._max_body = max_body_bytes
        self._node = secrets.token_hex(4)
        self._number = itertools.count()
        self._watchers: set[asyncio.Task[None]] = set()
        self._reading: dict[asyncio.Task[Any] | None, float] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        if scope["type"] != "http":
            await _lifespan(scope, receive, send)
            return
        surface = PATHS.get(scope["path"])
        if surface is not None and scope["method"] == "POST":
            await self._serve(surface, scope, receive, send)
            return
        if scope["path"].startswith(PREFIX):
            await self._serve(Surface.RAW, scope, receive, send)
            return
        await self._elsewhere(surface, scope, receive, send)

    async def _serve(
        self, surface: Surface, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> None:
        drive: Drive | None = None
        try:
            self._admits()
            opened = self._open_raw if surface is Surface.RAW else self._open
            drive, pipeline = await opened(surface, scope, receive, send)
            self.active.add(drive)
            await drive.run(pipeline)
        except JevonsError as error:
            self.metrics.refuse(error.code)
            await send_error(send, self._dialect(surface, scope), error)
        except Exception:  # a fault of ours must still be an answer in the caller's dialect
            log.exception("a call failed inside the gateway")
            self.metrics.refuse("internal_error")
            if drive is None or not drive.answered:
                ours = OurError("the gateway failed on this call; its log says more")
                await send_error(send, self._dialect(surface, scope), ours)
            else:
                raise
        finally:
            if drive is not None:
                self.active.discard(drive)

    async def _open(
        self, surface: Surface, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> tuple[Drive, Pipeline]:
        """A call of one of the surfaces, ready to be driven."""
        headers = wanted(scope["headers"])
        caller = customer_of(self.keys.caller(headers), headers)
        own = take_key(headers, allowed=self._access.client_provider_keys)
        body = await self._body(headers, receive)
        found = fields(body)
        call = self._call(surface, caller, headers, body, peek_fields(surface, body, found))
        call = self.identifier.identify(call, found)
        recorder = None
        if surface is Surface.RESPONSES:
            recorder = await self._state.open(call, own_key=bool(own))
            call = recorder.call
        view = self._view(call)
        view.routes = self.catalogue.routes(call.peek.model)
        if own or (recorder is not None and recorder.held_by):
            bind(view, held_by=recorder.held_by if recorder is not None else "", own_key=bool(own))
        drive = Drive(call, self.world, send, receive, provider_key=own, recorder=recorder)
        return drive, run(call, view, self.house)

    async def _open_raw(
        self, surface: Surface, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> tuple[Drive, Pipeline]:
        """A call of a provider's other path, ready to be driven."""
        headers = wanted(scope["headers"])
        caller = customer_of(self.keys.caller(headers), headers)
        own = take_key(headers, allowed=self._access.client_provider_keys)
        where = target(self.catalogue, self._access.passthrough, scope, own_key=bool(own))
        body = await self._body(headers, receive)
        call = self._call(surface, caller, headers, body, look(body), where.path, where.method)
        call = self.identifier.identify(call, {})
        view = self._view(call)
        view.routes = (route(where, call.peek),)
        return Drive(call, self.world, send, receive, provider_key=own), raw(call, view, self.house)

    async def _body(self, headers: Mapping[str, str], receive: ASGIReceive) -> bytes:
        """The body, or CallerError when it does not come: `sweep` cancels what is late, one timer for all."""
        task = asyncio.current_task()
        self._reading[task] = began = time.monotonic()
        try:
            return await read_body(headers, receive, self._max_body)
        except asyncio.CancelledError:
            if task is None or time.monotonic() - began < BODY_S:
                raise
            task.uncancel()
            raise CallerError(
                f"the body was not whole after {BODY_S:g} s", code="request_timeout", status=408
            ) from None
        finally:
            self._reading.pop(task, None)

    def _call(
        self,
        surface: Surface,
        caller: Caller,
        headers: dict[str, str],
        body: bytes,
        peek: Peek,
        path: str = "",
        method: str = "POST",
    ) -> Call:
        now = self.house.clock()
        return Call(
            operation=f"op_{int(now * 1e6):014x}{self._node}{next(self._number) & 0xFFFFFF:06x}",
            surface=surface,
            caller=caller,
            peek=peek,
            body=body,
            headers=headers,
            at=now,
            path=path,
            method=method,
        )

    def _dialect(self, surface: Surface, scope: MutableMapping[str, Any]) -> Surface:
        """In whose words an error is told: a raw call's are its provider's."""
        if surface is not Surface.RAW:
            return surface
        provider = self.catalogue.providers.get(scope["path"].removeprefix(PREFIX).partition("/")[0])
        return Surface.MESSAGES if provider is not None and provider.dialect == "anthropic" else Surface.CHAT

    async def _elsewhere(
        self, surface: Surface | None, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend
    ) -> None:
        path: str = scope["path"]
        page = self._pages.get(path) or next((page for tree, page in self._trees if path.startswith(tree)), None)
        if page is None or surface is not None:
            self.metrics.refuse("not_found")
            if surface is not None:
                code = "method_not_allowed"
                error: JevonsError = CallerError(f"{path} takes POST", code=code, status=405, allow="POST")
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
        for task in [task for task, began in self._reading.items() if now - began > BODY_S]:
            if task is not None:
                task.cancel()
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
