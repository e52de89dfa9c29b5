"""Who is calling: from request headers to a Caller.

What lives here: where a key may stand, and the table of key hashes in memory. What it must not know: how keys are
stored. A key is compared by its SHA-256 only: nothing here holds or logs one, and equal time is the hash table's.
"""

from collections.abc import Mapping

from jevons.core.call import Caller
from jevons.core.errors import Unauthorized
from jevons.plans.key import LONGEST_SECRET, Key, digest

ANONYMOUS = Caller(key_id="anonymous", name="anonymous", tenant="anonymous")
WRONG = "this key is not known here, or was revoked; see `jevons keys list`, or make one with `jevons keys create`"
MISSING = "no key came with the call: send `Authorization: Bearer KEY` or `x-api-key: KEY`"


class Keys:
    """The live keys by hash. `change` takes in a key that was made or revoked."""

    def __init__(self, *, anonymous: bool = False):
        self._callers: dict[bytes, Caller] = {}
        self._anonymous = anonymous

    def change(self, key: Key) -> None:
        if key.revoked is not None or key.role == "viewer":
            self._callers.pop(key.digest, None)
        else:
            self._callers[key.digest] = Caller(
                key_id=key.id, name=key.name, tenant=key.tenant, customer=key.customer, plan=key.plan
            )

    def __len__(self) -> int:
        return len(self._callers)

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """The caller of these (lower-case) headers. Raises Unauthorized."""
        key = headers.get("x-api-key", "")
        if not key:
            scheme, _, value = headers.get("authorization", "").partition(" ")
            key = value.strip() if scheme.lower() == "bearer" else ""
        if key and len(key) <= LONGEST_SECRET:
            found = self._callers.get(digest(key))
            if found is not None:
                return found
        if self._anonymous:
            return ANONYMOUS
        raise Unauthorized(WRONG if key else MISSING)
