"""A gateway under steady load for a long time: does anything grow?

A real `jevons serve` (SQLite, batched) in front of the provider simulator, at about 70% of what it answers when it is
pushed: streams, whole answers, disconnects and upstream faults, on connections that are kept and on new ones. Every
five seconds the process is looked at. Warm-up is the first fifth; growth compares the first quarter after it with the
last, as medians. After the load the gateway rests, and what it still holds is counted.
  rss_growth           of the resident memory; bar .05
  fds_left, tasks_left open files and calls after the rest, above what it had before the load; bar 0
  p99_ratio            p99 of non-streamed, fault-free calls, last quarter / first quarter after warm-up
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.chaos import RATES, TOML
from benchmarks.rig import MODELS, Rig, Seen, body, call
from jevons.engines.simulated import Rule, Script, start

LOOK_S = 5.0
PUSH_S = 8.0
"""How long the gateway is pushed to learn what it answers at most."""
PUSHERS = 24
LOAD = 0.7
FAULTY = "soak-faulty"
"""In the text of calls that meet faults; the others measure latency."""
LEAVES = 0.05
REST_S = 32.0
"""Longer than idle connections to an upstream are kept (25 s)."""


class Look(msgspec.Struct, frozen=True):
    """The process at one moment."""

    at: float
    rss: int
    fds: int
    active: float


def look(rig: Rig) -> Look:
    assert rig.process is not None
    process = psutil.Process(rig.process.pid)
    return Look(time.time(), process.memory_info().rss, process.num_fds(), rig.gauge("jevons_active_calls"))


async def _one(rig: Rig, dice: random.Random) -> tuple[Seen, bool]:
    """A call, and whether its latency counts."""
    path = dice.choice(list(MODELS))
    stream, faulty = dice.random() < 0.5, dice.random() < 0.2
    payload = body(path, dice, stream=stream, repeat=dice.random() < 0.1)
    if faulty:
        payload = payload.replace(b"governor", FAULTY.encode())
    leave = dice.randrange(1, 600) if dice.random() < LEAVES else None
    task = f"soak-{dice.randrange(2000)}"
    seen = await call(rig.port, path, rig.secrets["soak"], payload, task, leave_after=leave)
    return seen, not stream and not faulty and leave is None


async def push(rig: Rig, seconds: float) -> float:
    """Calls a second that closed-loop clients get."""
    until, done = time.time() + seconds, 0

    async def client(number: int) -> None:
        nonlocal done
        dice = random.Random(number)
        while time.time() < until:
            await _one(rig, dice)
            done += 1

    await asyncio.gather(*(client(number) for number in range(PUSHERS)))
    return done / seconds


async def steady(rig: Rig, rate: float, seconds: float, seed: int, looks: list[Look]) -> list[tuple[Seen, bool]]:
    """An open loop: calls begin at exponential gaps, whatever became of the last ones."""
    dice, seen, running = random.Random(seed), [], set()
    began = time.time()
    next_call, next_look = began, began
    while (now := time.time()) < began + seconds:
        if now >= next_look:
            looks.append(await asyncio.to_thread(look, rig))
            next_look += LOOK_S
        if now >= next_call:
            next_call += dice.expovariate(rate)
            task = asyncio.ensure_future(_one(rig, random.Random(dice.getrandbits(64))))
            running.add(task)
            task.add_done_callback(lambda done: (running.discard(done), seen.append(done.result())))
            continue
        await asyncio.sleep(min(next_call, next_look) - now)
    await asyncio.gather(*running)
    return seen


def run(folder: Path, minutes: float, seed: int, rate: float = 0.0) -> dict[str, Any]:
    rules = tuple(Rule(fault=fault, rate=share, contains=FAULTY) for fault, share in RATES.items())
    with start(script=Script(rules=rules, event_s=0.002), seed=seed) as simulator:
        rig = Rig(folder, simulator.url, toml=TOML.replace('"strict"', '"batched"'))
        rig.key("soak")
        rig.start()
        looks: list[Look] = []
        try:
            before = look(rig)
            rate = rate or LOAD * asyncio.run(push(rig, PUSH_S))
            print(f"{rate:.0f} calls a second for {minutes:g} minutes ...", file=sys.stderr)
            seen = asyncio.run(steady(rig, rate, minutes * 60, seed, looks))
            time.sleep(REST_S)
            after = look(rig)
        finally:
            rig.stop()
            rig.kill()
    return judge(before, after, looks, seen, rate, minutes)


def judge(
    before: Look, after: Look, looks: list[Look], seen: list[tuple[Seen, bool]], rate: float, minutes: float
) -> dict[str, Any]:
    """Compare the first quarter after warm-up with the last."""
    warm = looks[len(looks) // 5 :]
    quarter = max(1, len(warm) // 4)
    first, last = warm[:quarter], warm[-quarter:]
    rss = [statistics.median(item.rss for item in part) for part in (first, last)]
    latencies = []
    for part in (first, last):
        since, until = part[0].at, part[-1].at + LOOK_S
        took = sorted(one.ended - one.began for one, counts in seen if counts and since <= one.began < until)
        latencies.append(took[int(0.99 * (len(took) - 1))] if took else float("nan"))
    return {
        "minutes": minutes,
        "calls": len(seen),
        "calls_per_s": round(rate, 1),
        "rss_mib": [round(value / 2**20, 1) for value in rss],
        "rss_growth": round(rss[1] / rss[0] - 1, 4),
        "fds_left": after.fds - before.fds,
        "fds_most": max(item.fds for item in looks),
        "tasks_left": int(after.active),
        "p99_ms": [round(1e3 * value, 1) for value in latencies],
        "p99_ratio": round(latencies[1] / latencies[0], 3),
        "whole": sum(one.whole for one, _ in seen),
        "left": sum(one.left for one, _ in seen),
        "status_5xx": sum(one.status >= 500 for one, _ in seen),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0 takes 70%% of what a push finds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jevons-soak-") as folder:
        result = run(Path(folder), args.minutes, args.seed, args.rate)
    if args.json:
        print(json.dumps(result))
    else:
        rows = Table("what", "figure", title="soak")
        for name, value in result.items():
            rows.add_row(name, json.dumps(value))
        Console().print(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
