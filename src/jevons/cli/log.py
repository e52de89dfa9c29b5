"""`jevons log`: the last operations with what they cost, and the live tail."""

import time
from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, database, print_json
from jevons.core.money import show
from jevons.store import log
from jevons.store.db import Database
from jevons.store.log import Logged
from jevons.store.migrate import open_reader

POLL_S = 0.3
"""How often the tail looks for new operations."""
COLUMNS = (
    ("time", 8, "left"),
    ("st", 3, "right"),
    ("customer", 14, "left"),
    ("task", 16, "left"),
    ("model", 26, "left"),
    ("input", 8, "right"),
    ("cached", 8, "right"),
    ("output", 7, "right"),
    ("sec", 6, "right"),
    ("cost", 12, "right"),
    ("", 9, "left"),
)
"""(heading, width, side): fixed, so that a tail lines up."""


@click.command()
@click.option("--last", "count", default=20, show_default=True, type=click.IntRange(min=0), help="Operations to show.")
@click.option("--follow", "-f", is_flag=True, help="Go on showing new ones, until Ctrl-C.")
@database
@as_json
def command(count: int, follow: bool, database: str, as_json: bool) -> None:
    """The last operations in the order in which they were booked, each with its cost."""
    with open_reader(database) as db:
        try:
            if as_json:
                for batch in batches(db, log.page(db, count), follow=follow):
                    for operation in batch:
                        print_json(operation)
            else:
                _show(db, count, follow)
        except (KeyboardInterrupt, BrokenPipeError):
            pass


def batches(db: Database, number: int, *, follow: bool) -> Iterator[list[Logged]]:
    """Operations booked after number, some at a time; with `follow` also those still to come, for ever."""
    while True:
        found = log.after(db, number)
        if found:
            number = found[-1][0]
            yield [operation for _, operation in found]
        elif not follow:
            return
        else:
            time.sleep(POLL_S)


def _show(db: Database, count: int, follow: bool) -> None:
    console, heading, shown, spent, unpriced = Console(), True, 0, 0, 0
    for batch in batches(db, log.page(db, count), follow=follow):
        console.print(_table(batch, heading=heading))
        heading = False
        shown += len(batch)
        spent += sum(operation.cost_nanodollars or 0 for operation in batch)
        unpriced += sum(operation.unpriced for operation in batch)
        if follow:
            console.print(f"[dim]{_sum(shown, spent, unpriced)}[/]")
    if not follow:
        console.print(_sum(shown, spent, unpriced) if shown else "no operation is booked yet")


def _sum(shown: int, spent: int, unpriced: int) -> str:
    return f"{shown} operations, {show(spent)}" + (f" and {unpriced} without a known price" if unpriced else "")


def _table(batch: Sequence[Logged], *, heading: bool) -> Table:
    table = Table(box=None, show_header=heading, pad_edge=False)
    for name, width, side in COLUMNS:
        table.add_column(
            name, width=width, justify="right" if side == "right" else "left", no_wrap=True, overflow="ellipsis"
        )
    for operation in batch:
        usage, colour = operation.usage, "red" if operation.status >= 400 else ""
        seconds = max((attempt.duration_s for attempt in operation.attempts), default=0.0)
        table.add_row(
            time.strftime("%H:%M:%S", time.localtime(operation.started)),
            str(operation.status),
            operation.customer,
            operation.task,
            operation.model,
            f"{usage.prompt:,}",
            f"{usage.cached:,}",
            f"{usage.output:,}",
            f"{seconds:.2f}",
            "unpriced" if operation.cost_nanodollars is None else show(operation.cost_nanodollars),
            operation.cache,
            style=colour,
        )
    return table
