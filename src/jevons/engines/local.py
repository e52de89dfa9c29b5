"""The local engine: a child process in which llama.cpp serves HTTP on loopback, kept alive from here.

To the gateway it is one more upstream. What lives here: starting it with a clear error when it can't start, seeing
that it is well, starting it again after a crash (which costs only the calls inside it), and leaving no orphan. What
must not be here: calls, prompts, prices.
"""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sys
import time
from pathlib import Path

import msgspec

from jevons.core.route import Provider
from jevons.engines.local_child import KV_TYPES, Options
from jevons.engines.local_gguf import ModelError, ModelFile, read

KEY_VARIABLE = "JEVONS_LOCAL_KEY"
"""The name under which the gateway hands the engine's key to its upstream; it never leaves the two processes."""
SURFACES = {"openai": ("chat",), "anthropic": ("messages", "count_tokens")}
"""What llama.cpp answers as the official SDKs expect it. Its Responses stream lacks sequence numbers and indexes
(docs/decisions/0030), so that surface is translated to chat."""
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 3.0
CHECK_EVERY_S = 5.0
CHECK_TIMEOUT_S = 4.0
MAX_FAILED_CHECKS = 6
"""A server silent for so many checks is hung: it is killed and started again."""
BACKOFF_S = (0.2, 10.0)
"""First and longest pause before a new start; it doubles with each crash in a row."""
STEADY_S = 60.0
"""A child that lived this long starts the count of crashes anew."""
MAX_LOG_BYTES = 4 * 1024 * 1024
KEPT_LOG_BYTES = 256 * 1024
COMPUTE_BYTES = 200 * 1024 * 1024
"""Scratch memory beside weights and KV cache: 60 to 180 MiB measured for models up to 1.7B."""


class Health(msgspec.Struct, frozen=True):
    """What /readyz and doctor say of the engine."""

    ready: bool
    pid: int
    restarts: int
    up_s: float
    error: str
    resident_bytes: int


