"""Opening a database: migrated once by whoever comes first, and never by a program that is too old for it."""

import sqlite3
import threading
from pathlib import Path

import pytest

from jevons.core.errors import SettingsError
from jevons.store.db import Database
from jevons.store.migrate import known, migrate, open_database, open_reader, version


def test_numbers_are_unique():
    numbers = [migration.number for migration in known()]
    assert numbers == sorted(set(numbers))


def test_a_migration_with_a_lower_number_that_comes_later_is_applied(url, monkeypatch):
    from jevons.store import migrate as module

    with open_database(url) as db:
        late = module.Migration(0, "late", ("CREATE TABLE late (x INTEGER NOT NULL) STRICT;",))
        monkeypatch.setattr(module, "known", lambda: [late, *known()])
        assert module.migrate(db) == 1
        assert db.rows("SELECT * FROM late") == []


def test_opening_migrates_once(url):
    with open_database(url) as db:
        assert version(db) == known()[-1].number
        assert migrate(db) == 0
    with open_database(url) as db:
        assert migrate(db) == 0


def test_many_that_open_at_once_migrate_once(url):
    failures = []

    def start():
        try:
            open_database(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_database(url) as db:
        assert db.rows("SELECT count(*) FROM migrations")[0][0] == len(known())


def test_a_newer_schema_is_refused_with_both_numbers(url):
    with open_database(url) as db:
        db.run("INSERT INTO migrations (number, name, applied) VALUES (999, 'future', 0)")
    for opener in (open_database, open_reader):
        with pytest.raises(SettingsError) as refused:
            opener(url)
        assert "999" in refused.value.message
        assert "upgrade jevons" in refused.value.message


def test_a_failed_migration_leaves_nothing(url, monkeypatch):
    from jevons.store import migrate as module

    broken = module.Migration(known()[-1].number + 1, "broken", ("CREATE TABLE half (x INTEGER);", "CREATE NONSENSE;"))
    with open_database(url) as db:
        monkeypatch.setattr(module, "known", lambda: [*known(), broken])
        with pytest.raises(Exception, match=r"(?i)syntax"):
            module.migrate(db)
        with pytest.raises(Exception, match=r"(?i)half"):
            db.run("SELECT * FROM half")


def test_a_reader_creates_and_changes_nothing(url, tmp_path):
    with open_database(url):
        pass
    with open_reader(url) as db, pytest.raises(db.transient if not db.postgres else Exception):
        db.run("UPDATE counters SET next = 5")
    missing = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(SettingsError, match=r"no database at"):
        open_reader(missing)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("bad", ["sqlite://", "sqlite:///", "mysql://u:secret@h/d", "jevons.db"])
def test_another_url_is_refused_without_its_password(bad):
    with pytest.raises(SettingsError) as refused:
        Database(bad)
    assert "sqlite:///PATH" in refused.value.message
    assert "secret" not in refused.value.message


def test_a_file_that_is_no_database_says_so(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"not a database, and long enough to be looked at as one" * 50)
    with pytest.raises(SettingsError, match=r"not a database"):
        Database(f"sqlite:///{tmp_path}/x.db")


def test_durability_is_what_was_asked_for(tmp_path: Path):
    levels = {"batched": 1, "strict": 2}  # NORMAL, FULL
    for name, level in levels.items():
        with open_database(f"sqlite:///{tmp_path}/{name}.db", durability=name) as db:
            assert db.rows("PRAGMA synchronous")[0][0] == level
            assert db.rows("PRAGMA journal_mode")[0][0] == "wal"


def test_a_database_file_is_the_owners_alone(tmp_path: Path):
    open_database(f"sqlite:///{tmp_path}/made/x.db").close()
    assert (tmp_path / "made/x.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "made/x.db") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    plain.close()
