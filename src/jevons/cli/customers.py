"""`jevons customers`: who pays what and costs what this month, losing first."""

import time
from datetime import UTC, datetime

import click

from jevons.cli.options import database
from jevons.cli.report import MEASURED, margin_columns, margin_row
from jevons.cli.rows import days, forms, print_rows
from jevons.store import reports
from jevons.store.migrate import open_reader


@click.command()
@click.option("--plan", default="", help="Only customers of this plan.")
@click.option("--losing", is_flag=True, help="Only those whose cost is above their revenue.")
@database
@forms
def command(plan: str, losing: bool, database: str, form: str | None) -> None:
    """Every customer's revenue, cost and margin in this calendar month (UTC); fees count for the days gone by."""
    now = time.time()
    today = datetime.fromtimestamp(now, UTC)
    since = datetime(today.year, today.month, 1, tzinfo=UTC).timestamp()
    with open_reader(database) as db:
        lines = reports.customers(db, since, now)
    chosen = [line for line in lines if plan in ("", *line.plan.split(", ")) and (line.state == "losing" or not losing)]
    print_rows(
        margin_columns("customer", MEASURED),
        [margin_row(line) for line in chosen],
        form,
        f"customers, {days(since, now)}",
    )
