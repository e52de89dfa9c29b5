"""A bill, factor by factor: customers x tasks x steps x context x (1 - cached share) x price.

What lives here: one period's totals and the six factors read off them, whose product is the bill by construction.
Pure arithmetic on integers that the ledger's rollups hold; it must not know where the rows come from.
"""

from collections.abc import Iterable

import msgspec

from jevons.core.errors import CallerError

FACTORS = ("customers", "tasks", "steps", "context", "uncached", "price")
"""customers; tasks per customer; steps (calls) per task; prompt tokens per step; share of them not read from a cache;
price: nano-dollars of the whole bill per uncached prompt token, so output, cache reads and cache writes are in it."""
CURRENCY = "usd"
MAX_AMOUNT = 10**24


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one period, for one group of the caller's choice (a plan, a customer, all of them).

    `period` sorts as text (`2026-10`, `2026-10-31`). Amounts are nano-dollars. `correction_nano` is a later change of
    prices already booked (a credit note is negative); it is part of the bill but belongs to no factor.
    """

    period: str
    group: str = ""
    customers: int
    tasks: int
    steps: int
    prompt_tokens: int
    cached_tokens: int
    bill_nano: int
    revenue_nano: int = 0
    correction_nano: int = 0
    unpriced: int = 0
    """Operations whose price is unknown: their cost is missing from the bill, so it is a lower bound."""
    unit: str = CURRENCY

    @property
    def metered_nano(self) -> int:
        """The bill without corrections: what the six factors multiply to."""
        return self.bill_nano - self.correction_nano

    @property
    def uncached_tokens(self) -> int:
        return self.prompt_tokens - self.cached_tokens


def check(row: Period) -> Period:
    """The row itself, or a CallerError that names what cannot be: negative counts, other units, too large parts."""
    counts = {name: getattr(row, name) for name in ("customers", "tasks", "steps", "prompt_tokens", "cached_tokens")}
    for name, count in counts.items():
        if not 0 <= count <= MAX_AMOUNT:
            raise CallerError(f"{row.period}: {name} = {count} is not a count")
    if row.cached_tokens > row.prompt_tokens:
        raise CallerError(f"{row.period}: more cached tokens ({row.cached_tokens}) than prompt tokens")
    if row.unit != CURRENCY:
        raise CallerError(f"{row.period}: the unit {row.unit!r} is mixed with {CURRENCY!r}; convert the rows first")
    if not 0 <= row.metered_nano <= MAX_AMOUNT:
        raise CallerError(f"{row.period}: the bill without corrections is {row.metered_nano} nano-dollars")
    if row.metered_nano and not row.uncached_tokens:
        raise CallerError(f"{row.period}: a bill of {row.metered_nano} nano-dollars without an uncached prompt token")
    for above, below in (("steps", "tasks"), ("tasks", "customers"), ("prompt_tokens", "steps")):
        if getattr(row, above) and not getattr(row, below):
            raise CallerError(f"{row.period}: {above} without {below}")
    return row


def factors(row: Period) -> tuple[float | None, ...]:
    """The six factors in the order of FACTORS; None where the one before it is zero and it has no meaning."""
    check(row)

    def ratio(above: int, below: int) -> float | None:
        return above / below if below else None

    return (
        float(row.customers),
        ratio(row.tasks, row.customers),
        ratio(row.steps, row.tasks),
        ratio(row.prompt_tokens, row.steps),
        ratio(row.uncached_tokens, row.prompt_tokens),
        ratio(row.metered_nano, row.uncached_tokens),
    )


def summed(rows: Iterable[Period], period: str, group: str = "") -> Period:
    """Rows of several groups or days as one. Customers add up, so days of one customer must be counted elsewhere."""
    checked = [check(row) for row in rows]

    def add(name: str) -> int:
        return sum(getattr(row, name) for row in checked)

    return Period(
        period=period,
        group=group,
        customers=add("customers"),
        tasks=add("tasks"),
        steps=add("steps"),
        prompt_tokens=add("prompt_tokens"),
        cached_tokens=add("cached_tokens"),
        bill_nano=add("bill_nano"),
        revenue_nano=add("revenue_nano"),
        correction_nano=add("correction_nano"),
        unpriced=add("unpriced"),
    )
