"""A tool result before it is first sent: the same information in fewer tokens.

What lives here: the order of the steps (terminal noise, JSON, listing numbers, repeats, folds), the wording of a
reference, and the choice to leave a result alone when little is won. It must not see prices: this work touches only
what no provider has cached yet, so it is never dearer.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from jevons.levers.trim import fold
from jevons.levers.trim.clean import clean
from jevons.levers.trim.jsontext import minify
from jevons.levers.trim.listing import Row, note, read
from jevons.levers.trim.repeats import HIDDEN, Index, Source, Span
from jevons.levers.trim.tokens import estimate

MIN_CHARS = 40
MAX_CHARS = 400_000
"""A larger result is left alone: at 20 ms a call there is no time for it."""
MIN_SPAN_SAVED = 16
MIN_SAVED = 4
MAX_SUBJECT = 60
_SUBJECTS = ("file_path", "path", "notebook_path", "filename", "command", "url", "query", "pattern", "task_id")
_PATHS = ("file_path", "path", "notebook_path", "filename")
_PRINTS = re.compile(r"\b(?:cat|head|tail|sed|awk|less|more|bat|nl|diff|git (?:show|diff))\b")
_WRITTEN = ("content", "new_string", "file_text", "new_str", "plan", "prompt")


class Rewrite(msgspec.Struct, frozen=True, kw_only=True):
    """One result's new text. `folded` says that something is only there by recall; `turns` are referred to."""

    text: str
    before: float
    after: float
    folded: bool = False
    turns: tuple[int, ...] = ()


class Shown:
    """What one conversation has shown so far: the index of lines, and how many results each subject has."""

    def __init__(self) -> None:
        self.index = Index()
        self._named: list[tuple[int, str]] = []
        self._counts: Counter[str] = Counter()

    def label(self, tool: str, arguments: str, turn: int) -> str:
        """A name for a result that a reader of the conversation can find: `Read #2 of lib/a.ex`."""
        subject = _subject(_decode(arguments))
        key = f"{tool} {subject}"
        self._named.append((turn, key))
        self._counts[key] += 1
        return f"{tool} #{self._counts[key]} of {subject}" if subject else f"{tool} #{self._counts[key]}"

    def until(self, turn: int) -> "Shown":
        """What was shown before a turn: for a client that changed its history."""
        earlier = Shown()
        earlier.index = self.index.until(turn)
        earlier._named = [(at, key) for at, key in self._named if at < turn]
        earlier._counts = Counter(key for _, key in earlier._named)
        return earlier

    def plain(self, label: str, text: str, turn: int) -> None:
        """Index a result that is sent as it came."""
        if MIN_CHARS <= len(text) <= MAX_CHARS:
            rows = read(text)
            lines = tuple(row.text for row in rows)
            self.index.add(Source(label, lines, tuple(row.number for row in rows), turn))

    def wrote(self, tool: str, arguments: str, turn: int) -> None:
        """Index what the model itself wrote in a tool call: file contents and replacements."""
        fields = _decode(arguments)
        for field in _WRITTEN:
            text = fields.get(field)
            if isinstance(text, str) and len(text) >= MIN_CHARS:
                lines = tuple(text.split("\n"))
                label = f"your {tool} of {_subject(fields)}" if _subject(fields) else f"your {tool}"
                self.index.add(Source(label, lines, (0,) * len(lines), turn))


