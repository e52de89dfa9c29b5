"""Responses that a tenant may ask for again, in the database.

What lives here: rows by (tenant, id), the walk along `previous`, and the deletion of what is too old. What it must not
know: what an item means. Bodies are compressed: a coding session's items shrink about fourfold.
"""

import zlib

import msgspec

from jevons.store.db import Database, Row

MAX_CHAIN = 500
"""Responses that one may continue, one after the other: further back the walk ends, and the call is refused."""
MAX_PLAIN_BYTES = 64 * 1024 * 1024
"""What one kept body may unpack to; larger ones are never written (gateway/state.py keeps far less)."""
STEP_ROWS = 500
"""Rows that one transaction deletes: a few milliseconds of the write lock."""
MAX_STEPS = 2_000
"""A million responses: an hour of 280 a second."""
LEVEL = 1
"""zlib's fastest: 2 ms for a megabyte of items, where 6 takes 20 ms to save another tenth."""
_COLUMNS = "tenant, id, provider, previous, input, reply, at"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One response. `provider` names who holds its content; '' means that `input` and `reply` do."""

    tenant: str
    id: str
    provider: str = ""
    previous: str = ""
    input: bytes = b""
    """JSON array of the items that this call itself sent."""
    reply: bytes = b""
    """The response object as JSON."""
    at: float


def keep(db: Database, kept: Kept) -> None:
    """Write it. A second one under the same id takes the first one's place, within the tenant."""
    db.run(
        f"INSERT INTO responses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - a constant
        "ON CONFLICT (tenant, id) DO UPDATE SET provider = excluded.provider, previous = excluded.previous, "
        "input = excluded.input, reply = excluded.reply, at = excluded.at",
        (kept.tenant, kept.id, kept.provider, kept.previous, _pack(kept.input), _pack(kept.reply), kept.at),
    )


def find(db: Database, tenant: str, ident: str) -> Kept | None:
    """The tenant's response of this id."""
    row = db.row(f"SELECT {_COLUMNS} FROM responses WHERE tenant = ? AND id = ?", (tenant, ident))  # noqa: S608
    return _kept(row) if row is not None else None


def chain(db: Database, tenant: str, ident: str) -> list[Kept]:
    """The response and what it continues, oldest first. Empty when any link is gone, or the chain is too long."""
    found: list[Kept] = []
    while ident and len(found) < MAX_CHAIN:
        kept = find(db, tenant, ident)
        if kept is None:
            return []
        found.append(kept)
        ident = "" if kept.provider else kept.previous
    return found[::-1] if not ident else []


def remove(db: Database, tenant: str, ident: str) -> bool:
    """Forget a response with its content. False when there was none."""
    return db.run("DELETE FROM responses WHERE tenant = ? AND id = ?", (tenant, ident)) > 0


def forget(db: Database, tenant: str) -> int:
    """Forget all responses of a tenant; how many those were."""
    return db.run("DELETE FROM responses WHERE tenant = ?", (tenant,))


def prune(db: Database, before: float, steps: int = MAX_STEPS) -> int:
    """Delete responses older than `before` (Unix seconds), in at most `steps` short transactions. Returns how many."""
    gone = 0
    for _ in range(steps):
        old = db.rows("SELECT tenant, id FROM responses WHERE at < ? ORDER BY at LIMIT ?", (before, STEP_ROWS))
        with db.transaction():
            gone += db.many("DELETE FROM responses WHERE tenant = ? AND id = ?", old)
        if len(old) < STEP_ROWS:
            break
    return gone


def _pack(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL) if body else b""


def _unpack(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(bytes(packed), MAX_PLAIN_BYTES) if packed else b""


def _kept(row: Row) -> Kept:
    tenant, ident, provider, previous, given, reply, at = row
    return Kept(
        tenant=tenant, id=ident, provider=provider, previous=previous, input=_unpack(given), reply=_unpack(reply), at=at
    )
