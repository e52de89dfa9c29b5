"""What a page is made of: figures (a chart with its table), tables, and facts; and a table as CSV.

What lives here: these values. A figure always has its numbers, so every chart can be read as a table and saved. What
it must not know: where numbers come from, how HTML looks.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jevons.web.charts.svg import NARROW, WIDE

Draw = Callable[[int, bool], str]
"""(width in pixels, narrow) -> SVG."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins like one is taken for a formula by spreadsheets; such text gets an apostrophe in front."""


class Cell(msgspec.Struct, frozen=True):
    """One cell. `raw` is what a CSV holds; `at` (Unix seconds) makes it a time in the viewer's zone."""

    text: str
    raw: str | int | float | None = None
    href: str = ""
    at: float | None = None
    tone: str = ""
    """good | bad | quiet | '' """
    number: bool = False

    @property
    def value(self) -> str | int | float:
        """What a program reads."""
        return self.text if self.raw is None else self.raw


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under heads. `empty`: what to do next when there are none."""

    id: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    empty: str = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A chart and its numbers. Without rows only `empty` is shown."""

    id: str
    title: str
    table: Table
    wide: str = ""
    narrow: str = ""
    note: str = ""
    basis: str = ""
    """measured | modelled | '' : told beside the title."""
    keys: tuple[tuple[str, str], ...] = ()
    """(colour class, name): the legend."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One large number."""

    name: str
    value: str
    note: str = ""
    tone: str = ""
    basis: str = ""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a screen's template is given."""

    template: str
    title: str
    context: dict[str, Any] = {}
    figures: dict[str, Figure] = {}
    tables: dict[str, Table] = {}


def figure(
    id: str,  # noqa: A002 - the word that HTML has for it
    title: str,
    draw: Draw,
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    note: str = "",
    basis: str = "",
    keys: Sequence[tuple[str, str]] = (),
    empty: str = "",
) -> Figure:
    """A chart drawn for both widths, with its table."""
    table = Table(id=id, title=title, heads=tuple(heads), rows=tuple(tuple(row) for row in rows), empty=empty)
    if not rows:
        return Figure(id=id, title=title, table=table, note=note, basis=basis)
    return Figure(
        id=id,
        title=title,
        table=table,
        wide=draw(WIDE, False),
        narrow=draw(NARROW, True),
        note=note,
        basis=basis,
        keys=tuple(keys),
    )


def text(words: str, href: str = "", tone: str = "") -> Cell:
    return Cell(words, None, href, None, tone)


def number(words: str, raw: float | None, tone: str = "", href: str = "") -> Cell:
    """Right-aligned, with the unrounded value for CSV."""
    return Cell(words, raw, href, None, tone, True)


def when(words: str, at: float, href: str = "") -> Cell:
    return Cell(words, round(at, 3), href, at)


def as_csv(table: Table) -> str:
    """The table for a spreadsheet, RFC 4180."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.heads)
    for row in table.rows:
        writer.writerow([_safe(cell.value) for cell in row])
    return out.getvalue()


DOLLARS = re.compile(r"(≥ )?([−-]?)\$([\d,]+)\.(\d+)")
FINEST = 4
"""Decimals of dollars in a column that holds larger sums, too."""


def aligned(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The rows with each column of dollars at one number of decimals, so that digits stand under digits. A sum too
    small for it keeps its own: it is never shown as nothing."""
    done = [list(row) for row in rows]
    for column in range(len(done[0]) if done else 0):
        found = [DOLLARS.fullmatch(row[column].text) for row in done]
        decimals = min(FINEST, max((len(each[4]) for each in found if each), default=0))
        for row, each in zip(done, found, strict=True):
            raw = row[column].raw
            if each and isinstance(raw, float | int) and (not raw or abs(raw) >= 0.5 * 10**-decimals):
                shown = f"{each[1] or ''}{each[2]}${abs(raw):,.{decimals}f}"
                row[column] = msgspec.structs.replace(row[column], text=shown)
    return done


def _safe(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
