"""A ledger to look at: recorded coding sessions booked through the ledger's own writer, under made-up customers.

Tokens, pauses and models are those of tests/data/sessions (real sessions); prices are the book's. Customers, plans,
arms and outcomes are made up, by a seeded hash of the session's name: nothing here is a result.
"""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.levers.route.promotion import Pair, Terms, observe, start
from jevons.plans import key as keys
from jevons.plans.plan import read
from jevons.replay.traces import Trace, read_sessions
from jevons.store import experiments, plans, promotions
from jevons.store import keys as key_rows
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.migrate import open_database

SESSIONS = Path(__file__).parent.parent / "data" / "sessions" / "small.jsonl"
ADMIN, VIEWER = "sk-jv-" + "A" * 43, "sk-jv-" + "V" * 43
DAY = 86_400.0
RATES = {"haiku": (1.0, 5.0), "sonnet": (3.0, 15.0), "opus": (5.0, 25.0)}
"""Dollars per million tokens, input and output, by family; read .1 and write 1.25 of the input's."""
PLANS = {
    "plans": {
        "pro": {"price_per_month": "49.00", "hold_out": 0.1, "target_margin": 0.5, "levers": {"trim": "equivalent"},
                "budgets": [{"scope": "customer", "per": "month", "usd": "20.00"}]},
        "free": {"budgets": [{"scope": "customer", "per": "day", "usd": "1.00"}]},
    },
    "customers": {"acme": {"plan": "pro", "seats": 4}, "globex": {"plan": "pro"}, "initech": {"plan": "free"}},
}  # fmt: skip


def seed(url: str, now: float | None = None, copies: int = 12, sessions: Path = SESSIONS) -> int:
    """Fill an empty database; returns the number of operations. `copies`: each session so often, over 60 days."""
    at = time.time() if now is None else now
    with open_database(url) as db:
        plans.apply(db, read(PLANS), who="the seed", at=at - 60 * DAY)
        for secret, name, role in ((ADMIN, "ada", "admin"), (VIEWER, "vic", "viewer")):
            key_rows.add(db, keys.make(secret, name=name, role=role, created=at - 60 * DAY))
        experiments.begin(db, "the seed", at - 60 * DAY, "the seed")
        _promote(db, at)
        traces = list(read_sessions(sessions))
        whole = [trace.id for trace in traces if not trace.sub]

        def root(trace: Trace) -> str:
            """The session that a sub-agent belongs to; some other one where the extract lacks its own."""
            own = trace.id.split("/")[0]
            return own if own in whole or not whole else whole[0]

        booked, keeper = 0, Bookkeeper()
        for copy in range(copies):
            batch = [one for trace in traces for one in operations(trace, root(trace), copy, copies, at)]
            booked += keeper.write(db, batch)
    return booked


def _promote(db: Database, now: float) -> None:
    """A candidate that has answered as well as its incumbent in 120 pairs."""
    key, terms = promotions.Key("acme", "s_agent", "claude-opus-4-6", "claude-haiku-4-5"), Terms()
    for number in range(120):
        promotions.change(
            db, key, lambda held, at=now - 86_400 + number: observe(
                held or start(key.site, key.incumbent, key.model, terms, at), Pair(new=1.0, old=1.0, cost_nano=900_000),
                terms, at,
            ), who="the seed", at=now - 86_400 + number,
        )  # fmt: skip


def operations(trace: Trace, root: str, copy: int, copies: int, now: float) -> Iterator[Operation]:
    """A session's requests as operations, moved to some moment of the last 60 days; the last copy ends now."""
    name = f"{trace.id}#{copy}"
    dice = hashlib.sha256(name.encode()).digest()
    top = hashlib.sha256(f"{root}#{copy}".encode()).digest()
    length = trace.steps[-1].at if trace.steps else 0.0
    start = now - length - 30 if copy == copies - 1 else now - 60 * DAY * (copy + top[0] / 256) / copies - length
    customer = ("acme", "globex", "initech")[top[1] % 3]
    arm = "hold-out" if top[2] < 26 else "on"
    for number, step in enumerate(trace.steps):
        usage = Usage(input=8, cached=step.kept, cache_write_5m=max(0, step.prompt - step.kept - 8), output=step.output)
        family = next((each for each in RATES if each in step.model), "sonnet")
        rate_in, rate_out = RATES[family]
        prompt = usage.input + 1.25 * usage.cache_write_5m + 0.1 * usage.cached
        cost = Nano(round((prompt * rate_in + usage.output * rate_out) * 1000))
        served, failed = f"claude-{step.model}", dice[number % 32] == 7
        saved = cost // 9 if arm == "on" and number % 3 == 0 else 0
        hit = arm == "on" and number % 7 == 6
        attempt = Attempt(provider="anthropic", model=served, status=529 if failed else 200, usage=usage,
                          started=start + step.at, duration_s=step.api_s, first_byte_s=min(1.0, step.api_s),
                          cost_nano=cost, rates={"input": round(rate_in * 1e6), "output": round(rate_out * 1e6)},
                          price_version="seed")  # fmt: skip
        yield Operation(
            operation=f"op_{dice.hex()[:10]}{copy:03d}{number:04d}", tenant=customer, key_id="key_seed",
            customer=customer, plan=PLANS["customers"][customer]["plan"], task=name, task_source="header",
            parent=f"{root}#{copy}" if trace.sub else "", task_name="sub-agent" if trace.sub else f"fix {root}",
            site=f"s_{'agent' if trace.sub else 'main'}", surface="messages", model=served,
            served_model="" if hit else served, status=529 if failed else 200,
            error="overloaded_error" if failed else "", started=start + step.at,
            duration_s=0.01 if hit else step.api_s, stream=True, cache="hit" if hit else "miss", arm=arm,
            attempts=() if hit else (attempt,), baseline_nano=Nano(cost if hit else cost + saved),
            levers=_levers(cost, saved, hit),
        )  # fmt: skip


def _levers(cost: int, saved: int, hit: bool) -> dict | None:
    if hit:
        return {"waterfall": {"exact": cost}}
    if not saved:
        return None
    return {
        "untouched": cost + saved, "bill": cost, "chosen": 1, "credit": {"trim": saved}, "combinations": 2,
        "offers": [["trim", "removed 3 repeated tool results"]], "options": [[1, cost], [0, cost + saved]],
        "blocked": [], "greedy": False, "waterfall": {"trim": saved},
    }  # fmt: skip
