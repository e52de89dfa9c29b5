"""What levers remember between calls: values by (store, tenant, key), each store bounded, the least used forgotten.

What lives here: the in-process form of what `Change` asks for. What it must not know: what a value means.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

MAX_ENTRIES = 20_000
"""Of one store: sessions that called last, about 12 MB at the bound; one that is forgotten begins anew."""


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

    def keys(self, store: str, tenant: str) -> list[str]:
        return [key for owner, key in self._stores.get(store, ()) if owner == tenant]

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


class Shelf(Mapping[str, Any]):
    """One store of one tenant, to read: what a lever finds in `View.memory` under its name."""

    __slots__ = ("_memory", "_store", "_tenant")

    def __init__(self, memory: Memory, store: str, tenant: str):
        self._memory, self._store, self._tenant = memory, store, tenant

    def __getitem__(self, key: str) -> Any:
        found = self._memory.get(self._store, self._tenant, key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.keys(self._store, self._tenant))

    def __len__(self) -> int:
        return len(self._memory.keys(self._store, self._tenant))
