"""The worker as a process: its protocol, a second one that stands by, and its end with its parent's."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jevons.core.ask import Stored
from jevons.engines.worker_link import (
    HEAD,
    MAX_FRAME_BYTES,
    Find,
    Found,
    Keep,
    Look,
    Options,
    Standing,
    WorkerProcess,
    frame,
    installed,
    read_frame,
    read_reply,
)
from jevons.levers.cache.semantic.question import Question
from jevons.store import semantic
from jevons.store.migrate import open_database

pytestmark = pytest.mark.skipif(not installed(), reason="THE WORKER IS NOT TESTED: the extra `embed` is missing")


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Options]:
    with tempfile.TemporaryDirectory(prefix="jv") as folder:  # a socket's path has 107 bytes at most
        yield Options(socket=f"{folder}/w.sock", database=f"sqlite:///{tmp_path}/jevons.db")


def question(text: str) -> bytes:
    return Question(operation=f"op-{text}", tenant="t", namespace="n", text=text, level=0.1, unit="request").key()


def answer(text: str) -> Stored:
    return Stored(
        status=200,
        body=text.encode(),
        content_type="application/json",
        model="m",
        usage=None,
        cost_nano=1,
        operation=f"op-{text}",
        at=time.time(),
    )


@asynccontextmanager
async def connected(path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def find(path: str, text: str, number: int = 1) -> Stored | None:
    async with connected(path) as (reader, writer):
        writer.write(frame(Find(number, question(text), time.monotonic() + 1.0)))
        found = read_reply(await read_frame(reader))
        assert isinstance(found, Found)
        assert found.number == number
        return found.stored


async def until(done: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def converse(options: Options) -> None:
    async with connected(options.socket) as (reader, writer):
        writer.write(frame(Find(7, b"no question", time.monotonic() + 1.0)))
        assert read_reply(await read_frame(reader)) == Found(7, None)
        writer.write(frame(Find(8, question("How are you?"), time.monotonic() + 1.0)))
        assert read_reply(await read_frame(reader)) == Found(8, None)
        writer.write(frame(Keep(question("How are you?"), answer("fine"))))
        writer.write(frame(Find(9, question("How are you?"), time.monotonic() - 10.0)))
        assert read_reply(await read_frame(reader)) == Found(9, None), "too late to be looked up"
        writer.write(frame(Look()))
        standing = read_reply(await read_frame(reader))
        assert isinstance(standing, Standing)
        assert (standing.leads, standing.entries, standing.requests) == (True, 1, 1)
    for rubbish in (HEAD.pack(MAX_FRAME_BYTES + 1), HEAD.pack(3) + b"abc", b"\0"):
        async with connected(options.socket) as (reader, writer):
            writer.write(rubbish)
            writer.write_eof()
            assert await reader.read() == b"", "its connection ends, and only that"


async def take_over(options: Options) -> None:
    command = ("-m", "jevons.worker", "--socket", options.socket, "--database", options.database)
    quiet = asyncio.subprocess.DEVNULL
    first = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=quiet, stderr=quiet)
    second = WorkerProcess(options)
    try:
        await until(Path(options.socket).exists)
        await converse(options)
        await second.start()
        first.terminate()
        assert await first.wait() == 0
        await until(Path(options.socket).exists)
        found = await find(options.socket, "How are you?")
        assert found is not None
        assert found.body == b"fine"
    finally:
        with contextlib.suppress(ProcessLookupError):
            first.kill()
        await second.stop()


def test_it_answers_outlives_rubbish_and_hands_what_it_knows_to_one_that_stood_by(options: Options) -> None:
    asyncio.run(take_over(options))


PARENT = """
import asyncio, sys
from jevons.engines.worker_link import Options, WorkerProcess
async def main():
    child = WorkerProcess(Options(socket=sys.argv[1], database=sys.argv[2]))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_worker_ends_with_its_parent_however_that_went(options: Options) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, options.socket, options.database], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    asyncio.run(find(options.socket, "Anybody?"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    asyncio.run(until(lambda: not _alive(child), 10.0))
    with open_database(options.database) as db:
        assert semantic.learned(db, "t", "0.1000/request") is not None, "its last words"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
