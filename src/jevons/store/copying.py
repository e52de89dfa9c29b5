"""Move a whole database from SQLite to Postgres, and prove that every row arrived.

What lives here: the order of tables, copying in pieces, and check sums over what each database gives back. What it must
not know: what any table means. All of it is one transaction of the target: a row that differs leaves the target empty.
"""

import hashlib
from collections.abc import Callable, Iterator

import msgspec

from jevons.core.errors import SettingsError
from jevons.store.db import Database, Row
from jevons.store.migrate import known, missing

PIECE_ROWS = 2_000
"""Rows in memory and in one statement: about 1 MB."""
OURS = {"migrations"}
"""Tables that the target's own migrations fill."""
_SUM_BITS = 1 << 256


class Copied(msgspec.Struct, frozen=True):
    """One table that arrived whole."""

    table: str
    rows: int
    checksum: str
    """Of all rows in any order: the SHA-256 of each, added up."""


def copy(source: Database, target: Database, told: Callable[[Copied], None] = lambda _: None) -> list[Copied]:
    """Copy all tables. The source is locked against writers meanwhile. Raises SettingsError when anything differs."""
    if source.postgres or not target.postgres:
        raise SettingsError("this moves a sqlite:/// database to a postgresql:// one")
    for db in (source, target):
        if missing(db):
            raise SettingsError(f"{db.path or 'the target'} lacks migrations of this jevons ({known()[-1].name})")
    tables = in_order(source)
    found = []
    with source.transaction(), target.transaction():
        _refuse_full(target, tables)
        for table in reversed(tables):
            target.run(f"DELETE FROM {table}")  # noqa: S608 - a table's own name; what migrations put there
        for table in tables:
            copied = _copy(source, target, table)
            found.append(copied)
            told(copied)
    return found


def in_order(db: Database) -> list[str]:
    """The tables, each after those that it refers to."""
    names = [row[0] for row in db.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    left = {
        name: {row[2] for row in db.rows(f"PRAGMA foreign_key_list({name})")} - {name}
        for name in names
        if name not in OURS and not name.startswith("sqlite_")
    }
    out: list[str] = []
    while left:
        free = sorted(name for name, needs in left.items() if needs <= set(out))
        if not free:
            raise SettingsError(f"the tables {', '.join(sorted(left))} refer to each other in a circle")
        out.extend(free)
        for name in free:
            del left[name]
    return out


def checksum(rows: Iterator[Row]) -> tuple[int, str]:
    """(number, check sum) of rows in any order, the same for both databases."""
    number, total = 0, 0
    for row in rows:
        number += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(map(_plain, row))).encode("utf-8", "surrogatepass")).digest())
    return number, f"{total % _SUM_BITS:064x}"


def _copy(source: Database, target: Database, table: str) -> Copied:
    columns = [str(row[1]) for row in source.rows(f"PRAGMA table_info({table})")]
    names = ", ".join(columns)
    select = f"SELECT {names} FROM {table}"  # noqa: S608 - the schema's own names
    insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in columns)})"  # noqa: S608
    piece: list[Row] = []
    for row in source.stream(select, PIECE_ROWS):
        piece.append(row)
        if len(piece) == PIECE_ROWS:
            target.many(insert, piece)
            piece = []
    target.many(insert, piece)
    _set_sequence(target, table, columns)
    before, after = checksum(source.stream(select, PIECE_ROWS)), checksum(target.stream(select, PIECE_ROWS))
    if before != after:
        raise SettingsError(f"{table} did not arrive whole: {before} left and {after} came; nothing was kept")
    return Copied(table=table, rows=after[0], checksum=after[1])


def _set_sequence(target: Database, table: str, columns: list[str]) -> None:
    """New ids begin above the copied ones."""
    for column in columns:
        found = target.row("SELECT pg_get_serial_sequence(?, ?)", (table, column))
        if found is not None and found[0] is not None:
            target.run(
                f"SELECT setval(?, greatest((SELECT coalesce(max({column}), 0) FROM {table}), 1))",  # noqa: S608
                (found[0],),
            )


def _refuse_full(target: Database, tables: list[str]) -> None:
    for table in ("operations", "keys", "plans"):
        if table in tables and target.row(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608
            raise SettingsError(f"the target's table {table} is not empty: name a fresh database")


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview | bytearray) else value
