"""Keys in the database: made, listed, revoked, and followed.

A gateway holds all live keys in memory by digest and polls `changes_since` twice a second: one indexed look-up that
almost always finds nothing. So a key that was made or revoked in another process binds every gateway within a second.
What this file must not know: secrets. It is given digests.
"""

import msgspec

from jevons.core.errors import NotFound
from jevons.plans.key import Key
from jevons.store.db import Database, Row

POLL_S = 0.5
"""How often a gateway asks for changes: half of the second within which a revocation binds."""
_COLUMNS = "id, name, digest, prefix, customer, plan, created, revoked, changed, role"


def add(db: Database, key: Key) -> Key:
    """Store a new key. Returns it with its number of change."""
    with db.transaction():
        key = msgspec.structs.replace(key, changed=db.next_number("key"))
        db.run(
            f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
            msgspec.structs.astuple(key),
        )
    return key


def revoke(db: Database, which: str, at: float) -> Key:
    """Revoke a key by its id, its name or its prefix. Raises NotFound, also when a name means several live keys.

    Revoking it again changes nothing.
    """
    with db.transaction():
        found = find(db, which)
        live = [key for key in found if key.revoked is None]
        if not found:
            raise NotFound(f"no key is called {which!r}; `jevons keys list` shows them")
        if len(live) > 1:
            raise NotFound(
                f"{len(live)} live keys are called {which!r}; name one by id: {', '.join(k.id for k in live)}"
            )
        if not live:
            return found[0]
        changed = db.next_number("key")
        db.run("UPDATE keys SET revoked = ?, changed = ? WHERE id = ?", (at, changed, live[0].id))
    return msgspec.structs.replace(live[0], revoked=at, changed=changed)


def find(db: Database, which: str) -> list[Key]:
    """Keys with this id, name or prefix."""
    return _keys(db, "WHERE id = ? OR name = ? OR prefix = ? ORDER BY changed", (which, which, which))


def by_digest(db: Database, digest: bytes) -> Key | None:
    """The key with this digest, revoked or not."""
    found = _keys(db, "WHERE digest = ?", (digest,))
    return found[0] if found else None


def every(db: Database) -> list[Key]:
    """All keys, revoked ones too, oldest first."""
    return _keys(db, "ORDER BY created, id", ())


def changes_since(db: Database, number: int) -> list[Key]:
    """Keys made or revoked after change `number`, in order; 0 gives all. Keep the last `changed` for the next poll."""
    return _keys(db, "WHERE changed > ? ORDER BY changed", (number,))


def _keys(db: Database, rest: str, parameters: tuple[str | int | bytes, ...]) -> list[Key]:
    return [_key(row) for row in db.rows(f"SELECT {_COLUMNS} FROM keys {rest}", parameters)]  # noqa: S608 - constants


def _key(row: Row) -> Key:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["digest"] = bytes(values["digest"])
    return Key(**values)