def rewrite(shown: Shown, label: str, text: str, turn: int, *, recall: bool, verbatim: bool = False) -> Rewrite | None:
    """The result's new text, or None to leave it as it is; either way its lines are indexed for later ones.

    `verbatim` text may be edited by its exact characters: only numbers of a listing and repeats are taken out of it.
    Raises nothing: a text that no step understands comes out unchanged.
    """
    if not MIN_CHARS <= len(text) <= MAX_CHARS:
        return None
    rows = read(text)
    if not verbatim and not any(row.number for row in rows):
        rows = read(minify(clean(text)))
    lines = tuple(row.text for row in rows)
    spans = [span for span in shown.index.find(lines) if _worth(shown.index, rows, span)]
    name = identify(text)
    written, hidden, folded = _render(shown.index, rows, spans, name if recall and not verbatim else "")
    new = "\n".join(written)
    before, after = estimate(text), estimate(new)
    if before - after < MIN_SAVED:
        shown.index.add(Source(label, lines, tuple(row.number for row in rows), turn))
        return None
    visible = tuple(HIDDEN if at in hidden else line for at, line in enumerate(lines))
    shown.index.add(Source(label, visible, tuple(row.number for row in rows), turn))
    turns = tuple(sorted({shown.index.sources[span.source].turn for span in spans}))
    return Rewrite(text=new, before=before, after=after, folded=folded, turns=turns)


def prints_file(arguments: str) -> bool:
    """Whether a call shows a file's own text, by its arguments."""
    fields = _decode(arguments)
    if any(isinstance(fields.get(key), str) for key in _PATHS):
        return True
    command = fields.get("command")
    return isinstance(command, str) and _PRINTS.search(command) is not None


def identify(text: str) -> str:
    """The short id under which a whole result is kept for recall."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def _render(index: Index, rows: list[Row], spans: list[Span], name: str) -> tuple[list[str], frozenset[int], bool]:
    """The new lines, the positions of rows that they do not show, and whether something was folded."""
    folds = _folds(rows, spans) if name else {}
    starts = {span.start: span for span in spans}
    written: list[str] = []
    hidden: set[int] = set()
    folded = False
    at = 0
    fresh = False
    while at < len(rows):
        said = note(rows, at)
        if said:
            written.append(said)
        if at in starts:
            span = starts[at]
            written.append(_reference(index, rows, span))
            hidden.update(range(span.start, span.end))
            at, fresh = span.end, True
            continue
        if at in folds:
            end = folds[at]
            written.append(f"[{end - at} more lines like this, recall {name}]")
            hidden.update(range(at, end))
            at, folded = end, True
            continue
        line = rows[at].tagged if fresh else rows[at].thin
        if name and not rows[at].number:
            short = fold.encoded(line, name)
            if short is not line and short != line:
                line, folded = short, True
                hidden.add(at)
        written.append(line)
        at, fresh = at + 1, False
    return written, frozenset(hidden), folded


def _folds(rows: list[Row], spans: list[Span]) -> dict[int, int]:
    """Start -> end of log runs among the rows that are neither a listing's nor a repeat's."""
    taken = {at for span in spans for at in range(span.start, span.end)}
    lines = ["" if row.number or at in taken else row.text for at, row in enumerate(rows)]
    return dict(fold.runs(lines))


def _worth(index: Index, rows: list[Row], span: Span) -> bool:
    shown = "\n".join(row.thin for row in rows[span.start : span.end])
    return estimate(shown) - estimate(_reference(index, rows, span)) >= MIN_SPAN_SAVED


def _reference(index: Index, rows: list[Row], span: Span) -> str:
    source = index.sources[span.source]
    first, last = rows[span.start], rows[span.end - 1]
    whose = (source.numbers[span.at], source.numbers[span.at + span.end - span.start - 1])
    if first.number and last.number and all(whose):
        return f"[lines {first.number}-{last.number}: same as lines {whose[0]}-{whose[1]} in {source.label}]"
    opening = next((row.text.strip() for row in rows[span.start : span.end] if row.text.strip()), "")[:24]
    place = f"lines {first.number}-{last.number}" if first.number else f"{span.end - span.start} lines"
    return f'[{place}: same as in {source.label} from "{opening}"]'


def _decode(arguments: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _subject(fields: Mapping[str, Any]) -> str:
    """What a call is about: its path by its end, anything else by its start."""
    for key in _SUBJECTS:
        value = fields.get(key)
        if isinstance(value, str) and value:
            line = value.split("\n", 1)[0]
            if "/" in line and " " not in line:
                return "/".join(line.split("/")[-2:])[-MAX_SUBJECT:]
            return line[:MAX_SUBJECT]
    return ""
