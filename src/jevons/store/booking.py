"""Operations to rows, in one transaction: the operation, its attempts, its task, its rollups.

What lives here: the statements that write the ledger, and the ids of what is written once and pointed at. What it
must not know: threads, queues, retries (writer.py). Booking the same operation twice changes nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jevons.ledger.operation import Attempt, Operation
from jevons.store import savings
from jevons.store.db import Database
from jevons.store.measures import (
    ADD_TO_ROLLUP,
    ADD_TO_TASK,
    MINUTE,
    NEW_TASK,
    Vector,
    add,
    fold,
    measure,
)

MOST_NAMES = 65_536
"""Ids remembered per table; past it all are forgotten and looked up again. About 20 MB at the bound."""
LONGEST_TEXT = 256
"""Characters kept of a name that a caller chose."""

_SERIES = ("tenant", "customer", "plan", "key_id", "site", "surface", "model", "served_model")
TARIFF = ("provider", "model", "role", "tier", "usage_source", "cost_source", "price_version", "rates")
_INSERT_OPERATION = (
    "INSERT INTO operations (seq, operation, series, task, status, error, started, duration_s, stream, cancelled, "
    "cache, arm, cost_nano, baseline_nano, levers) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (operation) DO NOTHING"
)
INSERT_ATTEMPT = (
    "INSERT INTO attempts (operation, number, tariff, status, error, started, duration_s, first_byte_s, input, cached, "
    "cache_write_5m, cache_write_1h, output, reasoning, cost_nano) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_encode = msgspec.json.Encoder().encode


class _BookedBefore(Exception):
    """Some of a batch is in the ledger already."""


class Names:
    """Ids of one table's rows by what they hold. Ids made in a transaction are remembered once it is committed."""

    def __init__(self, table: str, columns: Sequence[str]):
        self._find = f"SELECT id FROM {table} WHERE " + " AND ".join(f"{name} = ?" for name in columns)  # noqa: S608
        self._insert = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(columns)}) DO NOTHING"
        )
        self._known: dict[Any, int] = {}
        self._fresh: dict[Any, int] = {}

    def get(self, key: Any) -> int | None:
        """The id under any hashable key, when it was seen before."""
        found = self._known.get(key)
        return self._fresh.get(key) if found is None else found

    def learn(self, db: Database, key: Any, values: Sequence[str]) -> int:
        """The id of these values, inserted when new."""
        texts = tuple(fit(value) for value in values)
        db.run(self._insert, texts)
        return self.remember(db, key, texts)

    def remember(self, db: Database, key: Any, texts: Sequence[str]) -> int:
        """The id of a row that is there."""
        found = db.row(self._find, texts)
        if found is None:
            raise LookupError(f"no row holds {texts!r}")
        self._fresh[key] = int(found[0])
        return self._fresh[key]

    def settle(self, *, committed: bool) -> None:
        """The transaction ended."""
        if committed and self._fresh:
            if len(self._known) > MOST_NAMES:
                self._known.clear()
            self._known.update(self._fresh)
        self._fresh.clear()


