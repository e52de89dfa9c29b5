"""The child process that serves /v1/embeddings on loopback, as OpenAI's API reference writes it.

Started by `EmbedEngine` (or as `python -m jevons.engines.embed_server`), by the protocol of `local_process.py`.
Concurrent requests share batches: one that arrives while the model runs goes into the next run, and the first of a
batch waits WINDOW_S for company. It must not know the gateway.
"""

import asyncio
import base64
import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from jevons.core.route import Provider
from jevons.engines.embed import MAX_BATCH, MAX_TOKENS, MODEL, WIDTH, Embedded, Embedder, EmbedError
from jevons.engines.local_process import Child, ChildError, Health, follow_parent

KEY_VARIABLE = "JEVONS_EMBED_KEY"
WINDOW_S = 0.002
"""What a lone request pays for the chance of company; the model itself takes some 5 ms a text."""
MAX_INPUTS = 2048
"""OpenAI's own limit on inputs of one request."""
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_WAITING = 8192
"""Texts in the queue; beyond it requests are refused with 429."""
START_TIMEOUT_S = 60.0
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server is started with. A `socket` path takes the port's place."""

    port: int = 0
    key: str = ""
    threads: int = 1
    window_s: float = WINDOW_S
    socket: str = ""


class Refused(Exception):
    """The request can't be served; the message says why."""

    def __init__(self, status: int, message: str, param: str | None = None):
        super().__init__(message)
        self.status, self.message, self.param = status, message, param


class Request(msgspec.Struct):
    """The fields of an embeddings request that matter here."""

    input: str | list[str]
    model: str = MODEL
    encoding_format: str = "float"
    dimensions: int | None = None


class Batcher:
    """Texts of concurrent requests, embedded together. One run at a time, in a thread of its own."""

    def __init__(self, embed: Callable[[list[str]], Embedded], window_s: float):
        self._embed, self._window_s = embed, window_s
        self._waiting: list[tuple[list[str], asyncio.Future[Embedded]]] = []
        self._texts = 0
        self._running: asyncio.Task[None] | None = None
        self.runs = 0

    async def read(self, texts: list[str]) -> Embedded:
        """Raises Refused when too much is waiting."""
        if self._texts + len(texts) > MAX_WAITING:
            raise Refused(429, f"{self._texts} texts are waiting already; try again")
        future: asyncio.Future[Embedded] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        self._texts += len(texts)
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            if self._texts < MAX_BATCH:
                await asyncio.sleep(self._window_s)
            while self._waiting:
                await self._once(self._take())
        finally:
            self._running = None

    def _take(self) -> list[tuple[list[str], "asyncio.Future[Embedded]"]]:
        """The oldest requests up to a batch, at least one; those whose caller has gone are dropped."""
        taken: list[tuple[list[str], asyncio.Future[Embedded]]] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0][0]) <= MAX_BATCH):
            texts, future = self._waiting.pop(0)
            self._texts -= len(texts)
            if not future.cancelled():
                taken.append((texts, future))
                size += len(texts)
        return taken

    async def _once(self, taken: list[tuple[list[str], "asyncio.Future[Embedded]"]]) -> None:
        texts = [text for part, _ in taken for text in part]
        if not texts:
            return
        self.runs += 1
        try:
            done = await asyncio.to_thread(self._embed, texts)
        except Exception as error:  # whatever the native library throws belongs to these callers, and to no other
            for _, future in taken:
                if not future.done():
                    future.set_exception(Refused(500, f"the embedding model failed: {error}"))
            return
        start = 0
        for part, future in taken:
            end = start + len(part)
            cut = [index - start for index in done.cut if start <= index < end]
            if not future.done():
                future.set_result(Embedded(done.rows[start:end], done.tokens[start:end], cut))
            start = end


