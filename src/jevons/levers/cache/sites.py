"""Each call site's own pauses, counted as its calls come in: what the shipped table of coding agents cannot know.

What lives here: one table a site over the shipped one, and the tokens that are still waiting to learn whether an hour
would have bridged their next pause. They count as not bridged until one does, so a session that never comes back needs
no farewell. What it must not know: prices, offers. Held in memory: after a start a site begins with the shipped table.
"""

from collections import OrderedDict

from jevons.core.usage import Usage
from jevons.levers.cache.pauses import LONG_S, SHORT_S, Counts, Pace, SiteTable, Table, cells, count

MAX_SITES = 4_000
MAX_SESSIONS = 10_000
"""Bounds of what is remembered, the longest unseen forgotten first; about 8 MB at both."""


class Sites:
    """See the module's first lines."""

    def __init__(self, prior: Counts):
        self._prior = prior
        self._sites: OrderedDict[str, SiteTable] = OrderedDict()
        self._waiting: OrderedDict[str, list[tuple[tuple[str, str, str], int]]] = OrderedDict()

    def table(self, site: str) -> Table:
        """The site's table; that of all sites where it has shown nothing yet."""
        return self._sites.get(site, self._prior)

    def see(self, site: str, session: str, gap_s: float | None, pace: Pace, usage: Usage) -> None:
        """A reply came: `gap_s` after the session's call before (None: its first), at this pace, with this usage."""
        own = self._sites.get(site)
        if own is None:
            own = self._sites[site] = SiteTable(self._prior)
            if len(self._sites) > MAX_SITES:
                self._sites.popitem(last=False)
        self._sites.move_to_end(site)
        names = cells(pace)
        if gap_s is None:
            own.sessions += 1
        else:
            count(own.counts, f"{names[0]}/next", 0, gap_s <= SHORT_S)
            if gap_s > SHORT_S:
                self._resolve(own, session, bridged=gap_s <= LONG_S)
        written = usage.input + usage.cache_write_5m + usage.cache_write_1h
        own.tokens += written
        count(own.counts, f"{names[0]}/next", 1, 0)
        for cell in names:
            count(own.counts, cell, written, 0)
        self._waiting.setdefault(session, []).append((names, written))
        self._waiting.move_to_end(session)
        if len(self._waiting) > MAX_SESSIONS:
            self._waiting.popitem(last=False)

    def _resolve(self, own: SiteTable, session: str, *, bridged: bool) -> None:
        for names, written in self._waiting.pop(session, ()):
            if bridged:
                for cell in names:
                    count(own.counts, cell, 0, written)
