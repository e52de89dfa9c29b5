"""What a screen is given: the ledger, the moment, the span of time asked for, and who asks.

What lives here: reading these from a request's query, with bounds. What it must not know: screens.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from jevons.engines.pages import Options
from jevons.store.db import Database
from jevons.store.sessions import Session
from jevons.web.memo import Memo

HOUR, DAY = 3600.0, 86_400.0
SPANS = {
    "1h": (HOUR, "last hour"),
    "24h": (DAY, "last 24 hours"),
    "7d": (7 * DAY, "last 7 days"),
    "30d": (30 * DAY, "last 30 days"),
    "90d": (90 * DAY, "last 90 days"),
    "1y": (365 * DAY, "last year"),
}
DEFAULT_SPAN = "30d"
LONGEST_VALUE = 300
"""Characters of a query's value that are looked at: the longest name that the ledger keeps has 256."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """See the module's first lines. Times are Unix seconds."""

    db: Database
    now: float
    session: Session
    options: Options
    memo: Memo
    query: Mapping[str, str] = {}
    span: str = DEFAULT_SPAN

    @property
    def since(self) -> float:
        return self.now - SPANS[self.span][0]

    @property
    def words(self) -> str:
        """The span in words."""
        return SPANS[self.span][1]

    def text(self, name: str) -> str:
        """A value of the query, or ''."""
        return self.query.get(name, "")[:LONGEST_VALUE]

    def whole(self, name: str, most: int) -> int:
        """A number of the query between 0 and `most`, or 0."""
        value = self.query.get(name, "")
        return min(int(value), most) if value.isascii() and value.isdigit() and len(value) < 10 else 0


def link(path: str, **query: str | int) -> str:
    """A path with a query; empty values are left out."""
    given = {name: value for name, value in query.items() if value != ""}
    return f"{path}?{urlencode(given)}" if given else path


def span_of(query: Mapping[str, str], default: str = DEFAULT_SPAN) -> str:
    """The span that a query names, or the default one."""
    named = query.get("span", "")
    return named if named in SPANS else default
