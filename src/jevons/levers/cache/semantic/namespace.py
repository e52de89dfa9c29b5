"""One hard partition's memory: its entries, their vectors, and what its own words have taught.

What lives here: entries that share tenant, model, system, tools, parameters and context, and the counts behind the
learned features (how rare a term is here, how often a pair that differed in it had the same answer). What it must not
know: other namespaces, thresholds, or the model's weights.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import msgspec

from jevons.levers.cache.semantic.pair import STATIC, Compared
from jevons.levers.cache.semantic.vectors import Vector

MAX_ENTRIES: Final = 100_000
"""Of one namespace; the oldest leaves first."""
MAX_TERMS: Final = 50_000
"""Terms that are counted; later new ones are taken as unseen."""
DYNAMIC = (
    "cosine", "cosine_words", "rarity", "rarest", "kept_weight", "harm", "most_harmful", "unseen", "entry_same",
    "entry_different", "companions", "margin", "rank", "size",
)  # fmt: skip
"""Features that need the namespace, after STATIC and the constant 1."""
WIDTH: Final = 1 + len(STATIC) + len(DYNAMIC)


class Near(Protocol):
    """What a namespace asks of its vectors (vectors.Shelf)."""

    def add(self, vector: Vector) -> int: ...
    def drop(self, row: int) -> None: ...
    def top(self, vector: Vector, count: int) -> list[tuple[int, float]]: ...
    def row(self, row: int) -> Vector: ...
    def __len__(self) -> int: ...


class Entry(msgspec.Struct, kw_only=True):
    """One kept answer and its record as a candidate."""

    text: str
    answer: str
    """What is compared for sameness: a hash or a canonical form of the answer."""
    ref: str
    """Where the integrator finds the whole answer."""
    terms: frozenset[str]
    words_vector: Any
    same: int = 0
    different: int = 0


class Namespace:
    """Entries by row, newest last."""

    def __init__(self, shelf: Near):
        self.shelf = shelf
        self.entries: dict[int, Entry] = {}
        self.by_text: dict[str, int] = {}
        self.rare: dict[str, int] = {}
        self.record: dict[str, tuple[int, int]] = {}
        """Term -> (pairs that differed in it and had the same answer, and that had another)."""

    def add(self, entry: Entry, vector: Vector) -> list[str]:
        """A new entry; the texts that had to leave."""
        left = []
        if len(self.entries) >= MAX_ENTRIES:
            oldest = self.remove(next(iter(self.entries)))
            left = [oldest.text] if oldest else []
        row = self.shelf.add(vector)
        self.entries[row] = entry
        self.by_text[entry.text] = row
        for term in entry.terms:
            if term in self.rare or len(self.rare) < MAX_TERMS:
                self.rare[term] = self.rare.get(term, 0) + 1
        return left

    def remove(self, row: int) -> Entry | None:
        entry = self.entries.pop(row, None)
        if entry is not None:
            self.by_text.pop(entry.text, None)
            self.shelf.drop(row)
            for term in entry.terms & self.rare.keys():
                self.rare[term] -= 1
        return entry

    def taught(self, entry: Entry, differing: Sequence[str], *, same: bool) -> None:
        """The truth about one pair: the entry's record, and that of every term in which the two differed."""
        entry.same += same
        entry.different += not same
        for term in differing:
            if term in self.record or len(self.record) < MAX_TERMS:
                good, bad = self.record.get(term, (0, 0))
                self.record[term] = (good + same, bad + (not same))

    def features(
        self, terms: frozenset[str], found: Sequence[tuple[int, float, float, Compared]]
    ) -> Iterator[tuple[float, ...]]:
        """One row per candidate (row, cosine, words cosine, compared), best cosine first: 1, STATIC, DYNAMIC."""
        size = len(self.entries)
        answers = [self.entries[row].answer for row, _, _, _ in found]
        for rank, (row, cosine, words, compared) in enumerate(found):
            rarities = [self._rarity(term, size) for term in compared.differing]
            common = sum(self._rarity(term, size) for term in terms & self.entries[row].terms)
            harms = [self._harm(term) for term in compared.differing]
            unseen = sum(term not in self.record for term in compared.differing)
            rival = max((c for (_, c, _, _), a in zip(found, answers, strict=True) if a != answers[rank]), default=0.5)
            entry = self.entries[row]
            yield (
                1.0,
                *compared.features,
                (cosine - 0.85) * 8,
                (words - 0.85) * 8,
                sum(rarities) / 10,
                max(rarities, default=0.0) / 5,
                common / (common + sum(rarities) + 0.01),
                sum(harms) / 5,
                min(harms, default=1.0),
                math.log1p(unseen),
                math.log1p(entry.same),
                math.log1p(entry.different),
                math.log(answers.count(answers[rank])),
                (cosine - rival) * 8,
                rank / 4,
                math.log1p(size) / 5,
            )

    def _rarity(self, term: str, size: int) -> float:
        return math.log((size + 1) / (self.rare.get(term, 0) + 0.5))

    def _harm(self, term: str) -> float:
        """Log odds that a pair which differs in this term has the same answer; an unseen one starts at 1 to 3."""
        good, bad = self.record.get(term, (0, 0))
        return math.log((good + 0.3) / (bad + 0.9))
