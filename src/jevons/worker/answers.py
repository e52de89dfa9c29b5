"""Whole answers by operation, as the semantic cache's host asks for them: the last ones in memory, all in the database.

What it decides: which stay in memory, and that an answer past its time is gone. What it must not know: questions.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Final

from jevons.core.ask import Stored
from jevons.store import semantic
from jevons.store.db import Database

MAX_BYTES: Final = 32 * 1024 * 1024
"""Of bodies in memory: the popular ones; the others cost one look-up of an indexed row."""


class Answers(MutableMapping[str, Stored]):
    """Newest last. What is put here is written to the database by the service, a moment later."""

    def __init__(self, reader: Database, keep_s: float, clock: Callable[[], float]):
        self._reader, self._keep_s, self._clock = reader, keep_s, clock
        self._near: OrderedDict[str, Stored] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, operation: str) -> Stored:
        found = self._near.get(operation)
        if found is None:
            found = self._reader.retried(lambda db: semantic.answer(db, operation))
            if found is None:
                raise KeyError(operation)
            self[operation] = found
        self._near.move_to_end(operation, last=True)
        if found.at + self._keep_s < self._clock():
            del self[operation]
            raise KeyError(operation)
        return found

    def __setitem__(self, operation: str, stored: Stored) -> None:
        self._drop(operation)
        self._near[operation] = stored
        self._bytes += len(stored.body)
        while self._bytes > MAX_BYTES and len(self._near) > 1:
            self._drop(next(iter(self._near)))

    def __delitem__(self, operation: str) -> None:
        self._drop(operation)

    def __iter__(self) -> Iterator[str]:
        return iter(self._near)

    def __len__(self) -> int:
        return len(self._near)

    def _drop(self, operation: str) -> None:
        gone = self._near.pop(operation, None)
        if gone is not None:
            self._bytes -= len(gone.body)
