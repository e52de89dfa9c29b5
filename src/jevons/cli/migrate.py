"""`jevons migrate`: from SQLite to Postgres, with proof."""

import click

from jevons.cli.options import as_json, print_json
from jevons.store.copying import Copied, copy
from jevons.store.migrate import open_database


@click.command()
@click.argument("sqlite_url")
@click.argument("postgres_url")
@as_json
def command(sqlite_url: str, postgres_url: str, as_json: bool) -> None:
    """Copy the database SQLITE_URL into the empty database POSTGRES_URL, and compare every table's check sum.

    Stop the gateway first: what it would book meanwhile waits, and then goes into the old file. The old file stays as
    it is; start gateways with --database POSTGRES_URL afterwards.
    """

    def told(copied: Copied) -> None:
        if as_json:
            print_json(copied)
        else:
            click.echo(f"{copied.table:<24} {copied.rows:>12,} rows  {copied.checksum[:16]}")

    with open_database(sqlite_url) as source, open_database(postgres_url, durability="strict") as target:
        found = copy(source, target, told)
    if not as_json:
        click.echo(f"{sum(copied.rows for copied in found):,} rows in {len(found)} tables, all as they were")
