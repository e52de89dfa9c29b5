"""The conversation of one call as fingerprints, cut from its end backwards and only as far as somebody looks.

What it decides: where a conversation is cut into pieces, and what of a piece counts: the same words give the same
print, however the client wraps them this time. Clients move their cache marks between turns, and with them turn a
plain text into one block of text and back; so marks and wrapping do not count. What it must not know: what a match
means.

A piece is what lies between two objects of a list, `},{"`: a block of a message, or a message that has one block. In
valid JSON these bytes stand inside a string only at its very end, so no text is cut; and the same bytes are cut alike
in every call, which is all that matters here. Finding the last pieces takes no scan of what is before them (a scan of
100 KB takes 30 us, ten pieces from the end 5 us). A print reads a piece's length and the ends of its words: two pieces
that differ only inside look alike, so a match always takes several of them.
"""

import re
from collections.abc import Iterator

ENDS = 64
"""Bytes read at each end of a piece's words."""
_REACH = 256
"""So many bytes from the end of a piece a mark may stand."""
DEEPEST = 64
"""Pieces looked back from the end, and then from the start: bounds what a call that continues nothing costs."""
PROBE = 64
"""Bytes compared inside what two conversations share."""

_MARK = b'"cache_control"'
_MARKS = re.compile(rb',\s*"cache_control"\s*:\s*(?:\{[^}]*\}|null)|"cache_control"\s*:\s*(?:\{[^}]*\}|null)\s*,')
_WORDS = re.compile(
    rb'\[?\s*\{\s*(?:"role"\s*:\s*"\w+"\s*,\s*)?"content"\s*:\s*'
    rb'(?:\[\s*\{\s*"type"\s*:\s*"(?:input_|output_)?text"\s*,\s*"text"\s*:\s*)?"?'
)
"""What wraps an item's words at its start. A tool's result is not unwrapped: the id of its call stands before them."""
_WRAP = b'}]", \t\r\n'
_CUT = re.compile(rb'\}, ?\{"')
_LOOSE = re.compile(rb'\}\s*,\s*(?=\{\s*")')
_ANSWER = re.compile(rb'"role"\s*:\s*"assistant"|"type"\s*:\s*"(?:function_call|reasoning|custom_tool_call)"')
IDS = (b'"tool_call_id"', b'"tool_use_id"', b'"call_id"')
"""A tool's result names its call: with them it is like no other."""
_CALLS = (b'"tool_use"', b'"tool_calls"', b'"function')
_CALL_ID = re.compile(rb'"(?:id|call_id)"\s*:\s*"[^"]*"\s*,?')
CALL_WITHIN = 6
"""Pieces from the end in which the last tool call is looked for: it and its results."""
CALL_HEAD, CALL_BYTES = 512, 4_096
"""Where a piece says that it is a tool call, and how much of its arguments counts."""


class Talk:
    """One conversation: bytes `low` to `high` of a body."""

    __slots__ = ("_answered", "_body", "_cut", "_cuts", "_high", "_low", "_prints", "_seed", "_starts")

    def __init__(self, body: bytes, low: int, high: int, seed: int):
        """`seed` stands before the first piece: a conversation of one piece is told apart by its system text."""
        self._body, self._low, self._high, self._seed = body, low, high, seed
        self._prints: dict[int, int] = {}
        self._cuts: dict[int, int] = {}
        self._answered: bool | None = None
        self._starts: list[int] | None = None
        first = _CUT.search(body, low, high)  # one serializer wrote it all: its first cut is as the others
        self._cut = b"" if first is None else first[0]
        if not self._cut:  # one piece, or a body printed for people
            printed = body[low + 1 : low + 2].isspace()
            self._starts = [match.end() for match in _LOOSE.finditer(body, low, high)] if printed else []

    @property
    def answered(self) -> bool:
        """A model's turn is in it."""
        if self._answered is None:
            self._answered = _ANSWER.search(self._body, self._low, self._high) is not None
        return self._answered

    @property
    def size(self) -> int:
        return self._high - self._low

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Ends of the conversation's beginnings as (end, start of the last piece, start of the one before or -1), the
        longest first; of a very long one the middle is left out."""
        end, start = self._high, self._before(self._high)
        for _ in range(DEEPEST):
            before = self._before(start) if start > self._low else -1
            yield end, start, before
            if before < 0:
                return
            end, start = start, before
        yield from self._early(end)

    def _early(self, below: int) -> Iterator[tuple[int, int, int]]:
        starts = [self._low]
        while len(starts) <= DEEPEST // 4:
            at = self._body.find(self._cut, starts[-1], below) if self._cut else -1
            if at < 0:
                break
            starts.append(at + len(self._cut) - 2)
        for number in range(len(starts) - 1, 0, -1):
            yield starts[number], starts[number - 1], starts[number - 2] if number > 1 else -1

    def _before(self, end: int) -> int:
        """Where the piece that ends there starts."""
        found = self._cuts.get(end)
        if found is None:
            if self._starts is not None:
                found = next((start for start in reversed(self._starts) if start < end), self._low)
            else:
                at = self._body.rfind(self._cut, self._low, end)
                found = self._low if at < 0 else at + len(self._cut) - 2
            self._cuts[end] = found
        return found

    def key(self, scope: int, end: int, start: int, before: int) -> int:
        """What an end is remembered under: its last two pieces."""
        return hash((scope, self._seed if before < 0 else self._print(before, start), self._print(start, end)))

    def _print(self, start: int, end: int) -> int:
        found = self._prints.get(start)
        if found is None:
            found = self._prints[start] = fingerprint(self._body, start, end)
        return found

    def rare(self, end: int, before: int, least: int) -> bool:
        """The last two pieces are so long, or so marked, that the same ones elsewhere are no chance."""
        start = self._low if before < 0 else before
        if end - start >= least:
            return True
        last = self._body[start:end]
        return any(mark in last for mark in IDS)

    def probe(self, offset: int, before: int) -> int:
        """A print of what stands further ahead of an end: the piece before its last two, and a few bytes at `offset`
        from the conversation's start."""
        at = self._low + offset
        third = self._print(self._before(before), before) if before > self._low else 0
        return hash((third, self._body[at : min(at + PROBE, self._high)] if offset else b""))

    def last_call(self) -> int:
        """A print of the last tool call, its id left out; 0 where the last pieces hold none."""
        for (end, start, _), _ in zip(self.places(), range(CALL_WITHIN), strict=False):
            head = self._body[start : min(end, start + CALL_HEAD)]
            if any(mark in head for mark in _CALLS):
                whole = self._body[start : min(end, start + CALL_BYTES)].rstrip(_WRAP)
                return hash(((end - start) // CALL_BYTES, _CALL_ID.sub(b"", whole))) or 1
        return 0

    def offset(self, end: int) -> int:
        return end - self._low


def fingerprint(body: bytes, low: int = 0, high: int | None = None) -> int:
    """64 bits of one piece, keyed per process (Python's own keyed hash of bytes): nobody can aim at a collision."""
    high = len(body) if high is None else high
    tail = body[max(low, high - _REACH) : high]
    kept = (_MARKS.sub(b"", tail) if _MARK in tail else tail).rstrip(_WRAP)
    words = _WORDS.match(body, low, high)
    start = low if words is None else words.end()
    length = high - start - len(tail) + len(kept)
    if length >= ENDS <= len(kept):
        return hash((length, body[start : start + ENDS], kept[-ENDS:]))
    shown = min(ENDS, max(0, length))
    return hash((max(0, length), body[start : start + shown], kept[max(0, len(kept) - shown) :]))
