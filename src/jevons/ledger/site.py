"""The call site: which place in a program a call comes from, told by its system template, its tools and its key.

What it decides: what of a system text is template (dates, times, ids, paths, numbers are not), and a short stable name
for template + tools' names + key. What it must not know: prices, tasks, where sites are kept. A template is cached by
the bytes that it came in, so a program whose prompt does not change pays for one hash of it.
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

MOST_TEMPLATES = 4_096
"""Digests remembered of each kind (about 100 bytes each); past it all are forgotten and made again."""
TEMPLATE_CHARS = 4_000
"""Characters of a system text that count. Agents put what changes (directory, date, state of the tree) at its end."""
WHOLE_BYTES, SAMPLES, SAMPLE_BYTES = 4_096, 24, 128
"""Up to the first, bytes are hashed whole (3 us); 50 KB of tools would take 30 us, their samples 4."""
MOST_TOOLS = 1_024
LONGEST_NAME = 64

_VOLATILE = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # UUID
    r"|https?://[^\s\"'<>)\]]+"
    r"|(?<![\w/])(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}[/\\]?"  # path
    r"|\bx-anthropic-billing-header:[^\n]*"  # Claude Code's: it holds a check sum of each call
    r"|\b[0-9a-fA-F]{12,}\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}\b"  # digest, short digest
    r"|\b(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b,?"
    r"|\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?(?=,? *\d)"
    r"|\d+(?:[.,:/T+-]\d+)*(?:Z|th|st|nd|rd)?"  # number, date, time
)
_SPACE = re.compile(r"\s+")


class Sites:
    """Names call sites. One per gateway; bounded."""

    def __init__(self) -> None:
        self._templates: dict[int, bytes] = {}
        self._tools: dict[int, bytes] = {}
        self._names: dict[tuple[str, bytes, bytes], str] = {}

    def name(self, key_id: str, system: bytes, tools: bytes, given: str = "") -> str:
        """`s_` and 16 hex digits; `given`: the caller's own name for the site stands for template and tools."""
        if given:
            return f"s_{_digest(key_id.encode(), given[:LONGEST_NAME].encode()).hex()}"
        template = _cached(self._templates, system, template_of)
        names = _cached(self._tools, tools, tool_names)
        key = (key_id, template, names)
        found = self._names.get(key)
        if found is None:
            if len(self._names) >= MOST_TEMPLATES:
                self._names.clear()
            found = self._names[key] = f"s_{_digest(key_id.encode(), template, names).hex()}"
        return found


def template_of(raw: bytes) -> bytes:
    """A system text (a JSON string, a list of blocks or of messages) without what changes by itself."""
    text = _VOLATILE.sub("#", _text(_decoded(raw))[: 2 * TEMPLATE_CHARS])
    return _SPACE.sub(" ", text).strip()[:TEMPLATE_CHARS].encode("utf-8", "replace")


def tool_names(raw: bytes) -> bytes:
    """The names of the tools, whatever their order."""
    tools = _decoded(raw)
    names = {_tool_name(tool) for tool in tools[:MOST_TOOLS]} if isinstance(tools, list) else set()
    return "\0".join(sorted(names)).encode("utf-8", "replace")


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return ""
    inner = tool.get("function")
    name = tool.get("name") or (inner.get("name") if isinstance(inner, dict) else None) or tool.get("type")
    return str(name)


def _text(value: Any, depth: int = 3) -> str:
    """All text of a string, of blocks, or of messages that hold one of them."""
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "\n".join(_text(each, depth - 1) for each in value)
    if depth and isinstance(value, dict):
        return _text(value.get("text") or value.get("content"), depth - 1)
    return ""


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _cached(cache: dict[int, bytes], raw: bytes, make: Callable[[bytes], bytes]) -> bytes:
    """The digest of what is made of some bytes, kept under Python's keyed hash of them. Of long bytes the ends and
    evenly spaced samples are hashed: what differs only between them is the same template with the same tools."""
    size = len(raw)
    if size <= WHOLE_BYTES:
        key = hash((size, raw))
    else:
        step = size // SAMPLES
        key = hash((size, *[raw[at : at + SAMPLE_BYTES] for at in range(0, size, step)], raw[-SAMPLE_BYTES:]))
    found = cache.get(key)
    if found is None:
        if len(cache) >= MOST_TEMPLATES:
            cache.clear()
        found = cache[key] = _digest(make(raw))
    return found


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=8, person=b"jevons.site")
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
