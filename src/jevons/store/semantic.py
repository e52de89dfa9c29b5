"""What the semantic cache keeps on disk: answered questions, what was learned of them, and the lease to write them.

What lives here: rows by tenant and policy, and their deletion. What it must not know: what a vector means, when an
answer may be served. It loads no numpy: vectors are bytes. Texts and answers lie here in the clear, as in any cache;
they go with their tenant (`forget`) and by age (`prune`).
"""

import zlib
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from jevons.core.ask import Stored
from jevons.store.db import Database

STEP_ROWS = 500
"""Rows that one step of `prune` deletes."""
LEVEL = 1
"""zlib's fastest."""
MAX_PLAIN_BYTES = 64 * 1024 * 1024
"""What one kept body may unpack to."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode
_ENTRY = "tenant, policy, namespace, text, answer, operation, vector, words_vector"


class Place(msgspec.Struct, frozen=True):
    """Where an entry stands. `policy` is the level and its unit in words; no two share anything."""

    tenant: str
    policy: str
    namespace: str
    text: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One answered question. Both vectors are float32 bytes; `stored` is None where rows are read for an index."""

    place: Place
    answer: str
    operation: str
    vector: bytes
    words_vector: bytes
    stored: Stored | None = None
    at: float = 0.0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant's index under one policy has learned."""

    tenant: str
    policy: str
    body: bytes


def write(db: Database, changes: Mapping[Place, Entry | None], states: Sequence[State], at: float) -> None:
    """One transaction: entries that came (or have a newer answer), those that left (None), and what was learned."""
    came = [_row(entry) for entry in changes.values() if entry is not None]
    left = [
        (place.tenant, place.policy, place.namespace, digest(place.text))
        for place, entry in changes.items()
        if entry is None
    ]
    with db.transaction():
        db.many(
            f"INSERT INTO semantic_entries ({_ENTRY}, digest, reply, at) "  # noqa: S608 - a constant
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (tenant, policy, namespace, digest) DO UPDATE SET answer = excluded.answer, "
            "operation = excluded.operation, reply = excluded.reply, at = excluded.at",
            came,
        )
        db.many(
            "DELETE FROM semantic_entries WHERE tenant = ? AND policy = ? AND namespace = ? AND digest = ?",
            left,
        )
        db.many(
            "INSERT INTO semantic_states (tenant, policy, body, at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (tenant, policy) DO UPDATE SET body = excluded.body, at = excluded.at",
            [(state.tenant, state.policy, zlib.compress(state.body, LEVEL), at) for state in states],
        )


def entries(db: Database, tenant: str, policy: str, most: int) -> list[Entry]:
    """The newest `most` entries, oldest first, without their answers' bodies."""
    rows = db.rows(
        f"SELECT {_ENTRY} FROM semantic_entries WHERE tenant = ? AND policy = ? ORDER BY seq DESC LIMIT ?",  # noqa: S608
        (tenant, policy, most),
    )
    return [
        Entry(place=Place(*row[:4]), answer=row[4], operation=row[5], vector=bytes(row[6]), words_vector=bytes(row[7]))
        for row in reversed(rows)
    ]


def learned(db: Database, tenant: str, policy: str) -> bytes | None:
    """The last `State.body`."""
    row = db.row("SELECT body FROM semantic_states WHERE tenant = ? AND policy = ?", (tenant, policy))
    return _unpack(row[0]) if row is not None else None


def answer(db: Database, operation: str) -> Stored | None:
    """The whole answer that an operation was given, while it is kept."""
    row = db.row("SELECT reply FROM semantic_entries WHERE operation = ? LIMIT 1", (operation,))
    return _decode(_unpack(row[0])) if row is not None else None


def places(db: Database, tenant: str, operation: str) -> list[Place]:
    """Where an operation's answer is kept, within its tenant."""
    rows = db.rows(
        "SELECT tenant, policy, namespace, text FROM semantic_entries WHERE operation = ? AND tenant = ?",
        (operation, tenant),
    )
    return [Place(*row) for row in rows]


def prune(db: Database, before: float) -> int:
    """Delete a step's worth of entries whose answer is older than `before` (Unix seconds). Returns how many."""
    old = db.rows("SELECT seq FROM semantic_entries WHERE at < ? ORDER BY at LIMIT ?", (before, STEP_ROWS))
    with db.transaction():
        return db.many("DELETE FROM semantic_entries WHERE seq = ?", old)


def forget(db: Database, tenant: str) -> int:
    """Delete all that is kept of a tenant; how many entries that was. A running worker holds its copy until it ends."""
    with db.transaction():
        db.run("DELETE FROM semantic_states WHERE tenant = ?", (tenant,))
        return db.run("DELETE FROM semantic_entries WHERE tenant = ?", (tenant,))


def lease(db: Database, name: str, holder: str, now: float, until: float) -> bool:
    """Take or renew a lease. False while another holder has it."""
    taken = db.run(
        "INSERT INTO leases (name, holder, until) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < ?",
        (name, holder, until, now),
    )
    return taken == 1


def digest(text: str) -> bytes:
    """What a text is found by: an index on whole texts would be as large as the table."""
    return blake2b(text.encode(), digest_size=16).digest()


def _row(entry: Entry) -> tuple[object, ...]:
    place = entry.place
    return (
        place.tenant,
        place.policy,
        place.namespace,
        place.text,
        entry.answer,
        entry.operation,
        entry.vector,
        entry.words_vector,
        digest(place.text),
        zlib.compress(_encode(entry.stored), LEVEL),
        entry.at,
    )


def _unpack(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(bytes(packed), MAX_PLAIN_BYTES)
