"""A plan is a layer of service: what it sells, what it may burn, which levers may act and how good answers must stay.

What lives here: the plan as a value, and its reading from a decoded TOML tree. What it must not know: where plans are
stored, or what anybody has spent.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from jevons.core.errors import CallerError
from jevons.core.money import Nano, nano

T = TypeVar("T")
Scope = Literal["key", "customer", "plan", "task"]
Per = Literal["minute", "day", "month", "total", "now"]
RISKS = ("exact", "equivalent", "lossy")
LEVERS = ("exact", "semantic", "breakpoints", "tools", "trim", "route", "cascade", "small", "batch", "toolresults")
"""Levers that a plan can name."""
MAX_LIMITS = 32
"""Limits of one plan or customer: each is looked at on every call."""


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so much of one thing by one scope in one period. `per` = now bounds what is in flight."""

    scope: Scope
    per: Per
    kind: Literal["usd", "requests", "tokens", "concurrent"]
    amount: int
    """Nano-dollars, requests, tokens, or calls in flight."""
    warn_at: float = 0.8
    """The share from which callers are warned and cheaper offers are preferred."""
    away: Literal["local", "closed"] = "local"
    """While the store that gateways share is away: hold to this gateway's part of what was left, or refuse."""


Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Trials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a plan's candidates are tried at a call site. What they may lose is what the quality floor leaves."""

    alpha: Annotated[float, msgspec.Meta(gt=0.0, le=0.5)] = 0.05
    """The chance of ever promoting a candidate that is worse by more than that."""
    shadow_share: Share = 0.1
    """Of a site's calls, those that a new candidate answers beside the incumbent."""
    canary_share: Share = 0.1
    """Of a site's tasks, those that it answers first."""
    canary_pairs: Annotated[int, msgspec.Meta(ge=1)] = 50
    audit_share: Share = 0.05
    """Of the calls that a promoted candidate answers, those that the incumbent answers beside it."""
    rest_calls: Annotated[int, msgspec.Meta(ge=1)] = 2_000
    """Calls that a demoted candidate rests before its next trial."""
    evidence: Literal["equal", "schema"] = "equal"
    """equal: an answer that differs counts against the candidate. schema: one that is valid is as good."""
    trial_nano: Nano = Nano(20_000_000_000)
    """What one trial may burn."""
    day_nano: Nano = Nano(5_000_000_000)
    """What all shadows of the plan may burn in a day (UTC)."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See the module's first lines. Prices in nano-dollars."""

    name: str
    price_month_nano: Nano = Nano(0)
    price_seat_nano: Nano = Nano(0)
    """A seat and month."""
    price_task_nano: Nano = Nano(0)
    price_mtok_nano: Nano = Nano(0)
    """A million tokens, prompt and output together."""
    included_nano: Nano = Nano(0)
    """Of the metered revenue, what the month's price includes."""
    limits: tuple[Limit, ...] = ()
    priority: int = 0
    quality_floor: float = 1.0
    levers: dict[str, str] = {}
    """Lever -> the riskiest class it may act with; exact levers may act unless they are named `off`."""
    target_margin: float | None = None
    baseline_model: str = ""
    """What would have run; empty: the model that was asked for."""
    candidates: tuple[str, ...] = ()
    """Cheaper models that may be tried, for routing."""
    trials: Trials = Trials()
    models: tuple[str, ...] = ()
    """Models that may be asked for; empty: all."""
    unpriced: Literal["refuse", "allow"] = "refuse"
    """A budget in dollars cannot hold a model whose price is unknown: by default such a call is refused."""
    hold_out: float = 0.0
    """Share of tasks that no lever touches, to measure against."""
    bodies: Literal["off", "hashed", "encrypted", "plain"] = "off"
    retention_days: int = 30


