"""Putting edits into a prompt, and proving that nothing else changed. On any doubt the prompt goes untouched.

What must hold after every trim: the same turns in the same order, every tool call with its result, thinking with its
signature, and only the text of single-text tool results replaced. This file does not know why an edit was made.
"""

from collections.abc import Iterable, Sequence

import msgspec

from jevons.core.prompt import Part, Prompt, Text, ToolResult, ToolUse, Turn
from jevons.levers.lever import Edit


def editable(part: Part) -> str | None:
    """The text of a tool result that may be edited: exactly one text and nothing else. None for any other part."""
    if isinstance(part, ToolResult) and len(part.parts) == 1 and isinstance(part.parts[0], Text):
        return part.parts[0].text
    return None


def apply(prompt: Prompt, edits: Iterable[Edit]) -> Prompt:
    """The prompt with tool results' texts replaced; every other part is the same object.

    Raises ValueError on an edit that names no editable part.
    """
    turns = list(prompt.turns)
    for edit in edits:
        if not 0 <= edit.turn < len(turns) or not 0 <= edit.part < len(turns[edit.turn].parts):
            raise ValueError(f"edit of turn {edit.turn}, part {edit.part}: the prompt has no such part")
        turn = turns[edit.turn]
        part = turn.parts[edit.part]
        if edit.text is None or not edit.text or not isinstance(part, ToolResult) or editable(part) is None:
            raise ValueError(f"edit of turn {edit.turn}, part {edit.part}: not the text of a tool result")
        text = msgspec.structs.replace(part.parts[0], text=edit.text)
        parts = list(turn.parts)
        parts[edit.part] = msgspec.structs.replace(part, parts=(text,))
        turns[edit.turn] = msgspec.structs.replace(turn, parts=tuple(parts))
    return msgspec.structs.replace(prompt, turns=tuple(turns))


def doubt(before: Prompt, after: Prompt, edits: Sequence[Edit]) -> str:
    """Why the edited prompt must not be sent; '' when all that must hold does."""
    if len(before.turns) != len(after.turns):
        return "turns"
    if len({(edit.turn, edit.part) for edit in edits}) != len(edits):
        return "twice"
    touched = {(edit.turn, edit.part) for edit in edits}
    for number, (old, new) in enumerate(zip(before.turns, after.turns, strict=True)):
        if old is new:
            continue
        if old.role != new.role or len(old.parts) != len(new.parts):
            return "order"
        for at, (was, now) in enumerate(zip(old.parts, new.parts, strict=True)):
            if was is not now and ((number, at) not in touched or _identity(was) != _identity(now)):
                return "part"
    return "" if pairs(before.turns) == pairs(after.turns) else "pairs"


def pairs(turns: Iterable[Turn]) -> list[tuple[str, str]]:
    """All tool calls and results in order, as (kind, id)."""
    found: list[tuple[str, str]] = []
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, ToolUse):
                found.append(("call", part.id))
            elif isinstance(part, ToolResult):
                found.append(("result", part.tool_use_id))
    return found


def _identity(part: Part) -> object:
    """What an edit may not change of a part."""
    if isinstance(part, ToolResult):
        return ("result", part.tool_use_id, part.is_error, part.cache, len(part.parts))
    return part
