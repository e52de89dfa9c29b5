"""A whole gateway in a thread, in front of a provider simulator: official SDKs talk to it over real sockets."""

import asyncio
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from jevons.engines.simulated import Simulator, start
from jevons.gateway.house import Housekeeping
from jevons.gateway.serve import Server
from jevons.ledger.operation import Operation
from jevons.plans import key as keys
from jevons.plans.plan import Book, read
from jevons.settings import parse
from jevons.store import keys as key_rows
from jevons.store import plans as plan_rows
from jevons.store.migrate import open_database

SECRET = "sk-jv-test-" + "a" * 32
PATIENCE_S = 15.0


class Running:
    """A running gateway. `booked` are the operations that its ledger was given, in order."""

    def __init__(self, server: Server, housekeeping: Housekeeping, port: int, secret: str):
        self.server, self.housekeeping, self.secret = server, housekeeping, secret
        self.url = f"http://127.0.0.1:{port}"
        self.database = housekeeping.settings.database.url
        self.booked: list[Operation] = []
        self.http = httpx.Client(timeout=PATIENCE_S)
        self.clients: list[openai.OpenAI | anthropic.Anthropic | httpx.Client] = [self.http]
        inner = housekeeping.world.book

        def book(operation: Operation) -> Any:
            self.booked.append(operation)
            return inner(operation)

        housekeeping.world.book = book

    def openai(self, **options: Any) -> openai.OpenAI:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.secret, **{"max_retries": 0, **options})
        self.clients.append(client)
        return client

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        client = anthropic.Anthropic(base_url=self.url, api_key=self.secret, **{"max_retries": 0, **options})
        self.clients.append(client)
        return client

    def post(self, path: str, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = {"authorization": f"Bearer {self.secret}", "content-type": "application/json", **headers}
        return self.http.post(self.url + path, headers=headers, **content)  # type: ignore[arg-type]

    def last(self, count: int = 1) -> Operation:
        """The operation booked last, once `count` are there."""
        wait_until(lambda: len(self.booked) >= count)
        return self.booked[-1]


def wait_until(done: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def gateway(
    folder: Path,
    upstream: Simulator,
    toml: str = "",
    *,
    secrets: tuple[tuple[str, str, str], ...] = (),
    plans: str = "",
    environ: dict[str, str] | None = None,
) -> Iterator[Running]:
    """A gateway on a fresh database. `secrets`: further (secret, customer, plan). `environ`: further variables."""
    port = free_port()
    tree = tomllib.loads(toml)
    tree.setdefault("server", {}).update(port=port, drain_s=1.0)
    tree.setdefault("database", {})["url"] = f"sqlite:///{folder}/jevons.db"
    tree.setdefault("local", {"enabled": False})
    tree.setdefault("pages", {"enabled": False})
    tree.setdefault("retry", {"base_s": 0.01})
    settings = parse(tree, "test")
    with open_database(settings.database.url) as db:
        known = {key.digest for key in key_rows.every(db)}  # a second gateway on the same folder goes on with its keys
        for number, (secret, customer, plan) in enumerate(((SECRET, "", ""), *secrets)):
            if keys.digest(secret) in known:
                continue
            key = keys.make(secret, name=f"test{number}", customer=customer, plan=plan, created=time.time())
            key_rows.add(db, key)
        book: Book = read(tomllib.loads(plans))
        plan_rows.apply(db, book, who="test", at=0.0)
    variables = {
        "OPENAI_API_KEY": "sk-sim-openai",
        "OPENAI_BASE_URL": upstream.openai_url,
        "ANTHROPIC_API_KEY": "sk-sim-anthropic",
        "ANTHROPIC_BASE_URL": upstream.url,
        **(environ or {}),
    }
    housekeeping = Housekeeping(settings, variables)
    server = Server(housekeeping)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, PATIENCE_S)
    running = Running(server, housekeeping, port, SECRET)
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture(scope="session")
def simulators() -> Iterator[Simulator]:
    with start() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def shared_gateway(simulators: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway(tmp_path_factory.mktemp("gateway"), simulators) as running:
        yield running


@pytest.fixture
def simulator(simulators: Simulator) -> Simulator:
    simulators.reset()
    return simulators


@pytest.fixture
def running(shared_gateway: Running, simulator: Simulator) -> Running:
    """The shared gateway with an empty list of bookings, its cache and breakers forgotten."""
    shared_gateway.booked.clear()
    shared_gateway.housekeeping.world.answers.purge(next(iter({key.tenant for key in _keys(shared_gateway)}), ""))
    for upstream in shared_gateway.housekeeping.world.upstreams.values():
        upstream._breakers.clear()
    return shared_gateway


def _keys(running: Running) -> list[keys.Key]:
    with open_database(running.database) as db:
        return key_rows.every(db)