class Customer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who pays. Its own limits come on top of the plan's."""

    name: str
    plan: str = ""
    seats: int = 1
    limits: tuple[Limit, ...] = ()


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All plans and customers, as one file or one database holds them."""

    plans: dict[str, Plan] = {}
    customers: dict[str, Customer] = {}


NO_PLAN = Plan(name="")
"""Who has no plan: no limits, and only levers that change nothing."""


def read(tree: Mapping[str, Any]) -> Book:
    """A decoded plans.toml. Raises CallerError with the place and what is allowed there."""
    _only(tree, {"plans", "customers"}, "")
    plans = {name: _plan(name, dict(body)) for name, body in _tables(tree, "plans")}
    customers = {}
    for name, body in _tables(tree, "customers"):
        customers[name] = customer = _customer(name, dict(body))
        if customer.plan and customer.plan not in plans:
            raise CallerError(
                f"customers.{name}.plan: there is no plan {customer.plan!r}", param=f"customers.{name}.plan"
            )
    return Book(plans=plans, customers=customers)


MONEY = {
    "price_per_month": "price_month_nano",
    "price_per_seat": "price_seat_nano",
    "price_per_task": "price_task_nano",
    "price_per_mtok": "price_mtok_nano",
    "included_usd": "included_nano",
}
"""TOML key (dollars, as text or number) -> field."""


def _plan(name: str, body: dict[str, Any]) -> Plan:
    where = f"plans.{name}"
    fields: dict[str, Any] = {"name": name}
    known = {field for field in Plan.__struct_fields__ if not field.endswith("_nano")} - {"name", "limits"}
    _only(body, known | set(MONEY) | {"budgets"}, where)
    for key, value in body.items():
        if key in MONEY:
            fields[MONEY[key]] = _dollars(value, f"{where}.{key}")
        elif key == "budgets":
            fields["limits"] = _limits(value, where)
        elif key == "trials":
            fields["trials"] = _trials(value, f"{where}.trials")
        else:
            fields[key] = value
    for lever, risk in fields.get("levers", {}).items():
        if lever not in LEVERS or risk not in (*RISKS, "off"):
            raise CallerError(
                f"{where}.levers: {lever} = {risk!r}; levers are {', '.join(LEVERS)}, each off, {' or '.join(RISKS)}"
            )
    plan = _convert(fields, Plan, where)
    if not 0.0 <= plan.quality_floor <= 1.0:
        raise CallerError(f"{where}.quality_floor is {plan.quality_floor}; it is a share between 0 and 1")
    if not 0.0 <= plan.hold_out <= 1.0:
        raise CallerError(f"{where}.hold_out is {plan.hold_out}; it is a share between 0 and 1")
    return plan


TRIAL_MONEY = {"usd_per_trial": "trial_nano", "usd_per_day": "day_nano"}


def _trials(value: Any, where: str) -> Trials:
    _only(value, {*Trials.__struct_fields__, *TRIAL_MONEY} - set(TRIAL_MONEY.values()), where)
    fields = {
        TRIAL_MONEY.get(key, key): _dollars(given, f"{where}.{key}") if key in TRIAL_MONEY else given
        for key, given in value.items()
    }
    return _convert(fields, Trials, where)


def _customer(name: str, body: dict[str, Any]) -> Customer:
    where = f"customers.{name}"
    _only(body, {"plan", "seats", "budgets"}, where)
    fields = {key: value for key, value in body.items() if key != "budgets"}
    return _convert({**fields, "name": name, "limits": _limits(body.get("budgets", []), where)}, Customer, where)


KINDS = {"usd": "usd", "requests": "requests", "tokens": "tokens", "concurrent": "concurrent"}


def _limits(value: Any, where: str) -> tuple[Limit, ...]:
    """`[{ scope = "customer", per = "day", usd = "5" }, ...]`: each names exactly one thing that it bounds."""
    if not isinstance(value, list) or len(value) > MAX_LIMITS:
        raise CallerError(f"{where}.budgets is a list of at most {MAX_LIMITS} tables")
    found = []
    for number, body in enumerate(value):
        at = f"{where}.budgets[{number}]"
        _only(body, {"scope", "per", "warn_at", "away", *KINDS}, at)
        kinds = [kind for kind in KINDS if kind in body]
        if len(kinds) != 1:
            raise CallerError(f"{at} names {len(kinds)} of {', '.join(KINDS)}; it takes exactly one")
        kind = kinds[0]
        amount = _dollars(body[kind], f"{at}.usd") if kind == "usd" else body[kind]
        if not isinstance(amount, int) or amount < 0:
            raise CallerError(f"{at}.{kind} is {body[kind]!r}; it is a number that is not negative")
        fields = {"scope": "customer", **{key: body[key] for key in ("scope", "per", "warn_at", "away") if key in body}}
        fields.setdefault("per", "now" if kind == "concurrent" else "total")
        if (kind == "concurrent") != (fields["per"] == "now"):
            raise CallerError(f'{at}: concurrent goes with per = "now", and nothing else does')
        found.append(_convert({**fields, "kind": kind, "amount": amount}, Limit, at))
    return tuple(found)


def _dollars(value: Any, where: str) -> Nano:
    try:
        amount = nano(value)
    except (ArithmeticError, ValueError, TypeError):
        raise CallerError(f'{where} is {value!r}; write dollars, like "4.50"') from None
    if amount < 0:
        raise CallerError(f"{where} is {value!r}; a price or budget can't be negative")
    return amount


def _convert(fields: dict[str, Any], kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise CallerError(f"{where}: {error}") from None


def _tables(tree: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = tree.get(name, {})
    if not isinstance(found, Mapping) or not all(isinstance(body, Mapping) for body in found.values()):
        raise CallerError(f"{name} holds tables: [{name}.NAME]")
    return list(found.items())


def _only(tree: Any, known: set[str], where: str) -> None:
    if not isinstance(tree, Mapping):
        raise CallerError(f"{where} is not a table")
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
            raise CallerError(f"unknown setting {where + '.' if where else ''}{key}; {hint}")
