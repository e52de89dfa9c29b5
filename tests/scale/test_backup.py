"""Backups as docs/operate.md says them, taken while the ledger is written: what is restored is whole and goes on."""

import os
import sqlite3
import subprocess
import threading
from pathlib import Path

from benchmarks.ledger import operations
from benchmarks.rig import new_database
from jevons.store.booking import Bookkeeper
from jevons.store.db import Database
from jevons.store.migrate import known, open_database, spell
from jevons.store.writer import Writer


def write_during(url: str, work) -> int:
    """Book 2,000 operations while `work` runs. Returns how many were booked."""
    writer, made = Writer(url), list(operations(2_000, seed=1))
    half = threading.Event()

    def book():
        for number, operation in enumerate(made):
            writer.book(operation)
            if number % 100 == 0:
                assert writer.flush()
            if number == 1_000:
                half.set()

    thread = threading.Thread(target=book)
    thread.start()
    half.wait(30)
    work()
    thread.join()
    assert writer.close()
    return len(made)


def whole(db: Database) -> int:
    """The operations of a database whose sums agree with its rows."""
    rows = db.row("SELECT count(*), coalesce(sum(cost_nano), 0) FROM operations")
    sums = db.row("SELECT sum(calls), sum(cost_nano) FROM rollups WHERE grain = 60")
    assert tuple(map(int, rows)) == tuple(map(int, sums))
    return int(rows[0])


def goes_on(url: str, had: int) -> None:
    with open_database(url) as db:
        assert Bookkeeper().write(db, list(operations(50, seed=2))) == 50
        assert whole(db) == had + 50


def test_sqlite_is_backed_up_while_it_is_written(tmp_path: Path):
    old, new = tmp_path / "old.db", tmp_path / "new.db"

    def backup():
        with sqlite3.connect(old) as source:
            source.execute("VACUUM INTO ?", (str(new),))
        source.close()

    assert write_during(f"sqlite:///{old}", backup) == 2_000
    with Database(f"sqlite:///{new}") as db:
        had = whole(db)
        assert 1_000 < had <= 2_000
        assert db.row("PRAGMA integrity_check") == ("ok",)
    goes_on(f"sqlite:///{new}", had)


def test_postgres_is_backed_up_while_it_is_written(tmp_path: Path, server):
    dump = str(tmp_path / "jevons.dump")
    url, restored = new_database(server, "lived_in"), new_database(server, "restored")

    def run(tool: str, *options: str) -> None:
        subprocess.run([str(server.bin_path / tool), *options], check=True, env=os.environ, capture_output=True)

    write_during(url, lambda: run("pg_dump", "--format=custom", "--file", dump, url))
    run("pg_restore", "--dbname", restored, "--no-owner", dump)
    with Database(restored) as db:
        had = whole(db)
    assert 1_000 < had <= 2_000
    goes_on(restored, had)


def test_a_database_of_the_first_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/first.db"
    first = known()[0]
    with Database(url) as db:
        for statement in first.statements:
            db.run(spell(statement, postgres=False))
        db.run("INSERT INTO migrations (number, name, applied) VALUES (?, ?, 0)", (first.number, first.name))
        db.run("INSERT INTO keys VALUES ('key_1', 'old', x'00', 'sk-jv', '', '', 0, NULL, 1)")
    with open_database(url) as db:
        assert db.row("SELECT count(*) FROM migrations") == (len(known()),)
        assert db.row("SELECT name FROM keys") == ("old",)
    goes_on(url, 0)
