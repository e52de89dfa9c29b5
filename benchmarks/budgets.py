"""Budgets over many gateways: what a cap is passed by, with Valkey there, away, and back.

All gateways run in one process, each with the counters and the connection that a real one has, against a real Valkey.
Calls reserve an estimate, take between 0.5 and 1.5 times of it (uniformly), and last a while. Valkey is killed when two
fifths of the calls have begun, and started again, empty, at four fifths; it is seeded from a ledger that all gateways
book into. The cap is reached in each phase by customers of their own, and one customer is capped over all phases.
  overshoot_usd        the most by which what was taken passes a customer's cap
  allowed_usd          one call's estimate error for each gateway: half of an estimate, times the gateways
  reserve_us           processor time of one reserve and settle, client's side, while Valkey is there
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rig import Valkey
from jevons.core.money import NANO_PER_DOLLAR as NANO
from jevons.plans.budget import Claim, Granted
from jevons.plans.plan import Limit
from jevons.store.answers import Answers
from jevons.store.shared import Shared, share
from jevons.store.valkey import SharedCounters

ESTIMATE_NANO = 2_000_000
CAP_CALLS = 400
"""A phase's customer may make about so many calls."""
LASTS_S = 0.02
AWAY, BACK = 0.4, 0.8
TIMEOUT_S = 0.25


class Ledger:
    """What was taken, by counter: the truth, and what lost counters are seeded from."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = defaultdict(int)
        self.granted: dict[str, int] = defaultdict(int)

    def spent(self, counter: str) -> int:
        return self.taken[counter]


def claim(customer: str, cap_calls: int) -> Claim:
    cap = cap_calls * ESTIMATE_NANO
    limit = Limit(scope="customer", per="total", kind="usd", amount=cap)
    return Claim(f"customer:{customer}|usd|total", ESTIMATE_NANO, cap, limit, 0.0)


def customers(phase: str) -> list[Claim]:
    """Whose calls run in a phase."""
    return [claim(f"only {phase}", CAP_CALLS), claim("all phases", 3 * CAP_CALLS)]


async def one(shared: Shared, ledger: Ledger, name: str, claims: Claim, dice: random.Random) -> None:
    """A call: reserve, burn, settle and book."""
    assert isinstance(shared.counters, SharedCounters)
    found = await shared.counters.reserve(name, [claims], time.time() + 30)
    if not isinstance(found, Granted):
        return
    await asyncio.sleep(LASTS_S * dice.random())
    took = int(ESTIMATE_NANO * (0.5 + dice.random()))
    shared.counters.settle(name, {claims.counter: took})
    ledger.taken[claims.counter] += took
    ledger.granted[claims.counter] += 1


async def simulate(gateways: int, calls: int, seed: int) -> dict[str, Any]:
    ledger, dice = Ledger(), random.Random(seed)
    with Valkey() as valkey:
        opened: list[Shared] = []
        tasks: list[asyncio.Task[None]] = []
        for _ in range(gateways):
            here = Answers(max_bytes=1 << 20, max_entry_bytes=1 << 16, ttl_s=60)
            opened.append(
                share(valkey.url, TIMEOUT_S, here=here, max_entry_bytes=1, ttl_s=60, seed=ledger.spent, parts=1)
            )
            tasks += await opened[-1].start()
        await asyncio.sleep(1.5)  # a heartbeat: all know of all
        running: set[asyncio.Task[None]] = set()
        phase, number, cpu, counted = "there", 0, 0.0, 0
        for number in range(calls):
            if number == int(AWAY * calls):
                await asyncio.gather(*running)
                cpu, counted = time.process_time() - cpu, number
                valkey.kill()
                phase = "away"
            elif number == int(BACK * calls):
                valkey.start()
                await asyncio.sleep(1.5)
                phase = "back"
            elif number == 0:
                cpu = time.process_time()
            which = dice.choice(customers(phase))
            task = asyncio.create_task(one(dice.choice(opened), ledger, f"op_{number}", which, dice))
            running.add(task)
            task.add_done_callback(running.discard)
            if number % 20 == 0:
                await asyncio.sleep(0.005)
        await asyncio.gather(*running)
        await asyncio.sleep(1.0)
        held = sum(shared.counters.reservations for shared in opened)
        unsent = sum(len(shared.counters._unsent) for shared in opened)  # noqa: SLF001 - is anything left to send
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    caps = {item.counter: item.cap for phase in ("there", "away", "back") for item in customers(phase)}
    over = {name: (ledger.taken[name] - cap) / NANO for name, cap in caps.items()}
    return {
        "gateways": gateways,
        "calls": calls,
        "overshoot_usd": round(max(0.0, *over.values()), 6),
        "allowed_usd": gateways * ESTIMATE_NANO / 2 / NANO,
        "leaked_reservations": held,
        "unsent": unsent,
        "reserve_us": round(1e6 * cpu / counted, 1),
        "customers": {
            name: {"cap_usd": caps[name] / NANO, "taken_usd": round(ledger.taken[name] / NANO, 6),
                   "calls": ledger.granted[name]}
            for name in caps
        },
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateways", type=int, default=100)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = asyncio.run(simulate(args.gateways, args.calls, args.seed))
    if args.json:
        print(json.dumps(result))
    else:
        rows = Table("what", "figure", title="budgets over many gateways")
        for name, value in result.items():
            rows.add_row(name, json.dumps(value))
        Console().print(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
