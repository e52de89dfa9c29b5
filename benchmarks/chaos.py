"""Kills and starves a real gateway under load, and counts what its ledger lost, booked twice or let slip.

A `jevons serve` with strict durability answers clients over sockets, in front of the provider simulator, which answers
with 429, 500, resets, cut and stalled streams. Meanwhile the gateway is killed (-9) and started again, stopped
(SIGSTOP), and kept from growing its files (RLIMIT_FSIZE, as a full disk does); with --postgres that server is killed
(-9) and started again instead of the full disk, and with --valkey the store of budgets is killed (it forgets all) and
stopped. The clock is not touched.

Every call names a task of its own, so a call that was booked twice shows in its task's sums, even under two ids.
  lost                 answers that a client saw whole and whose operation is not in the ledger
  double_booked        tasks with more than one booked call, and bookings that the rollups count too often
  budget_overshoot_usd the most by which a minute's booked dollars of a capped customer pass its cap
  leaked_reservations  reservations that the gateway still holds once all calls have ended
  recovery_s_max       from a kill, or from the end of a pause or a full disk, to the first answer with status 200
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.rig import MODELS, START_S, Rig, Seen, Valkey, body, call, postgres
from jevons.core.money import NANO_PER_DOLLAR as NANO
from jevons.engines.simulated import Rule, Script, start
from jevons.engines.simulated.service import Service
from jevons.store.db import Database

CAP_USD = "0.004"
"""A minute's budget of each capped customer: some forty of its calls, so it is reached every minute."""
PLANS = f"""
[plans.tight]
budgets = [
  {{ scope = "customer", per = "minute", usd = "{CAP_USD}" }},
  {{ scope = "customer", concurrent = 8 }},
]
[plans.free]
"""
CUSTOMERS = {"tight-1": "tight", "tight-2": "tight", "free-1": "free", "free-2": "free"}
TOML = """
[database]
durability = "strict"
[timeouts]
first_byte_s = 3.0
idle_s = 1.0
[retry]
base_s = 0.05
cap_s = 0.5
breaker_open_s = 1.0
[local]
enabled = false
"""
RATES = {
    "429;retry_after=0.2": 0.03, "500": 0.03, "529": 0.01, "reset": 0.03, "hang_up": 0.01, "cut;after=3": 0.03,
    "reset_mid;after=2": 0.02, "no_done": 0.01, "error_event": 0.01, "truncated_json": 0.01, "rubbish": 0.01,
    "stall_mid;after=2;s=2": 0.02, "stall_first;s=1": 0.01, "drip;s=0.0005": 0.02,
}  # fmt: skip
"""Upstream faults by share of requests."""
CLIENTS = 16
LEAVES = 0.08
"""Share of clients that close their socket in the middle of an answer."""
QUIET_S = 20.0
"""How long the last calls may take once no more are begun."""


