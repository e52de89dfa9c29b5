"""`jevons reconcile`: a provider's export of usage or costs against the ledger, and what is left over."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from jevons.cli.options import database, print_json
from jevons.cli.rows import Column, Row, forms, print_rows
from jevons.core.errors import CallerError
from jevons.core.money import show
from jevons.ledger import invoice as exports
from jevons.ledger.invoice import Invoice
from jevons.ledger.reconcile import Line, Result, reconcile
from jevons.store import charges
from jevons.store.migrate import open_reader

MOST_BYTES = 256 * 1024 * 1024
PICO_PER_NANO = 1_000
TOKENS = (
    Column("day", "day (UTC)"),
    Column("model", "model"),
    Column("tier", "tier"),
    Column("state", "state"),
    Column("requests", "billed calls", "count", "measured"),
    Column("calls", "booked calls", "count", "measured"),
    Column("billed", "billed", "count", "measured"),
    Column("reported", "reported", "count", "measured"),
    Column("estimated", "estimated", "count", "modelled"),
    Column("residual", "residual", "count", "measured"),
    Column("why", "why"),
)
DOLLARS = (
    *TOKENS[:3],
    Column("kind", "tokens"),
    TOKENS[3],
    Column("billed", "billed", "usd", "measured"),
    Column("reported", "booked", "usd", "measured"),
    Column("estimated", "estimated", "usd", "modelled"),
    Column("residual", "residual", "usd", "measured"),
    TOKENS[10],
)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--provider", "providers", multiple=True, help="Name of the provider in jevons; default: the export's.")
@click.option("--key", "keys", multiple=True, help="Only this key of the export is jevons's (its id there).")
@click.option("--all", "everything", is_flag=True, help="Show the lines that agree as well.")
@database
@forms
def command(
    file: Path,
    providers: tuple[str, ...],
    keys: tuple[str, ...],
    everything: bool,
    database: str,
    form: str | None,
) -> None:
    """Compare FILE, an export of usage or costs by OpenAI or Anthropic (CSV or JSON), with the ledger.

    Lines are matched by day, model and tier. Exit status 1 when a line differs and no estimate explains it.
    """
    if file.stat().st_size > MOST_BYTES:
        raise click.ClickException(f"{file} is larger than {MOST_BYTES >> 20} MiB: reconcile it month by month")
    try:
        invoice = exports.read(file.read_bytes())
    except CallerError as error:
        raise click.ClickException(f"{file}: {error}") from None
    missing = [key for key in keys if key not in {line.key for line in invoice.lines}]
    if missing and invoice.lines:
        raise click.ClickException(f"{file} has no key {missing[0]!r}; it names {', '.join(_keys(invoice)) or 'none'}")
    since, until = span(invoice)
    with open_reader(database) as db:
        booked = charges.booked(db, providers or (invoice.provider,), since, until)
    result = reconcile(invoice, booked, keys)
    _print(result, form, everything)
    raise SystemExit(1 if result.differing else 0)


def span(invoice: Invoice) -> tuple[float, float]:
    """From the first day that the export names to the end of its last."""
    days = sorted({line.day for line in invoice.lines})
    if not days:
        raise click.ClickException("the export holds no line")
    first, last = (datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) for day in (days[0], days[-1]))
    return first.timestamp(), (last + timedelta(days=1)).timestamp()


def _keys(invoice: Invoice) -> list[str]:
    return sorted({line.key for line in invoice.lines} - {""})


def _print(result: Result, form: str | None, everything: bool) -> None:
    cost = result.what == "cost"
    shown = [line for line in result.lines if everything or form or line.state != "agrees"]
    title = f"{result.provider} {result.what}: what differs" if not everything else f"{result.provider} {result.what}"
    rows = [_row(line, cost=cost) for line in shown]
    if form == "json":
        for row, line in zip(rows, shown, strict=True):
            basis = {"billed": "measured", "reported": "measured", "estimated": "modelled"}
            unit = "nanodollars" if cost else "tokens"
            plain = {key: value for key, value in row.items() if key != "style"}
            print_json({**plain, "unit": unit, "by_kind": line.by_kind, "basis": basis})
        return
    if rows or form:
        print_rows(DOLLARS if cost else TOKENS, rows, form, title)
    if form is None:
        _summary(result, cost=cost)


def _row(line: Line, *, cost: bool) -> Row:
    def unit(amount: int) -> int:
        return round(amount / PICO_PER_NANO) if cost else amount

    return {
        "day": line.day,
        "model": line.model,
        "tier": line.tier,
        "kind": line.kind,
        "state": line.state,
        "requests": line.requests,
        "calls": line.calls,
        "billed": unit(line.billed),
        "reported": unit(line.reported),
        "estimated": unit(line.estimated),
        "residual": unit(line.residual),
        "why": line.why,
        "style": {"differs": "red", "estimated": "yellow"}.get(line.state, ""),
    }


def _summary(result: Result, *, cost: bool) -> None:
    def words(amount: int) -> str:
        return show(round(amount / PICO_PER_NANO)) if cost else f"{amount:,} tokens"

    console = Console()
    total = {name: sum(getattr(line, name) for line in result.lines) for name in ("billed", "reported", "estimated")}
    said = ", ".join(f"{name} {words(amount)}" for name, amount in total.items())
    end = f"residual {words(result.residual)}, {result.differing} lines differ"
    console.print(Text(f"{len(result.lines)} lines: {said}; {end}"))
    if len(result.keys) > 1 and result.differing:
        console.print(
            Text(f"the export names {len(result.keys)} keys ({', '.join(result.keys[:8])}): --key picks ours")
        )
