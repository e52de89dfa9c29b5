"""Which calls a semantic cache may look at, and the hard partition that they are looked up in.

What it decides: that everything but the last question must be equal to the byte: tenant, surface, routes, model,
system, tools, parameters and the whole conversation before. The partition's name is the digest of the canonical
request with the question blanked out, so nothing that a request can say is forgotten. It is never found by likeness.
What it must not know: vectors, thresholds, stores.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError
from jevons.wire.cacheable import identity

SURFACES = frozenset({Surface.CHAT, Surface.MESSAGES})
MAX_QUESTION_CHARS: Final = 2000
"""Longer texts are documents; their likeness says nothing of their answers."""
MIN_QUESTION_CHARS: Final = 3
MARKED_TEXT = frozenset({"type", "text", "cache_control"})


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker is asked, as JSON: the key of a Find and of the Keep that follows it."""

    operation: str
    tenant: str
    namespace: str
    text: str
    level: float
    unit: Literal["request", "hit"]

    def key(self) -> bytes:
        return msgspec.json.encode(self)


def read_question(key: bytes) -> Question:
    """The inverse of `Question.key`. Raises msgspec.ValidationError or DecodeError on anything else."""
    return msgspec.json.decode(key, type=Question)


def ask(call: Call, routes: Sequence[str], level: float, unit: Literal["request", "hit"]) -> Question | None:
    """The call's question, or None when the call doesn't qualify (its last word is no plain text of the user)."""
    if call.surface not in SURFACES or call.peek.n not in {None, 1} or call.peek.store:
        return None
    try:
        body: dict[str, Any] = msgspec.json.decode(call.body, type=dict)
    except msgspec.DecodeError:
        return None
    text = blank(body)
    if text is None or not MIN_QUESTION_CHARS <= len(text) <= MAX_QUESTION_CHARS:
        return None
    try:
        rest = identity(call.surface, msgspec.json.encode(body))
    except CallerError:
        return None
    digest = blake2b(digest_size=24)
    for part in (call.caller.tenant, *routes):
        digest.update(f"{len(part)}:{part}".encode())
    digest.update(rest)
    return Question(
        operation=call.operation,
        tenant=call.caller.tenant,
        namespace=digest.hexdigest(),
        text=text,
        level=level,
        unit=unit,
    )


def blank(body: dict[str, Any]) -> str | None:
    """Take the last user text out of a decoded request, in place. None when the last turn is anything else."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    content = last.get("content")
    if isinstance(content, str):
        last["content"] = ""
        return content.strip()
    if not (isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict)):
        return None
    part = content[0]
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str) or part.keys() - MARKED_TEXT:
        return None
    part["text"] = ""
    return text.strip()
