"""What one conversation's trims have done so far, kept beside it and extended by each call's new turns.

What lives here: which result was sent how, what it is worth in tokens, when it was last needed, and the walk over new
turns. A turn seen before is recognised by its hash, so a call costs only its new turns. It decides nothing.
"""

from collections.abc import Iterable, Sequence

import msgspec

from jevons.core.prompt import (
    Document,
    Image,
    Part,
    Prompt,
    RedactedThinking,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Turn,
)
from jevons.levers.trim.check import editable
from jevons.levers.trim.equivalent import Shown, identify, prints_file, rewrite
from jevons.levers.trim.need import Need, strings
from jevons.levers.trim.tokens import Scale, estimate

IMAGE_TOKENS = 1_500.0
"""A picture's tokens when nothing better is known."""
MAX_TURNS = 20_000


class Item(msgspec.Struct):
    """One tool result: where it stands, what is sent for it, and how it has been used."""

    turn: int
    part: int
    tool: str
    original: float
    """Tokens of the client's text."""
    sent: float
    """Tokens of what is sent for it now."""
    text: str | None = None
    """What is sent instead; None for the client's own text."""
    proposed: bool = False
    """Its first edit has not been sent yet: it may still be dropped at no cost."""
    removed: bool = False
    folded: bool = False
    name: str = ""
    label: str = ""
    lines: int = 0
    refers: tuple[int, ...] = ()
    arrived: int = 0
    quoted: int = 0
    """The call that last needed it, or that it arrived with."""
    error: bool = False


class Removal(msgspec.Struct, frozen=True):
    """A result that was taken out, by the call whose prompt held `at` turns."""

    turn: int
    part: int
    stub: str
    at: int


class Record(msgspec.Struct, frozen=True):
    """What must survive a restart, so that the same edits come out again: the rest follows from the conversation.

    `untouched` are turns whose results were sent as they came; `last_at` is when the last prompt was.
    """

    removed: tuple[Removal, ...] = ()
    untouched: tuple[int, ...] = ()
    last_at: float = 0.0
    scale: Scale = msgspec.field(default_factory=Scale)


class Session(msgspec.Struct):
    """The state of one conversation. `sent` holds tokens per turn as sent; `seen` the turns' hashes."""

    seen: list[int] = msgspec.field(default_factory=list)
    sent: list[float] = msgspec.field(default_factory=list)
    items: list[Item] = msgspec.field(default_factory=list)
    shown: Shown = msgspec.field(default_factory=Shown)
    scale: Scale = msgspec.field(default_factory=Scale)
    owners: dict[str, int] = msgspec.field(default_factory=dict)
    """Distinctive string -> the latest item that shows it."""
    said: set[str] = msgspec.field(default_factory=set)
    uses: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    calls: int = 1
    """The number of the call that the last seen turn belongs to: one more than the answers so far."""
    last_at: float = 0.0
    cached_turns: int = 0
    """Turns that the last sent prompt held."""
    removals: list[Removal] = msgspec.field(default_factory=list)
    untouched: set[int] = msgspec.field(default_factory=set)

    @property
    def record(self) -> Record:
        return Record(tuple(self.removals), tuple(sorted(self.untouched)), self.last_at, self.scale)

    def remove(self, item: Item, stub: str, tokens: float, at: int) -> None:
        """Book a removal that was sent: the result's lines are no longer shown."""
        self.sent[item.turn] -= item.sent - tokens
        item.sent, item.text, item.removed, item.proposed = tokens, stub, True, False
        self.removals.append(Removal(item.turn, item.part, stub, at))
        self.shown.index.forget(item.turn)

    def keep(self, item: Item) -> None:
        """Book that a result was sent as it came."""
        self.sent[item.turn] += item.original - item.sent
        item.text, item.sent, item.folded, item.refers, item.proposed = None, item.original, False, (), False
        self.untouched.add(item.turn)

    def common(self, hashes: Sequence[int]) -> int:
        """How many leading turns are as before."""
        count = 0
        for old, new in zip(self.seen, hashes, strict=False):
            if old != new:
                break
            count += 1
        return count

    def rewind(self, turns: int, prompt: Prompt) -> None:
        """The client changed its history from this turn on: forget what stood behind it."""
        self.calls = 1 + sum(turn.role == "assistant" for turn in prompt.turns[:turns])
        del self.seen[turns:], self.sent[turns:]
        self.items = [item for item in self.items if item.turn < turns]
        for item in self.items:
            item.quoted = min(item.quoted, self.calls)
        self.owners = {string: at for string, at in self.owners.items() if at < len(self.items)}
        self.shown = self.shown.until(turns)
        self.cached_turns = min(self.cached_turns, turns)
        self.removals = [removal for removal in self.removals if removal.turn < turns]
        self.untouched = {turn for turn in self.untouched if turn < turns}


def hashes(prompt: Prompt) -> list[int]:
    """One number per turn; equal turns have equal numbers in this process."""
    return [hash((turn.role, *map(_digest, turn.parts))) for turn in prompt.turns]


