"""`jevons export`: the ledger for other programs: FOCUS cost-and-usage rows, or operations as CSV or Parquet."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import click

from jevons.cli.options import database
from jevons.cli.rows import harmless, span
from jevons.core.money import NANO_PER_DOLLAR
from jevons.ledger import focus
from jevons.store import charges, log
from jevons.store.db import Database
from jevons.store.log import Logged
from jevons.store.migrate import open_reader

TEXTS = (
    "operation",
    "task",
    "site",
    "customer",
    "surface",
    "model",
    "cache",
    "served_model",
    "usage_source",
    "cost_source",
)
COUNTS = ("status", "attempts", "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning")
OPERATIONS = ("operation", "started", *TEXTS[1:], *COUNTS, "cost_usd", "baseline_usd")
"""Columns of an operation; the dollars are empty where no price is known. The baseline is modelled."""
ROW_GROUP = 50_000
"""Rows of a Parquet file that are held in memory at once: some 30 MB."""


@click.command()
@click.option(
    "--format", "form", type=click.Choice(["focus", "csv", "parquet"]), default="focus", show_default=True,
    help="FOCUS 1.2 rows as CSV; operations as CSV; operations as Parquet.",
)  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File; default: stdout.")
@span()
@database
def command(form: str, output: Path | None, since: float, until: float, database: str) -> None:
    """Write what was burned between two times. FOCUS rows sum a day; the others hold one operation a row."""
    if form == "parquet" and output is None:
        raise click.UsageError("a Parquet file is binary: name it with --output")
    with open_reader(database) as db:
        if form == "parquet":
            _parquet(output, operations(db, since, until))
            return
        with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8", newline="") as out:
            if form == "focus":
                spent = charges.spent(db, since, until)
                _csv(out, focus.COLUMNS, chain.from_iterable(map(focus.rows, spent)))
                _missing(sum(one.calls for one in spent if one.cost_nano is None))
            else:
                _csv(out, OPERATIONS, operations(db, since, until))


def _missing(calls: int) -> None:
    if calls:
        said = f"{calls} attempts have no known price and are in no row: `jevons prices`, then export again"
        click.echo(said, err=True)


def operations(db: Database, since: float, until: float) -> Iterator[dict[str, Any]]:
    """One flat row an operation, in the order of booking."""
    number = charges.before(db, since)
    while found := log.after(db, number):
        number = found[-1][0]
        yield from (flat(one) for _, one in found if since <= one.started < until)


def flat(one: Logged) -> dict[str, Any]:
    """An operation without its tree: what its attempts burned in all, and of the last one where it came from."""
    last = one.attempts[-1] if one.attempts else None
    return {
        "operation": one.operation,
        "started": one.started,
        "task": one.task,
        "site": one.site,
        "customer": one.customer,
        "surface": one.surface,
        "model": one.model,
        "cache": one.cache,
        "served_model": last.model if last else "",
        "usage_source": last.usage_source if last else "",
        "cost_source": last.cost_source if last else "",
        "status": one.status,
        "attempts": len(one.attempts),
        **{name: getattr(one.usage, name) for name in COUNTS[2:]},
        "cost_usd": _dollars(one.cost_nanodollars),
        "baseline_usd": _dollars(one.baseline_nanodollars),
    }


def _dollars(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano) / NANO_PER_DOLLAR


def _csv(out: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Decimals with a point, nothing where nothing is known; a text never begins a formula."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        text = format(value.normalize(), "f")
        return text if "." in text else f"{text}.0"  # the specification's validator takes 1000 for no decimal
    return harmless(value) if isinstance(value, str) else str(value)


def _parquet(output: Path | None, rows: Iterator[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa  # here: 60 MB that only an export pays for
        from pyarrow import parquet
    except ImportError:
        raise click.ClickException("Parquet needs pyarrow: pip install pyarrow; or use --format csv") from None
    dollars = pa.decimal128(38, 9)
    types = {"started": pa.float64(), "cost_usd": dollars, "baseline_usd": dollars}
    types |= dict.fromkeys(TEXTS, pa.string()) | dict.fromkeys(COUNTS, pa.int64())
    schema = pa.schema([(name, types[name]) for name in OPERATIONS])
    with parquet.ParquetWriter(str(output), schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema))
