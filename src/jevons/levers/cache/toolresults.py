"""Answers of tools that only read: kept per tenant for as long as the configuration says, found by their arguments.

What lives here: which tools are declared read-only and for how long each answer holds, the key of a call, and what a
conversation's fresh results put into the cache. Nothing is guessed: a tool that is not declared is never kept or
served. It must not know who runs the tools; it yields Find and Keep asks, and the driver answers.
"""

import hashlib
import json
from collections.abc import Generator, Mapping
from typing import Any

from jevons.core.ask import Ask, Find, Keep, Stored
from jevons.core.prompt import Prompt, Text, ToolResult, ToolUse

STORE = "tools"
MAX_ARGUMENTS = 16_384
MAX_RESULT = 1_000_000
MAX_TTL_S = 7 * 86_400.0


class ToolResults:
    """`declared`: tool name -> seconds that its answer holds; 0 < seconds <= MAX_TTL_S.

    Raises ValueError on another lifetime.
    """

    def __init__(self, declared: Mapping[str, float]):
        for name, seconds in declared.items():
            if not 0 < seconds <= MAX_TTL_S:
                raise ValueError(f"tool {name}: a lifetime of {seconds} s is not within (0, {MAX_TTL_S:.0f}]")
        self._declared = dict(declared)

    def key(self, name: str, arguments: str) -> bytes | None:
        """A call's identity: the tool and its canonical arguments. None when it must not be cached."""
        if name not in self._declared or len(arguments) > MAX_ARGUMENTS:
            return None
        canonical = canonicalise(arguments)
        if canonical is None:
            return None
        return hashlib.blake2b(f"{name}\x00{canonical}".encode("utf-8", "surrogatepass"), digest_size=20).digest()

    def find(self, tenant: str, name: str, arguments: str, now: float) -> Generator[Ask, Any, str | None]:
        """The kept answer of a tool call, while it holds."""
        key = self.key(name, arguments)
        if key is None:
            return None
        stored = yield Find(STORE, tenant, key)
        if not isinstance(stored, Stored) or not 0 <= now - stored.at < self._declared[name]:
            return None
        return stored.body.decode()

    def keep(self, tenant: str, name: str, arguments: str, text: str, at: float) -> Keep | None:
        """What to keep of one answer; None when the tool is not declared or the answer is too large."""
        key = self.key(name, arguments)
        if key is None or len(text) > MAX_RESULT:
            return None
        stored = Stored(
            status=200, body=text.encode("utf-8", "replace"), content_type="text/plain", model=name, usage=None,
            cost_nano=0, operation="", at=at,
        )  # fmt: skip
        return Keep(STORE, tenant, key, stored, self._declared[name])

    def harvest(self, tenant: str, prompt: Prompt, at: float) -> list[Keep]:
        """What the results behind a conversation's last answer add; older ones were added when they were new.

        Errors, pictures and results without their call add nothing.
        """
        start = max((i for i, turn in enumerate(prompt.turns) if turn.role == "assistant"), default=len(prompt.turns))
        uses = {part.id: part for part in _parts(prompt, start, start + 1) if isinstance(part, ToolUse)}
        found: list[Keep] = []
        for part in _parts(prompt, start + 1, len(prompt.turns)):
            if not isinstance(part, ToolResult) or part.is_error or part.tool_use_id not in uses:
                continue
            if len(part.parts) != 1 or not isinstance(part.parts[0], Text):
                continue
            use = uses[part.tool_use_id]
            kept = self.keep(tenant, use.name, use.arguments, part.parts[0].text, at)
            if kept is not None:
                found.append(kept)
        return found


def canonicalise(arguments: str) -> str | None:
    """Arguments with sorted keys and no free white space; None unless they are one JSON object with distinct keys."""
    try:
        value = json.loads(arguments or "{}", object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _parts(prompt: Prompt, start: int, end: int) -> list[Any]:
    return [part for turn in prompt.turns[start:end] for part in turn.parts]
