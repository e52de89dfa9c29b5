"""Plans and customers as the TOML that `jevons plans apply` reads. Pure.

What lives here: the way back from values to a file. Whatever is the default is left out, so a file stays short.
"""

import json
from decimal import Decimal
from typing import Any

from jevons.core.money import NANO_PER_DOLLAR
from jevons.plans.plan import MONEY, Book, Customer, Limit, Plan

DEFAULT_PLAN, DEFAULT_CUSTOMER = Plan(name=""), Customer(name="")


def written(book: Book) -> str:
    """The file; '' for an empty book. Reading it gives the same book."""
    tables = [_table(f"plans.{_key(name)}", _plan(plan)) for name, plan in book.plans.items()]
    tables += [_table(f"customers.{_key(name)}", _customer(each)) for name, each in book.customers.items()]
    return "\n".join(tables)


def _table(head: str, lines: list[str]) -> str:
    return "\n".join([f"[{head}]", *lines, ""])


def _plan(plan: Plan) -> list[str]:
    of_money = {field: key for key, field in MONEY.items()}
    lines = []
    for field in Plan.__struct_fields__:
        value = getattr(plan, field)
        if field in {"name", "limits"} or value == getattr(DEFAULT_PLAN, field):
            continue
        shown = _dollars(value) if field in of_money else _value(value)
        lines.append(f"{of_money.get(field, field)} = {shown}")
    return lines + _budgets(plan.limits)


def _customer(customer: Customer) -> list[str]:
    lines = [
        f"{field} = {_value(getattr(customer, field))}"
        for field in ("plan", "seats")
        if getattr(customer, field) != getattr(DEFAULT_CUSTOMER, field)
    ]
    return lines + _budgets(customer.limits)


def _budgets(limits: tuple[Limit, ...]) -> list[str]:
    if not limits:
        return []
    return ["budgets = [", *(f"  {{ {_limit(limit)} }}," for limit in limits), "]"]


def _limit(limit: Limit) -> str:
    amount = _dollars(limit.amount) if limit.kind == "usd" else str(limit.amount)
    parts = [f'scope = "{limit.scope}"', f'per = "{limit.per}"', f"{limit.kind} = {amount}"]
    if limit.warn_at != Limit(scope="key", per="day", kind="usd", amount=0).warn_at:
        parts.append(f"warn_at = {limit.warn_at}")
    return ", ".join(parts)


def _dollars(nano: int) -> str:
    exact = Decimal(nano) / NANO_PER_DOLLAR
    text = f"{exact:f}"
    whole, _, cents = text.partition(".")
    return f'"{whole}.{cents.rstrip("0").ljust(2, "0")}"'


def _value(value: Any) -> str:
    """JSON's strings, numbers and lists are TOML's; a table is written inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain else json.dumps(name, ensure_ascii=False)
