"""Two gateway processes on one port and a real Postgres: killed, replaced and drained while calls run."""

import asyncio
import os
import random
import signal
import time

import psutil
import pytest

from benchmarks.rig import Rig, body, call, new_database
from jevons.core.errors import SettingsError
from jevons.engines.simulated import Script, start
from jevons.settings import parse
from jevons.store.db import Database

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def rig(tmp_path_factory, server):
    url = new_database(server, "workers")
    with start(script=Script(event_s=0.02)) as simulator:
        rig = Rig(tmp_path_factory.mktemp("workers"), simulator.url, database=url, workers=2,
                  toml="[local]\nenabled = false\n")  # fmt: skip
        rig.key("acme")
        rig.start()
        yield rig
        rig.kill()


def workers(rig: Rig) -> list[psutil.Process]:
    return psutil.Process(rig.process.pid).children()


def some(rig: Rig, count: int, name: str, *, stream: bool = False):
    """Calls one after another, each over a connection of its own."""

    async def run():
        dice = random.Random(1)
        seen = []
        for number in range(count):
            payload = body(CHAT, dice, stream=stream, repeat=False)
            seen.append(await call(rig.port, CHAT, rig.secrets["acme"], payload, f"{name}-{number}"))
        return seen

    return asyncio.run(run())


def booked(rig: Rig, name: str) -> int:
    """Operations of the tasks of that name, once they are in the ledger."""
    time.sleep(0.3)  # a batch's window
    with Database(rig.database, read_only=True) as db:
        return db.row("SELECT coalesce(sum(calls), 0) FROM tasks WHERE task LIKE ?", (f"{name}-%",))[0]


def test_both_processes_answer_and_book(rig: Rig):
    before = [sum(process.cpu_times()[:2]) for process in workers(rig)]
    assert all(seen.status == 200 for seen in some(rig, 60, "both"))
    assert all(sum(process.cpu_times()[:2]) > was for process, was in zip(workers(rig), before, strict=True))
    assert booked(rig, "both") == 60


def test_a_killed_worker_is_started_again_and_the_other_goes_on(rig: Rig):
    victim = workers(rig)[0]
    os.kill(victim.pid, signal.SIGKILL)
    seen = some(rig, 40, "killed")
    assert [one.status for one in seen] == [200] * 40
    assert len(workers(rig)) == 2
    assert victim.pid not in {process.pid for process in workers(rig)}


def test_workers_are_replaced_without_one_failed_call(rig: Rig):
    old = {process.pid for process in workers(rig)}

    async def load():
        dice, seen = random.Random(2), []
        deadline = time.monotonic() + 20
        rig.process.send_signal(signal.SIGHUP)
        while old & {process.pid for process in workers(rig)} and time.monotonic() < deadline:
            payload = body(CHAT, dice, stream=True, repeat=False)
            tasks = [call(rig.port, CHAT, rig.secrets["acme"], payload, f"hup-{len(seen)}-{n}") for n in range(4)]
            seen.extend(await asyncio.gather(*tasks))
        return seen

    seen = asyncio.run(load())
    assert not old & {process.pid for process in workers(rig)}
    assert len(seen) > 4
    assert all(one.status == 200 and one.whole for one in seen)
    assert booked(rig, "hup") == len(seen)


def test_a_stop_lets_running_streams_end_and_books_them(rig: Rig):
    async def run():
        dice = random.Random(3)
        payload = body(CHAT, dice, stream=True, repeat=False)
        tasks = [asyncio.create_task(call(rig.port, CHAT, rig.secrets["acme"], payload, f"stop-{n}")) for n in range(6)]
        await asyncio.sleep(0.3)
        rig.process.terminate()
        return await asyncio.gather(*tasks)

    seen = asyncio.run(run())
    assert rig.process.wait(30) == 0
    assert all(one.status == 200 and one.whole for one in seen)
    assert booked(rig, "stop") == 6


def test_several_workers_on_sqlite_are_refused_with_the_line_to_use():
    with pytest.raises(SettingsError, match="postgresql://"):
        parse({"server": {"workers": 2}}, "test")
