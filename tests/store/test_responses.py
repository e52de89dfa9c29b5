"""Kept responses on both databases: within their tenant, along their chain, and only for so long."""

import pytest

from jevons.store import responses
from jevons.store.migrate import open_database
from jevons.store.responses import Kept


@pytest.fixture
def db(url):
    with open_database(url) as found:
        yield found


def kept(ident: str, previous: str = "", *, tenant: str = "a", provider: str = "", at: float = 1.0) -> Kept:
    body = f'[{{"content": "{ident}"}}]'.encode()
    given, reply = (b"", b"") if provider else (body, body * 3)
    return Kept(tenant=tenant, id=ident, provider=provider, previous=previous, input=given, reply=reply, at=at)


def test_what_was_kept_is_found_by_its_tenant_only(db):
    responses.keep(db, kept("one"))
    assert responses.find(db, "a", "one") == kept("one")
    assert responses.find(db, "b", "one") is None
    assert not responses.remove(db, "b", "one")
    responses.keep(db, kept("one", tenant="b", at=2.0))
    assert responses.find(db, "a", "one") == kept("one")
    assert responses.remove(db, "a", "one")
    assert responses.find(db, "a", "one") is None
    assert responses.find(db, "b", "one") == kept("one", tenant="b", at=2.0)


def test_a_second_one_of_the_same_id_takes_the_first_one_s_place(db):
    responses.keep(db, kept("one"))
    responses.keep(db, kept("one", provider="openai"))
    assert responses.find(db, "a", "one") == kept("one", provider="openai")


def test_a_chain_is_walked_from_its_oldest_and_broken_by_a_deletion(db):
    for ident, previous in (("one", ""), ("two", "one"), ("three", "two"), ("side", "one")):
        responses.keep(db, kept(ident, previous))
    assert [link.id for link in responses.chain(db, "a", "three")] == ["one", "two", "three"]
    assert [link.id for link in responses.chain(db, "a", "side")] == ["one", "side"]
    assert responses.chain(db, "b", "three") == []
    responses.remove(db, "a", "one")
    assert responses.chain(db, "a", "three") == []


def test_a_chain_ends_where_a_provider_holds_the_rest(db):
    responses.keep(db, kept("two", "one", provider="openai"))
    responses.keep(db, kept("three", "two"))
    assert [link.id for link in responses.chain(db, "a", "three")] == ["two", "three"]


def test_a_chain_that_is_too_long_or_turns_in_a_circle_is_none(db, monkeypatch):
    monkeypatch.setattr(responses, "MAX_CHAIN", 3)
    for number in range(5):
        responses.keep(db, kept(str(number), str(number - 1) if number else ""))
    assert len(responses.chain(db, "a", "2")) == 3
    assert responses.chain(db, "a", "3") == []
    responses.keep(db, kept("0", "2"))
    assert responses.chain(db, "a", "2") == []


def test_what_is_too_old_goes_in_steps_and_a_tenant_can_be_forgotten(db, monkeypatch):
    monkeypatch.setattr(responses, "STEP_ROWS", 2)
    for number in range(5):
        responses.keep(db, kept(str(number), at=float(number)))
    assert [responses.prune(db, 3.0, steps=1) for _ in range(3)] == [2, 1, 0]
    assert responses.prune(db, 3.0) == 0
    responses.keep(db, kept("x", tenant="b"))
    assert responses.forget(db, "a") == 2
    assert responses.find(db, "b", "x") is not None
