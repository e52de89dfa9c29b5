"""A key of this house: how its secret looks, how it is recognised, what hangs on it.

What lives here: the shape of a secret and its digest. What it must not know: where dice or rows come from. A secret
carries 256 random bits, so one plain SHA-256 stores it safely: there is nothing to guess, and so nothing for a slow
password hash to slow down; the look-up stays under a microsecond.
"""

import hashlib

import msgspec

PREFIX = "sk-jv-"
SECRET_BYTES = 32
LONGEST_SECRET = 200
"""A longer credential is nobody's key and is not hashed."""
_SHOWN = len(PREFIX) + 6
"""Characters of a secret that are kept for recognition; the other 37 hold 220 bits."""
ROLES = ("", "viewer", "admin")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WIDTH = 43
"""Digits that 256 bits take in base 62."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored: everything but the secret."""

    id: str
    name: str
    digest: bytes
    prefix: str
    customer: str = ""
    plan: str = ""
    created: float = 0.0
    revoked: float | None = None
    changed: int = 0
    """Rises with each change of any key: what a gateway polls for."""
    role: str = ""
    """'' (it calls) | viewer (it looks at the dashboard, and calls nothing) | admin (all of it)"""

    @property
    def tenant(self) -> str:
        """The wall around its traffic: its customer's, else its own."""
        return self.customer or self.id


def secret(entropy: bytes) -> str:
    """A new secret from SECRET_BYTES random bytes."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} random bytes, not {len(entropy)}")
    number, digits = int.from_bytes(entropy, "big"), []
    for _ in range(_WIDTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return PREFIX + "".join(reversed(digits))


def digest(secret: str) -> bytes:
    """What is stored and looked up, 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def make(secret: str, *, name: str, customer: str = "", plan: str = "", created: float = 0.0, role: str = "") -> Key:
    """The stored form of a secret. Its id comes from the digest, so the same secret is the same key."""
    hashed = digest(secret)
    return Key(
        id="key_" + hashed.hex()[:12],
        name=name,
        digest=hashed,
        prefix=secret[:_SHOWN],
        customer=customer,
        plan=plan,
        created=created,
        role=role,
    )
