"""Changing the text of a few parts of a conversation, and no byte of any other message.

What lives here: where a dialect keeps its turns and parts, as raw JSON that is cut and joined. A message that no edit
touches keeps its bytes, and so does everything outside of the conversation: a provider's cached prefix stays whole up
to the first edit. What it must not know: why a text is changed. Turn and part are indices into the neutral prompt as
the dialect's `read_prompt` gives it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from jevons.core.errors import CallerError
from jevons.wire.body import Object, decode, encode
from jevons.wire.chat.prompt import REASONING_FIELDS, Reasoned, read_thinking
from jevons.wire.splice import splice_field
from jevons.wire.toplevel import Fields, fields, span

Raw = msgspec.Raw
"""One message or block as it came."""


class EditLike(Protocol):
    """levers.lever.Edit, which this room must not import."""

    @property
    def turn(self) -> int: ...
    @property
    def part(self) -> int: ...
    @property
    def text(self) -> str | None: ...


NO_TOOLS = Raw(b"null")
NOTHINGS = (NO_TOOLS, Raw(b"[]"))


def apply_edits(dialect: str, body: bytes, edits: Sequence[EditLike]) -> bytes:
    """Replace the text of parts (a tool result's text is its part's), or remove a turn where an edit's text is None.

    Raises CallerError when an edit points at nothing, or at a part that holds no text.
    """
    found = fields(body)
    by_turn: dict[int, list[EditLike]] = {}
    for edit in edits:
        by_turn.setdefault(edit.turn, []).append(edit)
    if not by_turn:
        return body
    if dialect == "responses":
        raise CallerError("a Responses input is not edited: its items share turns", code="unsupported_edit")
    leads = dialect == "messages" and _has_system(found)
    if leads and (first := by_turn.pop(0, None)):
        system = _edit_content(found["system"], first)
        body = splice_field(body, "system", system if system is not None else b"[]")
        found = fields(body)
    if not by_turn:
        return body
    messages = decode(found["messages"], list[Raw], "messages")
    shift = 1 if leads else 0
    changed: dict[int, bytes | None] = {}
    for turn, wanted in by_turn.items():
        at = turn - shift
        if not 0 <= at < len(messages):
            raise CallerError(f"there is no turn {turn} to edit", code="unsupported_edit")
        changed[at] = _edit_message(messages[at], wanted)
    return _join(body, found, "messages", messages, changed)


def place_breakpoints(body: bytes, places: Iterable[tuple[int, str]]) -> bytes:
    """Mark the last block of turns of a Messages body (turn 0 is the system text where there is one): (turn, ttl).

    A turn that has a mark on its last block gets the new ttl. Raises CallerError when a turn is not there.
    """
    found = fields(body)
    leads = _has_system(found)
    wanted = dict(places)
    if leads and 0 in wanted:
        body = splice_field(body, "system", _mark_content(found["system"], wanted.pop(0)))
        found = fields(body)
    if not wanted:
        return body
    messages = decode(found["messages"], list[Raw], "messages")
    changed: dict[int, bytes | None] = {}
    for turn, ttl in wanted.items():
        at = turn - (1 if leads else 0)
        if not 0 <= at < len(messages):
            raise CallerError(f"there is no turn {turn} to mark", code="unsupported_edit")
        message = bytes(messages[at])
        inner = fields(message)
        changed[at] = splice_field(message, "content", _mark_content(inner["content"], ttl))
    return _join(body, found, "messages", messages, changed)


def steady_tools(body: bytes) -> bytes:
    """The same tools, ordered by their bytes: a client that shuffles them keeps its cached prefix. A body whose tools
    bear cache marks, or none, stays as it is: a mark stands for all that is before it."""
    found = fields(body)
    tools = decode(found["tools"], list[Raw], "tools") if found.get("tools", NO_TOOLS) not in NOTHINGS else []
    steady = b"[" + b",".join(sorted(map(bytes, tools))) + b"]"
    if not tools or b"cache_control" in steady or steady == bytes(found["tools"]):
        return body
    return splice_field(body, "tools", steady)


def count_cache_marks(body: bytes) -> int:
    """How many `cache_control` marks a Messages body has: on tools, system, blocks, and the automatic one on top."""
    found = fields(body)
    if b"cache_control" not in body:
        return 0
    wanted = [found[name] for name in ("tools", "system", "messages") if name in found]
    return int("cache_control" in found) + sum(_marks(msgspec.json.decode(raw)) for raw in wanted)


def _marks(value: Any) -> int:
    """Marks of blocks: what stands inside a tool's input or schema is the caller's data."""
    if isinstance(value, list):
        return sum(_marks(each) for each in value)
    if not isinstance(value, dict):
        return 0
    return int(isinstance(value.get("cache_control"), dict)) + _marks(value.get("content"))


def _has_system(found: Fields) -> bool:
    """Whether `read_prompt` makes a turn of the system text: it does of one that is not empty."""
    return bytes(found.get("system", b"null")) not in {b"null", b'""', b"[]"}


def _join(body: bytes, found: Fields, name: str, items: list[Raw], changed: dict[int, bytes | None]) -> bytes:
    """The array with some items replaced or, where None, removed; all other bytes of it stay."""
    start, end = span(body, found, name)
    out: list[bytes] = []
    at = start + 1
    begun = False
    for number, item in enumerate(items):
        begins = body.index(item, at)
        gap = body[at:begins]
        at = begins + len(item)
        new = changed.get(number, item) if number in changed else item
        if new is None:
            continue
        out.append(gap if begun or number == 0 else gap.lstrip(b" \t\r\n,"))
        out.append(bytes(new))
        begun = True
    return b"".join((body[: start + 1], *out, body[at:end], body[end:]))


def _edit_message(raw: Raw, wanted: list[EditLike]) -> bytes | None:
    message = bytes(raw)
    inner = fields(message)
    if any(edit.text is None for edit in wanted):
        return None
    if "content" not in inner:
        raise CallerError("a message without content has no text to edit", code="unsupported_edit")
    role = bytes(inner.get("role", b""))
    if role == b'"tool"':  # one result, whatever its content is made of
        if any(edit.part != 0 for edit in wanted):
            raise CallerError("a tool message is one part", code="unsupported_edit")
        return splice_field(message, "content", encode(wanted[-1].text))
    shift = _reasoning(inner) if role == b'"assistant"' else 0
    content = _edit_content(inner["content"], wanted, shift)
    return None if content is None else splice_field(message, "content", content)


def _reasoning(inner: Fields) -> int:
    """How many parts of reasoning stand before the content in the neutral turn of a chat message."""
    if not any(name in inner for name in REASONING_FIELDS):
        return 0
    holder = msgspec.json.decode(
        encode({name: inner[name] for name in REASONING_FIELDS if name in inner}), type=Reasoned
    )
    return len(read_thinking(holder))


def _edit_content(raw: Raw, wanted: list[EditLike], shift: int = 0) -> bytes | None:
    """New content, or None when the turn is removed."""
    if any(edit.text is None for edit in wanted):
        return None
    content: Any = msgspec.json.decode(raw)
    if isinstance(content, str):
        if any(edit.part != shift for edit in wanted):
            raise CallerError("there is no such part to edit: the content is one text", code="unsupported_edit")
        return encode(wanted[-1].text)
    blocks = decode(raw, list[Raw])
    changed: dict[int, bytes | None] = {}
    for edit in wanted:
        at = edit.part - shift
        if not 0 <= at < len(blocks):
            raise CallerError(f"part {edit.part} holds no text to edit", code="unsupported_edit")
        changed[at] = _edit_block(bytes(blocks[at]), edit.text or "")
    holder = b'{"content":' + bytes(raw) + b"}"
    return bytes(fields(_join(holder, fields(holder), "content", blocks, changed))["content"])


def _edit_block(block: bytes, text: str) -> bytes:
    kind: Object = msgspec.json.decode(block)
    name = _TEXT_OF.get(kind.get("type", ""))
    if name is None:
        raise CallerError(f"a part of type {kind.get('type')!r} holds no text to edit", code="unsupported_edit")
    inner = kind.get("content")
    if name == "content" and isinstance(inner, list) and any(each.get("type") != "text" for each in inner):
        raise CallerError("a tool result that holds more than text is not edited", code="unsupported_edit")
    return splice_field(block, name, encode(text))


_TEXT_OF = {"text": "text", "tool_result": "content"}
"""Block type -> the field that holds its text."""


def _mark_content(raw: Raw, ttl: str) -> bytes:
    mark = encode({"type": "ephemeral", "ttl": "1h"} if ttl == "1h" else {"type": "ephemeral"})
    content: Any = msgspec.json.decode(raw)
    if isinstance(content, str):
        return b'[{"type":"text","text":' + bytes(raw) + b',"cache_control":' + mark + b"}]"
    blocks = decode(raw, list[Raw])
    if not blocks:
        raise CallerError("an empty message can't be marked", code="unsupported_edit")
    last = len(blocks) - 1
    holder = b'{"content":' + bytes(raw) + b"}"
    marked: dict[int, bytes | None] = {last: splice_field(bytes(blocks[last]), "cache_control", mark)}
    return bytes(fields(_join(holder, fields(holder), "content", blocks, marked))["content"])
