"""An attempt that ended after its operation was booked: a shadow or an audit, counted in where it belongs.

What lives here: the statements that add one attempt to a booked operation and to every sum that holds it, in one
transaction. What it must not know: why something was asked beside the call. An operation's cost is the sum of its
attempts, so it grows; one that was priced and gets an unpriced attempt is unpriced from then on. Its baseline stays:
nobody would have asked a shadow (docs/decisions/0115-shadows-are-booked-late.md).
"""

from typing import Any

import msgspec

from jevons.ledger.operation import Attempt
from jevons.ledger.waterfall import OWN
from jevons.store import savings
from jevons.store.booking import INSERT_ATTEMPT, TARIFF, Names, attempt_row
from jevons.store.db import Database
from jevons.store.measures import ADD_TO_ROLLUP, ADD_TO_TASK, MEASURES, MINUTE, Vector, fold

_encode = msgspec.json.Encoder().encode
FIND = (
    "SELECT seq, series, task, started, cost_nano, baseline_nano, levers, "
    "(SELECT count(*) FROM attempts a WHERE a.operation = o.seq) FROM operations o WHERE operation = ?"
)


def supplement(db: Database, operation: str, attempt: Attempt) -> bool:
    """Add an attempt to a booked operation. False when it is not in the ledger: not yet, or no more."""
    with db.transaction():
        db.next_number("operation", 0)  # the lock that orders whoever changes these sums
        row = db.row(FIND, (operation,))
        if row is None:
            return False
        seq, series, task, started, cost, baseline, levers, number = row
        db.run(INSERT_ATTEMPT, attempt_row(seq, number, _tariff(db, attempt), attempt))
        after = None if cost is None or attempt.cost_nano is None else cost + attempt.cost_nano
        line, nano = f"{OWN}{attempt.role}", -(attempt.cost_nano or 0)
        credited = after is not None and baseline is not None
        db.run(
            "UPDATE operations SET cost_nano = ?, levers = ? WHERE seq = ?",
            (after, _with(levers, line, nano) if credited else levers, seq),
        )
        vector = _difference(attempt, cost, after, baseline)
        second = int(started)
        db.many(
            ADD_TO_ROLLUP,
            [(*key, *total) for key, total in fold({(second - second % MINUTE, series): vector}).items()],
        )
        if task is not None:
            db.run(ADD_TO_TASK, (0.0, 0.0, *vector, task))
        if credited:
            lines: dict[savings.Key, list[int]] = {}
            savings.collect(lines, started, series, {savings.WATERFALL: {line: nano}})
            savings.add(db, lines)
    return True


def _difference(attempt: Attempt, before: int | None, after: int | None, baseline: int | None) -> Vector:
    """What the operation's measures grow by. One that loses its price leaves the sums of what is compared."""
    usage, grown = attempt.usage, (after or 0) - (before or 0)
    lost = before is not None and after is None
    changes: dict[str, int] = {
        "unpriced": int(lost),
        "cost_nano": grown,
        "input": usage.input,
        "cached": usage.cached,
        "cache_write_5m": usage.cache_write_5m,
        "cache_write_1h": usage.cache_write_1h,
        "output": usage.output,
        "reasoning": usage.reasoning,
    }
    if baseline is not None:
        changes |= {"compared": -int(lost), "compared_cost_nano": grown, "baseline_nano": -baseline if lost else 0}
    return [changes.get(name, 0) for name in MEASURES]


def _with(levers: str | None, line: str, nano: int) -> str:
    explained: dict[str, Any] = msgspec.json.decode(levers) if levers else {}
    lines = explained.get(savings.WATERFALL) or {}
    explained[savings.WATERFALL] = {**lines, line: lines.get(line, 0) + nano}
    return _encode(explained).decode()


def _tariff(db: Database, attempt: Attempt) -> int:
    rates = _encode(attempt.rates).decode() if attempt.rates else ""
    values = (
        attempt.provider,
        attempt.model,
        attempt.role,
        attempt.tier,
        attempt.usage_source,
        attempt.cost_source,
        attempt.price_version,
        rates,
    )
    return Names("tariffs", TARIFF).learn(db, values, values)
