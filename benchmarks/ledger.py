"""The ledger at ten million operations: what booking costs, what a row takes, how fast reports answer.

Operations are made by a seeded generator (30 days, 500 customers, 3,000 call sites, tasks of 30 calls, one attempt a
call, 2% with a retry, 1% unpriced) and booked by the gateway's own code: store/booking.py in batches of 500 to load,
store/writer.py at a steady 1,000 calls a second for the cost of booking. Queries are the ones that reports and pages
run (store/rollups.py, store/log.py), each the median of five, first on a tenth of the operations and then on all.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.store import log, retention, rollups
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.measures import DAY, HOUR, MINUTE
from jevons.store.migrate import open_database
from jevons.store.writer import Writer

DAYS = 30
START = 1_792_800_000 // DAY * DAY
CUSTOMERS, SITES, MODELS = 500, 3_000, ("gpt-5", "gpt-5-mini", "claude-sonnet-4-5", "claude-haiku-4-5", "smollm2-135m")
CALLS_PER_TASK, LIVE_TASKS = 30, 40
LOAD_BATCH = 500
STEADY_PER_S, STEADY_S = 1_000, 8
RATES = {"input": 1_250_000, "cached": 125_000, "cache_write_5m": 1_250_000, "cache_write_1h": 1_250_000}
RATES |= {"output": 10_000_000, "reasoning": 10_000_000}
VERSION = "genai-prices 0.2.3 ca6d4716cef7"


def operations(count: int, seed: int, start: float = START, span_s: float = DAYS * DAY) -> Iterator[Operation]:
    """Calls in time order, some tasks at a time, as agents make them."""
    dice, step = random.Random(seed), span_s / count
    live: list[tuple[str, int, int]] = []
    for number in range(count):
        if number % CALLS_PER_TASK == 0:
            customer = int(dice.random() ** 2 * CUSTOMERS)  # a few customers make most calls
            task = (f"task_{seed:02x}{number:016x}", customer, dice.randrange(SITES // CUSTOMERS))
            live = [*live[-LIVE_TASKS + 1 :], task]
        yield _operation(f"op_{seed:02x}{number:022x}", dice, live[dice.randrange(len(live))], start + number * step)


def _operation(name: str, dice: random.Random, who: tuple[str, int, int], at: float) -> Operation:
    task, customer, site = who
    model = MODELS[(customer + site) % len(MODELS)]
    prompt = dice.randrange(500, 40_000)
    cached = int(prompt * dice.random())
    usage = Usage(input=prompt - cached, cached=cached, output=dice.randrange(20, 1_200))
    cost = None if dice.random() < 0.01 else Nano(usage.input * 1250 + usage.cached * 125 + usage.output * 10_000)
    seconds = 0.4 + usage.output / 90
    attempt = Attempt(
        provider="openai",
        model=model,
        status=200,
        started=at,
        duration_s=seconds,
        first_byte_s=0.4,
        usage=usage,
        cost_nano=cost,
        cost_source="book" if cost is not None else "unpriced",
        price_version=VERSION,
        rates=RATES,
    )
    failed = Attempt(provider="openai", model=model, status=503, started=at, cost_nano=Nano(0), cost_source="free")
    return Operation(
        operation=name,
        tenant=f"customer-{customer}",
        key_id=f"key_{customer:012x}",
        customer=f"customer-{customer}",
        plan=("free", "pro", "team")[customer % 3],
        task=task,
        task_source="chain",
        parent="",
        task_name="",
        site=f"{customer:08x}{site:08x}",
        surface="chat",
        model=model,
        served_model=model,
        status=200,
        started=at,
        duration_s=seconds,
        stream=True,
        cache="miss",
        attempts=(failed, attempt) if dice.random() < 0.02 else (attempt,),
        baseline_nano=Nano(int(cost * 1.2)) if cost is not None else None,
    )


def queries(db: Database, end: float) -> dict[str, Callable[[], object]]:
    """What reports and pages ask, over all 30 days where it can be."""
    start, busy = float(START), {"customer": "customer-0"}
    site = {"site": f"{0:08x}{0:08x}"}
    return {
        "total_30d": lambda: rollups.total(db, start, end),
        "by_day_30d": lambda: rollups.over_time(db, start, end),
        "by_customer_30d": lambda: rollups.by(db, ["customer"], start, end),
        "by_plan_30d": lambda: rollups.by(db, ["plan"], start, end),
        "by_model_30d": lambda: rollups.by(db, ["model", "served_model"], start, end),
        "by_site_30d": lambda: rollups.by(db, ["site"], start, end),
        "by_key_30d": lambda: rollups.by(db, ["key_id"], start, end),
        "one_customer_30d": lambda: rollups.by(db, ["site", "model"], start, end, where=busy),
        "by_hour_7d": lambda: rollups.over_time(db, end - 7 * DAY, end, grain=HOUR),
        "by_customer_24h": lambda: rollups.by(db, ["customer"], end - DAY, end, grain=HOUR),
        "by_minute_3h": lambda: rollups.over_time(db, end - 3 * HOUR, end, grain=MINUTE),
        "one_site_7d": lambda: rollups.over_time(db, end - 7 * DAY, end, where=site, grain=HOUR),
        "dearest_tasks_24h": lambda: rollups.tasks(db, end - DAY, end),
        "dearest_tasks_30d": lambda: rollups.tasks(db, start, end),
        "log_last_100": lambda: log.last(db, 100),
    }


def timed(ask: Callable[[], object], times: int = 5) -> float:
    """Median milliseconds."""
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - before) * 1e3)
    return round(statistics.median(taken), 2)


def load(db: Database, path: Path, count: int, seed: int, checks: dict[int, dict[str, float]]) -> dict[str, float]:
    """Book all operations. Returns CPU us an operation in the first and the last tenth, generator excluded."""
    books, batch, spent = Bookkeeper(), [], []
    columns = (TextColumn("booking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("booking", total=count)
        for number, operation in enumerate(operations(count, seed), start=1):
            batch.append(operation)
            if len(batch) < LOAD_BATCH and number < count:
                continue
            before = time.thread_time()
            books.write(db, batch)
            spent.append((time.thread_time() - before) / len(batch) * 1e6)
            bar.update(task, completed=number)
            batch = []
            if number // (count // 10 or 1) > len(checks):  # every tenth: retention, size
                retention.prune(db, operation.started, retention.Keep())
                checks[number] = {"bytes": _size(path) / number}
                if len(checks) == 1:
                    checks[number] |= {name: timed(ask) for name, ask in queries(db, operation.started).items()}
    tenth = max(1, len(spent) // 10)
    return {"first": statistics.fmean(spent[:tenth]), "last": statistics.fmean(spent[-tenth:])}


def steady(url: str, seed: int) -> float:
    """CPU microseconds an operation of `Writer.book` at a steady rate, both threads, generator excluded."""
    made = list(operations(STEADY_PER_S * STEADY_S, seed + 1, START + DAYS * DAY, STEADY_S))
    writer = Writer(url)
    before, began = time.process_time(), time.perf_counter()
    for number, operation in enumerate(made):
        writer.book(operation)
        if number % 10 == 9:
            time.sleep(max(0.0, began + number / STEADY_PER_S - time.perf_counter()))
    writer.flush()
    used = time.process_time() - before
    writer.close()
    before, began = time.process_time(), time.perf_counter()
    for number in range(len(made)):  # the loop itself, to take off
        if number % 10 == 9:
            time.sleep(max(0.0, began + number / STEADY_PER_S - time.perf_counter()))
    return (used - (time.process_time() - before)) / len(made) * 1e6


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def run(count: int, seed: int, url: str, path: Path) -> dict[str, object]:
    checks: dict[int, dict[str, float]] = {}
    with open_database(url) as db:
        loading = load(db, path, count, seed, checks)
        db.run("PRAGMA wal_checkpoint(TRUNCATE)")
        at_end = {name: timed(ask) for name, ask in queries(db, START + DAYS * DAY).items()}
        size = _size(path) / count
        rows = {
            table: db.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("series", "tariffs", "tasks", "rollups")
        }
    return {
        "operations": count,
        "query_ms": at_end,
        "query_ms_at_a_tenth": {k: v for k, v in next(iter(checks.values())).items() if k != "bytes"} if checks else {},
        "bytes_per_operation": round(size, 1),
        "bytes_per_operation_by_tenth": [round(check["bytes"], 1) for check in checks.values()],
        "booking_cpu_us": round(steady(url, seed), 1),
        "loading_cpu_us": {name: round(value, 1) for name, value in loading.items()},
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--operations", type=int, default=10_000_000, help="how many to load (default 10,000,000)")
    parser.add_argument("--data", help="ignored: the operations are generated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where the database goes (default: a temporary directory)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="jevons-ledger-", dir=options.directory))
    try:
        path = directory / "ledger.db"
        result = run(options.operations, options.seed, f"sqlite:///{path}", path)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(name)
            for key, inner in value.items():
                print(f"  {key:<22} {inner:>12,}")
        else:
            print(f"{name:<24} {value}")


if __name__ == "__main__":
    main()
