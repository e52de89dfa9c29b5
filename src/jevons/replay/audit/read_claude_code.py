"""Claude Code's transcripts: one JSON object a line, an answer spread over a line for each of its blocks.

What lives here: which lines are one call, whose conversation a line belongs to, and the conversation's texts. A call is
told by its message's and request's ids and counted once, also where a resumed session's file repeats an earlier one's
lines. Its usage is that of its last line: the output grows while the answer streams. System text and tools are not
recorded, so a conversation here is only its messages. What it must not know: prices, what is made of a call.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.errors import CallerError
from jevons.core.prompt import Part, Text, Turn
from jevons.core.usage import Usage
from jevons.replay.audit.files import Record
from jevons.replay.audit.seen import Malformed, Once, Seen, moment
from jevons.wire.messages.prompt import read_parts
from jevons.wire.usage import read_usage, reported_tier

SYNTHETIC = "<synthetic>"
"""The client's own words in an assistant's place: nothing was burned."""

MOST_TEXT = 16 * 1024 * 1024
"""Bytes of texts held of one conversation; past it its texts are let go and no longer looked at."""

MOST_TALKS = 16
"""Conversations of one file held at a time: parallel sub-agents."""

MOST_LINKS = 20_000
"""Lines of sub-agents whose place in a tree is remembered."""


class _Message(msgspec.Struct):
    role: str = ""
    id: str | None = None
    model: str | None = None
    content: str | list[msgspec.Raw] | None = None
    usage: dict[str, Any] | None = None


class Line(msgspec.Struct, rename="camel"):
    """The fields of a line that are read."""

    type: str = ""
    session_id: str = ""
    request_id: str | None = None
    timestamp: Any = None
    uuid: str | None = None
    parent_uuid: str | None = None
    is_sidechain: bool = False
    agent_id: str | None = None
    is_compact_summary: bool = False
    message: msgspec.Raw = msgspec.Raw(b"null")


class _Talk(msgspec.Struct):
    """One conversation under way. `open` is its call (None when it was counted before); `later` waits behind the
    answer."""

    name: str
    sub: bool
    turns: list[Turn] = []
    size: int = 0
    asked: float = 0.0
    """When the last line of the user's side was written: the next call is sent then."""
    answer: str = ""
    """The ids of the answer whose lines are coming in."""
    open: Seen | None = None
    said: list[Part] = []
    later: list[Turn] = []

    def add(self, turn: Turn, size: int) -> None:
        self.size += size
        if self.size > MOST_TEXT:
            self.turns, self.later = [], []
        else:
            (self.later if self.answer else self.turns).append(turn)


class Reader:
    """See the module's first lines. One per audit; `end` after each file."""

    name = "Claude Code transcripts"

    def __init__(self) -> None:
        self.once = Once()
        self._talks: dict[str, _Talk] = {}
        self._chains: dict[str, str] = {}
        self._decode = msgspec.json.Decoder(Line).decode
        self._message = msgspec.json.Decoder(_Message).decode

    def take(self, record: Record, where: str) -> Iterator[Seen]:
        """The call that this line brings to its end, if any. Raises Malformed."""
        if isinstance(record, dict):
            raise Malformed("a CSV row among transcripts")
        try:
            line = self._decode(record)
            if line.type not in {"user", "assistant"}:
                return
            message = self._message(line.message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(_why(error)) from None
        talk = self._talk(line)
        if talk is None:
            yield from self.end()
            talk = self._talk(line) or _Talk(line.session_id, line.is_sidechain)
        if line.type == "user":
            self._user(talk, line, message)
        else:
            yield from self._assistant(talk, line, message, where)

    def end(self) -> Iterator[Seen]:
        """The calls that were still open."""
        talks, self._talks, self._chains = self._talks, {}, {}
        for talk in talks.values():
            if talk.open is not None:
                yield talk.open

    def _talk(self, line: Line) -> _Talk | None:
        """The line's conversation; None when too many are open."""
        name = line.session_id or "(no session)"
        if line.is_sidechain or line.agent_id:
            chain = line.agent_id or self._chains.get(line.parent_uuid or "", line.uuid or "")
            if line.uuid and len(self._chains) < MOST_LINKS:
                self._chains[line.uuid] = chain
            name = f"{name}/{chain[:12]}"
        if name not in self._talks:
            if len(self._talks) >= MOST_TALKS:
                return None
            self._talks[name] = _Talk(name, line.is_sidechain or bool(line.agent_id))
        return self._talks[name]

    def _user(self, talk: _Talk, line: Line, message: _Message) -> None:
        talk.asked = moment(line.timestamp) or talk.asked
        if line.is_compact_summary:
            talk.turns, talk.later, talk.size = [], [], 0
        parts = _parts(message)
        if parts:
            talk.add(Turn("user", parts), len(bytes(line.message)))

    def _assistant(self, talk: _Talk, line: Line, message: _Message, where: str) -> Iterator[Seen]:
        if message.model == SYNTHETIC:
            return
        usage = read_usage(message.usage)
        if usage is None or not message.model:
            raise Malformed("an answer without usage or model")
        name = f"{message.id or ''}/{line.request_id or ''}" if message.id or line.request_id else line.uuid or ""
        if talk.answer != name:
            if talk.open is not None:
                yield talk.open
            self._close(talk)
            talk.answer = name
            talk.open = self._seen(talk, line, message, usage, name, where) if self.once(name) else None
        elif talk.open is not None and usage.output >= talk.open.usage.output:
            talk.open = msgspec.structs.replace(talk.open, usage=usage)
        talk.said += _parts(message)
        talk.size += len(bytes(line.message))

    def _seen(self, talk: _Talk, line: Line, message: _Message, usage: Usage, name: str, where: str) -> Seen:
        at, model = moment(line.timestamp), message.model or ""
        return Seen(
            at=talk.asked if 0 < talk.asked <= at or not at else at,
            model=model,
            usage=usage,
            session=talk.name,
            id=name,
            provider="anthropic" if model.startswith("claude-") else "",
            tier=reported_tier(message.usage),
            surface=Surface.MESSAGES,
            turns=tuple(talk.turns),
            sub=talk.sub,
            where=where,
        )

    def _close(self, talk: _Talk) -> None:
        """The answer's blocks become one turn, and what came in meanwhile stands behind it."""
        if talk.said and talk.turns:
            talk.turns.append(Turn("assistant", tuple(talk.said)))
        talk.turns += talk.later
        talk.answer, talk.open, talk.said, talk.later = "", None, [], []


def is_line(found: dict[str, Any]) -> bool:
    """A line of a transcript, by its keys."""
    kind = found.get("type")
    return isinstance(kind, str) and (
        ("sessionId" in found and kind in {"user", "assistant", "system", "attachment", "progress"})
        or kind in {"summary", "file-history-snapshot", "queue-operation"}
    )


def _parts(message: _Message) -> tuple[Part, ...]:
    if message.content is None:
        return ()
    try:
        return read_parts(message.content, "content")
    except CallerError:  # a block of a shape that the wire room does not know: its text is not looked at
        return (Text(""),)


def _why(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return "a field of another type"
    return "not JSON"
