"""A provider simulator: OpenAI and Anthropic on loopback, with their own caches, books, invoice and scripted faults.

It is written from the providers' public API documentation and shares no code with the gateway, so that the gateway
can be checked against it. `start()` runs it in a thread of this process; `python -m jevons.engines.simulated` alone.
"""

import asyncio
import ssl
import threading
from types import TracebackType

from jevons.engines.simulated.app import App
from jevons.engines.simulated.books import Books, Line, Received
from jevons.engines.simulated.faults import KINDS as FAULTS
from jevons.engines.simulated.faults import Fault, Rule, Script
from jevons.engines.simulated.http11 import Peer
from jevons.engines.simulated.prompt import Ask, Counts, Reply, ToolCall
from jevons.engines.simulated.service import Brain, Service

__all__ = [
    "FAULTS", "Ask", "Books", "Brain", "Counts", "Fault", "Line", "Received", "Reply", "Rule", "Script", "Simulator",
    "ToolCall", "listen", "start",
]  # fmt: skip
START_S = 10.0


class Simulator:
    """A running simulator. `url` is its root: OpenAI's base URL is `url + "/v1"`, Anthropic's is `url`."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, thread: threading.Thread, url: str):
        self.url = url
        self.books = service.books
        self.service = service
        self._loop = loop
        self._thread = thread

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def advance(self, seconds: float) -> None:
        """Move its clock: caches expire, days change, batches end."""
        self.service.ahead_s += seconds

    def reset(self) -> None:
        """Forget requests, bills and caches."""
        self.books.clear()
        self.service.caches.clear()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_S)

    def __enter__(self) -> "Simulator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def listen(service: Service, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Serve on the running loop."""
    app = App(service)
    return await asyncio.get_running_loop().create_server(lambda: Peer(app), host, port, ssl=tls, backlog=1024)


def start(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    script: Script | None = None,
    seed: int = 0,
    mind: Brain | None = None,
    tls: ssl.SSLContext | None = None,
) -> Simulator:
    """Run a simulator in a daemon thread and return when it listens. `mind` may answer for the model (see Brain)."""
    service = Service(Books(), script or Script(), seed=seed, mind=mind)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    bound: list[int] = []

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(listen(service, host, port, tls))
        bound.append(server.sockets[0].getsockname()[1])
        ready.set()
        loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, name="provider simulator", daemon=True)
    thread.start()
    if not ready.wait(START_S):
        raise RuntimeError(f"the simulator did not listen on {host}:{port} within {START_S:.0f} s")
    return Simulator(service, loop, thread, f"{'https' if tls else 'http'}://{host}:{bound[0]}")
