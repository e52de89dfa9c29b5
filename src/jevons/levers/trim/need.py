"""How long a tool's results stay needed: counted per tool, by how many calls a result has lain unquoted.

What lives here: which strings of a text can be quoted, and the counts. A result is needed when a later action repeats
a string that nobody had said before it and no later result shows. The chance of ever is a product of hazards from
edge to edge (Kaplan and Meier 1958), as most results are still waiting when one asks; counting those as "never
quoted" removed file reads at .05 of which a quarter came back. It must not see prices.
"""

import bisect
import re
from collections.abc import Iterable

import msgspec

IDLE_EDGES = (1, 2, 4, 8, 16, 32, 64)
"""Calls without a quote; one hazard from each edge to the next."""
PRIOR = 0.05
PRIOR_WEIGHT = 6.0
POOL_WEIGHT = 12.0
MAX_STRINGS = 3_000
MAX_TOOLS = 256
FREE_RETURNS = 3
RETURN_FACTOR = 2.0
_STRINGS = re.compile(r"[A-Za-z0-9_@#][\w@#./:-]{4,}\w")
_PLAIN = re.compile(r"[a-z]+[.:]?[a-z]*|[A-Z][a-z]+")


def strings(text: str) -> set[str]:
    """The distinctive strings of a text: names, paths, numbers, ids of six or more characters; plain words are not."""
    found: set[str] = set()
    for string in set(_STRINGS.findall(text)):
        if _PLAIN.fullmatch(string) is None:
            found.add(string)
            if len(found) >= MAX_STRINGS:
                break
    return found


class Counts(msgspec.Struct):
    """Per idle edge: how many results got that old, and how many were quoted before the next edge."""

    reached: list[int] = msgspec.field(default_factory=lambda: [0] * len(IDLE_EDGES))
    quoted: list[int] = msgspec.field(default_factory=lambda: [0] * len(IDLE_EDGES))


class Need(msgspec.Struct):
    """One call site's memory of all its tools."""

    tools: dict[str, Counts] = msgspec.field(default_factory=dict)
    pool: Counts = msgspec.field(default_factory=Counts)
    expected: float = 0.0
    """Recalls that the removals so far were expected to cause ..."""
    returned: int = 0
    """... and removed results that were quoted or recalled all the same."""

    @property
    def off(self) -> bool:
        """Removal has cost this site more than it was priced at: it stays off from then on."""
        return self.returned > FREE_RETURNS + RETURN_FACTOR * self.expected

    def reach(self, tool: str, idle: int) -> None:
        """A result has lain unquoted for `idle` calls."""
        if idle in IDLE_EDGES:
            at = IDLE_EDGES.index(idle)
            for counts in self._both(tool):
                counts.reached[at] += 1

    def quote(self, tool: str, idle: int) -> None:
        """A result was quoted after `idle` calls without one."""
        at = _edge(idle)
        if at >= 0:
            for counts in self._both(tool):
                counts.quoted[at] += 1

    def chance(self, tool: str, idle: int) -> float:
        """Estimated probability that a result of this tool, unquoted for `idle` calls, is ever quoted again."""
        at = _edge(idle)
        if at < 0:
            return 1.0
        counts = self.tools.get(tool, Counts())
        never = 1.0
        for edge in range(at, len(IDLE_EDGES)):
            pooled = _shrunk(self.pool, edge, PRIOR, PRIOR_WEIGHT)
            never *= 1.0 - _shrunk(counts, edge, pooled, POOL_WEIGHT)
        return 1.0 - never

    def _both(self, tool: str) -> Iterable[Counts]:
        counts = self.tools.get(tool)
        if counts is None and len(self.tools) < MAX_TOOLS:
            counts = self.tools[tool] = Counts()
        return (self.pool,) if counts is None else (self.pool, counts)


def _edge(idle: int) -> int:
    """The last edge at or below; -1 when there is none."""
    return bisect.bisect_right(IDLE_EDGES, idle) - 1


def _shrunk(counts: Counts, at: int, prior: float, weight: float) -> float:
    """One hazard. A result that still waits between two edges counts as half at risk (the actuarial estimate)."""
    after = counts.reached[at + 1] if at + 1 < len(IDLE_EDGES) else counts.reached[at]
    at_risk = (counts.reached[at] + min(counts.reached[at], after + counts.quoted[at])) / 2
    return (counts.quoted[at] + prior * weight) / (at_risk + weight)
