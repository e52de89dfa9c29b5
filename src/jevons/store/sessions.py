"""Who is signed in to the dashboard: rows by the digest of a cookie.

What lives here: opening, finding and ending a session. A session ends with its key: a revoked key's sessions are not
found. What it must not know: cookies, forms, secrets; it is given digests.
"""

import msgspec

from jevons.plans.key import Key
from jevons.store.db import Database
from jevons.store.keys import by_digest

SESSION_S = 12 * 3600.0
"""A working day: whoever comes back the next morning signs in again."""
MOST_SESSIONS = 1_000
"""Open sessions; past it the oldest end. A key opens few, so more is a script gone wild."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One signed-in browser."""

    key_id: str
    name: str
    role: str
    csrf: str
    """What every form of this session must carry."""


def open_session(db: Database, key: Key, digest: bytes, csrf: str, at: float) -> None:
    """Remember a session; forgets those that ended, and the oldest past MOST_SESSIONS."""
    with db.transaction():
        db.run("DELETE FROM sessions WHERE expires < ?", (at,))
        db.run(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions ORDER BY expires DESC LIMIT ? OFFSET ?)",
            (MOST_SESSIONS, MOST_SESSIONS - 1),
        )
        db.run(
            "INSERT INTO sessions (digest, key_id, csrf, expires) VALUES (?, ?, ?, ?)",
            (digest, key.id, csrf, at + SESSION_S),
        )


def find(db: Database, digest: bytes, at: float) -> Session | None:
    """The session behind a cookie's digest, while it lasts and its key is live."""
    row = db.row(
        "SELECT k.id, k.name, k.role, s.csrf FROM sessions s JOIN keys k ON k.id = s.key_id "
        "WHERE s.digest = ? AND s.expires >= ? AND k.revoked IS NULL AND k.role <> ''",
        (digest, at),
    )
    return Session(key_id=row[0], name=row[1], role=row[2], csrf=row[3]) if row else None


def close_session(db: Database, digest: bytes) -> None:
    """End one."""
    db.run("DELETE FROM sessions WHERE digest = ?", (digest,))


def who_may_look(db: Database, digest: bytes) -> Key | None:
    """The live key with this digest, when its role opens the dashboard."""
    key = by_digest(db, digest)
    return key if key is not None and key.revoked is None and key.role else None
