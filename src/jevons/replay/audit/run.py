"""The audit: files to records, records to calls, calls to sessions, sessions to sums.

What lives here: the order of things and the bounds of what is held. Files are streamed; calls of a format whose
exports are in no order are sorted within a window; a session that nobody has heard of for long is closed. What it must
not know: any format's fields, any lever's rule.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from math import inf
from pathlib import Path
from typing import Protocol

import msgspec

from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.errors import CallerError
from jevons.levers.cache.breakpoints import Lookup
from jevons.levers.cache.doctor import Sent
from jevons.levers.cache.pauses import SHORT_S
from jevons.levers.cache.session import Session, advance
from jevons.prices.book import Book
from jevons.replay.audit import read_bodies, read_claude_code, read_rows, waste
from jevons.replay.audit.bill import Bill, Place
from jevons.replay.audit.files import Progress, Record, find, records
from jevons.replay.audit.levers import Found, Levers, Twins
from jevons.replay.audit.seen import Faults, Malformed, Once, Seen
from jevons.replay.audit.sums import Report, Tally
from jevons.wire.peek import peek

MOST_OPEN = 20_000
"""Sessions under way; beyond it the one unheard of for longest is closed."""
MOST_LISTED = 20_000
"""Closed sessions that keep a row of their own, the dearest; all are in the sums."""
MOST_BODIES = 64 * 1024 * 1024
"""Bytes of last request bodies, held to compare the next ones with."""
WINDOW_BYTES, WINDOW_CALLS = 64 * 1024 * 1024, 500_000
"""Calls sorted by time at once, where a file is in no order."""
PROBED = 200
"""Records of a file looked at to tell its format."""
ALONE = "(no session)"

Identify = Callable[[Call], Call]
"""Gives a call with a body its task and site, as the gateway does."""


class Reader(Protocol):
    """A format: see the read_ modules."""

    name: str
    once: Once

    def take(self, record: Record, where: str) -> Iterator[Seen]: ...

    def end(self) -> Iterator[Seen]: ...


class _Open(msgspec.Struct):
    """A session under way."""

    tally: Tally
    models: dict[str, Twins] = {}
    last: Session | None = None
    last_model: str = ""
    alone: int | None = None
    """What a batch would have saved on its one call."""


class Audit:
    """Takes calls one by one. `report` at the end."""

    def __init__(self, book: Book, lookup: Lookup, identify: Identify, now: float):
        self._bill = Bill(book, lookup, now)
        self._levers = Levers(self._bill, lookup)
        self._identify = identify
        self._version = book.version
        self.total = Tally(name="(all)")
        self.faults = Faults()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._closed: list[tuple[int, int, Tally]] = []
        self._order = count()
        self._bodies: OrderedDict[tuple[str, str], Sent] = OrderedDict()
        self._held_bytes = 0
        self.unpriced: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self._plain = self._booked = 0

    def take(self, seen: Seen) -> None:
        """Book a call, look for waste, and ask the levers."""
        usage = seen.usage
        if usage.prompt + usage.output == 0:
            self.notes["calls without tokens left out"] += 1
            return
        place = self._bill.place(seen)
        seen, call = self._call(seen, place)
        name = seen.session or (call.task.task if call.task is not None else "")
        state = self._state(name or ALONE)
        nano = self._bill.burned(place, seen)
        if nano is None:
            self.unpriced[seen.model] += 1
        for tally in (state.tally, self.total):
            tally.burn(usage, nano, seen.at)
        if not seen.at:
            self.notes["calls without a time: pauses are not seen"] += 1
        if name:
            self._follow(place, seen, call, name, state)
        else:
            self.notes["calls of no session: neither waste nor levers looked at"] += 1

    def report(self, formats: dict[str, int], repeats: int) -> Report:
        """The sums; closes what is open."""
        while self._open:
            self._close(self._open.popitem(last=False)[1])
        notes = [f"{times:,} {words}" for words, times in self.notes.items()]
        return Report(
            total=self.total,
            sessions=[tally for _, _, tally in sorted(self._closed, key=lambda row: (-row[0], row[1]))],
            formats=formats,
            faults=dict(self.faults.counts),
            places=self.faults.places,
            repeats=repeats,
            unpriced=dict(self.unpriced.most_common()),
            notes=notes,
            price_book=self._version,
            modelled_untouched_nano=self._plain,
            booked_nano=self._booked,
        )

    def _follow(self, place: Place, seen: Seen, call: Call, name: str, state: _Open) -> None:
        """A call of a known session, against its forerunner."""
        twins = state.models.setdefault(seen.model, Twins())
        marked = place.terms is not None and place.terms.marked
        bodies = self._pair((name, seen.model), seen)
        step = waste.step(twins.real, call.at, seen.usage, bodies, marked=marked)
        lost = step.lost
        if twins.real is None and state.last_model not in {"", seen.model}:
            lost = waste.switched(state.last, seen.usage)
        found = self._levers.look(place, seen, call, twins, step)
        self._levers.learn(call, seen.usage, twins)
        for tally in (state.tally, self.total):
            tally.repeated += min(step.kept, seen.usage.prompt)
            if lost is not None and place.terms is not None:
                nano = 0
                if place.rates is not None:
                    better = waste.reread(seen.usage, lost.tokens)
                    nano = self._bill.price(place, seen.usage) - self._bill.price(place, better)
                tally.lose(lost.reason, lost.tokens, nano, waste.FIXES.get(lost.reason, ""))
            _saved(tally, found)
        self._plain += found.plain_nano
        self._booked += found.booked_nano
        state.alone = found.batch if state.tally.calls == 1 else None
        life = place.terms.ttl_s[place.terms.default_ttl] if place.terms is not None else SHORT_S
        automatic = place.terms is not None and not marked and seen.usage.prompt >= place.terms.min_tokens
        twins.real = state.last = advance(
            twins.real, call.at, seen.usage, body_bytes=len(seen.body), sub=seen.sub, life_s=life, automatic=automatic
        )
        state.last_model = seen.model

    def _call(self, seen: Seen, place: Place) -> tuple[Seen, Call]:
        """The call as the levers look at it; a body that is no valid request is put aside, and its counts stay."""
        call = Call(
            operation=seen.where,
            surface=seen.surface,
            caller=Caller(key_id="audit", tenant="audit"),
            peek=Peek(model=seen.model),
            body=seen.body,
            headers={},
            at=seen.at or place.at,
        )
        if seen.body:
            try:
                call = self._identify(msgspec.structs.replace(call, peek=peek(seen.surface, seen.body)))
            except (CallerError, msgspec.DecodeError):
                self.notes["bodies that are no valid request: only their counts are used"] += 1
                seen = msgspec.structs.replace(seen, body=b"", surface=Surface.RAW)
                call = msgspec.structs.replace(call, body=b"", surface=Surface.RAW)
        if seen.session:
            task = TaskRef(task=seen.session, parent="above" if seen.sub else "", source="session")
            call = msgspec.structs.replace(call, task=task)
        return seen, call

    def _state(self, name: str) -> _Open:
        state = self._open.get(name)
        if state is None:
            state = self._open[name] = _Open(Tally(name=name))
            if len(self._open) > MOST_OPEN:
                self._close(self._open.popitem(last=False)[1])
        self._open.move_to_end(name)
        return state

    def _close(self, state: _Open) -> None:
        if state.tally.calls == 1 and state.alone is not None:
            for tally in (state.tally, self.total):
                tally.save("batch", state.alone, acts=state.alone > 0)
        row = (state.tally.nano, -next(self._order), state.tally)
        if len(self._closed) < MOST_LISTED:
            heapq.heappush(self._closed, row)
        else:
            heapq.heappushpop(self._closed, row)
            self.notes["sessions without a row of their own"] += 1

    def _pair(self, key: tuple[str, str], seen: Seen) -> tuple[Sent, Sent] | None:
        """The last body of this session at this model, and this one, which takes its place."""
        before = self._bodies.pop(key, None)
        if before is not None:
            self._held_bytes -= len(before.body)
        if not seen.body or seen.surface not in {Surface.CHAT, Surface.MESSAGES, Surface.RESPONSES}:
            return None
        now = Sent(at=seen.at, model=seen.model, body=seen.body, prompt=seen.usage.prompt, ttl_s=inf)
        self._bodies[key] = now
        self._held_bytes += len(seen.body)
        while self._held_bytes > MOST_BODIES:
            self._held_bytes -= len(self._bodies.popitem(last=False)[1].body)
        return (before, now) if before is not None else None


def _saved(tally: Tally, found: Found) -> None:
    if found.breakpoints is not None:
        tally.save("breakpoints", found.breakpoints, acts=found.acted)
    if found.trim is not None:
        tally.save("trim", found.trim, acts=found.trim != 0)
    if found.exact is not None:
        tally.save("exact", found.exact, acts=found.exact > 0)


def audit(path: Path, book: Book, lookup: Lookup, identify: Identify, now: float, progress: Progress) -> Report:
    """Read a file, or all files of a folder. Raises OSError when the path cannot be read at all."""
    work = Audit(book, lookup, identify, now)
    formats: Counter[str] = Counter()
    readers: dict[Callable[[], Reader], Reader] = {}
    transcripts = 0
    for file in find(path):
        try:
            reader = _reader(file, readers)
            if reader is None:
                formats["not recognised"] += 1
                work.faults.add("file of no known format", str(file))
                continue
            formats[reader.name] += 1
            transcripts += isinstance(reader, read_claude_code.Reader)
            calls = _calls(file, reader, work.faults, progress)
            ordered = calls if isinstance(reader, read_claude_code.Reader) else _sorted(calls)
            for seen in ordered:
                work.take(seen)
        except OSError as error:
            work.faults.add(f"file cannot be read ({error.strerror or type(error).__name__})", str(file))
    if transcripts:
        work.notes["files of transcripts hold no system text and no tools: trimming looks at messages only"] += (
            transcripts
        )
    return work.report(dict(formats), sum(reader.once.repeats for reader in readers.values()))


def _calls(file: Path, reader: Reader, faults: Faults, progress: Progress) -> Iterator[Seen]:
    for where, record in records(file, faults, progress):
        try:
            yield from reader.take(record, where)
        except Malformed as error:
            faults.add(str(error), where)
    yield from reader.end()


def _sorted(calls: Iterable[Seen]) -> Iterator[Seen]:
    """By time, within windows that are bounded in calls and bytes."""
    window: list[Seen] = []
    size = 0
    for seen in calls:
        window.append(seen)
        size += len(seen.body)
        if len(window) >= WINDOW_CALLS or size >= WINDOW_BYTES:
            yield from sorted(window, key=lambda each: each.at)
            window, size = [], 0
    yield from sorted(window, key=lambda each: each.at)


def _reader(file: Path, readers: dict[Callable[[], Reader], Reader]) -> Reader | None:
    """The format of a file, told by its first records; None: none that is known."""
    for number, (_, record) in enumerate(records(file, Faults())):
        if number >= PROBED:
            break
        found = record if isinstance(record, dict) else _object(record)
        kind = _kind(found) if found else None
        if kind is not None:
            return readers.setdefault(kind, kind())
    return None


def _object(record: bytes) -> dict[str, object]:
    try:
        found = msgspec.json.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(found: dict[str, object]) -> Callable[[], Reader] | None:
    kinds: Sequence[tuple[Callable[[dict[str, object]], bool], Callable[[], Reader]]] = (
        (read_claude_code.is_line, read_claude_code.Reader),
        (read_bodies.is_line, read_bodies.Reader),
        (read_rows.is_litellm, read_rows.LiteLLM),
        (read_rows.is_langfuse, read_rows.Langfuse),
    )
    return next((reader for fits, reader in kinds if fits(found)), None)
