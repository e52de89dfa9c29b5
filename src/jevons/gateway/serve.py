"""Runs the gateway in the foreground: one uvicorn server, started and drained in order.

What lives here: the server's bounds and its life. What it must not know: calls.
"""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping

import uvicorn

from jevons.gateway.greeting import first_key, greeting
from jevons.gateway.house import Housekeeping
from jevons.gateway.protocol import Protocol
from jevons.gateway.trial import trial
from jevons.settings import Settings

KEEP_ALIVE_S = 75
"""Longer than the usual 60 s of a load balancer, so that it and not we close an idle connection."""
BACKLOG = 4096
GC_THRESHOLDS = (50_000, 20, 50)


def config(housekeeping: Housekeeping) -> uvicorn.Config:
    """uvicorn's settings: uvloop and httptools, no access log (the ledger is one), no header that names the server."""
    server = housekeeping.settings.server
    return uvicorn.Config(
        housekeeping.gateway,
        host=server.host,
        port=server.port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(server.drain_s)),
    )


class Server(uvicorn.Server):
    """uvicorn's server, which also starts and stops the house. `greet` runs once it listens."""

    def __init__(self, housekeeping: Housekeeping, greet: Callable[[], Awaitable[None]] | None = None):
        super().__init__(config(housekeeping))
        self._housekeeping = housekeeping
        self.greet = greet
        self._greeting: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._housekeeping.start()
        await super().startup(sockets)
        if self.started and self.greet is not None:
            self._greeting = asyncio.ensure_future(self.greet())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._housekeeping.gateway.draining = True
        if self._greeting is not None:
            self._greeting.cancel()
        await super().shutdown(sockets)
        await self._housekeeping.stop()


def calm() -> None:
    """Let the garbage collector look less often: calls leave no cycles behind, and what is remembered of tasks is young
    and many. What is here at the start is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def serve(settings: Settings, environ: Mapping[str, str], *, with_trial: bool = False) -> int:
    """Serve until a signal; say where, and with which key when it is the first start. Returns the exit status."""
    secret = None if settings.access.anonymous else first_key(settings.database.url)
    housekeeping = Housekeeping(settings, environ)
    host = settings.server.host
    address = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{settings.server.port}"  # noqa: S104

    async def greet() -> None:
        if not with_trial:
            print(greeting(address, secret, next(iter(housekeeping.catalogue.names()), "MODEL")), flush=True)
            return
        print(f"listening at {address}; the local model loads ...", flush=True)
        await housekeeping.local.started()
        print(await trial(housekeeping, address), flush=True)
        print(greeting(address, secret, housekeeping.local.model or "MODEL"), flush=True)

    server = Server(housekeeping, greet)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn hands the signal on once all is closed; Ctrl-C is a good end
        calm()
        server.run()
    return 0 if server.started else 1
