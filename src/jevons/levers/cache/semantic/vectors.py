"""The nearest vectors of a namespace: a matrix, and an index beyond a size. What is near is not yet the same.

What it must not know: texts, answers, or what a hit is. Rows are numbered by the caller in the order of their coming.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

EXACT_UP_TO: Final = 20_000
"""Rows that are searched one by one: 20,000 x 384 floats are 31 MB and about 4 ms on one core."""


class Shelf:
    """Unit rows float32[n, d]; `top` gives the best inner products."""

    def __init__(self) -> None:
        self._rows: Vector = np.zeros((0, 0), np.float32)
        self._size = 0
        self._gone: set[int] = set()
        self._index: Any = None

    def __len__(self) -> int:
        return self._size - len(self._gone)

    def add(self, vector: Vector) -> int:
        """Put a vector on the shelf; its row number."""
        if self._size == len(self._rows):
            grown = np.zeros((max(4, 2 * self._size), len(vector)), np.float32)
            if self._size:
                grown[: self._size] = self._rows
            self._rows = grown
        self._rows[self._size] = vector
        self._size += 1
        if self._index is not None:
            self._index.add(self._size - 1, vector)
        elif self._size > EXACT_UP_TO:
            self._build()
        return self._size - 1

    def drop(self, row: int) -> None:
        """Take a row off. Its number is never used again."""
        self._gone.add(row)
        self._rows[row] = 0.0
        if self._index is not None:
            self._index.remove(row)

    def top(self, vector: Vector, count: int) -> list[tuple[int, float]]:
        """(row, cosine), best first, at most `count`."""
        if not len(self):
            return []
        if self._index is not None:
            found = self._index.search(vector, count)
            return [(int(row), float(self._rows[row] @ vector)) for row in found.keys]
        cosines = self._rows[: self._size] @ vector
        want = min(self._size, count + len(self._gone))
        best = np.argpartition(-cosines, want - 1)[:want]
        ranked = sorted(((int(row), float(cosines[row])) for row in best), key=lambda pair: (-pair[1], pair[0]))
        return [pair for pair in ranked if pair[0] not in self._gone][:count]

    def row(self, row: int) -> Vector:
        found: Vector = self._rows[row]
        return found

    def _build(self) -> None:
        from usearch.index import Index

        self._index = Index(ndim=self._rows.shape[1], metric="ip", dtype="f32")
        rows = np.array([row for row in range(self._size) if row not in self._gone], np.uint64)
        self._index.add(rows, self._rows[rows])
