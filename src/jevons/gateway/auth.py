"""Who is calling: from request headers to a Caller.

What lives here: where a key may stand, and the table of key hashes in memory. What it must not know: how keys are
stored. A key is compared by its SHA-256 only: nothing here holds or logs one, and equal time is the hash table's.
"""

import hashlib
from collections.abc import Iterable, Mapping

from jevons.core.call import Caller
from jevons.core.errors import Unauthorized

ANONYMOUS = Caller(key_id="anonymous", name="anonymous", tenant="anonymous")
WRONG = "this key is not known here, or was revoked; see `jevons keys list`, or make one with `jevons keys create`"
MISSING = "no key came with the call: send `Authorization: Bearer KEY` or `x-api-key: KEY`"


class Keys:
    """The live keys by hash. `replace` swaps the table when the store has changed."""

    def __init__(self, *, anonymous: bool = False):
        self._callers: dict[bytes, Caller] = {}
        self._anonymous = anonymous

    def replace(self, callers: Iterable[tuple[bytes, Caller]]) -> None:
        self._callers = dict(callers)

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """The caller of these (lower-case) headers. Raises Unauthorized."""
        key = headers.get("x-api-key", "")
        if not key:
            scheme, _, value = headers.get("authorization", "").partition(" ")
            key = value.strip() if scheme.lower() == "bearer" else ""
        if key:
            found = self._callers.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
            if found is not None:
                return found
        if self._anonymous:
            return ANONYMOUS
        raise Unauthorized(WRONG if key else MISSING)
