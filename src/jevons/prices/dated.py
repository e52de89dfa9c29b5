"""Prices with a time: from a date on, until a date, on some days, between some hours; all in UTC.

What lives here: when an entry holds, and until when the answer to that stays the same. What it must not know: clocks
(the moment is an argument), providers, models. Days and hours are arithmetic on Unix seconds.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec

from jevons.prices.cost import Rates

DAY_S = 86_400
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
ALWAYS, NEVER = float("-inf"), float("inf")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One published price."""

    rates: Rates = Rates()
    above: tuple[tuple[int, Rates], ...] = ()
    """(more prompt tokens than this, the rates that differ then), ascending."""
    factor: Decimal | None = None
    """Instead of rates: so much of the standard price of that moment."""
    since: float = ALWAYS
    until: float = NEVER
    days: frozenset[int] | None = None
    """Weekdays (Monday 0) on which a window starts."""
    hours: tuple[int, int] | None = None
    """Seconds of the day: from, to (excluded); a window over midnight has from > to."""
    source: str = "book"
    version: str = ""

    def holds(self, at: float) -> bool:
        if not self.since <= at < self.until:
            return False
        day, second = divmod(int(at), DAY_S)
        if self.hours is not None:
            start, end = self.hours
            if start <= end:
                if not start <= second < end:
                    return False
            elif second < end:
                day -= 1  # still in the window that yesterday opened
            elif second < start:
                return False
        return self.days is None or (day + EPOCH_WEEKDAY) % 7 in self.days

    def edges(self, at: float) -> Iterable[float]:
        """Moments around `at` at which `holds` may change."""
        yield self.since
        yield self.until
        if self.hours is not None or self.days is not None:
            midnight = int(at) // DAY_S * DAY_S
            for second in (0, *(self.hours or ()), DAY_S):
                yield float(midnight + second)


def current(entries: Iterable[Entry], at: float) -> Entry | None:
    """The entry that holds: the last one, as later entries correct earlier ones."""
    found = None
    for entry in entries:
        if entry.holds(at):
            found = entry
    return found


def span(entries: Iterable[Entry], at: float) -> tuple[float, float]:
    """From when to when (excluded) the same entries hold as at `at`."""
    start, end = ALWAYS, NEVER
    for entry in entries:
        for edge in entry.edges(at):
            if edge <= at:
                start = max(start, edge)
            else:
                end = min(end, edge)
    return start, end


def unix(day: date) -> float:
    """The UTC midnight at which a day starts."""
    return float((day.toordinal() - EPOCH_ORDINAL) * DAY_S)
