"""Several gateway processes on one port: started, watched, replaced and drained by a supervisor that serves nothing.

What lives here: the processes and their sockets. What it must not know: calls, stores. Each worker listens on a socket
of its own (SO_REUSEPORT: the kernel spreads connections by their addresses). The supervisor made those sockets and
keeps them open, so what waits in a queue while a worker is replaced is served by the next one and never reset.

  SIGTERM, SIGINT   every worker stops taking calls, ends running ones within `server.drain_s`, writes, and leaves
  SIGHUP            each worker is replaced: the new one listens before the old one is asked to leave
  a worker's death  another one takes its socket, after a pause that grows while it dies again and again
"""

import asyncio
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping

import msgspec

from jevons.core.errors import SettingsError
from jevons.gateway.greeting import first_key, greeting
from jevons.gateway.house import Housekeeping
from jevons.gateway.serve import BACKLOG, Server
from jevons.settings import Settings

log = logging.getLogger("jevons.workers")

MOST_WORKERS = 64
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Before a worker that died is started again; doubled each time, and forgotten once it has lived STEADY_S."""
STEADY_S = 30.0
START_S = 60.0
"""A replacement that does not listen by then is given up, and the old worker stays."""
LEAVE_S = 15.0
"""Past `drain_s`, for writing what is queued; then a worker is killed."""
LOOK_S = 0.1
"""Between looks at workers that are starting or leaving."""
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Worker(msgspec.Struct):
    """One process on one slot's sockets. `ready` is readable once it listens."""

    slot: int
    pid: int
    ready: int
    since: float
    listens: bool = False
    asked: float = 0.0
    """When it was asked to leave; 0: it was not."""


def supervise(settings: Settings, environ: Mapping[str, str]) -> int:
    """Run `server.workers` gateways until a signal. Returns the exit status: 0 when all left in order."""
    if settings.server.workers > MOST_WORKERS:
        raise SettingsError(f"server.workers is {settings.server.workers}; at most {MOST_WORKERS} share a port")
    secret = None if settings.access.anonymous else first_key(settings.database.url)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    return Supervisor(settings, environ, secret).run()


class Supervisor:
    """See the module's first lines. Single-threaded: it forks."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], secret: str | None):
        self._settings = settings
        self._environ = environ
        self._secret = secret
        self._sockets = [_listen(settings, slot) for slot in range(settings.server.workers)]
        self._workers: list[Worker] = []
        self._due = [0.0] * settings.server.workers
        self._pauses = [FIRST_PAUSE_S] * settings.server.workers
        self._replacing: list[int] = []
        self._greeted = False
        self._stopping = self._failed = False
        self._life, self._held = os.pipe()
        """Workers read `life`, which ends when the supervisor does, however that was."""

    def run(self) -> int:
        while not (self._stopping and not self._workers):
            self._reap()
            self._look()
            if not self._stopping:
                self._fill()
            found = signal.sigtimedwait(_SIGNALS, LOOK_S)
            if found is not None and found.si_signo in {signal.SIGTERM, signal.SIGINT}:
                self._stopping = True
                for worker in self._workers:
                    self._ask(worker)
            elif found is not None and found.si_signo == signal.SIGHUP:
                self._replacing = list(range(len(self._sockets)))
        for sockets in self._sockets:
            for item in sockets:
                item.close()
        return 1 if self._failed else 0

    def _fill(self) -> None:
        """Start what is missing, and one replacement at a time."""
        now = time.monotonic()
        for slot, due in enumerate(self._due):
            if now >= due and not any(worker.slot == slot for worker in self._workers):
                self._workers.append(self._start(slot))
        if self._replacing and all(worker.listens and not worker.asked for worker in self._workers):
            slot = self._replacing.pop(0)
            self._workers.append(self._start(slot))

    def _start(self, slot: int) -> Worker:
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(self._held)
            os.close(ready)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os._exit(_work(self._settings, self._environ, self._sockets[slot], self._life, told))
        os.close(told)
        return Worker(slot=slot, pid=pid, ready=ready, since=time.monotonic())

    def _look(self) -> None:
        """Who listens by now, who takes too long to start or to leave."""
        now = time.monotonic()
        for worker in self._workers:
            if not worker.listens and select.select([worker.ready], [], [], 0)[0] and os.read(worker.ready, 1):
                worker.listens = True
                self._replaced(worker)
                self._greet()
            if not worker.listens and now - worker.since > START_S:
                _send(worker.pid, signal.SIGKILL)
            if worker.asked and now - worker.asked > self._settings.server.drain_s + LEAVE_S:
                log.error("worker %d did not leave in time and is killed", worker.slot)
                _send(worker.pid, signal.SIGKILL)
                self._failed = True

    def _replaced(self, fresh: Worker) -> None:
        for worker in self._workers:
            if worker.slot == fresh.slot and worker is not fresh:
                self._ask(worker)

    def _ask(self, worker: Worker) -> None:
        if not worker.asked:
            worker.asked = time.monotonic()
            _send(worker.pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Take note of workers that ended."""
        for worker in list(self._workers):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            self._workers.remove(worker)
            os.close(worker.ready)
            if worker.asked:
                continue
            code = os.waitstatus_to_exitcode(status)
            log.error("worker %d ended with status %d; another one is started", worker.slot, code)
            now = time.monotonic()
            if now - worker.since > STEADY_S:
                self._pauses[worker.slot] = FIRST_PAUSE_S
            self._due[worker.slot] = now + self._pauses[worker.slot]
            self._pauses[worker.slot] = min(2 * self._pauses[worker.slot], LONGEST_PAUSE_S)

    def _greet(self) -> None:
        if self._greeted or not all(worker.listens for worker in self._workers):
            return
        self._greeted = True
        server = self._settings.server
        host = "127.0.0.1" if server.host in {"0.0.0.0", "::"} else server.host  # noqa: S104 - what is shown, not bound
        print(greeting(f"http://{host}:{server.port}", self._secret, "MODEL"), flush=True)
        print(f"  workers  {server.workers}, supervised by process {os.getpid()}", flush=True)


def _work(settings: Settings, environ: Mapping[str, str], sockets: list[socket.socket], life: int, told: int) -> int:
    """A worker's whole life, in the forked process. Returns its exit status."""
    try:
        server = Server(Housekeeping(settings, environ))

        async def begun() -> None:
            asyncio.get_running_loop().add_reader(life, orphaned)
            os.write(told, b"1")

        def orphaned() -> None:
            asyncio.get_running_loop().remove_reader(life)
            server.should_exit = True

        server.greet = begun
        signal.signal(signal.SIGTERM, _leave)  # what uvicorn hands on once all is closed
        signal.signal(signal.SIGINT, _leave)
        server.run(sockets=sockets)
    except SystemExit:
        return 0
    except SettingsError as error:
        sys.stderr.write(f"worker: {error.message}\n")
        return 1
    except BaseException:  # a forked process must not return into the supervisor's code
        log.exception("a worker failed")
        return 1
    return 0


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _listen(settings: Settings, slot: int) -> list[socket.socket]:
    """The sockets of a slot: the shared port, and a port of its own for its metrics. Raises SettingsError."""
    server = settings.server
    ports = [server.port] + ([server.metrics_port + slot] if server.metrics_port else [])
    made = []
    for port in ports:
        family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            found.bind((server.host, port))
            found.listen(BACKLOG)
        except OSError as error:
            raise SettingsError(f"port {port} on {server.host}: {error.strerror}") from None
        made.append(found)
    return made


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
