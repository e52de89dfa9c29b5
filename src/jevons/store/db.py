"""One database connection by URL, in the dialect of SQLite or of Postgres.

What lives here: opening, short transactions, and the few spellings in which the two differ. SQL elsewhere is written
once, in the common subset, with `?` for a parameter and with SQLite's type names in migrations. What this file must
not know: any table. Plain SQL because of memory: an ORM's core alone takes a third of what the whole gateway may use
(docs/decisions/0020-plain-sql.md).
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from jevons.core.errors import SettingsError

DEFAULT_URL = "sqlite:///.jevons/jevons.db"
BUSY_TIMEOUT_S = 5.0
"""How long a short transaction waits for another one's lock before it fails and is tried again."""
CACHE_KIB = 16 * 1024
"""SQLite's page cache of one connection: the upper levels of every index at ten million operations."""
OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables; RETURNING and upserts are older."""

T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Sequence[Any]


class Database:
    """One connection, used by one thread at a time. Outside a transaction every statement commits by itself."""

    def __init__(self, url: str, *, durability: str = "batched", read_only: bool = False):
        self.url = url
        self.durability = durability
        self.read_only = read_only
        self.path = self.path_of(url)
        self.postgres = self.path is None
        self._connection: Any = None
        self.transient: tuple[type[Exception], ...] = (sqlite3.OperationalError,)
        """Errors that say `not now` (a lock, a full disk, a lost connection): the same statement may work later."""
        self.connect()

    @staticmethod
    def path_of(url: str) -> Path | None:
        """The SQLite file that a URL names; None for Postgres. Raises SettingsError for anything else."""
        if url.startswith(("postgresql://", "postgres://")):
            return None
        prefix = "sqlite:///"
        if not url.startswith(prefix) or len(url) == len(prefix):
            shown = _without_password(url)
            raise SettingsError(
                f"database {shown!r} is not understood; use sqlite:///PATH or postgresql://user@host/name"
            )
        return Path(unquote(url[len(prefix) :]))

    def connect(self) -> None:
        """Connect, or connect again after a lost connection. A failure leaves the old connection as it was."""
        fresh: Any = None
        if self.path is not None:
            fresh = _connect_sqlite(self.path, self.durability, self.read_only)
        else:
            fresh, self.transient = _connect_postgres(self.url, self.durability, self.read_only)
        self.close()
        self._connection = fresh

    @property
    def away(self) -> tuple[type[Exception], ...]:
        """`transient`, and what connecting again raises."""
        return (SettingsError, *self.transient)

    def retried(self, work: Callable[["Database"], T]) -> T:
        """What `work` returns; where Postgres lost this connection, it is done once more over a fresh one."""
        try:
            return work(self)
        except self.transient:
            if not self.postgres:
                raise
            self.connect()
            return work(self)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sql(self, text: str) -> str:
        """The statement in this database's spelling."""
        return _postgres_query(text) if self.postgres else text

    def run(self, text: str, parameters: Parameters = ()) -> int:
        """Execute a statement. Returns the number of rows that it changed."""
        count: int = self._connection.execute(self.sql(text), parameters).rowcount
        return count

    def rows(self, text: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of a query (or of a RETURNING clause). Bound the query itself: nothing here pages."""
        found: list[Row] = self._connection.execute(self.sql(text), parameters).fetchall()
        return found

    def row(self, text: str, parameters: Parameters = ()) -> Row | None:
        """The first row, or None."""
        found: Row | None = self._connection.execute(self.sql(text), parameters).fetchone()
        return found

    def stream(self, text: str, size: int) -> Iterator[Row]:
        """All rows of a query, `size` at a time in memory. On Postgres inside a transaction only."""
        if self.postgres:
            cursor = self._connection.cursor(name="stream")
            cursor.itersize = size
            cursor.execute(self.sql(text))
        else:
            cursor = self._connection.execute(text)
        try:
            while rows := cursor.fetchmany(size):
                yield from rows
        finally:
            cursor.close()

    def many(self, text: str, parameters: Sequence[Parameters]) -> int:
        """Execute a statement for each row of parameters. Returns the number of rows changed in all."""
        if not parameters:
            return 0
        cursor = self._connection.cursor()
        try:
            cursor.executemany(self.sql(text), parameters)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator["Database"]:
        """All or nothing. On SQLite the write lock is taken at once, so a reader-then-writer never deadlocks."""
        self._connection.execute("BEGIN" if self.postgres else "BEGIN IMMEDIATE")
        try:
            yield self
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def next_number(self, counter: str, amount: int = 1) -> int:
        """Reserve `amount` consecutive numbers inside a transaction; returns the first.

        The counter's row is locked until the commit, so numbers become visible in their order: a reader that asks for
        everything above the last number it saw misses nothing, on Postgres too.
        """
        found = self.row("UPDATE counters SET next = next + ? WHERE name = ? RETURNING next", (amount, counter))
        if found is None:
            raise LookupError(f"no counter {counter!r}")
        return int(found[0]) - amount

    def _rollback(self) -> None:
        with contextlib.suppress(*self.transient):
            # On such an error the connection is lost or SQLite has rolled back already: nothing is left.
            self._connection.execute("ROLLBACK")


def _connect_sqlite(path: Path, durability: str, read_only: bool) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise SettingsError(f"SQLite {sqlite3.sqlite_version} is too old; jevons needs {wanted} or newer")
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        elif not path.exists():
            raise SettingsError(f"no database at {path}; start `jevons serve`, or name it with --database")
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'strict' else 'NORMAL'}")
        else:
            connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except (OSError, sqlite3.DatabaseError) as error:
        raise SettingsError(f"database {path}: {error}") from None
    return connection


def _connect_postgres(url: str, durability: str, read_only: bool) -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import psycopg  # here: 15 MB that only an operator of Postgres pays for
    except ImportError:
        raise SettingsError("a postgresql:// database needs psycopg: pip install 'jevons[scale]'") from None
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=int(BUSY_TIMEOUT_S))
    except psycopg.OperationalError as error:
        raise SettingsError(f"database {_without_password(url)}: {error}") from None
    if read_only:
        connection.execute("SET default_transaction_read_only = on")
    elif durability != "strict":
        connection.execute("SET synchronous_commit = off")
    return connection, (psycopg.OperationalError, psycopg.InterfaceError)


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{mark}{credentials.partition(':')[0]}{at}{host}"


@lru_cache(maxsize=256)
def _postgres_query(text: str) -> str:
    """`?` to `%s`. Our statements hold no literal question mark."""
    return text.replace("%", "%%").replace("?", "%s")
