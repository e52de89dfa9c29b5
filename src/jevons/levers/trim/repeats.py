"""Lines that the conversation already shows: found by their text, replaced by a reference to where they stand.

What lives here: an index of shown lines (six at a time, or one long line) and the search for spans that repeat them.
It never sends a reader to a reference: only lines that are themselves shown are indexed. It knows no tool and no bill.
"""

import msgspec

WINDOW = 6
"""A repeat is this many equal lines in a row ..."""
LONG_LINE = 160
"""... or equal lines of which one has this many characters."""
MIN_WINDOW_CHARS = 60
MAX_LINES = 200_000
MAX_CANDIDATES = 4


HIDDEN = "\n"
"""No line of a text equals it."""


class Source(msgspec.Struct, frozen=True):
    """Text that the conversation shows. `numbers` are the lines' own numbers in a listing, else 0.

    A line that the source itself does not show is HIDDEN.
    """

    label: str
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    turn: int
    """Which turn shows it: what refers to it pins that turn."""


class Span(msgspec.Struct, frozen=True):
    """Lines [start, end) of a new text equal the lines of `source` from `at` on."""

    start: int
    end: int
    source: int
    at: int


class Index:
    """Shown lines of one session. Grows with the session up to MAX_LINES; beyond that nothing more is indexed."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._windows: dict[int, list[tuple[int, int]]] = {}
        self._long: dict[int, tuple[int, int]] = {}
        self._size = 0
        self._gone: set[int] = set()

    def add(self, source: Source) -> None:
        """Index a source's shown lines."""
        lines = source.lines
        if self._size + len(lines) > MAX_LINES:
            return
        self._size += len(lines)
        number = len(self.sources)
        self.sources.append(source)
        for at, line in enumerate(lines):
            if len(line) >= LONG_LINE:
                self._long.setdefault(hash(line), (number, at))
        for at in range(len(lines) - WINDOW + 1):
            key = _window(lines, at)
            if key is not None:
                places = self._windows.setdefault(key, [])
                if len(places) < MAX_CANDIDATES:
                    places.append((number, at))

    def forget(self, turn: int) -> None:
        """A turn's text is no longer shown: nothing may refer to it from now on."""
        self._gone.add(turn)

    def until(self, turn: int) -> "Index":
        """The index as it was before a turn, without what is gone."""
        earlier = Index()
        for source in self.sources:
            if source.turn < turn and source.turn not in self._gone:
                earlier.add(source)
        return earlier

    def find(self, lines: tuple[str, ...]) -> list[Span]:
        """Disjoint spans of `lines` that sources show, in order, each as long as it gets from its first line."""
        spans: list[Span] = []
        at = 0
        while at < len(lines):
            span = self._best(lines, at)
            if span is None:
                at += 1
            else:
                spans.append(span)
                at = span.end
        return spans

    def _best(self, lines: tuple[str, ...], at: int) -> Span | None:
        key = _window(lines, at) if at + WINDOW <= len(lines) else None
        places = list(self._windows.get(key, ())) if key is not None else []
        if len(lines[at]) >= LONG_LINE:
            place = self._long.get(hash(lines[at]))
            if place is not None:
                places.append(place)
        best: Span | None = None
        for source, start in places:
            if self.sources[source].turn in self._gone:
                continue
            shown = self.sources[source].lines
            length = 0
            limit = min(len(lines) - at, len(shown) - start)
            while length < limit and lines[at + length] == shown[start + length]:
                length += 1
            enough = length >= WINDOW or (length and len(lines[at]) >= LONG_LINE)
            if enough and (best is None or length > best.end - best.start):
                best = Span(at, at + length, source, start)
        return best


def _window(lines: tuple[str, ...], at: int) -> int | None:
    """A key for six lines; None when they say too little to be worth a reference."""
    window = lines[at : at + WINDOW]
    if HIDDEN in window or sum(map(len, window)) < MIN_WINDOW_CHARS:
        return None
    return hash(window)
