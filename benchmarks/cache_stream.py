"""What the cache benchmarks share: rows, streams, embeddings made once, and neighbours found once.

No policy lives here. A `Known` shelf answers `top` from a table of each text's nearest texts, made once for all orders;
it gives what the product's own shelf gives (tests hold them equal) in a hundredth of the time.
"""

import gzip
import random
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.halves import say
from jevons.engines.embed import Embedder
from jevons.levers.cache.semantic.index import compare_texts
from jevons.levers.cache.semantic.pair import Compared
from jevons.levers.cache.semantic.word_vectors import WordVectors

Floats = NDArray[np.float32]
TABLE = 256
"""Neighbours kept per text; when fewer than asked for are in the cache, all cached ones are searched."""
BATCH = 512
ZIPF = 1.0
"""Popularity of the r-th text is r^-1: what web queries show."""


class Row(msgspec.Struct, frozen=True):
    """One labelled prompt: equal `answer` within a `ns` means the same answer."""

    prompt: str
    answer: str
    ns: str = ""
    template: str = ""
    dup: bool = False


def load(path: str) -> list[Row]:
    """Rows of a cache file; an out-of-scope question of the intent sets has no equivalent, so its answer is its own."""
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        rows = [msgspec.json.decode(line, type=Row) for line in file]
    return [
        msgspec.structs.replace(row, answer=f"oos {at}") if row.answer == "oos" else row for at, row in enumerate(rows)
    ]


def stream(rows: list[Row], kind: str, seed: int) -> list[Row]:
    """dedup: each row that is no repeat, shuffled. zipf: as many draws as rows, popularity by a shuffled rank."""
    dice = random.Random(seed)
    order = [row for row in rows if not row.dup] if kind == "dedup" else list(rows)
    dice.shuffle(order)
    if kind == "dedup":
        return order
    weights = [1.0 / rank**ZIPF for rank in range(1, len(order) + 1)]
    return dice.choices(order, weights, k=len(order))


class Texts:
    """All texts of a file with both vectors and their nearest neighbours in their namespace."""

    def __init__(self, rows: list[Row], cache: Path | None = None):
        self.texts = sorted({(row.ns, row.prompt) for row in rows})
        self.at = {text: at for at, (_, text) in enumerate(self.texts)}
        plain = [text for _, text in self.texts]
        self.vectors = _embedded(plain, cache)
        self.word_vectors = WordVectors.load().embed(plain)
        self.by_bytes = {vector.tobytes(): at for at, vector in enumerate(self.vectors)}
        self.near: list[NDArray[np.int32]] = [np.zeros(0, np.int32)] * len(self.texts)
        self.compare = lru_cache(maxsize=None)(compare_texts)
        spaces = np.array([ns for ns, _ in self.texts])
        for ns in sorted(set(spaces)):
            self._neighbours(np.flatnonzero(spaces == ns))
        say(f"{len(self.texts)} texts embedded, neighbours found")

    def embed(self, texts: Sequence[str]) -> Floats:
        return self.vectors[[self.at[text] for text in texts]]

    def embed_words(self, texts: Sequence[str]) -> Floats:
        return self.word_vectors[[self.at[text] for text in texts]]

    def judge(self, a: str, b: str) -> Compared:
        return self.compare(a, b)

    def shelf(self) -> "Known":
        return Known(self)

    def _neighbours(self, members: NDArray[np.int64]) -> None:
        for block in np.array_split(members, max(1, len(members) // BATCH)):
            cosines = self.vectors[block] @ self.vectors[members].T
            keep = min(TABLE + 1, len(members))
            best = np.argpartition(-cosines, keep - 1, axis=1)[:, :keep]
            best = np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, 1), axis=1), 1)
            for row, found in zip(block, best, strict=True):
                self.near[row] = members[found].astype(np.int32)


class Known:
    """A shelf (levers.cache.semantic.namespace.Near) on a table of neighbours."""

    def __init__(self, texts: Texts):
        self._all = texts
        self._row_of: dict[int, int] = {}
        self._text_of: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, vector: Floats) -> int:
        text = self._all.by_bytes[vector.tobytes()]
        self._row_of[text] = len(self._text_of)
        self._text_of.append(text)
        return len(self._text_of) - 1

    def drop(self, row: int) -> None:
        self._row_of.pop(self._text_of[row], None)

    def row(self, row: int) -> Floats:
        vector: Floats = self._all.vectors[self._text_of[row]]
        return vector

    def top(self, vector: Floats, count: int) -> list[tuple[int, float]]:
        asked = self._all.by_bytes[vector.tobytes()]
        found = list(self._walk(asked, count)) if len(self._row_of) > 4 * count else []
        if len(found) < min(count, len(self._row_of)):
            held = np.fromiter(self._row_of, np.int64, len(self._row_of))
            cosines = self._all.vectors[held] @ vector
            found = [int(text) for text in held[np.argsort(-cosines)[:count]]]
        return [(self._row_of[text], float(self._all.vectors[text] @ vector)) for text in found]

    def _walk(self, asked: int, count: int) -> Iterator[int]:
        for text in self._all.near[asked].tolist():
            if text in self._row_of:
                yield text
                count -= 1
                if not count:
                    return


def _embedded(texts: list[str], cache: Path | None) -> Floats:
    """Sentence vectors, about 3 ms a text on one core; `cache` keeps them between runs, as a convenience."""
    if cache is not None and cache.exists():
        kept: Floats = np.load(cache)
        if len(kept) == len(texts):
            return kept
    say(f"embedding {len(texts)} texts")
    vectors = np.ascontiguousarray(Embedder.load().embed(texts), np.float32)
    if cache is not None:
        np.save(cache, vectors)
    return vectors


def fingerprint(rows: list[Row]) -> str:
    return f"{zlib.crc32(repr(rows).encode()):08x}"
