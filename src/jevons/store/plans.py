"""Plans and customers in the database: applied as a whole file, followed by gateways, every change audited.

What lives here: rows. What it must not know: what a plan allows.
"""

import msgspec

from jevons.plans.plan import Book, Customer, Plan
from jevons.store.db import Database

_KINDS: dict[str, type[Plan] | type[Customer]] = {"plan": Plan, "customer": Customer}
_encode = msgspec.json.Encoder(order="deterministic").encode


class Change(msgspec.Struct, frozen=True):
    """One line of what an `apply` did, or of the audit."""

    kind: str
    name: str
    before: str
    after: str
    at: float = 0.0
    who: str = ""


def apply(db: Database, book: Book, *, who: str, at: float, prune: bool = False) -> list[Change]:
    """Make the database say what the book says. Idempotent; with `prune` what the book does not name goes.

    Returns what changed. History keeps its prices: a plan's change counts from now on.
    """
    wanted = {("plan", name): _text(plan) for name, plan in book.plans.items()}
    wanted |= {("customer", name): _text(customer) for name, customer in book.customers.items()}
    with db.transaction():
        held = {
            (kind, name): body for kind, name, body in db.rows("SELECT kind, name, body FROM plans WHERE body <> ''")
        }
        changes = [
            Change(kind, name, held.get((kind, name), ""), body, at, who)
            for (kind, name), body in wanted.items()
            if held.get((kind, name)) != body
        ]
        if prune:
            changes += [
                Change(kind, name, body, "", at, who)
                for (kind, name), body in held.items()
                if (kind, name) not in wanted
            ]
        for change in changes:
            _write(db, change)
    return changes


def changes_since(db: Database, number: int) -> tuple[int, list[Plan | Customer | tuple[str, str]]]:
    """What changed after change `number`: plans and customers, and (kind, name) of what was removed."""
    found: list[Plan | Customer | tuple[str, str]] = []
    for kind, name, body, changed in db.rows(
        "SELECT kind, name, body, changed FROM plans WHERE changed > ? ORDER BY changed", (number,)
    ):
        found.append(msgspec.json.decode(body, type=_KINDS[kind]) if body else (kind, name))
        number = changed
    return number, found


def load(db: Database) -> Book:
    """All plans and customers."""
    _, found = changes_since(db, 0)
    return Book(
        plans={item.name: item for item in found if isinstance(item, Plan)},
        customers={item.name: item for item in found if isinstance(item, Customer)},
    )


def audit(db: Database, limit: int = 100) -> list[Change]:
    """The latest changes, newest first."""
    rows = db.rows("SELECT kind, name, before, after, at, who FROM audit ORDER BY number DESC LIMIT ?", (limit,))
    return [Change(*row) for row in rows]


def _write(db: Database, change: Change) -> None:
    """A removed row stays with an empty body, so that gateways learn of it."""
    db.run(
        "INSERT INTO plans (kind, name, body, changed) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, changed = excluded.changed",
        (change.kind, change.name, change.after, db.next_number("plan")),
    )
    db.run(
        "INSERT INTO audit (number, at, who, kind, name, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (db.next_number("audit"), change.at, change.who, change.kind, change.name, change.before, change.after),
    )


def _text(item: Plan | Customer) -> str:
    return _encode(item).decode()
