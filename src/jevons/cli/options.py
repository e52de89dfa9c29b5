"""Options that several commands share, and how they print JSON."""

import sys
from typing import Any

import click
import msgspec

from jevons.store.db import DEFAULT_URL

database = click.option(
    "--database",
    envvar="JEVONS_DATABASE",
    default=DEFAULT_URL,
    show_default=True,
    help="sqlite:///PATH or postgresql://user@host/name; also from JEVONS_DATABASE.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="JSON for programs, one object a line.")


def print_json(value: Any) -> None:
    """One object on one line of stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
