"""What is dear to compute and seldom changes, kept for a while: the experiment's look, a forecast.

What lives here: keeping and forgetting. What it must not know: what is kept. Bounded by MOST.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from jevons.web.frugal import give_back

T = TypeVar("T")
MOST = 64
KEEP_S = 300.0
"""A figure may be so old; pages that show one say from which moment it is."""


class Memo:
    """Values by key with the moment at which they were made."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, now: float, make: Callable[[], T]) -> T:
        """The kept value when it is young enough, else a new one."""
        found = self._kept.get(key)
        if found is not None and 0 <= now - found[0] < KEEP_S:
            value: T = found[1]
            return value
        if len(self._kept) >= MOST:
            self._kept.clear()
        value = make()
        give_back()
        self._kept[key] = (now, value)
        return value
