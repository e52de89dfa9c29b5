"""Reports: what customers, plans, features and call sites burned, beside what they paid; savings by lever.

What lives here: which sums a report reads and under which plan they fell. What it must not know: how a report looks,
how revenue is computed (ledger/revenue.py) or ordered (ledger/margin.py). Everything is read from rollups, from the
sums of tasks and from the plans' audit: no query grows with the number of calls. Reports cover whole days (UTC): the
terms of a day are those that held at its end, so a plan that is edited in mid-month changes no day before.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import TypeVar

import msgspec

from jevons.ledger.margin import NOTHING_USED, Margin, Used, allocate, ordered
from jevons.ledger.revenue import NONE, Revenue, allowed, fixed, metered, parts
from jevons.ledger.waterfall import REST
from jevons.plans.plan import Book, Customer, Plan
from jevons.store import rollups, savings
from jevons.store.db import Database
from jevons.store.measures import DAY
from jevons.store.plans import load
from jevons.store.rollups import MOST_ROWS, Sums, TaskSums

T = TypeVar("T", Plan, Customer)
NO_CUSTOMER, NO_PLAN_NAME, NO_TASK = "(no customer)", "(no plan)", "(unnamed)"
TASK_SUMS = (
    "SELECT customer, plan, name, sum(calls), count(*), sum(CASE WHEN parent = '' THEN 1 ELSE 0 END), "
    "sum(input + cached + cache_write_5m + cache_write_1h + output), sum(cost_nano), sum(unpriced), "
    "sum(baseline_nano - compared_cost_nano) "
    "FROM tasks WHERE started >= ? AND started < ? GROUP BY customer, plan, name ORDER BY sum(cost_nano) DESC LIMIT ?"
)


class Stretch(msgspec.Struct, frozen=True):
    """Days under unchanged plans. `until` may lie within its last day: then that day is under way."""

    since: int
    until: int
    plans: Mapping[str, Plan]
    customers: Mapping[str, Customer]


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """One customer under one plan over a span."""

    customer: str
    plan: str
    used: Used = NOTHING_USED
    revenue: Revenue = NONE


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """From what would have run (modelled) to what was paid (measured): the lines add up to the difference."""

    baseline_nano: int
    cost_nano: int
    compared: int
    calls: int
    unpriced: int
    lines: tuple[tuple[str, int, int], ...]
    """(line, calls, nano-dollars), the largest first; `rest` last."""

    @property
    def saved_nano(self) -> int:
        return self.baseline_nano - self.cost_nano


def whole_days(since: float, until: float) -> tuple[int, int]:
    """The span from the start of its first day; the end stays, for a day that is under way."""
    start = int(since) // DAY * DAY
    return start, max(start + 1, ceil(until))


def stretches(db: Database, since: int, until: int) -> list[Stretch]:
    """The span cut where plans or customers changed, each day under the terms that held at its end."""
    changes = db.rows(
        "SELECT at, kind, name, before FROM audit WHERE at >= ? AND kind IN ('plan', 'customer') ORDER BY number DESC",
        (since,),
    )
    book = load(db)
    plans, customers = dict(book.plans), dict(book.customers)
    found: list[Stretch] = []
    end = until
    for at, kind, name, before in changes:  # backwards in time: undo each change
        day = int(at) // DAY * DAY
        if since < day < end:
            found.append(Stretch(day, end, dict(plans), dict(customers)))
            end = day
        elif day <= since:
            break  # it held at the end of the first day, and so for all of it
        if kind == "plan":
            _undo(plans, name, before, Plan)
        else:
            _undo(customers, name, before, Customer)
    found.append(Stretch(since, end, plans, customers))
    return found[::-1]


def _undo(held: dict[str, T], name: str, before: str, kind: type[T]) -> None:
    if before:
        held[name] = msgspec.json.decode(before, type=kind)
    else:
        held.pop(name, None)


def paid(db: Database, since: float, until: float) -> list[Paid]:
    """What each customer burned and paid, by the plan that its calls fell under."""
    return _paid(db, stretches(db, *whole_days(since, until)))


def under(db: Database, since: float, until: float, book: Book) -> list[Paid]:
    """What each customer would have paid for the same use, had this book held on every day: modelled."""
    return _paid(db, [Stretch(*whole_days(since, until), book.plans, book.customers)])


def _paid(db: Database, found: Iterable[Stretch]) -> list[Paid]:
    total: dict[tuple[str, str], Paid] = {}
    for stretch in found:
        for one in _stretch(db, stretch):
            key = (one.customer, one.plan)
            before = total.get(key)
            total[key] = one if before is None else msgspec.structs.replace(
                one, used=before.used + one.used, revenue=before.revenue + one.revenue
            )  # fmt: skip
    return list(total.values())


def _stretch(db: Database, stretch: Stretch) -> Iterator[Paid]:
    """Month by month, since an allowance belongs to its month."""
    for part in parts(stretch.since, stretch.until):
        used = _used(db, part.since, part.until, stretch.customers)
        for name, customer in stretch.customers.items():
            if customer.plan:
                used.setdefault((name, customer.plan), NOTHING_USED)
        for (customer_name, plan_name), each in used.items():
            plan = stretch.plans.get(plan_name)
            revenue = NONE
            if plan is not None:
                own = stretch.customers.get(customer_name)
                revenue = allowed(plan, metered(plan, each.tasks, each.tokens), part)
                if own is not None and own.plan == plan_name:
                    revenue += fixed(plan, own.seats, part)
            yield Paid(customer=customer_name, plan=plan_name, used=each, revenue=revenue)


def _used(db: Database, since: int, until: int, customers: Mapping[str, Customer]) -> dict[tuple[str, str], Used]:
    total: dict[tuple[str, str], Used] = {}
    for group in rollups.by(db, ["customer", "plan"], since, until, limit=MOST_ROWS, grain=DAY):
        key = _fell_under(group.key[0], group.key[1], customers)
        total[key] = total.get(key, NOTHING_USED) + of(group.sums)
    rows = db.rows(
        "SELECT customer, plan, count(*) FROM tasks WHERE started >= ? AND started < ? AND parent = '' "
        "GROUP BY customer, plan",
        (since, until),
    )
    for customer, plan, count in rows:
        key = _fell_under(customer, plan, customers)
        total[key] = total.get(key, NOTHING_USED) + Used(tasks=int(count))
    return total


def _fell_under(customer: str, plan: str, customers: Mapping[str, Customer]) -> tuple[str, str]:
    """A key's own plan wins over its customer's."""
    own = customers.get(customer)
    return customer, plan or (own.plan if own is not None else "")


def of(sums: Sums) -> Used:
    """A rollup's sums as a margin's."""
    return Used(
        calls=sums.calls,
        tokens=sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h + sums.output,
        cost_nano=sums.cost_nano,
        unpriced=sums.unpriced,
        saved_nano=sums.baseline_nano - sums.compared_cost_nano,
    )


def customers(db: Database, since: float, until: float) -> list[Margin]:
    """Margin by customer, losing first. Cost measured; revenue from the plan's prices, days pro rata."""
    targets = {name: plan.target_margin for name, plan in load(db).plans.items()}
    merged: dict[str, Margin] = {}
    for one in paid(db, since, until):
        before = merged.get(one.customer, Margin(name=one.customer or NO_CUSTOMER))
        merged[one.customer] = msgspec.structs.replace(
            before,
            plan=", ".join(dict.fromkeys(filter(None, (*before.plan.split(", "), one.plan)))),
            used=before.used + one.used,
            revenue_nano=before.revenue_nano + one.revenue.total,
            target=targets.get(one.plan, before.target),
        )
    return ordered(merged.values())


