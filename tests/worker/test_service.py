"""The worker's service over a real database, with vectors from a hash: what is loaded, written, and forgotten."""

import hashlib
import random
from collections.abc import Sequence

import pytest

np = pytest.importorskip("numpy", reason="THE WORKER'S SERVICE IS NOT TESTED: the extra `embed` is missing")

from jevons.core.ask import Stored  # noqa: E402
from jevons.levers.cache.semantic.host import Host  # noqa: E402
from jevons.levers.cache.semantic.question import Question  # noqa: E402
from jevons.store import semantic  # noqa: E402
from jevons.store.db import Database  # noqa: E402
from jevons.store.migrate import open_database  # noqa: E402
from jevons.worker.answers import Answers  # noqa: E402
from jevons.worker.service import Service, policy_name, read_policy  # noqa: E402

NOW = 1_000_000.0
KEEP_S = 1000.0


def vectors(texts: Sequence[str]) -> "np.ndarray":
    """Unit rows, near for texts that share their first word."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.blake2b(text.split()[0].encode(), digest_size=4).digest(), "big")
        row = np.random.default_rng(seed).normal(size=16)
        row += 0.01 * np.random.default_rng(len(text)).normal(size=16)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows, np.float32)


class Desk:
    """A service on a database, and the questions of its tenants."""

    def __init__(self, url: str, now: float = NOW):
        self.db, self.reader, self.now = open_database(url), open_database(url), now
        self.answers = Answers(self.reader, KEEP_S, lambda: self.now)
        self.service = Service(Host(vectors, vectors, random.Random(0), self.answers), self.reader)
        self._count = 0

    def ask(self, text: str, tenant: str = "acme", answer: str = "yes") -> str | None:
        """The operation whose answer was served, or None: then it was answered afresh. `last` is its own."""
        self._count += 1
        self.last = f"{tenant}-{self._count}-{text}"
        key = Question(operation=self.last, tenant=tenant, namespace="n", text=text, level=0.1, unit="request").key()
        found = self.service.find(key)
        if found is None:
            self.service.keep(key, stored(answer, self.last, self.now))
        return found.operation if found else None

    def flush(self) -> None:
        batch = self.service.take()
        semantic.write(self.db, batch.changes, batch.states, self.now)

    def close(self) -> None:
        self.db.close()
        self.reader.close()


def stored(text: str, operation: str, at: float) -> Stored:
    body = b'{"choices": [{"message": {"content": "%s"}}]}' % text.encode()
    return Stored(
        status=200,
        body=body,
        content_type="application/json",
        model="m",
        usage=None,
        cost_nano=5,
        operation=operation,
        at=at,
        dialect="chat",
    )


@pytest.fixture
def desk(url: str) -> "Desk":
    return Desk(url)


def rows(db: Database) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in db.rows("SELECT tenant, text FROM semantic_entries ORDER BY seq")]


def test_a_new_worker_knows_what_the_last_one_wrote(desk: Desk, url: str) -> None:
    assert desk.ask("a one") is None
    first = desk.last
    assert desk.ask("b two") is None
    desk.flush()
    before = desk.service.standing(leads=True)
    desk.close()
    again = Desk(url)
    assert again.ask("a one") == first
    after = again.service.standing(leads=True)
    assert (after.entries, after.requests, after.served) == (2, before.requests + 1, before.served + 1)
    again.close()


def test_tenants_share_nothing_on_disk_either(desk: Desk, url: str) -> None:
    desk.ask("a one")
    desk.flush()
    desk.close()
    again = Desk(url)
    assert again.ask("a one", "other") is None
    again.flush()
    assert rows(again.db) == [("acme", "a one"), ("other", "a one")]
    assert semantic.forget(again.db, "acme") == 1
    assert rows(again.db) == [("other", "a one")]
    again.close()


def test_a_complaint_about_a_served_answer_removes_its_entry(desk: Desk) -> None:
    desk.ask("a one")
    desk.flush()
    assert desk.ask("a one") is not None
    assert desk.service.wrong("other", desk.last) == 0, "nobody complains for another tenant"
    assert desk.service.wrong("acme", desk.last) == 1
    desk.flush()
    assert rows(desk.db) == []
    assert desk.ask("a one") is None
    desk.close()


@pytest.mark.parametrize("written", [True, False])
def test_a_complaint_about_the_answer_that_is_kept_removes_it_too(desk: Desk, written: bool) -> None:
    desk.ask("a one")
    source = desk.last
    if written:
        desk.flush()
    assert desk.service.wrong("other", source) == 0
    assert desk.service.wrong("acme", source) == 1
    desk.flush()
    assert rows(desk.db) == []
    desk.close()


def test_a_text_that_was_removed_may_come_again(desk: Desk) -> None:
    desk.ask("a one")
    desk.service.wrong("acme", desk.last)
    desk.ask("a one")
    desk.flush()
    assert rows(desk.db) == [("acme", "a one")]
    desk.close()


def test_an_answer_past_its_time_is_not_served_and_its_row_goes(desk: Desk) -> None:
    desk.ask("a one")
    desk.flush()
    desk.now += KEEP_S + 1
    assert desk.ask("a one") is None
    desk.flush()
    assert rows(desk.db) == [("acme", "a one")], "the fresh answer took the old one's place"
    assert semantic.prune(desk.db, NOW + 1) == 0
    assert semantic.prune(desk.db, desk.now + 1) == 1
    desk.close()


def test_what_could_not_be_written_is_written_later_unless_it_has_changed(desk: Desk) -> None:
    desk.ask("a one")
    desk.ask("b two")
    kept, batch = desk.last, desk.service.take()
    desk.service.wrong("acme", kept)  # while the database is away
    desk.service.untake(batch)
    desk.service.wrong("acme", kept)
    desk.flush()
    assert rows(desk.db) == [("acme", "a one")]
    assert semantic.learned(desk.db, "acme", "0.1000/request") is not None
    desk.close()


def test_a_state_of_another_version_starts_anew_with_the_entries(desk: Desk, url: str) -> None:
    desk.ask("a one")
    desk.flush()
    semantic.write(desk.db, {}, (semantic.State(tenant="acme", policy="0.1000/request", body=b"\x80"),), NOW)
    desk.close()
    again = Desk(url)
    assert again.ask("a one") is not None
    assert again.service.standing(leads=True).requests == 1
    again.close()


def test_only_one_holder_has_the_lease_until_it_ends(desk: Desk) -> None:
    assert semantic.lease(desk.db, "semantic", "here", 0.0, 10.0)
    assert not semantic.lease(desk.db, "semantic", "there", 5.0, 15.0)
    assert semantic.lease(desk.db, "semantic", "here", 5.0, 15.0)
    assert semantic.lease(desk.db, "semantic", "there", 16.0, 26.0)
    assert not semantic.lease(desk.db, "semantic", "here", 17.0, 27.0)
    desk.close()


@pytest.mark.parametrize("name", ["0.0100/request", "0.1500/hit"])
def test_a_policy_is_read_as_it_was_named(name: str) -> None:
    assert policy_name(read_policy(name)) == name
