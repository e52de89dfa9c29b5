"""The semantic cache's engine: finds an answer to the same question in other words, and learns from every fresh answer.

One index serves one scope (a tenant's call sites under one policy): it holds the scope's verifier, its gate, and its
namespaces. The worker hosts it and the benchmark drives it. A look-up finds five neighbours in the namespace, lets the
verifier judge each pair, and asks the gate; a fresh answer labels all five pairs. What it must not know: sockets,
files, whole answers (it keeps a reference and a sameness key), or how a namespace was named.
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np

from jevons.levers.cache.semantic.gate import Gate, Policy
from jevons.levers.cache.semantic.namespace import WIDTH, Entry, Namespace, Near
from jevons.levers.cache.semantic.pair import Compared, compare
from jevons.levers.cache.semantic.vectors import Shelf, Vector
from jevons.levers.cache.semantic.verifier import Floats, Verifier
from jevons.levers.cache.semantic.words import read

CANDIDATES: Final = 5
MAX_PENDING: Final = 4096
"""Look-ups whose fresh answer is awaited; an older one is given up."""
NEIGHBOUR: Final = 0.9
"""Cosine from which an entry shares the fate of one that was called wrong."""
MAX_PURGED: Final = 100

Kind = Literal["miss", "exact", "hit", "audit", "shadow"]
Embed = Callable[[Sequence[str]], Vector]
Same = Callable[[str, str], bool]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a look-up says. Only `exact` and `hit` are served; `audit` and `shadow` are misses of a would-be hit."""

    kind: Kind
    ticket: int = 0
    """Hand it to `learn` with the fresh answer. 0: nothing is awaited."""
    ref: str = ""
    answer: str = ""
    text: str = ""
    """The prompt that the answer was given to."""
    risk: float = 1.0
    cosine: float = 0.0
    vetoed: str = ""

    @property
    def served(self) -> bool:
        return self.kind in {"exact", "hit"}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as a store keeps it; both vectors as float32 bytes."""

    namespace: str
    text: str
    answer: str
    ref: str
    vector: bytes
    words_vector: bytes
    same: int = 0
    different: int = 0


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What a fresh answer changed: rows for the store, and the audit's outcome (None: it was no would-be hit)."""

    kept: Kept | None
    left: tuple[str, ...] = ()
    """Texts of entries that made room."""
    would_have_been_wrong: bool | None = None


class _Pending(msgspec.Struct):
    namespace: str
    text: str
    terms: frozenset[str]
    vector: Any
    words_vector: Any
    rows: list[int]
    compared: list[Compared]
    features: Any
    best: int
    risk: float
    kind: Kind


