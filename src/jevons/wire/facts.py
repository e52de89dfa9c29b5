"""What a whole reply says of itself: which model, what it burned, on which tier, how it stopped.

A partial decode: texts are skipped. What lives here: where each dialect puts these facts. Rubbish gives `ok` False,
never an exception. What it must not know: prices.
"""

from typing import Any

import msgspec

from jevons.core.usage import NOTHING, Usage
from jevons.wire.usage import read_usage, reported_cost, reported_tier


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """None and '' mean that the reply does not say."""

    model: str = ""
    usage: Usage | None = None
    tier: str = ""
    cost_usd: float | None = None
    stop: str = ""
    """In the dialect's own word."""
    id: str = ""
    ok: bool = False
    """It has the shape of an answer on this surface."""


RUBBISH = Facts()


ABSENT = msgspec.Raw()


class _Choice(msgspec.Struct):
    finish_reason: Any = None


class _Reply(msgspec.Struct):
    """The union of what the dialects' replies hold beside their texts."""

    id: Any = None
    model: Any = None
    usage: Any = None
    timings: Any = None
    service_tier: Any = None
    stop_reason: Any = None
    status: Any = None
    incomplete_details: Any = None
    input_tokens: Any = None
    choices: list[_Choice] | None = None
    content: msgspec.Raw = ABSENT
    output: msgspec.Raw = ABSENT
    data: msgspec.Raw = ABSENT


_decode = msgspec.json.Decoder(_Reply).decode


def facts(dialect: str, body: bytes) -> Facts:
    """Read a reply of a surface (chat | responses | messages | embeddings | count_tokens)."""
    try:
        reply = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RUBBISH
    usage = read_usage(reply.usage, reply.timings)
    ok, stop = _shape(dialect, reply)
    if dialect == "count_tokens" and ok:
        usage = NOTHING  # counting burns nothing
    return Facts(
        model=_text(reply.model),
        usage=usage,
        tier=_text(reply.service_tier) or reported_tier(reply.usage),
        cost_usd=reported_cost(reply.usage),
        stop=stop,
        id=_text(reply.id),
        ok=ok,
    )


def _shape(dialect: str, reply: _Reply) -> tuple[bool, str]:
    if dialect == "chat":
        return reply.choices is not None, _text(reply.choices[0].finish_reason) if reply.choices else ""
    if dialect == "messages":
        return _is_list(reply.content), _text(reply.stop_reason)
    if dialect == "responses":
        details = reply.incomplete_details
        reason = _text(details.get("reason")) if type(details) is dict else ""
        return _is_list(reply.output), reason or _text(reply.status)
    if dialect == "embeddings":
        return _is_list(reply.data), ""
    return type(reply.input_tokens) is int, ""


def _is_list(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["


def _text(found: Any) -> str:
    return found if type(found) is str else ""
