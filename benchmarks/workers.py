"""Processor seconds per request of a gateway: one worker and two, on SQLite and Postgres, with budgets and Valkey.

Every arm is a real `jevons serve` in front of the provider simulator; clients keep their connections and call one after
another. What is counted is the processor time (user and system) of the gateway's own processes, the supervisor
included; Postgres, Valkey, simulator and clients are not in it. Arms run in turns, and each figure is the median of the
rounds, with its lowest and highest.
  two_workers_ratio    2 workers on Postgres / 1 worker on Postgres          bar 1.1
  postgres_ratio       1 worker on Postgres / the same on SQLite             bar 1.3
  valkey_ratio         budgets in Valkey / budgets in memory, on Postgres    bar 1.5
"""

import argparse
import asyncio
import contextlib
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

from benchmarks.rig import Rig, Valkey, body, postgres
from jevons.engines.simulated import start

CHAT = "/v1/chat/completions"
CONNECTIONS = 24
PLANS = """
[plans.capped]
budgets = [
  { scope = "customer", per = "month", usd = "100000" },
  { scope = "customer", per = "minute", requests = 10000000 },
]
[plans.free]
"""


class Arm(msgspec.Struct, frozen=True):
    """One way of running a gateway."""

    name: str
    workers: int = 1
    postgres: bool = True
    plan: str = "free"
    valkey: bool = False


ARMS = (
    Arm("sqlite", postgres=False),
    Arm("postgres"),
    Arm("postgres, 2 workers", workers=2),
    Arm("postgres, budgets", plan="capped"),
    Arm("postgres, budgets in valkey", plan="capped", valkey=True),
    Arm("postgres, budgets in valkey, 2 workers", workers=2, plan="capped", valkey=True),
)


async def _client(port: int, secret: str, calls: int, seed: int) -> int:
    """Calls on one connection. Returns how many were answered with 200."""
    dice, good = random.Random(seed), 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {secret}\r\ncontent-type: application/json\r\n"
    for _ in range(calls):
        payload = body(CHAT, dice, stream=False, repeat=False)
        writer.write(f"{head}content-length: {len(payload)}\r\n\r\n".encode() + payload)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        good += answer.startswith(b"HTTP/1.1 200")
    writer.close()
    return good


async def _load(rig: Rig, calls: int, seed: int) -> int:
    each = -(-calls // CONNECTIONS)
    secret = rig.secrets["bench"]
    return sum(await asyncio.gather(*(_client(rig.port, secret, each, seed + n) for n in range(CONNECTIONS))))


def _cpu(rig: Rig) -> dict[int, float]:
    """Processor seconds by process of the gateway."""
    assert rig.process is not None
    root = psutil.Process(rig.process.pid)
    return {item.pid: sum(item.cpu_times()[:2]) for item in (root, *root.children(recursive=True))}


def measure(arm: Arm, upstream: str, url: str, valkey: str, calls: int, seed: int) -> dict[str, float]:
    """One round of one arm: CPU milliseconds a call, calls a second, the busiest process's share."""
    toml = "[local]\nenabled = false\n" + (f'[shared]\nurl = "{valkey}"\n' if arm.valkey else "")
    with tempfile.TemporaryDirectory(prefix="jevons-workers-") as folder:
        rig = Rig(
            Path(folder), upstream, database=url if arm.postgres else "", toml=toml, plans=PLANS, workers=arm.workers
        )
        rig.key("bench", arm.plan)
        rig.start()
        try:
            asyncio.run(_load(rig, calls // 4, seed))  # warm
            time.sleep(0.5)
            before, began = _cpu(rig), time.perf_counter()
            good = asyncio.run(_load(rig, calls, seed + 1000))
            seconds = time.perf_counter() - began
            time.sleep(0.5)  # what is queued is written
            after = _cpu(rig)
        finally:
            rig.stop()
            rig.kill()
    spent = [after[pid] - before.get(pid, 0.0) for pid in after]
    return {"cpu_ms": 1e3 * sum(spent) / good, "per_s": good / seconds, "busiest": max(spent) / sum(spent)}


def run(rounds: int, calls: int, seed: int) -> dict[str, Any]:
    """All arms in turns."""
    found: dict[str, list[dict[str, float]]] = {arm.name: [] for arm in ARMS}
    with start() as simulator, postgres() as (url, _), Valkey() as valkey:
        for number in range(rounds):
            for arm in ARMS:
                found[arm.name].append(measure(arm, simulator.url, url, valkey.url, calls, seed + 7 * number))
                print(f"round {number + 1}: {arm.name}: {found[arm.name][-1]}", file=sys.stderr)
                simulator.reset()
    cpu = {name: statistics.median(item["cpu_ms"] for item in items) for name, items in found.items()}
    return {
        "two_workers_ratio": round(cpu["postgres, 2 workers"] / cpu["postgres"], 3),
        "postgres_ratio": round(cpu["postgres"] / cpu["sqlite"], 3),
        "valkey_ratio": round(cpu["postgres, budgets in valkey"] / cpu["postgres, budgets"], 3),
        "arms": {
            name: {
                "cpu_ms": round(cpu[name], 4),
                "lowest": round(min(item["cpu_ms"] for item in items), 4),
                "highest": round(max(item["cpu_ms"] for item in items), 4),
                "per_s": round(statistics.median(item["per_s"] for item in items), 1),
                "busiest": round(statistics.median(item["busiest"] for item in items), 2),
            }
            for name, items in found.items()
        },
    }


def table(result: dict[str, Any]) -> Table:
    rows = Table("arm", "CPU ms a call", "lowest", "highest", "calls/s", "busiest process", title="workers")
    for name, arm in result["arms"].items():
        rows.add_row(name, *(f"{arm[key]}" for key in ("cpu_ms", "lowest", "highest", "per_s", "busiest")))
    for name in ("two_workers_ratio", "postgres_ratio", "valkey_ratio"):
        rows.add_row(name, f"{result[name]}")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3000, help="calls of each arm and round, after a quarter to warm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        result = run(args.rounds, args.calls, args.seed)
        if args.json:
            print(json.dumps(result))
        else:
            Console().print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
