"""`jevons keys`: make, list and revoke the keys that callers use. A secret is shown once and stored as a hash."""

import os
import sys
import time

import click
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, database, print_json
from jevons.plans import key as keys
from jevons.store import keys as rows
from jevons.store.migrate import open_database, open_reader


@click.group()
def command() -> None:
    """Keys that callers use: create, list, revoke."""


@command.command()
@click.option("--name", required=True, help="What the key is for; shown in reports.")
@click.option("--customer", default="", help="The customer whose calls these are: they share caches and budgets.")
@click.option("--plan", default="", help="The plan for this key (default: its customer's).")
@click.option("--admin", "role", flag_value="admin", help="It also opens the dashboard, and may change things there.")
@click.option(
    "--viewer", "role", flag_value="viewer", help="It only opens the dashboard, and changes and calls nothing."
)
@click.option(
    "--secret-stdin", is_flag=True, help="Take the key itself from stdin, to keep one that clients already hold."
)
@database
@as_json
def create(
    name: str, customer: str, plan: str, role: str | None, secret_stdin: bool, database: str, as_json: bool
) -> None:
    """Make a key and show it, this once."""
    secret = sys.stdin.read().strip() if secret_stdin else keys.secret(os.urandom(keys.SECRET_BYTES))
    if not secret or not secret.isascii() or len(secret) > keys.LONGEST_SECRET:
        raise click.ClickException(f"a key is 1 to {keys.LONGEST_SECRET} ASCII characters")
    with open_database(database, durability="strict") as db:
        made = keys.make(secret, name=name, customer=customer, plan=plan, created=time.time(), role=role or "")
        key = rows.add(db, made)
    if as_json:
        print_json({"key": secret} | _public(key))
        return
    click.echo(secret)
    click.echo(f"{key.id}: shown only now, it is stored as a hash. Running gateways know it within a second.", err=True)


@command.command(name="list")
@database
@as_json
def show_keys(database: str, as_json: bool) -> None:
    """All keys, by their first characters."""
    with open_reader(database) as db:
        found = rows.every(db)
    if as_json:
        for key in found:
            print_json(_public(key))
        return
    if not found:
        click.echo("no keys yet; `jevons keys create --name me` makes one")
        return
    table = Table("id", "name", "key", "customer", "plan", "role", "created", "revoked", box=None)
    for key in found:
        table.add_row(
            key.id,
            key.name,
            key.prefix + "...",
            key.customer,
            key.plan,
            key.role,
            _when(key.created),
            _when(key.revoked),
        )
    Console().print(table)


@command.command()
@click.argument("which")
@database
@as_json
def revoke(which: str, database: str, as_json: bool) -> None:
    """End the key WHICH (its id, its name, or its first characters). It is refused everywhere within a second."""
    with open_database(database, durability="strict") as db:
        key = rows.revoke(db, which, time.time())
    if as_json:
        print_json(_public(key))
        return
    click.echo(f"{key.id} ({key.name}) is revoked")


def _public(key: keys.Key) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "customer": key.customer,
        "plan": key.plan,
        "role": key.role,
        "created": key.created,
        "revoked": key.revoked,
    }


def _when(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
