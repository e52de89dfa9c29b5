"""What the worker hosts: one index per tenant and policy, reached with the same keys that the lever's asks carry.

What it decides: which index a question belongs to, when two answers are the same, and what is handed to the store. What
it must not know: sockets, files, deadlines. Answers themselves are kept by the caller's mapping (SQLite is the truth);
here are only references to them.
"""

import random
from collections import OrderedDict
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

import msgspec

from jevons.core.ask import Stored
from jevons.levers.cache.semantic.gate import Policy
from jevons.levers.cache.semantic.index import Embed, Kept, Learned, Same, SemanticIndex
from jevons.levers.cache.semantic.question import Question, read_question

MAX_OPEN: Final = 8192
"""Look-ups whose answer is awaited, and served ones whose feedback may come."""


class Scope(msgspec.Struct, frozen=True):
    """Whose index: nothing is shared between scopes, not even what was learned."""

    tenant: str
    policy: Policy


class Host:
    """`answers`: operation -> Stored. `dice` decides audits. `same` says whether two answer texts are one answer."""

    def __init__(
        self,
        embed: Embed,
        embed_words: Embed,
        dice: random.Random,
        answers: MutableMapping[str, Stored],
        *,
        same: Same | None = None,
    ):
        self._parts = (embed, embed_words, dice)
        self._same: Same = same or str.__eq__
        self._answers = answers
        self._indexes: dict[Scope, SemanticIndex] = {}
        self._open: OrderedDict[str, tuple[Question, int]] = OrderedDict()
        self._served: OrderedDict[str, tuple[Question, str]] = OrderedDict()

    def find(self, key: bytes) -> Stored | None:
        """The answer to serve, or None: a miss, or an audit, whose fresh answer must come to `keep`."""
        question = read_question(key)
        index = self.index(question)
        found = index.look_up(question.namespace, question.text)
        stored = self._answers.get(found.ref) if found.served else None
        if found.served and stored is None:
            index.forget(question.namespace, found.text)
            if not found.ticket:  # an exact repeat awaits no answer: ask again, now as a miss
                found = index.look_up(question.namespace, question.text)
        if found.ticket:
            _put(self._open, question.operation, (question, found.ticket))
        if stored is not None:
            _put(self._served, question.operation, (question, found.text))
        return stored

    def keep(self, key: bytes, stored: Stored | None) -> Learned | None:
        """A fresh answer, or the news that none will come. What is returned belongs into the store."""
        question = read_question(key)
        opened = self._open.pop(question.operation, None)
        if opened is None:
            return None
        index = self.index(question)
        self._served.pop(question.operation, None)
        if stored is None:
            index.give_up(opened[1])
            return None
        learned = index.learn(opened[1], canonical(stored), question.operation)
        self._answers[question.operation] = stored
        return learned

    def wrong(self, operation: str) -> tuple[str, ...]:
        """Feedback on a served answer: its entry and the neighbours of that leave. Returns the prompts removed."""
        served = self._served.pop(operation, None)
        return self.index(served[0]).purge(served[0].namespace, served[1]) if served else ()

    def close(self) -> None:
        """No fresh answer will come any more: every open look-up is given up, an audit as a wrong one."""
        for question, ticket in self._open.values():
            self.index(question).give_up(ticket)
        self._open.clear()

    def index(self, question: Question) -> SemanticIndex:
        """The index of a question's scope, made when first asked for."""
        scope = Scope(question.tenant, Policy(question.level, question.unit))
        index = self._indexes.get(scope)
        if index is None:
            index = self._indexes[scope] = SemanticIndex(scope.policy, *self._parts, same=self._same)
        return index

    def load(self, scope: Scope, entries: Iterable[Kept], state: dict[str, Any] | None) -> None:
        """Bring a scope back from the store: entries oldest first, and the last `SemanticIndex.dump`."""
        index = self._indexes[scope] = SemanticIndex(scope.policy, *self._parts, same=self._same)
        index.load(entries)
        if state is not None:
            index.restore(state)

    def scopes(self) -> dict[Scope, SemanticIndex]:
        """For persisting (`dump`) and for metrics (`gate`)."""
        return dict(self._indexes)


def canonical(stored: Stored) -> str:
    """An answer's text in the form that is compared: JSON with sorted keys, else words without case and spacing."""
    text = answer_text(stored)
    try:
        return msgspec.json.encode(msgspec.json.decode(text), order="deterministic").decode()
    except msgspec.DecodeError:
        return " ".join(text.split()).casefold().rstrip(".")


def answer_text(stored: Stored) -> str:
    """The text of a whole chat or messages answer; its raw body when it has another shape."""
    try:
        body: Any = msgspec.json.decode(stored.body)
        if stored.dialect == "messages":
            return "".join(part["text"] for part in body["content"] if part["type"] == "text")
        return str(body["choices"][0]["message"]["content"])
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        return stored.body.decode(errors="replace")


def _put(table: OrderedDict[str, Any], key: str, value: Any) -> None:
    table[key] = value
    if len(table) > MAX_OPEN:
        table.popitem(last=False)