def plans(db: Database, since: float, until: float) -> list[Margin]:
    """Margin by plan, losing first."""
    targets = {name: plan.target_margin for name, plan in load(db).plans.items()}
    merged: dict[str, Margin] = {}
    for one in paid(db, since, until):
        before = merged.get(one.plan, Margin(name=one.plan or NO_PLAN_NAME, target=targets.get(one.plan)))
        merged[one.plan] = msgspec.structs.replace(
            before, used=before.used + one.used, revenue_nano=before.revenue_nano + one.revenue.total
        )
    return ordered(merged.values())


def sites(db: Database, since: float, until: float) -> list[Margin]:
    """Margin by call site, losing first. A customer's revenue is shared out by tokens: modelled."""
    start, end = whole_days(since, until)
    groups = rollups.by(db, ["customer", "site"], start, end, limit=MOST_ROWS, grain=DAY)
    return _allocated(paid(db, since, until), [(group.key[0], group.key[1], of(group.sums)) for group in groups])


def features(db: Database, since: float, until: float) -> list[Margin]:
    """Margin by task name, losing first: of the tasks that began in the span. Revenue is shared out: modelled."""
    start, end = whole_days(since, until)
    found: list[tuple[str, str, Used]] = []
    for customer, _, name, calls, _, tops, tokens, cost, unpriced, saved in db.rows(TASK_SUMS, (start, end, MOST_ROWS)):
        used = Used(
            calls=int(calls), tasks=int(tops), tokens=int(tokens), cost_nano=int(cost), unpriced=int(unpriced),
            saved_nano=int(saved),
        )  # fmt: skip
        found.append((customer, name or NO_TASK, used))
    return _allocated(paid(db, since, until), found)


