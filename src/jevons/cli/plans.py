"""`jevons plans`: the layers of service, as a file that is applied."""

import getpass
import time
import tomllib
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, database, print_json
from jevons.core.errors import JevonsError
from jevons.core.money import show
from jevons.plans.plan import Book, read
from jevons.store import plans as rows
from jevons.store.migrate import open_database


@click.group()
def command() -> None:
    """Plans and customers: prices, budgets, levers, quality floors."""


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Remove plans and customers that the file does not name.")
@click.option("--dry-run", is_flag=True, help="Only check the file and say what it holds.")
@database
def apply(file: Path, prune: bool, dry_run: bool, database: str) -> None:
    """Make the database say what FILE (TOML) says. Applying it again changes nothing; gateways follow within 1 s."""
    try:
        book = read(tomllib.loads(file.read_text(encoding="utf-8")))
        if dry_run:
            click.echo(f"{file} is good: {len(book.plans)} plans, {len(book.customers)} customers")
            return
        with open_database(database) as db:
            changes = rows.apply(db, book, who=f"{getpass.getuser()} (cli)", at=time.time(), prune=prune)
    except (JevonsError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {error}") from None
    for change in changes:
        what = "removed" if not change.after else "changed" if change.before else "new"
        click.echo(f"{change.kind} {change.name}: {what}")
    if not changes:
        click.echo("nothing to change")


@command.command(name="list")
@database
@as_json
def show_plans(database: str, as_json: bool) -> None:
    """What is sold, and to whom."""
    with open_database(database) as db:
        book = rows.load(db)
    if as_json:
        print_json(book)
        return
    if not book.plans:
        click.echo(
            "no plans yet; write plans.toml (docs/plans.md has one to start from) and `jevons plans apply plans.toml`"
        )
        return
    Console().print(_table(book))


@command.command()
@click.option("--last", default=20, show_default=True, help="Lines to show.")
@database
def audit(last: int, database: str) -> None:
    """Who changed which plan, when."""
    with open_database(database) as db:
        for change in rows.audit(db, last):
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(change.at))
            what = "removed" if not change.after else "changed" if change.before else "added"
            click.echo(f"{at}  {change.who}  {what} {change.kind} {change.name}")


def _table(book: Book) -> Table:
    table = Table("plan", "month", "task", "Mtok", "floor", "margin", "levers", "budgets", "customers")
    for plan in book.plans.values():
        customers = [customer.name for customer in book.customers.values() if customer.plan == plan.name]
        table.add_row(
            plan.name,
            show(plan.price_month_nano),
            show(plan.price_task_nano),
            show(plan.price_mtok_nano),
            f"{plan.quality_floor:g}",
            "" if plan.target_margin is None else f"{plan.target_margin:.0%}",
            ", ".join(f"{lever} {risk}" for lever, risk in plan.levers.items()) or "exact only",
            str(len(plan.limits)),
            ", ".join(sorted(customers)[:5]) + (" ..." if len(customers) > 5 else ""),
        )
    return table