class App:
    """The ASGI application: /v1/embeddings, /v1/models, /health."""

    def __init__(self, batcher: Batcher, key: str):
        self._batcher, self._key = batcher, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            if path == "/health":
                await reply(send, 200, {"status": "ok"})
                return
            self._check_key(scope)
            await self._answer(f"{method} {path}", receive, send)
        except Refused as refused:
            kind = "invalid_request_error" if refused.status < 500 else "server_error"
            body = {"message": refused.message, "type": kind, "param": refused.param, "code": None}
            await reply(send, refused.status, {"error": body})

    async def _answer(self, what: str, receive: Receive, send: Send) -> None:
        if what == "POST /v1/embeddings":
            await self._embeddings(receive, send)
        elif what == "GET /v1/models":
            row = {"id": MODEL, "object": "model", "created": 0, "owned_by": "local"}
            await reply(send, 200, {"object": "list", "data": [row]})
        else:
            raise Refused(404, f"there is no {what} here")

    def _check_key(self, scope: Scope) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
        if self._key and not secrets.compare_digest(given, self._key.encode()):
            raise Refused(401, "invalid API key")

    async def _embeddings(self, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        try:
            request = msgspec.json.decode(body, type=Request)
        except msgspec.MsgspecError as error:
            raise Refused(400, f"{error}. Inputs are a text or a list of texts; token ids are not taken.") from None
        texts = [request.input] if isinstance(request.input, str) else request.input
        check(request, texts)
        done = await self._batcher.read(texts)
        used = sum(done.tokens)
        headers = []
        if done.cut:
            warning = f"embeddings: {len(done.cut)} of {len(texts)} inputs were cut to {MAX_TOKENS} tokens"
            headers.append((b"x-jevons-warnings", warning.encode()))
        rows: list[Any]
        if request.encoding_format == "base64":
            rows = [base64.b64encode(row.tobytes()).decode() for row in done.rows]
        else:
            rows = done.rows.tolist()
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        usage = {"prompt_tokens": used, "total_tokens": used}
        await reply(send, 200, {"object": "list", "data": data, "model": request.model, "usage": usage}, headers)


def check(request: Request, texts: list[str]) -> None:
    """Raises Refused."""
    if not texts or len(texts) > MAX_INPUTS:
        raise Refused(400, f"input must hold 1 to {MAX_INPUTS} texts, not {len(texts)}", "input")
    if not all(texts):
        raise Refused(400, "input must not hold an empty text", "input")
    if request.dimensions not in (None, WIDTH):
        raise Refused(400, f"dimensions: {MODEL} has {WIDTH}", "dimensions")
    if request.encoding_format not in ("float", "base64"):
        raise Refused(400, "encoding_format must be 'float' or 'base64'", "encoding_format")


async def read_body(receive: Receive) -> bytes:
    """Raises Refused for one that is too long or whose sender left."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client left")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body"):
            return bytes(body)


async def reply(send: Send, status: int, value: Any, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = msgspec.json.encode(value)
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


# --- the process


class Server(uvicorn.Server):
    """uvicorn's server, which says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]):
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started(self.config.uds or f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}")


async def serve(options: Options, started: Callable[[str], None]) -> None:
    """Load the model and serve it until the process ends. Raises EmbedError, OSError."""
    batcher = Batcher(Embedder.load(options.threads).read, options.window_s)
    where: dict[str, Any] = {"uds": options.socket} if options.socket else {"host": "127.0.0.1", "port": options.port}
    config = uvicorn.Config(App(batcher, options.key), log_level="warning", lifespan="off", **where)
    await Server(config, started).serve()


def main() -> int:
    """Exit status 0: the parent went. 1: it did not start; the answer line says why."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=Options)
    threading.Thread(target=follow_parent, daemon=True).start()

    def started(where: str) -> None:
        answer.write(msgspec.json.encode({"url": where}).decode() + "\n")
        answer.close()

    try:
        asyncio.run(serve(options, started))
    except (EmbedError, OSError, SystemExit) as error:
        with contextlib.suppress(ValueError):  # closed: it had started
            answer.write(msgspec.json.encode({"error": str(error)}).decode() + "\n")
            answer.close()
        return 1
    return 0


class EmbedEngine:
    """The served form, supervised. `start` raises EmbedError; `provider()` is the upstream."""

    def __init__(
        self, *, port: int = 0, threads: int = 1, window_s: float = WINDOW_S, log_path: str | Path | None = None
    ):
        self.key = secrets.token_hex(24)
        self._child = Child(
            "jevons.engines.embed_server",
            lambda at: Options(port=at, key=self.key, threads=threads, window_s=window_s),
            name="the embedding engine",
            port=port,
            log_path=Path(log_path) if log_path else None,
            start_timeout_s=START_TIMEOUT_S,
        )

    async def start(self) -> None:
        """Start and wait until it answers. Raises EmbedError."""
        try:
            await self._child.start()
        except ChildError as error:
            raise EmbedError(error.message) from None

    async def stop(self) -> None:
        await self._child.stop()

    @property
    def ready(self) -> bool:
        return self._child.ready

    @property
    def url(self) -> str:
        return self._child.url

    @property
    def pid(self) -> int:
        return self._child.pid

    async def health(self) -> Health:
        return await self._child.health()

    def provider(self, name: str = "local-embed") -> Provider:
        """The engine as an upstream. Its key is to be found under KEY_VARIABLE."""
        return Provider(
            name=name, dialect="openai", base_url=f"{self.url}/v1", key_env=KEY_VARIABLE, surfaces=("embeddings",),
            price_provider=name, local=True, private=True,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
