"""A supervised child process that serves HTTP on a loopback port: started, watched, started again, never orphaned.

The child's module reads one JSON line of options from its input, answers with one JSON line (`{"url": ...}` or
`{"error": ...}`), and serves until its input ends. What must not be here: what the child serves.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from jevons.core.errors import OurError

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


class ChildError(OurError):
    """The child process did not start; the message says why and what to do."""

    code = "engine_error"


class Health(msgspec.Struct, frozen=True):
    """What /readyz and doctor say of an engine."""

    ready: bool
    pid: int
    restarts: int
    up_s: float
    error: str
    resident_bytes: int


class Child:
    """One child. `options(port)` gives the line that it is started with; the port is kept over restarts.

    `start` raises ChildError; later failures are kept in `error` and tried again with backoff.
    """

    def __init__(
        self,
        module: str,
        options: Callable[[int], msgspec.Struct],
        *,
        name: str,
        port: int = 0,
        log_path: Path | None = None,
        start_timeout_s: float,
    ):
        self._module, self._options, self._name = module, options, name
        self.port = port
        self._log_path = log_path
        self._start_timeout_s = start_timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._started_at = 0.0
        self._log_from = 0
        self.error = ""
        self.restarts = 0

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The child's process id; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start and wait until it answers. Raises ChildError."""
        if not self.port:
            self.port = free_port()
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
        up_s = time.monotonic() - self._started_at if self.pid else 0.0
        return Health(self.ready and well, self.pid, self.restarts, up_s, self.error, resident_bytes(self.pid))

    # --- the child's life

    async def _spawn(self) -> None:
        log = self._open_log()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        finally:
            os.close(log)
        try:
            await asyncio.wait_for(self._greet(self._process), self._start_timeout_s)
        except TimeoutError:
            await self._end()
            message = f"{self._name} did not start within {self._start_timeout_s:g} s. {self._log_tail()}"
            raise ChildError(message) from None
        except BaseException:
            await self._end()
            raise
        self._started_at = time.monotonic()
        self.error = ""
        self._ready.set()

    async def _greet(self, process: asyncio.subprocess.Process) -> None:
        """Send the options, read the answer."""
        assert process.stdin is not None  # noqa: S101 - made with pipes above
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(self._options(self.port)) + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended with status {await process.wait()}"}
        if "error" in answer:
            raise ChildError(f"{self._name} did not start: {answer['error']}. {self._log_tail()}")

    async def _keep(self) -> None:
        """Watch the child; start it again when it dies or hangs."""
        crashes = 0
        while True:
            await self._watch()
            self._ready.clear()
            status = self._process.returncode if self._process is not None else None
            crashes = 1 if time.monotonic() - self._started_at > STEADY_S else crashes + 1
            self.error = f"{self._name} ended with status {status} and is started again"
            await self._end()
            first, longest = BACKOFF_S
            await asyncio.sleep(min(first * 2 ** (crashes - 1), longest))
            try:
                await self._spawn()
                self.restarts += 1
            except (ChildError, OSError) as error:
                self.error = str(error)
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
            return await asyncio.wait_for(asks_health(self.port), CHECK_TIMEOUT_S)
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

    # --- its log

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


def follow_parent() -> None:
    """For the child: end when the input ends, that is when the parent is gone, however it went. Blocks."""
    while os.read(0, 4096):
        pass
    os._exit(0)


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


def resident_bytes(pid: int) -> int:
    """A process's resident set; 0 when there is none."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) if pid else 0
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
