"""`jevons top`: what burns right now: dollars and tokens a minute, the cache mix, the dearest customers and tasks."""

import time

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from jevons.cli.options import database
from jevons.cli.rows import Column, as_table
from jevons.core.money import show
from jevons.store import rollups
from jevons.store.db import Database
from jevons.store.measures import MINUTE
from jevons.store.migrate import open_reader
from jevons.store.rollups import Point, Sums

EVERY_S = 1.0
MOST_LINES = 10
BARS = " ▁▂▃▄▅▆▇█"
CUSTOMERS = (
    Column("name", "customer"),
    Column("cost", "$/min", "usd", "measured"),
    Column("tokens", "tokens/min", "count", "measured"),
    Column("calls", "calls/min", "ratio", "measured"),
    Column("mix", "cached", "share", "measured"),
    Column("unpriced", "unpriced", "count", "measured"),
)
TASKS = (
    Column("name", "task"),
    Column("customer", "customer"),
    Column("age", "age", "seconds", "measured"),
    Column("calls", "calls", "count", "measured"),
    Column("cost", "cost", "usd", "measured"),
    Column("mix", "cached", "share", "measured"),
)


class Frame(msgspec.Struct, frozen=True):
    """What one picture is drawn from."""

    at: float
    minutes: int
    points: tuple[Point, ...]
    customers: tuple[rollups.Group, ...]
    tasks: tuple[rollups.TaskSums, ...]


@click.command()
@click.option("--minutes", default=15, show_default=True, type=click.IntRange(1, 360), help="Over how long to look.")
@click.option("--once", is_flag=True, help="One picture, then end: for pipes.")
@database
def command(minutes: int, once: bool, database: str) -> None:
    """Watch the ledger live, until Ctrl-C. Everything shown is measured; costs are what was booked."""
    with open_reader(database) as db:
        if once:
            Console().print(draw(look(db, time.time(), minutes)))
            return
        try:
            with Live(draw(look(db, time.time(), minutes)), screen=True, auto_refresh=False) as live:
                while True:
                    time.sleep(EVERY_S)
                    live.update(draw(look(db, time.time(), minutes)), refresh=True)
        except KeyboardInterrupt:
            pass


def look(db: Database, now: float, minutes: int) -> Frame:
    """Read the last minutes, the one under way included."""
    since = now // MINUTE * MINUTE - (minutes - 1) * MINUTE
    return Frame(
        at=now,
        minutes=minutes,
        points=tuple(rollups.over_time(db, since, now, grain=MINUTE)),
        customers=tuple(rollups.by(db, ["customer"], since, now, limit=MOST_LINES, grain=MINUTE)),
        tasks=tuple(rollups.tasks(db, since, now, limit=MOST_LINES)),
    )


def draw(frame: Frame) -> RenderableType:
    """The picture: totals, a minute-by-minute line of dollars, customers, tasks."""
    lasts = frame.minutes - 1 + (frame.at % MINUTE) / MINUTE or 1.0
    total = _total(frame)
    prompt = total["input"] + total["cached"] + total["cache_write_5m"] + total["cache_write_1h"]
    head = Text(time.strftime("%H:%M:%S  ", time.localtime(frame.at)), style="bold")
    head.append(
        f"{show(round(total['cost_nano'] / lasts))}/min   {(prompt + total['output']) / lasts:,.0f} tokens/min   "
    )
    head.append(f"{total['calls'] / lasts:,.1f} calls/min   {total['hits']:,} served by a cache   ")
    head.append(f"{total['errors']:,} errors   ", style="red" if total["errors"] else "")
    head.append(f"{total['unpriced']:,} unpriced", style="yellow" if total["unpriced"] else "")
    shares = [("cached", total["cached"]), ("fresh", total["input"]), ("written 5 min", total["cache_write_5m"]),
              ("written 1 h", total["cache_write_1h"])]  # fmt: skip
    mix = "  ".join(f"{name} {count / prompt:.0%}" for name, count in shares) if prompt else "no tokens yet"
    return Group(
        head,
        Text(f"prompt: {mix}"),
        Text(f"$/min over {frame.minutes} min (measured): {bars(frame)}"),
        as_table(CUSTOMERS, [_customer(group, lasts) for group in frame.customers], "customers"),
        as_table(TASKS, [_task(task, frame.at) for task in frame.tasks], "dearest tasks that began in this time"),
    )


def bars(frame: Frame) -> str:
    """One block a minute, the highest minute full."""
    first = int(frame.at) // MINUTE * MINUTE - (frame.minutes - 1) * MINUTE
    costs = [0] * frame.minutes
    for point in frame.points:
        place = (point.at - first) // MINUTE
        if 0 <= place < frame.minutes:
            costs[place] += point.sums.cost_nano
    top = max(costs) or 1
    return "".join(BARS[-(-cost * (len(BARS) - 1) // top)] for cost in costs)


def _total(frame: Frame) -> dict[str, int]:
    names = ("calls", "errors", "hits", "unpriced", "cost_nano", "input", "cached", "cache_write_5m", "cache_write_1h",
             "output")  # fmt: skip
    return {name: sum(getattr(point.sums, name) for point in frame.points) for name in names}


def _customer(group: rollups.Group, lasts: float) -> dict[str, object]:
    sums = group.sums
    return {
        "name": group.key[0] or "(no customer)",
        "cost": round(sums.cost_nano / lasts),
        "tokens": round((_prompt(sums) + sums.output) / lasts),
        "calls": sums.calls / lasts,
        "mix": sums.cached / _prompt(sums) if _prompt(sums) else None,
        "unpriced": sums.unpriced,
    }


def _task(task: rollups.TaskSums, now: float) -> dict[str, object]:
    sums = task.sums
    return {
        "name": task.name or task.task,
        "customer": task.customer,
        "age": max(0.0, now - task.started),
        "calls": sums.calls,
        "cost": None if sums.unpriced == sums.calls else sums.cost_nano,
        "mix": sums.cached / _prompt(sums) if _prompt(sums) else None,
    }


def _prompt(sums: Sums) -> int:
    return sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h
