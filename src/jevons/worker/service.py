"""The semantic index as the worker serves it: scopes come from the store when first asked for, and go back to it.

What it decides: when a scope is loaded, what of a fresh answer is written, and what leaves on a complaint. What it must
not know: sockets, deadlines, when it is flushed. One thread owns it; only `Batch` goes to another.
"""

import logging
from collections import OrderedDict
from typing import Any, Final

import msgspec

from jevons.core.ask import Stored
from jevons.engines.worker_link import Standing
from jevons.levers.cache.semantic.gate import Policy
from jevons.levers.cache.semantic.host import Host, Scope
from jevons.levers.cache.semantic.index import Kept
from jevons.levers.cache.semantic.question import Question, read_question
from jevons.store import semantic
from jevons.store.db import Database
from jevons.store.semantic import Entry, Place, State

log = logging.getLogger("jevons.worker")

MOST_LOADED: Final = 50_000
"""Entries of one scope that come back from the store, the newest: some 4 KB each in memory."""
MOST_SERVED: Final = 8_192
"""Served answers about which a complaint may still come."""
MOST_UNWRITTEN: Final = 20_000
"""Changes that wait while the database is away: the oldest are then kept in memory only, and lost with it."""


class Batch(msgspec.Struct, frozen=True):
    """What belongs into the store now."""

    changes: dict[Place, Entry | None]
    states: tuple[State, ...]


