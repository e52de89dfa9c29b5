"""`python -m jevons.worker --socket PATH --database URL`: one process with the models and the semantic index.

What lives here: options, the loading of models, one worker to a socket, and an end with the parent's. Without arguments
it is somebody's child and keeps the protocol of engines/local_process.py: options as a line of input, an answer as a
line of output, and its life ends with its input. A second worker of one socket stands by until the first is gone.
"""

import argparse
import asyncio
import fcntl
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.errors import JevonsError
from jevons.engines.worker_link import Options

LAST_WORDS_S = 2.5
"""What the worker may write when its parent is gone; a child that is told to end is killed after 3 s."""


class Answer:
    """The answer line of a child, said once; nothing for who was started by hand."""

    def __init__(self, out: TextIOWrapper | None):
        self._out = out

    def say(self, **what: Any) -> None:
        out, self._out = self._out, None
        if out is not None:
            out.write(msgspec.json.encode(what).decode() + "\n")
            out.close()


def main() -> int:
    """Exit status 0: it was to end. 1: it did not start; the answer line or the log says why."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    answer, child = Answer(None), len(sys.argv) == 1
    if child:
        answer = Answer(os.fdopen(os.dup(1), "w", encoding="utf-8"))
        os.dup2(2, 1)
        options = msgspec.json.decode(sys.stdin.buffer.readline(), type=Options)
    else:
        options = _arguments()
    ends: list[Callable[[], object]] = []
    if child:
        threading.Thread(target=_follow_parent, args=(ends,), daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the models run on one core, beside the gateway
    held = _lock(Path(options.socket + ".lock"), answer)
    try:
        asyncio.run(_serve(options, answer, ends))
    except (JevonsError, OSError) as error:
        logging.getLogger("jevons.worker").exception("no worker")
        answer.say(error=str(error))
        return 1
    finally:
        held.close()
    return 0


async def _serve(options: Options, answer: Answer, ends: list[Callable[[], object]]) -> None:
    from jevons.engines.embed import Embedder
    from jevons.levers.cache.semantic.host import Host
    from jevons.levers.cache.semantic.word_vectors import WordVectors
    from jevons.store.migrate import open_database
    from jevons.worker.answers import Answers
    from jevons.worker.server import Server
    from jevons.worker.service import Service

    reader = open_database(options.database)
    answers = Answers(reader, options.keep_days * 86_400, time.time)
    host = Host(Embedder.load().embed, WordVectors.load().embed, random.Random(), answers)
    holder = f"{socket.gethostname()}:{options.socket}"
    server = Server(Service(host, reader), options.database, holder=holder, keep_days=options.keep_days)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    ends.append(lambda: loop.call_soon_threadsafe(server.stop))
    serving = asyncio.create_task(server.serve(Path(options.socket)))
    await asyncio.wait((serving, asyncio.create_task(server.listening.wait())), return_when=asyncio.FIRST_COMPLETED)
    answer.say(socket=options.socket, pid=os.getpid())
    await serving
    reader.close()


def _arguments() -> Options:
    parser = argparse.ArgumentParser(prog="python -m jevons.worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--socket", required=True, help="path of the Unix socket to listen on")
    parser.add_argument("--database", required=True, help="URL of the gateway's database")
    parser.add_argument("--keep-days", type=float, default=30.0, help="how long an answer may be served (default: 30)")
    given = parser.parse_args()
    return Options(socket=given.socket, database=given.database, keep_days=given.keep_days)


def _lock(path: Path, answer: Answer) -> Any:
    """One worker to a socket: whoever comes second waits here for the first one's end, and costs little meanwhile."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        answer.say(standby=str(path), pid=os.getpid())
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _follow_parent(ends: list[Callable[[], object]]) -> None:
    """The input's end is the parent's: what serves is told, and has a moment for its last words."""
    while os.read(0, 4096):
        pass
    for end in ends:
        end()
        time.sleep(LAST_WORDS_S)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