class Tally:
    """What all clients saw, and when the gateway was hurt."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.hurts: list[tuple[str, float]] = []
        """(what, the moment from which it is to recover)."""

    def recoveries(self) -> list[tuple[str, float]]:
        """Seconds from each hurt to the first good answer that began or ended after it."""
        good = sorted(seen.ended for seen in self.seen if seen.answered and seen.status == 200)
        found = []
        for what, at in self.hurts:
            after = next((ended for ended in good if ended > at), None)
            found.append((what, float("inf") if after is None else after - at))
        return found


async def load(rig: Rig, tally: Tally, seed: int, until: float, clients: int) -> None:
    """`clients` that call one after another over all surfaces, until the time is over."""

    async def client(number: int) -> None:
        dice, count = random.Random(f"{seed}/{number}"), 0
        while time.time() < until:
            count += 1
            path = dice.choice(list(MODELS))
            payload = body(path, dice, stream=dice.random() < 0.6, repeat=dice.random() < 0.15)
            secret = rig.secrets[dice.choice(list(CUSTOMERS))]
            leave = dice.randrange(1, 600) if dice.random() < LEAVES else None
            tally.seen.append(await call(rig.port, path, secret, payload, f"t-{number}-{count}", leave_after=leave))
            refused = tally.seen[-1].status in {0, 429, 503}
            await asyncio.sleep(dice.random() * (0.2 if refused else 0.05))

    await asyncio.gather(*(client(number) for number in range(clients)))


async def hurt(
    rig: Rig,
    tally: Tally,
    dice: random.Random,
    until: float,
    every_s: float,
    server: Any = None,
    valkey: Valkey | None = None,
) -> None:
    """One fault of the process after another, at random moments, in a shuffled order that holds each kind."""
    kinds: list[str] = []
    while True:
        await asyncio.sleep(every_s * (0.5 + dice.random()))
        if time.time() > until - 1.5:
            return
        if not kinds:
            kinds = ["kill", "kill", "pause", "full disk" if server is None else "kill postgres"]
            kinds += ["kill valkey", "pause valkey"] if valkey is not None else []
            dice.shuffle(kinds)
        kind = kinds.pop()
        print(f"{kind} ...", file=sys.stderr)
        if kind == "kill":
            await asyncio.to_thread(rig.kill)
            tally.hurts.append((kind, time.time()))
            await asyncio.to_thread(rig.start)
        elif kind == "pause":
            rig.signal(signal.SIGSTOP)
            await asyncio.sleep(0.5 + dice.random())
            rig.signal(signal.SIGCONT)
            tally.hurts.append((kind, time.time()))
        elif kind == "full disk":
            await _fill_disk(rig, 1.0 + dice.random())
            tally.hurts.append((kind, time.time()))
        elif valkey is not None and kind == "kill valkey":
            await asyncio.to_thread(valkey.kill)
            tally.hurts.append((kind, time.time()))
            await asyncio.sleep(dice.random() * 3)
            await asyncio.to_thread(valkey.start)
        elif valkey is not None and kind == "pause valkey":
            valkey.pause()
            tally.hurts.append((kind, time.time()))
            await asyncio.sleep(0.5 + dice.random())
            valkey.go_on()
        else:
            os.kill(server.get_pid(), signal.SIGKILL)
            tally.hurts.append((kind, time.time()))
            await asyncio.to_thread(restart, server)


async def _fill_disk(rig: Rig, seconds: float) -> None:
    """No file of the gateway may grow: writes fail as on a full disk (EFBIG for ENOSPC)."""
    assert rig.process is not None
    pid, (soft, hard) = rig.process.pid, resource.prlimit(rig.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    await asyncio.sleep(seconds)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def restart(server: Any) -> None:
    """Start a killed Postgres, once the postmaster's orphans have left."""
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(subprocess.SubprocessError, AssertionError):
            (server.pgdata / "postmaster.pid").unlink(missing_ok=True)  # a zombie's number looks alive
            for lock in server.pgdata.glob(".s.PGSQL.*.lock"):
                lock.unlink(missing_ok=True)
            server.ensure_postgres_running()
            return
        if time.monotonic() > deadline:
            raise RuntimeError("Postgres did not start again")
        time.sleep(0.2)


def judge(rig: Rig, tally: Tally, service: Service, leaked: int) -> dict[str, Any]:
    """Compare what clients saw with what the ledger holds."""
    answered = [seen for seen in tally.seen if seen.answered]
    with Database(rig.database, read_only=True) as db:
        booked = {row[0] for row in db.rows("SELECT operation FROM operations")}
        twice = db.rows("SELECT task, calls FROM tasks WHERE calls > 1")
        in_rows = db.row("SELECT count(*), coalesce(sum(cost_nano), 0) FROM operations") or (0, 0)
        in_sums = db.row("SELECT sum(calls), sum(cost_nano) FROM rollups WHERE grain = 60") or (0, 0)
        minutes = db.rows(
            "SELECT s.customer, r.bucket, sum(r.cost_nano) FROM rollups r JOIN series s ON s.id = r.series "
            "WHERE r.grain = 60 AND s.plan = 'tight' GROUP BY s.customer, r.bucket"
        )
        dearest = db.row(
            "SELECT max(o.cost_nano) FROM operations o JOIN series s ON s.id = o.series WHERE s.plan = 'tight'"
        )
        aside = db.row("SELECT count(*) FROM rejected")
    cap = round(float(CAP_USD) * NANO)
    lost = [seen for seen in answered if seen.operation not in booked]
    for seen in lost[:10]:
        print(f"lost: {seen}", file=sys.stderr)
    recoveries = tally.recoveries()
    upstream = Counter(received.fault.partition(";")[0] for received in service.books.requests if received.fault)
    process = Counter(what for what, _ in tally.hurts)
    return {
        "faults": sum(upstream.values()) + sum(process.values()),
        "calls": len(tally.seen),
        "lost": len(lost),
        "double_booked": len(twice) + abs(int(in_sums[0] or 0) - int(in_rows[0])),
        "budget_overshoot_usd": max([0, *(int(spent) - cap for *_, spent in minutes)]) / NANO,
        "leaked_reservations": leaked,
        "recovery_s_max": round(max((seconds for _, seconds in recoveries), default=0.0), 3),
        "answered": len(answered),
        "answered_200": sum(seen.status == 200 for seen in answered),
        "refused_by_budget": sum(seen.code == "budget_exhausted" or seen.status == 429 for seen in answered),
        "left": sum(seen.left for seen in tally.seen),
        "cut": sum(not seen.whole and not seen.left for seen in tally.seen),
        "booked": int(in_rows[0]),
        "cost_differs_nano": int(in_sums[1] or 0) - int(in_rows[1]),
        "put_aside": int(aside[0]) if aside else 0,
        "budget_cap_usd": float(CAP_USD),
        "fullest_minute_usd": max([0, *(int(spent) for *_, spent in minutes)]) / NANO,
        "dearest_call_usd": (int(dearest[0] or 0) if dearest else 0) / NANO,
        "upstream_faults": dict(upstream),
        "process_faults": dict(process),
        "recovery_s": {what: round(max(s for name, s in recoveries if name == what), 3) for what in process},
    }