class Service:
    """See the module's first lines. `reader` is used in this thread only."""

    def __init__(self, host: Host, reader: Database):
        self._host, self._reader = host, reader
        self._scopes: set[Scope] = set()
        self._dirty: set[Scope] = set()
        self._changes: OrderedDict[Place, Entry | None] = OrderedDict()
        self._served: OrderedDict[str, Question] = OrderedDict()

    def find(self, key: bytes) -> Stored | None:
        """The answer to serve, or None. Raises msgspec's errors for a key that is no question."""
        question = read_question(key)
        self._dirty.add(self._scope(question))
        stored = self._host.find(key)
        if stored is not None:
            self._served[question.operation] = question
            if len(self._served) > MOST_SERVED:
                self._served.popitem(last=False)
        return stored

    def keep(self, key: bytes, stored: Stored | None) -> None:
        """A fresh answer, or the news that none will come."""
        question = read_question(key)
        scope = self._scope(question)
        self._dirty.add(scope)
        self._served.pop(question.operation, None)  # what was served after all was not taken
        learned = self._host.keep(key, stored)
        if learned is None or learned.kept is None or stored is None:
            return
        entry = _entry(scope, learned.kept, stored)
        self._change(entry.place, entry)
        for text in learned.left:
            self._change(Place(scope.tenant, policy_name(scope.policy), question.namespace, text), None)

    def wrong(self, tenant: str, operation: str) -> int:
        """A complaint about an answer that was served, or one that is kept: it and its neighbours leave. How many."""
        served = self._served.get(operation)
        if served is not None and served.tenant == tenant:
            del self._served[operation]
            gone = self._host.wrong(operation)
            self._leave(served, gone)
            return len(gone)
        total = 0
        waiting = [at for at, entry in self._changes.items() if entry is not None and entry.operation == operation]
        kept = {*self._reader.retried(lambda db: semantic.places(db, tenant, operation)), *waiting}
        for place in kept:
            if place.tenant != tenant:
                continue
            question = _question(place, operation)
            self._scope(question)
            gone = self._host.index(question).purge(place.namespace, place.text)
            self._leave(question, (place.text, *gone))
            total += len(gone)
        return total

    def standing(self, *, leads: bool) -> Standing:
        """For metrics."""
        indexes = self._host.scopes().values()
        gates = [index.gate for index in indexes]
        return Standing(
            leads=leads,
            scopes=len(gates),
            open=sum(gate.requests > 0 and gate.open for gate in gates),
            entries=sum(map(len, indexes)),
            requests=sum(gate.requests for gate in gates),
            would_be=sum(gate.would_be for gate in gates),
            served=sum(gate.served for gate in gates),
            audits=sum(gate.audits for gate in gates),
            known_wrong=sum(gate.known_wrong for gate in gates),
            served_wrong=sum(gate.served_wrong for gate in gates),
            threshold=max((gate.threshold for gate in gates), default=0.0),
        )

    def take(self) -> Batch:
        """What has changed since the last time. Give it back with `untake` when it could not be written."""
        states = tuple(self._state(scope) for scope in self._dirty)
        changes = dict(self._changes)
        self._dirty.clear()
        self._changes.clear()
        return Batch(changes, states)

    def untake(self, batch: Batch) -> None:
        """Put a batch back behind what has changed meanwhile."""
        for state in batch.states:
            self._dirty.add(Scope(state.tenant, read_policy(state.policy)))
        newer = dict(self._changes)
        self._changes.clear()
        for place, entry in {**batch.changes, **newer}.items():
            self._change(place, entry)

    def close(self) -> None:
        """No answer will come any more: what is awaited is given up, audits as wrong ones."""
        self._host.close()
        self._dirty |= self._scopes

    def _scope(self, question: Question) -> Scope:
        scope = Scope(question.tenant, Policy(question.level, question.unit))
        if scope not in self._scopes:
            self._load(scope)
            self._scopes.add(scope)
        return scope

    def _load(self, scope: Scope) -> None:
        policy = policy_name(scope.policy)
        found = self._reader.retried(lambda db: semantic.entries(db, scope.tenant, policy, MOST_LOADED))
        body = self._reader.retried(lambda db: semantic.learned(db, scope.tenant, policy))
        kept = [_kept(entry) for entry in found]
        try:
            self._host.load(scope, kept, msgspec.msgpack.decode(body) if body is not None else None)
        except (ValueError, KeyError, TypeError) as error:  # another version's features: its weights mean nothing here
            log.warning("what was learned for %s is of another version and starts anew: %s", scope.tenant, error)
            self._host.load(scope, kept, None)

    def _state(self, scope: Scope) -> State:
        index = self._host.scopes()[scope]
        dump: dict[str, Any] = index.dump()
        dump["records"] = {name: record for name, record in dump["records"].items() if record}
        return State(tenant=scope.tenant, policy=policy_name(scope.policy), body=msgspec.msgpack.encode(dump))

    def _leave(self, question: Question, texts: tuple[str, ...]) -> None:
        scope = self._scope(question)
        self._dirty.add(scope)
        for text in texts:
            self._change(Place(scope.tenant, policy_name(scope.policy), question.namespace, text), None)

    def _change(self, place: Place, entry: Entry | None) -> None:
        self._changes[place] = entry
        self._changes.move_to_end(place)
        if len(self._changes) > MOST_UNWRITTEN:
            self._changes.popitem(last=False)


def policy_name(policy: Policy) -> str:
    """A policy as the store names it: `0.01/request`."""
    return f"{policy.level:.4f}/{policy.unit}"


def read_policy(name: str) -> Policy:
    """The inverse of `policy_name`."""
    level, _, unit = name.partition("/")
    return Policy(float(level), "hit" if unit == "hit" else "request")


def _question(place: Place, operation: str) -> Question:
    policy = read_policy(place.policy)
    return Question(
        operation=operation,
        tenant=place.tenant,
        namespace=place.namespace,
        text=place.text,
        level=policy.level,
        unit=policy.unit,
    )


def _entry(scope: Scope, kept: Kept, stored: Stored) -> Entry:
    return Entry(
        place=Place(scope.tenant, policy_name(scope.policy), kept.namespace, kept.text),
        answer=kept.answer,
        operation=kept.ref,
        vector=kept.vector,
        words_vector=kept.words_vector,
        stored=stored,
        at=stored.at,
    )


def _kept(entry: Entry) -> Kept:
    return Kept(
        namespace=entry.place.namespace,
        text=entry.place.text,
        answer=entry.answer,
        ref=entry.operation,
        vector=entry.vector,
        words_vector=entry.words_vector,
    )
