"""Getting back what was folded or removed: the tool that the model is offered, and what it answers.

What lives here: the tool's definition, the text left in a result's place, and slices of a kept text. Keeping and
finding the texts is the caller's work, under the tenant's wall.
"""

import re
from typing import Any

from jevons.core.prompt import Tool

NAME = "recall_result"
MAX_LINES = 400
MAX_CHARS = 40_000
_CONTEXT = 2

TOOL = Tool(
    name=NAME,
    description=(
        "Returns text that was left out of an earlier tool result. Such places read [... recall ID]. "
        "Give a range of lines or a word to get only the part that is needed."
    ),
    schema={
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "The ID that follows the word recall"},
            "first_line": {"type": "integer", "minimum": 1},
            "last_line": {"type": "integer", "minimum": 1},
            "containing": {"type": "string", "description": "Only lines that contain this text, with their neighbours"},
        },
        "required": ["id"],
    },
)


def stub(label: str, lines: int, name: str) -> str:
    """What stands in a removed result's place."""
    return f"[{label}: {lines} lines left out, recall {name}]"


def answer(kept: str, arguments: dict[str, Any]) -> str:
    """The asked part of a kept text, at most MAX_LINES lines and MAX_CHARS characters; it says where it cut."""
    lines = kept.split("\n")
    numbers = _chosen(lines, arguments)
    shown = "\n".join(lines[at] for at in numbers[:MAX_LINES])
    if len(numbers) > MAX_LINES or len(shown) > MAX_CHARS:
        return f"{shown[:MAX_CHARS]}\n[cut: {len(numbers)} lines match, ask for a range of lines]"
    return shown or "[nothing matches]"


def _chosen(lines: list[str], arguments: dict[str, Any]) -> list[int]:
    first, last, word = (arguments.get(key) for key in ("first_line", "last_line", "containing"))
    low = first - 1 if isinstance(first, int) and first > 0 else 0
    high = last if isinstance(last, int) and last > 0 else len(lines)
    numbers = list(range(low, min(high, len(lines))))
    if not isinstance(word, str) or not word:
        return numbers
    found = re.compile(re.escape(word), re.IGNORECASE)
    hits = [at for at in numbers if found.search(lines[at])]
    return sorted({at for hit in hits for at in range(max(low, hit - _CONTEXT), min(hit + _CONTEXT + 1, len(lines)))})