def run(
    folder: Path,
    *,
    minutes: float,
    seed: int = 0,
    clients: int = CLIENTS,
    every_s: float = 6.0,
    database: str = "",
    server: Any = None,
    valkey: Valkey | None = None,
) -> dict[str, Any]:
    """The whole experiment in a folder. `database` and `server`: an empty Postgres; without it SQLite serves.

    `valkey`: holds the budgets; without it the gateway does.
    """
    rules = tuple(Rule(fault=fault, rate=rate) for fault, rate in RATES.items())
    tally, dice = Tally(), random.Random(seed)
    with start(script=Script(rules=rules, event_s=0.004), seed=seed) as simulator:
        toml = TOML + (f'[shared]\nurl = "{valkey.url}"\n' if valkey is not None else "")
        rig = Rig(folder, simulator.url, database=database, toml=toml, plans=PLANS)
        for customer, plan in CUSTOMERS.items():
            rig.key(customer, plan)
        rig.start()
        try:
            asyncio.run(_both(rig, tally, dice, seed, minutes * 60, clients, every_s, server, valkey))
            leaked = _left_over(rig)
            status = rig.stop()
            print(f"the gateway ended with status {status}", file=sys.stderr)
        finally:
            rig.kill()
        return judge(rig, tally, simulator.service, leaked)


async def _both(
    rig: Rig,
    tally: Tally,
    dice: random.Random,
    seed: int,
    seconds: float,
    clients: int,
    every_s: float,
    server: Any,
    valkey: Valkey | None,
) -> None:
    until = time.time() + seconds
    await asyncio.gather(load(rig, tally, seed, until, clients), hurt(rig, tally, dice, until, every_s, server, valkey))


def _left_over(rig: Rig) -> int:
    """Reservations held once no call is in flight."""
    deadline = time.monotonic() + QUIET_S
    while rig.gauge("jevons_active_calls") and time.monotonic() < deadline:
        time.sleep(0.1)
    return int(rig.gauge("jevons_reservations"))


def table(result: dict[str, Any]) -> Table:
    rows = Table("what", "figure", title="chaos: a gateway under load, killed, stopped and starved")
    for name, value in result.items():
        rows.add_row(name, json.dumps(value))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--postgres", action="store_true", help="book into a Postgres of its own instead of SQLite")
    parser.add_argument("--valkey", action="store_true", help="hold budgets in a Valkey of its own, and hurt it too")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jevons-chaos-") as folder:
        settings = {"minutes": args.minutes, "seed": args.seed, "clients": args.clients}
        with contextlib.ExitStack() as stack:
            url, server = stack.enter_context(postgres()) if args.postgres else ("", None)
            valkey = stack.enter_context(Valkey()) if args.valkey else None
            result = run(Path(folder), database=url, server=server, valkey=valkey, **settings)
    if args.json:
        print(msgspec.json.encode(result).decode())
    else:
        Console().print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