class SemanticIndex:
    """See the module's first lines. `embed` gives unit rows of the sentence model, `embed_words` of the word model."""

    def __init__(
        self,
        policy: Policy,
        embed: Embed,
        embed_words: Embed,
        dice: random.Random,
        *,
        same: Same = str.__eq__,
        shelf: Callable[[], Near] = Shelf,
        judge: Callable[[str, str], Compared] | None = None,
    ):
        self.gate = Gate(policy)
        self.verifier = Verifier(WIDTH)
        self._embed = embed
        self._embed_words = embed_words
        self._dice = dice
        self._same = same
        self._shelf = shelf
        self._compare = judge or compare_texts
        self._spaces: dict[str, Namespace] = {}
        self._pending: OrderedDict[int, _Pending] = OrderedDict()
        self._tickets = 0

    def look_up(self, namespace: str, text: str) -> Found:
        """One request. Costs two embeddings, one search and at most five comparisons."""
        space = self._space(namespace)
        row = space.by_text.get(text)
        if row is not None:
            self.gate.repeated()
            entry = space.entries[row]
            return Found(kind="exact", ref=entry.ref, answer=entry.answer, text=entry.text, risk=0.0, cosine=1.0)
        pending = self._judge(namespace, space, text)
        verdict = self.gate.weigh(pending.risk)
        pending.kind = verdict
        if verdict == "hit":
            if self._dice.random() < self.gate.audit_share:
                pending.kind = "audit"
            else:
                self.gate.serve(pending.risk)
        self._tickets += 1
        self._pending[self._tickets] = pending
        if len(self._pending) > MAX_PENDING:
            self.give_up(next(iter(self._pending)))
        return self._found(space, pending, self._tickets)

    def learn(self, ticket: int, answer: str, ref: str) -> Learned:
        """The fresh answer to a look-up: it labels the candidates and becomes an entry. A `hit` that was not taken (the
        caller's side chose to burn after all) may be taught too; it is then counted as never served."""
        pending = self._pending.pop(ticket, None)
        if pending is None:
            return Learned(kept=None)
        space = self._space(pending.namespace)
        wrong: bool | None = None
        for at, row in enumerate(pending.rows):
            entry = space.entries.get(row)
            if entry is None:
                continue
            same = self._same(answer, entry.answer)
            self.verifier.learn(pending.features[at], same)
            space.taught(entry, pending.compared[at].differing, same=same)
            if at == pending.best and pending.kind in {"audit", "shadow"}:
                wrong = not same
        if pending.kind == "hit":
            self.gate.unserve(pending.risk)
        elif pending.kind == "audit" or wrong is not None:
            # an audit whose candidate was purged meanwhile counts as wrong: the bound must not gain from it
            self.gate.labelled(pending.risk, wrong is not False, audited=pending.kind == "audit")
        left = self._insert(space, pending, answer, ref)
        return Learned(
            kept=Kept(
                namespace=pending.namespace,
                text=pending.text,
                answer=answer,
                ref=ref,
                vector=pending.vector.tobytes(),
                words_vector=pending.words_vector.tobytes(),
            ),
            left=left,
            would_have_been_wrong=wrong,
        )

    def give_up(self, ticket: int) -> None:
        """No fresh answer will come (an error, a caller who left). A lost audit counts as wrong: the safe side."""
        pending = self._pending.pop(ticket, None)
        if pending is not None and pending.kind == "audit":
            self.gate.labelled(pending.risk, wrong=True, audited=True)

    def purge(self, namespace: str, text: str) -> tuple[str, ...]:
        """Feedback `wrong` on the answer kept for `text`: it and its neighbours leave. Returns the texts removed."""
        space = self._space(namespace)
        row = space.by_text.get(text)
        if row is None:
            return ()
        self.gate.told_wrong()
        near = space.shelf.top(space.shelf.row(row), MAX_PURGED)
        gone = [space.remove(other) for other, cosine in near if cosine >= NEIGHBOUR or other == row]
        return tuple(entry.text for entry in gone if entry is not None)

    def forget(self, namespace: str, text: str) -> None:
        """The answer kept for `text` is gone (its time was up): so is the entry. No feedback is meant by it."""
        space = self._space(namespace)
        row = space.by_text.get(text)
        if row is not None:
            space.remove(row)

    def explain(self, namespace: str, text: str, prompt: str, answer: str) -> Found:
        """What would be said of `text` if `answer` to `prompt` were kept here too: the best candidate, and `hit` when
        the threshold would let it through. Nothing is counted, learned or kept.
        """
        space = self._space(namespace)
        passing = prompt not in space.by_text
        if passing:
            words_vector = self._embed_words((prompt,))[0]
            entry = Entry(text=prompt, answer=answer, ref="", terms=read(prompt).bag, words_vector=words_vector)
            space.add(entry, self._embed((prompt,))[0])
        pending = self._judge(namespace, space, text)
        pending.kind = "hit" if pending.risk <= self.gate.threshold else "miss"
        found = self._found(space, pending, 0)
        if passing:
            space.remove(space.by_text[prompt])
        return found

    def load(self, entries: Iterable[Kept]) -> None:
        """Entries from the store, oldest first."""
        for kept in entries:
            entry = Entry(
                text=kept.text,
                answer=kept.answer,
                ref=kept.ref,
                terms=read(kept.text).bag,
                words_vector=np.frombuffer(kept.words_vector, np.float32),
                same=kept.same,
                different=kept.different,
            )
            self._space(kept.namespace).add(entry, np.frombuffer(kept.vector, np.float32))

    def dump(self) -> dict[str, Any]:
        """What was learned, in plain values; entries are persisted one by one as `learn` returns them."""
        return {
            "gate": self.gate.dump(),
            "verifier": self.verifier.dump(),
            "records": {name: space.record for name, space in self._spaces.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `dump`. Raises ValueError when the features have changed since: then start anew."""
        self.verifier.restore(state["verifier"])
        self.gate.restore(state["gate"])
        for name, record in state["records"].items():
            self._space(name).record = {term: (good, bad) for term, (good, bad) in record.items()}

    def __len__(self) -> int:
        return sum(len(space.entries) for space in self._spaces.values())

    def _space(self, namespace: str) -> Namespace:
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = Namespace(self._shelf())
        return space

    def _judge(self, namespace: str, space: Namespace, text: str) -> _Pending:
        vector = self._embed((text,))[0]
        words_vector = self._embed_words((text,))[0]
        terms = read(text).bag
        near = space.shelf.top(vector, CANDIDATES)
        rows = [row for row, _ in near]
        compared = [self._compare(text, space.entries[row].text) for row in rows]
        found = [
            (row, cosine, float(space.entries[row].words_vector @ words_vector), pair)
            for (row, cosine), pair in zip(near, compared, strict=True)
        ]
        features: Floats = np.array(list(space.features(terms, found)), np.float64).reshape(-1, WIDTH)
        chances = self.verifier.score(features)
        allowed = [(float(chance), at) for at, chance in enumerate(chances) if not compared[at].vetoed]
        chance, best = max(allowed, default=(0.0, -1))
        return _Pending(
            namespace, text, terms, vector, words_vector, rows, compared, features, best, 1.0 - chance, "miss"
        )

    def _found(self, space: Namespace, pending: _Pending, ticket: int) -> Found:
        if pending.best < 0:
            vetoed = pending.compared[0].vetoed if pending.compared else ""
            return Found(kind=pending.kind, ticket=ticket, vetoed=vetoed)
        row = pending.rows[pending.best]
        entry = space.entries[row]
        return Found(
            kind=pending.kind,
            ticket=ticket,
            ref=entry.ref,
            answer=entry.answer,
            text=entry.text,
            risk=pending.risk,
            cosine=float(space.shelf.row(row) @ pending.vector),
        )

    def _insert(self, space: Namespace, pending: _Pending, answer: str, ref: str) -> tuple[str, ...]:
        row = space.by_text.get(pending.text)
        if row is not None:  # the same text came twice while its first answer was on its way: the newest answer stays
            space.entries[row].answer, space.entries[row].ref = answer, ref
            return ()
        entry = Entry(text=pending.text, answer=answer, ref=ref, terms=pending.terms, words_vector=pending.words_vector)
        return tuple(space.add(entry, pending.vector))


def compare_texts(a: str, b: str) -> Compared:
    """The pair's differences, read anew each time: a worker keeps no words of its entries in memory."""
    return compare(read(a), read(b))
