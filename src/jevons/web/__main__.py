"""The pages process: started by the gateway at the first visit, or by hand with `python -m jevons.web --port 8788`.

What lives here: options in, a listening server out, and its end with its parent. Started without arguments it follows
the protocol of `engines/local_process.py` (one JSON line of options, one of answer). What it must not know: any page.
"""

import argparse
import asyncio
import os
import socket
import sys
import threading
from collections.abc import Callable

import msgspec
import uvicorn

from jevons.core.errors import JevonsError
from jevons.engines.local_process import follow_parent
from jevons.engines.pages import Options
from jevons.store.db import DEFAULT_URL
from jevons.web.app import application
from jevons.web.frugal import one_arena

MOST_CONNECTIONS = 256
"""Browsers and their live streams; a team's dashboards take a few dozen."""


class Server(uvicorn.Server):
    """uvicorn's server, which says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]):
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started(self.config.uds or f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}")


def config(options: Options) -> uvicorn.Config:
    """The server's bounds. Always on loopback or a socket: the gateway is the door."""
    return uvicorn.Config(
        application(options),
        host="127.0.0.1",
        port=options.port,
        uds=options.socket or None,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )


def from_arguments(arguments: list[str]) -> Options:
    """Options of a start by hand."""
    parser = argparse.ArgumentParser(prog="python -m jevons.web", description="The dashboard without a gateway.")
    parser.add_argument("--database", default=DEFAULT_URL, help="sqlite:///PATH or postgresql://user@host/name")
    parser.add_argument("--port", type=int, default=8788, help="port on 127.0.0.1")
    parser.add_argument("--socket", default="", help="path of a Unix socket, instead of a port")
    given = parser.parse_args(arguments)
    return Options(database=given.database, port=given.port, socket=given.socket)


def supervised() -> int:
    """Exit status 0: the parent went. 1: it did not start; the answer line says why."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(value: dict[str, str]) -> None:
        if not answer.closed:
            answer.write(msgspec.json.encode(value).decode() + "\n")
            answer.close()

    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=Options)
    threading.Thread(target=follow_parent, daemon=True).start()
    try:
        asyncio.run(Server(config(options), lambda where: say({"url": where})).serve())
    except (JevonsError, OSError, SystemExit) as error:
        say({"error": str(error)})
        return 1
    return 0


def main() -> int:
    one_arena()
    if len(sys.argv) == 1 and not sys.stdin.isatty():
        return supervised()
    options = from_arguments(sys.argv[1:])
    try:
        server = Server(config(options), lambda where: print(f"the dashboard is at {where}/", flush=True))
        asyncio.run(server.serve())
    except JevonsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
