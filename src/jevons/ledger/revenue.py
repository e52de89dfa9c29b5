"""What a customer pays for a stretch of time: its plan's prices, the days that count, what was used.

What it decides: how a month's price is shared out over its days, what use is metered at, and what an included allowance
takes off. What it must not know: cost, where plans and sums come from, the clock. Months are calendar months in UTC. A
share of a month is the difference of two whole numbers of nano-dollars counted from the month's start, so the parts of
a month add up to its price exactly, however it is cut.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from jevons.core.money import Nano

MILLION = 1_000_000


class Prices(Protocol):
    """What a plan asks, in nano-dollars: plans.plan.Plan is one."""

    @property
    def price_month_nano(self) -> Nano: ...
    @property
    def price_seat_nano(self) -> Nano: ...
    @property
    def price_task_nano(self) -> Nano: ...
    @property
    def price_mtok_nano(self) -> Nano: ...
    @property
    def included_nano(self) -> Nano: ...


class Part(msgspec.Struct, frozen=True):
    """A part of one calendar month, in Unix seconds: [since, until) of [month, month_end)."""

    since: int
    until: int
    month: int
    month_end: int

    def share(self, price: int) -> int:
        """What of a month's price falls into this part, in its unit; parts of a month add up to the price."""
        length = self.month_end - self.month
        return price * (self.until - self.month) // length - price * (self.since - self.month) // length


class Revenue(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars by what they are paid for. `included`: what the allowance took off the metered use, not above 0."""

    month: int = 0
    seats: int = 0
    tasks: int = 0
    tokens: int = 0
    included: int = 0

    @property
    def total(self) -> Nano:
        return Nano(self.month + self.seats + self.tasks + self.tokens + self.included)

    @property
    def fixed(self) -> int:
        """What is paid whatever is used."""
        return self.month + self.seats

    def __add__(self, other: "Revenue") -> "Revenue":
        return Revenue(
            month=self.month + other.month,
            seats=self.seats + other.seats,
            tasks=self.tasks + other.tasks,
            tokens=self.tokens + other.tokens,
            included=self.included + other.included,
        )


NONE = Revenue()


def parts(since: float, until: float) -> Iterator[Part]:
    """A span cut at the starts of months."""
    start, end = int(since), int(until)
    while start < end:
        day = datetime.fromtimestamp(start, UTC)
        month = int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp())
        after = int(datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC).timestamp())
        yield Part(start, min(end, after), month, after)
        start = min(end, after)


def fixed(plan: Prices, seats: int, part: Part) -> Revenue:
    """The month's price and the seats', for the part of the month."""
    return Revenue(month=part.share(plan.price_month_nano), seats=part.share(plan.price_seat_nano * seats))


def metered(plan: Prices, tasks: int, tokens: int) -> Revenue:
    """Use at the plan's prices, nothing taken off."""
    return Revenue(tasks=plan.price_task_nano * tasks, tokens=(plan.price_mtok_nano * tokens + MILLION // 2) // MILLION)


def allowed(plan: Prices, used: Revenue, part: Part) -> Revenue:
    """The use with what the month's price includes taken off, at most the use itself."""
    off = min(part.share(plan.included_nano), used.tasks + used.tokens)
    return msgspec.structs.replace(used, included=-off)