class Bookkeeper:
    """Writes batches of operations through one connection, and remembers ids between them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Look every id up again: what they point at may be gone (retention, a restored database)."""
        self.series = Names("series", _SERIES)
        self.tariffs = Names("tariffs", TARIFF)
        self.tasks = Names("tasks", ("tenant", "task"))

    def write(self, db: Database, operations: Sequence[Operation]) -> int:
        """Book a batch, all or nothing. Returns how many of them were new. Raises what the database raises."""
        unique = list({operation.operation: operation for operation in operations}.values())
        try:
            return self._write(db, unique)
        except _BookedBefore:
            return self._write(db, [op for op in unique if not _is_booked(db, op)])

    def _write(self, db: Database, operations: Sequence[Operation]) -> int:
        if not operations:
            return 0
        committed = False
        try:
            with db.transaction():
                self._insert(db, operations)
            committed = True
        finally:
            for names in (self.series, self.tariffs, self.tasks):
                names.settle(committed=committed)
        return len(operations)

    def _insert(self, db: Database, operations: Sequence[Operation]) -> None:
        seq = db.next_number("operation", len(operations))  # first: it is the lock that orders writers
        rows, attempts = [], []
        minutes: dict[tuple[int, int], Vector] = {}
        tasks: dict[int, tuple[float, Vector]] = {}
        credited: dict[savings.Key, list[int]] = {}
        for operation in operations:
            vector = measure(operation)
            series, task = self._series(db, operation), self._task(db, operation)
            rows.append(_operation_row(seq, series, task, operation, vector))
            for number, attempt in enumerate(operation.attempts):
                attempts.append(attempt_row(seq, number, self._tariff(db, attempt), attempt))
            savings.collect(credited, operation.started, series, operation.levers)
            started = int(operation.started)
            minute = (started - started % MINUTE, series)
            minutes[minute] = add(minutes[minute], vector) if minute in minutes else vector
            if task is not None:
                ended = operation.started + operation.duration_s
                before = tasks.get(task)
                tasks[task] = (max(ended, before[0]), add(before[1], vector)) if before else (ended, vector)
            seq += 1
        if db.many(_INSERT_OPERATION, rows) != len(rows):
            raise _BookedBefore
        db.many(INSERT_ATTEMPT, attempts)
        db.many(ADD_TO_TASK, [(ended, ended, *vector, task) for task, (ended, vector) in tasks.items()])
        db.many(ADD_TO_ROLLUP, [(*key, *vector) for key, vector in fold(minutes).items()])
        savings.add(db, credited)

    def _series(self, db: Database, operation: Operation) -> int:
        key = (
            operation.tenant,
            operation.customer,
            operation.plan,
            operation.key_id,
            operation.site,
            operation.surface,
            operation.model,
            operation.served_model,
        )
        return self.series.get(key) or self.series.learn(db, key, key)

    def _tariff(self, db: Database, attempt: Attempt) -> int:
        rates = _encode(attempt.rates) if attempt.rates else b""
        key = (
            attempt.provider,
            attempt.model,
            attempt.role,
            attempt.tier,
            attempt.usage_source,
            attempt.cost_source,
            attempt.price_version,
            rates,
        )
        return self.tariffs.get(key) or self.tariffs.learn(db, key, (*key[:-1], rates.decode()))

    def _task(self, db: Database, operation: Operation) -> int | None:
        if not operation.task:
            return None
        key = (operation.tenant, operation.task)
        found = self.tasks.get(key)
        if found is not None:
            return found
        tenant, task = fit(operation.tenant), fit(operation.task)
        texts = (operation.task_source, operation.parent, operation.task_name, operation.customer, operation.plan)
        started = operation.started
        db.run(NEW_TASK, (tenant, task, *(fit(text) for text in texts), fit(operation.arm), started, started))
        return self.tasks.remember(db, key, (tenant, task))


def fit(text: str) -> str:
    """A caller's text as both databases take it: no NUL, no lone surrogate, not longer than LONGEST_TEXT."""
    if text.isascii() and "\0" not in text:
        return text[:LONGEST_TEXT]
    return text[:LONGEST_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _operation_row(seq: int, series: int, task: int | None, operation: Operation, vector: Vector) -> tuple[Any, ...]:
    return (
        seq,
        operation.operation,
        series,
        task,
        operation.status,
        fit(operation.error),
        operation.started,
        operation.duration_s,
        1 if operation.stream else 0,
        1 if operation.cancelled else 0,
        operation.cache,
        operation.arm,
        None if vector[3] else vector[4],
        operation.baseline_nano,
        _encode(operation.levers).decode() if operation.levers else None,
    )


def attempt_row(seq: int, number: int, tariff: int, attempt: Attempt) -> tuple[Any, ...]:
    """The values of INSERT_ATTEMPT."""
    usage = attempt.usage
    return (
        seq,
        number,
        tariff,
        attempt.status,
        fit(attempt.error),
        attempt.started,
        attempt.duration_s,
        attempt.first_byte_s,
        usage.input,
        usage.cached,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.output,
        usage.reasoning,
        attempt.cost_nano,
    )


def _is_booked(db: Database, operation: Operation) -> bool:
    return db.row("SELECT 1 FROM operations WHERE operation = ?", (operation.operation,)) is not None


def reject(db: Database, operation: Operation, reason: str, at: float) -> None:
    """Keep what the database would not take as rows: the whole operation as JSON (or as text), and why."""
    try:
        body = _encode(operation)
    except (ValueError, TypeError, OverflowError, UnicodeError):  # a lone surrogate, a number past 64 bits
        body = repr(operation).encode("utf-8", "backslashreplace")
    with db.transaction():
        db.run(
            "INSERT INTO rejected (operation, at, reason, body) VALUES (?, ?, ?, ?) ON CONFLICT (operation) DO NOTHING",
            (fit(operation.operation), at, fit(reason), body),
        )
