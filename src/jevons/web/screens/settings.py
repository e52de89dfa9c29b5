"""Settings: providers, keys, plans and customers; every change is audited, with who made it.

What it decides: what a form may change, and what is shown before it does. A plan's file is the same TOML that
`jevons plans apply` takes: a change is previewed first, with what it would have earned on the last 30 days' use.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.core.money import show
from jevons.plans import key as keys
from jevons.plans.plan import Book, Customer, Plan, read
from jevons.store import keys as key_rows
from jevons.store import pages, plans, reports
from jevons.store.plans import Change
from jevons.store.reports import Paid
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.figure import Cell, Page, Table, number, text, when
from jevons.web.toml import written

MOST_KEYS = 100
MOST_CHANGES = 50
LONGEST_NAME = 100
EFFECT_S = 30 * 86_400.0
START = """# A plan, and a customer on it. Dollars are written as text.
[plans.pro]
price_per_month = "49.00"
quality_floor = 0.98
hold_out = 0.1
levers = { trim = "equivalent", semantic = "lossy" }
budgets = [{ scope = "customer", per = "day", usd = "5.00" }]

[customers.acme]
plan = "pro"
seats = 3
"""


def build(ask: Ask) -> Page:
    """The page."""
    return _page(ask)


def _page(ask: Ask, **more: Any) -> Page:
    book = plans.load(ask.db)
    context = {
        "file": written(book) or START,
        "fresh": not book.plans,
        "secret": "",
        "made": None,
        "preview": None,
        "effect": None,
        "roles": keys.ROLES,
        "plan_names": tuple(book.plans),
    }
    return Page(
        template="settings.html",
        title="Settings",
        context={**context, **more},
        tables={"providers": providers(ask), "keys": key_table(ask), "audit": audit(ask)},
    )


def providers(ask: Ask) -> Table:
    """The upstreams, as the gateway named them."""
    rows = [
        (
            text(each.name),
            text("local" if each.local else each.dialect),
            text(each.base_url),
            text(each.key_from or "–"),
            text(
                ", ".join(each.models[:6]) + (f" and {len(each.models) - 6} more" if len(each.models) > 6 else "")
                or "any"
            ),
        )
        for each in ask.options.providers
    ]
    return Table(
        id="providers",
        title="Providers",
        heads=("name", "dialect", "address", "key from", "models"),
        rows=tuple(rows),
        note="They are named in jevons.toml or found in the environment; a change needs a restart.",
        empty="None. Set OPENAI_API_KEY or ANTHROPIC_API_KEY where `jevons serve` runs, or name providers in "
        "jevons.toml.",
    )


def key_table(ask: Ask) -> Table:
    """Keys, the newest first."""
    found = sorted(key_rows.every(ask.db), key=lambda key: -key.created)[:MOST_KEYS]
    rows = [
        (
            text(key.name),
            text(f"{key.prefix}…"),
            text(key.role or "calls only"),
            text(key.customer or "–"),
            text(key.plan or "–"),
            when(words.moment(key.created), key.created),
            Cell("live", key.id, tone="good") if key.revoked is None else Cell("revoked", "", tone="quiet"),
        )
        for key in found
    ]
    return Table(
        id="keys",
        title="Keys",
        heads=("name", "key", "role", "customer", "plan", "made", "state"),
        rows=tuple(rows),
        empty="No keys.",
    )


def audit(ask: Ask) -> Table:
    """The newest changes."""
    rows = [
        (
            when(words.moment(change.at), change.at),
            text(change.who),
            text(f"{change.kind} {change.name}"),
            text(difference(change)),
        )
        for change in plans.audit(ask.db, MOST_CHANGES)
    ]
    return Table(
        id="audit",
        title="Changes",
        heads=("at", "who", "what", "change"),
        rows=tuple(rows),
        empty="Nothing was changed yet.",
    )


def difference(change: Change) -> str:
    """What a change changed: `price_month_nano 10 → 20`; `new`, `removed`."""
    if not change.before or not change.after:
        return "new" if change.after else "removed"
    before, after = json.loads(change.before), json.loads(change.after)
    moved = [
        f"{name} {_short(before.get(name))} → {_short(after.get(name))}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    return "; ".join(moved) or "nothing"


def make_key(ask: Ask, form: Mapping[str, str]) -> Page:
    """A new key, shown this once. Raises CallerError."""
    name, role = form.get("name", "").strip()[:LONGEST_NAME], form.get("role", "")
    if not name:
        raise CallerError("a key needs a name: say what it is for")
    if role not in keys.ROLES:
        raise CallerError(f"{role!r} is no role")
    secret = keys.secret(os.urandom(keys.SECRET_BYTES))
    customer, plan = form.get("customer", "").strip()[:LONGEST_NAME], form.get("plan", "").strip()[:LONGEST_NAME]
    made = keys.make(secret, name=name, customer=customer, plan=plan, created=ask.now, role=role)
    key_rows.add(ask.db, made)
    with ask.db.transaction():
        pages.note_change(ask.db, who(ask), ask.now, "key", name, "", _told(made))
    return _page(ask, secret=secret, made=made)


def revoke_key(ask: Ask, form: Mapping[str, str]) -> str:
    """End a key. Raises CallerError for the key that asks, NotFound for one that is none."""
    which = form.get("id", "")
    if which == ask.session.key_id:
        raise CallerError("this is the key that you signed in with: revoke it with another one, or with `jevons keys`")
    before = key_rows.find(ask.db, which)
    ended = key_rows.revoke(ask.db, which, ask.now)
    if before and before[0].revoked is None:
        with ask.db.transaction():
            pages.note_change(ask.db, who(ask), ask.now, "key", ended.name, _told(before[0]), "")
    return "/ui/settings#keys"


def change_plans(ask: Ask, form: Mapping[str, str]) -> Page | str:
    """Preview a file of plans, or apply it. Raises CallerError with the place that is wrong."""
    file = form.get("file", "").replace("\r\n", "\n")
    try:
        book = read(tomllib.loads(file))
    except tomllib.TOMLDecodeError as error:
        raise CallerError(f"not TOML: {error}") from None
    if form.get("do") != "apply":
        return _page(ask, file=file, preview=preview(ask, book), effect=effect(ask, book))
    plans.apply(ask.db, book, who=who(ask), at=ask.now, prune=True)
    return "/ui/settings#plans"


def preview(ask: Ask, book: Book) -> Table:
    """What applying a file would change."""
    now = plans.load(ask.db)
    rows = []
    for kind, held, wanted in (("plan", now.plans, book.plans), ("customer", now.customers, book.customers)):
        for name in {**held, **wanted}:
            before, after = _body(held.get(name)), _body(wanted.get(name))
            if before != after:
                change = Change(kind, name, before, after)
                rows.append((text(f"{kind} {name}"), text(difference(change))))
    return Table(
        id="preview",
        title="What would change",
        heads=("what", "change"),
        rows=tuple(rows),
        note="Plans count from now on: days that are over keep the terms that they had.",
        empty="Nothing: the file says what holds already.",
    )


def effect(ask: Ask, book: Book) -> Table:
    """What a file would have earned on the last 30 days' use, beside what was earned; where that differs."""
    since = ask.now - EFFECT_S
    before, after = (
        _by_customer(found)
        for found in (reports.paid(ask.db, since, ask.now), reports.under(ask.db, since, ask.now, book))
    )
    rows = []
    for name in sorted({*before, *after}):
        (earned, cost), (would, _) = before.get(name, (0, 0)), after.get(name, (0, 0))
        if earned != would:
            cells = (earned, would, earned - cost, would - cost)
            shown = (number(show(nano).replace("-", "−"), nano / 1e9, "bad" if nano < 0 else "") for nano in cells)
            rows.append((text(name or reports.NO_CUSTOMER), *shown))
    return Table(
        id="effect",
        title="What it would have earned",
        heads=("customer", "revenue", "would be", "margin", "would be"),
        rows=tuple(rows),
        note="The same use of the last 30 days at these prices: modelled. Customers do not stay the same at another "
        "price, and levers and budgets are not replayed here.",
        empty="The same: no price changes for what was used in the last 30 days.",
    )


def _by_customer(found: list[Paid]) -> dict[str, tuple[int, int]]:
    """(revenue, cost) by customer."""
    total: dict[str, tuple[int, int]] = {}
    for one in found:
        revenue, cost = total.get(one.customer, (0, 0))
        total[one.customer] = (revenue + one.revenue.total, cost + one.used.cost_nano)
    return total


def who(ask: Ask) -> str:
    """Who is noted for a change."""
    return f"{ask.session.name} ({ask.session.key_id})"


def _body(item: Plan | Customer | None) -> str:
    return "" if item is None else msgspec.json.encode(item, order="deterministic").decode()


def _told(key: keys.Key) -> str:
    """A key as the audit keeps it: never its digest."""
    return json.dumps({"id": key.id, "role": key.role, "customer": key.customer, "plan": key.plan})


def _short(value: Any) -> str:
    shown = json.dumps(value) if not isinstance(value, str) else value
    return shown if len(shown) <= 60 else shown[:57] + "…"
