"""`jevons explain`: what was weighed for one operation, what each option would have cost, and why one won."""

from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, database, print_json
from jevons.core.errors import NotFound
from jevons.core.money import show
from jevons.governor import render
from jevons.store.migrate import open_reader

QUERY = (
    "SELECT o.operation, o.status, o.cache, o.arm, o.cost_nano, o.baseline_nano, o.levers, s.model, s.served_model, "
    "s.surface FROM operations o JOIN series s ON s.id = o.series WHERE o.operation = ?"
)
ATTEMPTS = (
    "SELECT t.role, t.provider, t.model, a.status, a.error, a.cost_nano FROM attempts a "
    "JOIN tariffs t ON t.id = a.tariff JOIN operations o ON o.seq = a.operation WHERE o.operation = ? ORDER BY a.number"
)
BURNED = ("role", "provider", "model", "status", "error", "cost_nanodollars")


@click.command()
@click.argument("operation")
@database
@as_json
def command(operation: str, database: str, as_json: bool) -> None:
    """Show every option that the governor priced for OPERATION (an id from `jevons log`).

    Bills are expected dollars over this call and the session's further ones (modelled); the booked cost is measured.
    """
    with open_reader(database) as db:
        row = db.row(QUERY, (operation,))
        attempts = db.rows(ATTEMPTS, (operation,))
    if row is None:
        raise NotFound(f"no operation {operation!r} is booked; `jevons log` shows the ids")
    name, status, cache, arm, cost, baseline, levers, model, served, surface = row
    explained: dict[str, Any] | None = msgspec.json.decode(levers) if levers else None
    options = render(explained) if explained and "offers" in explained else []
    if as_json:
        print_json(
            {
                "operation": name,
                "cost_nanodollars": cost,
                "baseline_nanodollars": baseline,
                "waterfall": explained.get("waterfall", {}) if explained else {},
                "arm": arm,
                "cache": cache,
                "options": [{"levers": what, "bill_nanodollars": bill, "why": why} for what, bill, why in options],
                "attempts": [dict(zip(BURNED, attempt, strict=True)) for attempt in attempts],
            }
        )
        return
    console = Console()
    paid = "unpriced" if cost is None else show(cost)
    console.print(f"{name}: {surface} {model} -> {served or 'nothing'}, {status}, booked {paid} (measured)")
    if baseline is not None:
        lines = (explained or {}).get("waterfall", {})
        parts = ", ".join(f"{line} {show(nano)}" for line, nano in lines.items())
        console.print(f"would have cost {show(baseline)} (modelled)" + (f"; saved by {parts}" if parts else ""))
    if cache:
        console.print(f"cache: {cache}")
    if arm:
        console.print(f"arm: {arm}" + (" (no lever acts here: the hold-out)" if arm == "hold-out" else ""))
    if len(attempts) > 1:
        for role, provider, served_by, code, error, nano in attempts:
            burned = "unpriced" if nano is None else show(nano)
            console.print(f"  {role}: {provider}/{served_by} {error or code}, {burned}")
    if not options:
        console.print("no lever had an offer for this call: it went as it came")
        return
    table = Table("option", "expected bill (modelled)", "why", title="what was weighed, cheapest first")
    for what, bill, why in options:
        table.add_row(what, "not priced" if bill is None else show(bill), why)
    console.print(table)
