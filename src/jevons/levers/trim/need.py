"""How long a tool's results stay needed: counted per tool, by how many calls a result has lain unquoted.

What lives here: which strings of a text can be quoted, and the counts. A result is needed when a later action repeats
a string that nobody had said before it and no later result shows. The estimate leans to "still needed": an unseen
tool starts at PRIOR. It must not see prices.
"""

import re
from collections.abc import Iterable

import msgspec

IDLE_EDGES = (1, 2, 4, 8, 16, 32, 64)
"""Calls without a quote; the hazard is kept per edge."""
PRIOR = 0.25
PRIOR_WEIGHT = 6.0
POOL_WEIGHT = 12.0
MAX_STRINGS = 3_000
MAX_TOOLS = 256
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
    """Per idle edge: how many results got that old, and how many of them were quoted afterwards."""

    reached: list[int] = msgspec.field(default_factory=lambda: [0] * len(IDLE_EDGES))
    quoted: list[int] = msgspec.field(default_factory=lambda: [0] * len(IDLE_EDGES))


class Need(msgspec.Struct):
    """One call site's memory of all its tools."""

    tools: dict[str, Counts] = msgspec.field(default_factory=dict)
    pool: Counts = msgspec.field(default_factory=Counts)

    def reach(self, tool: str, idle: int) -> None:
        """A result has lain unquoted for `idle` calls."""
        if idle in IDLE_EDGES:
            at = IDLE_EDGES.index(idle)
            for counts in self._both(tool):
                counts.reached[at] += 1

    def quote(self, tool: str, idle: int) -> None:
        """A result was quoted after `idle` calls without one."""
        for at, edge in enumerate(IDLE_EDGES):
            if edge <= idle:
                for counts in self._both(tool):
                    counts.quoted[at] += 1

    def chance(self, tool: str, idle: int) -> float:
        """Estimated probability that a result of this tool, unquoted for `idle` calls, is ever quoted again."""
        at = max((at for at, edge in enumerate(IDLE_EDGES) if edge <= idle), default=-1)
        if at < 0:
            return 1.0
        pooled = _shrunk(self.pool, at, PRIOR, PRIOR_WEIGHT)
        counts = self.tools.get(tool)
        return pooled if counts is None else _shrunk(counts, at, pooled, POOL_WEIGHT)

    def _both(self, tool: str) -> Iterable[Counts]:
        counts = self.tools.get(tool)
        if counts is None and len(self.tools) < MAX_TOOLS:
            counts = self.tools[tool] = Counts()
        return (self.pool,) if counts is None else (self.pool, counts)


def _shrunk(counts: Counts, at: int, prior: float, weight: float) -> float:
    return (counts.quoted[at] + prior * weight) / (counts.reached[at] + weight)
