"""What levers remember between calls: values by (store, tenant, key), each store bounded, the least used forgotten.

What lives here: the in-process form of what `Change` asks for. What it must not know: what a value means.
"""

from collections import OrderedDict
from typing import Any

MAX_ENTRIES = 100_000
"""Of one store: 100,000 live tasks. About 60 MB of session values at the bound."""


class Memory:
    """All stores of one process. One event loop owns it."""

    def __init__(self, max_entries: int = MAX_ENTRIES):
        self._max = max_entries
        self._stores: dict[str, OrderedDict[tuple[str, str], Any]] = {}

    def get(self, store: str, tenant: str, key: str) -> Any:
        """The value, or None; a look keeps it young."""
        held = self._stores.get(store)
        if held is None:
            return None
        at = (tenant, key)
        found = held.get(at)
        if found is not None:
            held.move_to_end(at)
        return found

    def put(self, store: str, tenant: str, key: str, value: Any) -> None:
        """None forgets."""
        held = self._stores.setdefault(store, OrderedDict())
        at = (tenant, key)
        if value is None:
            held.pop(at, None)
            return
        held[at] = value
        held.move_to_end(at)
        if len(held) > self._max:
            held.popitem(last=False)

    def purge(self, tenant: str) -> int:
        """Forget all of a tenant; how many values that was."""
        number = 0
        for held in self._stores.values():
            for at in [at for at in held if at[0] == tenant]:
                del held[at]
                number += 1
        return number

    def sizes(self) -> dict[str, int]:
        return {name: len(held) for name, held in self._stores.items()}