def _digest(part: Part) -> int:
    if isinstance(part, ToolResult):
        return hash((part.tool_use_id, *map(_digest, part.parts)))
    if isinstance(part, ToolUse):
        return hash((part.id, part.name, part.arguments))
    if isinstance(part, Text | Thinking):
        return hash(part.text)
    if isinstance(part, Image | Document):
        return hash((part.data, part.url))
    return hash(repr(part))


def extend(session: Session, prompt: Prompt, numbers: Sequence[int], need: Need, *, recall: bool) -> None:
    """Walk the turns behind those already seen; results of `session.untouched` turns are sent as they came."""
    asked = session.calls
    for number in range(len(session.seen), len(prompt.turns)):
        turn = prompt.turns[number]
        if not any(isinstance(part, ToolResult) for part in turn.parts):
            _said(session, turn, need)
        session.calls += turn.role == "assistant"
        total = 0.0
        for at, part in enumerate(turn.parts):
            if isinstance(part, ToolUse):
                session.uses[part.id] = (part.name, part.arguments)
                session.shown.wrote(part.name, part.arguments, number)
            text = editable(part)
            if text is None or not isinstance(part, ToolResult):
                total += tokens(part)
                continue
            item = _item(session, part, text, number, at, recall=recall)
            session.items.append(item)
            for string in strings(text):
                session.owners[string] = len(session.items) - 1
            total += item.sent
        session.sent.append(total)
        session.seen.append(numbers[number])
    for item in session.items if session.calls > asked else ():
        need.reach(item.tool, session.calls - item.quoted)


def _item(session: Session, part: ToolResult, text: str, turn: int, at: int, *, recall: bool) -> Item:
    tool, arguments = session.uses.get(part.tool_use_id, ("", ""))
    label = session.shown.label(tool, arguments, turn)
    done = None
    if turn in session.untouched:
        session.shown.plain(label, text, turn)
    else:
        done = rewrite(session.shown, label, text, turn, recall=recall, verbatim=prints_file(arguments))
    size = done.before if done else estimate(text)
    item = Item(
        turn=turn, part=at, tool=tool, original=size, sent=size, arrived=session.calls, quoted=session.calls,
        error=part.is_error, lines=text.count("\n") + 1, name=identify(text), label=label,
    )  # fmt: skip
    if done is not None:
        item.text, item.sent, item.proposed = done.text, done.after, True
        item.folded, item.refers = done.folded, done.turns
    return item


def rebuild(prompt: Prompt, numbers: Sequence[int], record: Record, *, recall: bool) -> Session:
    """A session from its record: the walk is made again, with each removal at the call that made it.

    What its results taught about need was counted when they were new, and is not counted again.
    """
    session = Session(untouched=set(record.untouched), last_at=record.last_at, scale=record.scale)
    need = Need()
    stops = sorted({removal.at for removal in record.removed if removal.at <= len(prompt.turns)})
    for stop in (*stops, len(prompt.turns)):
        part = msgspec.structs.replace(prompt, turns=prompt.turns[:stop])
        extend(session, part, numbers[:stop], need, recall=recall)
        places = {(item.turn, item.part): item for item in session.items}
        for removal in record.removed:
            item = places.get((removal.turn, removal.part))
            if removal.at == stop and item is not None and not item.removed:
                session.remove(item, removal.stub, estimate(removal.stub), removal.at)
    answered = answers(prompt)
    for item in session.items:
        item.proposed = item.proposed and item.turn >= answered
    session.cached_turns = answered
    return session


def answers(prompt: Prompt) -> int:
    """The turn behind the last answer: what stands before it has been sent once."""
    return max((at + 1 for at, turn in enumerate(prompt.turns) if turn.role == "assistant"), default=0)


def _said(session: Session, turn: Turn, need: Need) -> None:
    """What a turn says that only an earlier result showed makes that result needed."""
    for part in turn.parts:
        text = part.text if isinstance(part, Text) else part.arguments if isinstance(part, ToolUse) else ""
        for string in strings(text) - session.said if text else ():
            session.said.add(string)
            owner = session.owners.get(string)
            if owner is None:
                continue
            item = session.items[owner]
            if item.removed and item.quoted < session.calls:
                need.returned += 1
            if item.quoted < session.calls:
                need.quote(item.tool, session.calls - item.quoted)
                item.quoted = session.calls


def tokens(part: Part) -> float:
    """Estimated tokens of a part as the client sent it."""
    if isinstance(part, ToolResult):
        return sum(map(tokens, part.parts))
    if isinstance(part, ToolUse):
        return estimate(part.name) + estimate(part.arguments)
    if isinstance(part, Text | Thinking):
        return estimate(part.text)
    if isinstance(part, RedactedThinking):
        return len(part.data) / 4
    return IMAGE_TOKENS if isinstance(part, Image) else 0.0


def pinned(items: Iterable[Item]) -> set[int]:
    """Turns that a shown reference points to: they must stay."""
    return {turn for item in items if not item.removed for turn in item.refers}
