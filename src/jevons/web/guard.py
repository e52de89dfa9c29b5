"""The door of the dashboard: sign-in by key, the session's cookie, the token of every form, and bounded attempts.

What lives here: what is checked and what a browser is told to keep. A key's secret is looked at once, as a digest; the
cookie is 256 random bits of its own, of which the database holds a digest. What it must not know: pages.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from jevons.plans.key import LONGEST_SECRET
from jevons.plans.key import digest as key_digest
from jevons.store import sessions
from jevons.store.db import Database
from jevons.store.sessions import SESSION_S, Session

COOKIE = "jevons_session"
BEFORE = "jevons_form"
"""The cookie that the sign-in form's token is compared with: there is no session yet."""
TOKEN_BYTES = 32
LONGEST_COOKIE = 100
TRIES, WINDOW_S = 10, 300.0
"""Failed sign-ins from one address in five minutes; a key has 256 random bits, so this bounds work, not guessing."""
MOST_ADDRESSES = 10_000

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""On every answer: nothing from elsewhere, nothing inline, nobody's frame."""


class Attempts:
    """Failed sign-ins by address, forgotten after WINDOW_S."""

    def __init__(self) -> None:
        self._failed: dict[str, list[float]] = {}

    def allowed(self, address: str, now: float) -> bool:
        """Whether another attempt may be looked at."""
        recent = [at for at in self._failed.get(address, ()) if now - at < WINDOW_S]
        if recent:
            self._failed[address] = recent
        else:
            self._failed.pop(address, None)
        return len(recent) < TRIES

    def failed(self, address: str, now: float) -> None:
        if len(self._failed) >= MOST_ADDRESSES:
            self._failed.clear()
        self._failed.setdefault(address, []).append(now)


def token() -> str:
    """A new cookie or form token."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def same(one: str, other: str) -> bool:
    """Equal and not empty, in constant time."""
    return bool(one) and hmac.compare_digest(one.encode(), other.encode())


def sign_in(db: Database, secret: str, now: float) -> str | None:
    """A new session's cookie, or None for a key that opens nothing here."""
    if not secret or len(secret) > LONGEST_SECRET:
        return None
    key = sessions.who_may_look(db, key_digest(secret))
    if key is None:
        return None
    cookie = token()
    sessions.open_session(db, key, digest(cookie), token(), now)
    return cookie


def who(db: Database, cookie: str, now: float) -> Session | None:
    """The live session behind a cookie."""
    if not cookie or len(cookie) > LONGEST_COOKIE:
        return None
    return sessions.find(db, digest(cookie), now)


def sign_out(db: Database, cookie: str) -> None:
    sessions.close_session(db, digest(cookie))


def set_cookie(name: str, value: str, *, https: bool, seconds: float = SESSION_S) -> str:
    """The header's value: no script reads it, no other site sends it."""
    secure = "; Secure" if https else ""
    return f"{name}={value}; Path=/; Max-Age={int(seconds)}; HttpOnly; SameSite=Strict{secure}"


def own_origin(headers: Mapping[str, str]) -> bool:
    """Whether a form came from this very site, as far as the browser says."""
    origin = headers.get("origin", "")
    return not origin or origin.partition("://")[2] == headers.get("host", "")


def digest(cookie: str) -> bytes:
    """What is stored of a cookie."""
    return hashlib.sha256(cookie.encode()).digest()


def clock() -> float:
    return time.time()