class LocalEngine:
    """One model, served. `await start()` returns when it answers; `url`, `key` and `provider()` lead there.

    `threads=0` takes every core that the process may use. `ctx` is the context of each of the `slots` calls that run
    at once. `port=0` takes a free port and keeps it over restarts. Raises ModelError from `start` (and only from
    there) when the file is missing, truncated or foreign, or when memory or time don't suffice.
    """

    def __init__(
        self,
        model_path: str | Path,
        *,
        port: int = 0,
        threads: int = 0,
        slots: int = 4,
        ctx: int = 4096,
        cache_ram_mib: int = 256,
        kv_type: str = "f16",
        log_path: str | Path | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ):
        if kv_type not in KV_TYPES:
            raise ModelError(f"local.kv_type: {kv_type!r} is not one of {', '.join(KV_TYPES)}")
        self.model_path = Path(model_path)
        self.key = secrets.token_hex(24)
        self._port = port
        self._threads = threads or len(os.sched_getaffinity(0))
        self._slots, self._ctx, self._cache_ram_mib, self._kv_type = slots, ctx, cache_ram_mib, kv_type
        self._log_path = Path(log_path) if log_path else None
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._started_at = 0.0
        self._error = ""
        self._log_from = 0
        self.restarts = 0
        self.model: ModelFile | None = None

    # --- for the gateway

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The child's process id; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    def provider(self, name: str = "local", dialect: str = "openai") -> Provider:
        """The engine as an upstream. The key is to be found under KEY_VARIABLE."""
        base = f"{self.url}/v1" if dialect == "openai" else self.url
        return Provider(
            name=name, dialect=dialect, base_url=base, key_env=KEY_VARIABLE, surfaces=SURFACES[dialect],
            price_provider=name, local=True, private=True,
        )  # fmt: skip

    async def start(self) -> None:
        """Start and wait until it answers. Raises ModelError."""
        self.model = await asyncio.to_thread(read, self.model_path)
        self._check_memory(self.model)
        if not self._port:
            self._port = free_port()
        await self._spawn()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """End the child; returns when it is gone."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._end()

    async def wait_ready(self, timeout_s: float) -> bool:
        """True when it answers within the time: for callers that would rather wait out a restart."""
        try:
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def health(self) -> Health:
        """Asks the child now."""
        well = self.pid != 0 and await self._answers()
        return Health(
            ready=self.ready and well, pid=self.pid, restarts=self.restarts,
            up_s=time.monotonic() - self._started_at if self.pid else 0.0, error=self._error,
            resident_bytes=resident_bytes(self.pid),
        )  # fmt: skip

    # --- the child's life

    async def _spawn(self) -> None:
        options = Options(
            model=str(self.model_path), port=self._port, key=self.key, threads=self._threads, slots=self._slots,
            context_tokens=self._ctx, cache_ram_mib=self._cache_ram_mib, kv_type=self._kv_type,
        )  # fmt: skip
        log = self._open_log()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "jevons.engines.local_child",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        finally:
            os.close(log)
        try:
            await asyncio.wait_for(self._greet(self._process, options), self._start_timeout_s)
        except TimeoutError:
            await self._end()
            raise ModelError(
                f"{self.model_path}: the local engine did not start within {self._start_timeout_s:.0f} s. "
                f"{self._log_tail()}"
            ) from None
        except BaseException:
            await self._end()
            raise
        self._started_at = time.monotonic()
        self._error = ""
        self._ready.set()

    async def _greet(self, process: asyncio.subprocess.Process, options: Options) -> None:
        """Send the options, read the answer."""
        assert process.stdin is not None  # noqa: S101 - made with pipes above
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(options) + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended with status {await process.wait()}"}
        if "error" in answer:
            raise ModelError(f"{self.model_path}: llama.cpp can't serve it: {answer['error']}. {self._log_tail()}")

    async def _keep(self) -> None:
        """Watch the child; start it again when it dies or hangs."""
        crashes = 0
        while True:
            await self._watch()
            self._ready.clear()
            status = self._process.returncode if self._process is not None else None
            crashes = 1 if time.monotonic() - self._started_at > STEADY_S else crashes + 1
            self._error = f"the local engine ended with status {status} and is started again"
            await self._end()
            first, longest = BACKOFF_S
            await asyncio.sleep(min(first * 2 ** (crashes - 1), longest))
            try:
                await self._spawn()
                self.restarts += 1
            except (ModelError, OSError) as error:
                self._error = str(error)
                self._started_at = time.monotonic()

    async def _watch(self) -> None:
        """Returns when the child is dead or hung."""
        failed = 0
        while self._process is not None and failed < MAX_FAILED_CHECKS:
            try:
                await asyncio.wait_for(self._process.wait(), CHECK_EVERY_S)
            except TimeoutError:
                failed = 0 if await self._answers() else failed + 1
                self._trim_log()
            else:
                return

    async def _answers(self) -> bool:
        try:
            return await asyncio.wait_for(asks_health(self._port), CHECK_TIMEOUT_S)
        except (OSError, TimeoutError):
            return False

    async def _end(self) -> None:
        """Close the child's input, which ends it; kill it when it doesn't."""
        self._ready.clear()
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    # --- memory and log

    def _check_memory(self, model: ModelFile) -> None:
        """Raises ModelError when the model can't fit into what is free."""
        kv = model.kv_bytes_per_token(self._kv_type) * self._ctx * self._slots
        need = model.size_bytes + kv + COMPUTE_BYTES
        free = free_bytes()
        if free is not None and need > free:
            mib = 1024 * 1024
            raise ModelError(
                f"{self.model_path}: needs about {need // mib} MiB ({model.size_bytes // mib} for the weights, "
                f"{kv // mib} for {self._slots} contexts of {self._ctx} tokens), and {free // mib} MiB are free. Lower "
                "local.context_tokens or local.slots, or choose a smaller model."
            )

    def _open_log(self) -> int:
        if self._log_path is None:
            return os.open(os.devnull, os.O_WRONLY)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_from = os.fstat(log).st_size
        return log

    def _trim_log(self) -> None:
        """Keep the log's tail when it has grown past its bound; the child appends, so it goes on behind it."""
        if self._log_path is not None and self._log_path.exists() and self._log_path.stat().st_size > MAX_LOG_BYTES:
            tail = self._log_path.read_bytes()[-KEPT_LOG_BYTES:]
            self._log_path.write_bytes(tail)

    def _log_tail(self) -> str:
        if self._log_path is None or not self._log_path.exists():
            return ""
        lines = self._log_path.read_bytes()[self._log_from :].decode(errors="replace").strip().splitlines()
        return "" if not lines else f"Its log ({self._log_path}) ends: {' / '.join(lines[-3:])}"


async def asks_health(port: int) -> bool:
    """GET /health on loopback, without a client library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_bytes() -> int | None:
    """Memory that a new process can have: the machine's, or the control group's when that is less."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    machine = next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:")), None
    )
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return machine
    if limit == "max" or machine is None:
        return machine
    return min(machine, max(0, int(limit) - used))


def resident_bytes(pid: int) -> int:
    """A process's resident set; 0 when there is none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) if pid else 0
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
