"""Connections that Postgres cut: what reads connects again, and what can't says so."""

import psycopg
import pytest

from benchmarks.rig import new_database
from jevons.store.migrate import open_database

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def test_a_cut_connection_is_made_again_and_its_work_done_once_more(server):
    url = new_database(server, "cut")
    with open_database(url) as db:
        with psycopg.connect(server.get_uri(), autocommit=True) as other:
            other.execute(CUT, ("cut",))
        asked = []
        assert db.retried(lambda one: (asked.append(1), one.row("SELECT 1"))[1]) == (1,)
        assert len(asked) == 2


def test_a_server_that_refuses_is_away_and_not_a_fault(server):
    url = new_database(server, "gone")
    with open_database(url) as db:
        with psycopg.connect(server.get_uri(), autocommit=True) as other:
            other.execute("ALTER DATABASE gone ALLOW_CONNECTIONS false")
            other.execute(CUT, ("gone",))
        with pytest.raises(db.away):
            db.retried(lambda one: one.row("SELECT 1"))


def test_what_is_no_outage_is_not_tried_again(server):
    url = new_database(server, "wrong")
    with open_database(url) as db:
        asked = []
        with pytest.raises(psycopg.ProgrammingError):
            db.retried(lambda one: (asked.append(1), one.row("SELECT nothing FROM nowhere")))
        assert len(asked) == 1
