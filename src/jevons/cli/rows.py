"""How a report is printed: as a table for people, as JSON lines for programs, as CSV for spreadsheets.

What lives here: columns with their units and whether their figures are measured or modelled, and spans of time as they
are written on a command line. What it must not know: any report. Names in rows were chosen by callers: nothing of them
is markup to a terminal, and nothing a formula to a spreadsheet.
"""

import csv
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jevons.cli.options import print_json
from jevons.core.money import NANO_PER_DOLLAR, show

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["text", "usd", "count", "share", "ratio", "seconds"]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""First characters that make a spreadsheet take a text for a formula or a command (OWASP, CSV injection)."""
WIDEST = 1_000
NARROWEST = 10
"""Characters that a name keeps in a line, if it has them."""
SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])\Z")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Column:
    """One column: its key in a row, its heading, its unit, and its basis ('' for names)."""

    def __init__(self, key: str, heading: str, kind: Kind = "text", basis: str = ""):
        self.key, self.heading, self.kind, self.basis = key, heading, kind, basis

    @property
    def json_key(self) -> str:
        return f"{self.key}_nanodollars" if self.kind == "usd" else self.key

    @property
    def csv_heading(self) -> str:
        name = f"{self.key}_usd" if self.kind == "usd" else self.key
        return f"{name} ({self.basis})" if self.basis else name


Row = Mapping[str, Any]


def print_rows(
    columns: Sequence[Column], rows: Sequence[Row], form: str | None, title: str, notes: Sequence[str] = ()
) -> None:
    """`form`: json | csv | None, a table. A missing value is null, empty or a dash, never 0."""
    if form == "json":
        basis = {column.json_key: column.basis for column in columns if column.basis}
        for row in rows:
            own = {**basis, **row.get("basis", {})}
            print_json({**{column.json_key: row.get(column.key) for column in columns}, "basis": own})
        return
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\r\n")
        writer.writerow([column.csv_heading for column in columns])
        writer.writerows([csv_cell(column.kind, row.get(column.key)) for column in columns] for row in rows)
        return
    table, console = as_table(columns, rows, title), Console()
    least = Console(width=WIDEST).measure(table).minimum
    if least > console.width:  # a line too long for the terminal is better than a figure that is cut
        console = Console(width=least)
    console.print(table)
    for note in notes:
        console.print(Text(note, style="dim"))


def as_table(columns: Sequence[Column], rows: Sequence[Row], title: str = "") -> Table:
    """Figures are never cut: where the terminal is narrow, names are. Under the table stands what is measured."""
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.caption, table.caption_justify = bases(columns), "left"
    lines = [[cell(column.kind, row.get(column.key)) for column in columns] for row in rows]
    for number, column in enumerate(columns):
        widest = max((len(line[number]) for line in lines), default=1)
        word = max(map(len, column.heading.split()))
        if column.kind == "text":
            table.add_column(column.heading, overflow="fold", min_width=max(word, min(widest, NARROWEST)))
        else:
            table.add_column(column.heading, justify="right", min_width=max(word, widest))
    for row, line in zip(rows, lines, strict=True):
        table.add_row(*map(Text, line), style=row.get("style", ""))
    return table


def bases(columns: Sequence[Column]) -> str:
    """`measured: calls, cost; modelled: saved`."""
    found: dict[str, list[str]] = {}
    for column in columns:
        if column.basis:
            found.setdefault(column.basis, []).append(column.heading)
    return "; ".join(f"{basis}: {', '.join(headings)}" for basis, headings in found.items())


def cell(kind: Kind, value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    if kind == "usd":
        return show(value)
    if kind == "count":
        return f"{value:,}"
    if kind == "share":
        return f"{value:.1%}"
    if kind == "ratio":
        return f"{value:,.2f}"
    if kind == "seconds":
        return f"{value:,.0f}s"
    return clean(str(value))


def csv_cell(kind: Kind, value: Any) -> str:
    """A value for a spreadsheet: dollars as exact decimals with a point, a text never as a formula."""
    if value is None:
        return ""
    if kind == "usd":
        return format(Decimal(value) / NANO_PER_DOLLAR, ".9f")
    if kind == "text":
        return harmless(str(value))
    return format(value, ".6g") if isinstance(value, float) else str(value)


def harmless(text: str) -> str:
    """A text that no spreadsheet runs: a quote in front of what would begin a formula, blanks before it or not."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) or text.startswith(FORMULA) else text


def clean(text: str) -> str:
    """A caller's text without what would steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class Moment(click.ParamType[float]):
    """A moment as Unix seconds: `7d` (ago), `2026-11-01`, `2026-11-01T12:00` (UTC unless it says otherwise), `now`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = SPAN.match(value)
        if found:
            return time.time() - float(found[1]) * SECONDS[found[2]]
        if value == "now":
            return time.time()
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 7d, 12h, 2026-11-01 or 2026-11-01T12:00", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def span(default: str = "30d") -> Callable[[F], F]:
    """--since and --until."""

    def wrap(command: F) -> F:
        shown = "A date (UTC), or how long ago: 7d, 12h."
        command = click.option("--until", type=Moment(), default="now", show_default=True, help="The same.")(command)
        return click.option("--since", type=Moment(), default=default, show_default=True, help=shown)(command)

    return wrap


def forms(command: F) -> F:
    """--json and --csv, as `form`: table | json | csv."""
    command = click.option("--csv", "form", flag_value="csv", help="CSV for spreadsheets.")(command)
    return click.option(
        "--json", "form", flag_value="json", default=None, help="JSON for programs, one object a line."
    )(command)


def days(since: float, until: float) -> str:
    """A span of whole days (UTC), in words."""
    first, last = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") for at in (since, max(since, until - 1)))
    return first if first == last else f"{first} to {last}"
