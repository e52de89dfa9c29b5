"""Keys: stored as hashes, shown once, and a revocation that everyone sees at the next look."""

import os

import pytest

from jevons.core.errors import NotFound
from jevons.plans import key as keys
from jevons.store import keys as rows
from jevons.store.migrate import open_database


def new(name="app", **fields):
    secret = keys.secret(os.urandom(keys.SECRET_BYTES))
    return secret, keys.make(secret, name=name, created=1.0, **fields)


def test_a_key_reads_back_and_its_secret_is_nowhere(url, db, tmp_path):
    secret, key = new(customer="acme", plan="pro")
    stored = rows.add(db, key)
    assert rows.every(db) == [stored]
    assert stored.digest == keys.digest(secret)
    for table in ("keys",):
        assert not any(secret in str(value) for row in db.rows(f"SELECT * FROM {table}") for value in row)
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_another_process_sees_what_is_made_and_revoked_once(url, db):
    _, key = new()
    rows.add(db, key)
    with open_database(url) as gateway:
        (seen,) = rows.changes_since(gateway, 0)
        assert rows.changes_since(gateway, seen.changed) == []
        rows.revoke(db, key.id, at=9.0)
        (gone,) = rows.changes_since(gateway, seen.changed)
        assert (gone.id, gone.revoked, gone.digest) == (key.id, 9.0, key.digest)
        assert rows.changes_since(gateway, gone.changed) == []


def test_a_key_is_revoked_by_id_name_or_prefix_and_twice_is_once(db):
    for number, pick in enumerate((lambda key: key.id, lambda key: key.name, lambda key: key.prefix)):
        _, key = new(f"name {number}")
        rows.add(db, key)
        first = rows.revoke(db, pick(key), at=5.0)
        assert rows.revoke(db, pick(key), at=6.0) == first


def test_a_name_of_several_live_keys_is_refused_and_unknown_ones_too(db):
    for _ in range(2):
        rows.add(db, new("twin")[1])
    with pytest.raises(NotFound, match="2 live keys"):
        rows.revoke(db, "twin", at=1.0)
    with pytest.raises(NotFound, match="no key is called"):
        rows.revoke(db, "nobody", at=1.0)