def _allocated(whole: Iterable[Paid], parts_: Sequence[tuple[str, str, Used]]) -> list[Margin]:
    """Each customer's revenue over the parts of its use, summed by the parts' names. What a customer paid and burned
    beyond these parts (calls outside tasks, fees without use) stands in a line of its own."""
    by_customer: dict[str, list[tuple[str, Used]]] = {}
    for customer, name, used in parts_:
        by_customer.setdefault(customer, []).append((name, used))
    revenue: dict[str, Revenue] = {}
    burned: dict[str, Used] = {}
    for one in whole:
        revenue[one.customer] = revenue.get(one.customer, NONE) + one.revenue
        burned[one.customer] = burned.get(one.customer, NOTHING_USED) + one.used
    merged: dict[str, Margin] = {}
    for customer in revenue.keys() | by_customer.keys():
        mine = by_customer.get(customer, [])
        left = _beyond(burned.get(customer, NOTHING_USED), [used for _, used in mine])
        if left is not None or not mine:
            mine = [*mine, ("(other)", left or NOTHING_USED)]
        earned = allocate(revenue.get(customer, NONE), [used for _, used in mine])
        for (name, used), amount in zip(mine, earned, strict=True):
            before = merged.get(name, Margin(name=name or NO_TASK))
            merged[name] = msgspec.structs.replace(
                before, used=before.used + used, revenue_nano=before.revenue_nano + amount
            )
    return ordered(line for line in merged.values() if line.used != NOTHING_USED or line.revenue_nano)


def _beyond(whole: Used, seen: Sequence[Used]) -> Used | None:
    """What lies in the whole and in no part; None where that is nothing. A task that began before midnight may burn on
    either side of a span's edge, so what is left over is never taken below nothing."""
    total = sum(seen, NOTHING_USED)
    left = Used(**{name: max(0, getattr(whole, name) - getattr(total, name)) for name in Used.__struct_fields__})
    return left if left.tokens or left.cost_nano else None


def waterfall(db: Database, since: float, until: float, *, column: str = "", value: str = "") -> Waterfall:
    """Savings by lever over whole days; `column` and `value` narrow it to a tenant, customer, plan or site."""
    start, end = whole_days(since, until)
    end = -(-end // DAY) * DAY
    where = {column: value} if column else None
    groups = rollups.over_time(db, start, end, where=where, grain=DAY)
    whole = {
        name: sum(getattr(point.sums, name) for point in groups)
        for name in ("calls", "unpriced", "compared", "compared_cost_nano", "baseline_nano")
    }
    lines = savings.by_line(db, DAY, start, end, column=column, value=value)
    left = whole["baseline_nano"] - whole["compared_cost_nano"] - sum(nano for _, nano in lines.values())
    calls, rest = lines.pop(REST, (0, 0))
    ranked = sorted(((line, *sums) for line, sums in lines.items()), key=lambda each: -each[2])
    if rest + left or calls:
        ranked.append((REST, calls, rest + left))
    return Waterfall(
        baseline_nano=whole["baseline_nano"],
        cost_nano=whole["compared_cost_nano"],
        compared=whole["compared"],
        calls=whole["calls"],
        unpriced=whole["unpriced"],
        lines=tuple(ranked),
    )


def tasks(db: Database, since: float, until: float, limit: int) -> list[TaskSums]:
    """Tasks that began in the span, the dearest first."""
    return rollups.tasks(db, since, until, limit=limit)
