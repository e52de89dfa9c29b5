"""Candidates in the database: read, changed and audited; every gateway and the command line mean the same state.

What lives here: rows, and the one way to change them: read, apply a pure step, write, in one transaction. So no pair is
lost between two gateways, and an order of the operator binds them at their next poll. What it must not know: when a
candidate may be promoted (levers/route/promotion.py).
"""

import math
from collections.abc import Callable

import msgspec

from jevons.core.errors import NotFound
from jevons.levers.route.promotion import Candidate
from jevons.store.db import Database, Row

LARGEST_E = 1e300
"""An e-value as it is written down: beyond this it is as good as infinite, and JSON has no infinity."""
KIND = "promotion"
_COLUMNS = "tenant, site, incumbent, model, body, changed"
_encode = msgspec.json.Encoder(order="deterministic").encode


class Key(msgspec.Struct, frozen=True):
    """One candidate for one model's calls at one call site."""

    tenant: str
    site: str
    incumbent: str
    model: str


class Held(msgspec.Struct, frozen=True):
    """A row."""

    key: Key
    candidate: Candidate
    changed: int


class Evidence(msgspec.Struct, frozen=True):
    """What the audit keeps of a candidate whenever its stage or its pin changes."""

    stage: str
    pinned: str
    reason: str
    pairs: int
    e_value: float
    """Evidence against "worse by the margin", the highest there was."""
    drift_e_value: float
    """Evidence for "it has become worse", summed over starting times."""
    trial: int
    spent_nano: int


def change(
    db: Database, key: Key, step: Callable[[Candidate | None], Candidate | None], *, who: str, at: float
) -> Candidate | None:
    """Apply a step to what is held (None: nothing yet) and keep what it gives. Returns it. A new stage or pin, and a
    first appearance, are audited."""
    with db.transaction():
        changed = db.next_number("promotion")  # first: it is the lock that orders writers
        row = db.row(
            "SELECT body FROM promotions WHERE tenant = ? AND site = ? AND incumbent = ? AND model = ?",
            msgspec.structs.astuple(key),
        )
        before = msgspec.json.decode(row[0], type=Candidate) if row else None
        after = step(before)
        if after is None or after == before:
            return after
        db.run(
            f"INSERT INTO promotions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608 - a constant
            "ON CONFLICT (tenant, site, incumbent, model) "
            "DO UPDATE SET body = excluded.body, changed = excluded.changed",
            (*msgspec.structs.astuple(key), _encode(after).decode(), changed),
        )
        if before is None or (before.stage, before.pinned, before.trial) != (after.stage, after.pinned, after.trial):
            _audit(db, key, before, after, who, at)
    return after


def changes_since(db: Database, number: int) -> tuple[int, list[Held]]:
    """Candidates that changed after change `number`, in order; 0 gives all."""
    found = [
        _held(row)
        for row in db.rows(f"SELECT {_COLUMNS} FROM promotions WHERE changed > ? ORDER BY changed", (number,))  # noqa: S608
    ]
    return found[-1].changed if found else number, found


def every(db: Database, site: str = "", limit: int = 1_000) -> list[Held]:
    """All candidates, or a site's; those that changed last come first."""
    where, values = ("WHERE site = ? ", [site]) if site else ("", [])
    rows = db.rows(f"SELECT {_COLUMNS} FROM promotions {where}ORDER BY changed DESC LIMIT ?", (*values, limit))  # noqa: S608
    return [_held(row) for row in rows]


def find(db: Database, site: str, model: str, incumbent: str = "") -> Key:
    """The one candidate `model` at a site. Raises NotFound, also when it is a candidate for several models there."""
    found = [
        held.key
        for held in every(db, site)
        if held.key.model == model and (not incumbent or held.key.incumbent == incumbent)
    ]
    if not found:
        raise NotFound(f"{model!r} is no candidate at the site {site!r}; `jevons promote list` shows those that are")
    if len(found) > 1:
        raise NotFound(
            f"{model!r} is a candidate for {', '.join(key.incumbent for key in found)} at {site!r}; say --incumbent"
        )
    return found[0]


def evidence(candidate: Candidate, before: Candidate | None = None) -> Evidence:
    """`before`: the state that a change of stage came from; what it had counted is reset by the change."""
    seen = before or candidate
    return Evidence(
        stage=candidate.stage.value,
        pinned=candidate.pinned.value,
        reason=candidate.reason,
        pairs=seen.pairs,
        e_value=min(LARGEST_E, math.exp(min(candidate.wealth.peak, 690.0))),
        drift_e_value=min(LARGEST_E, sum(seen.guard.sums) / len(seen.guard.sums)),
        trial=candidate.trial,
        spent_nano=candidate.spent_nano,
    )


def _audit(db: Database, key: Key, before: Candidate | None, after: Candidate, who: str, at: float) -> None:
    was = _encode(evidence(before)).decode() if before else ""
    name = f"{key.site} {key.incumbent} -> {key.model}"
    db.run(
        "INSERT INTO audit (number, at, who, kind, name, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (db.next_number("audit"), at, who, KIND, name, was, _encode(evidence(after, before)).decode()),
    )


def _held(row: Row) -> Held:
    return Held(Key(*row[:4]), msgspec.json.decode(row[4], type=Candidate), int(row[5]))
