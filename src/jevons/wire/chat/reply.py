"""A whole chat completion, read into the neutral reply and written from it.

What it must not know: the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.errors import UpstreamError
from jevons.core.prompt import Part, RedactedThinking, Refusal, Text, Thinking, ToolUse
from jevons.core.reply import Reply, StopReason
from jevons.wire.body import Object, encode, number_field, text_field, without_none
from jevons.wire.chat.prompt import Reasoned, read_part, read_thinking
from jevons.wire.chat.write import write_call, write_thinking
from jevons.wire.usage import read_usage, reported_cost, write_chat

STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}
FINISHES: dict[str, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "error": "stop",
}
"""Neutral stop -> `finish_reason`."""


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct):
    """A tool call, whole or as a delta."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Message(Reasoned):
    """The assistant's message, whole or as a delta."""

    content: str | list[Object] | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None


class _Choice(msgspec.Struct):
    message: Message
    finish_reason: str | None = None
    index: int = 0


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    id: Any = None
    model: Any = None
    created: Any = None
    usage: Any = None
    timings: Any = None
    service_tier: Any = None


_decode = msgspec.json.Decoder(_Reply).decode


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamError when the body is no chat completion."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError(f"the upstream's answer is no chat completion: {error}") from None
    if not found.choices:
        raise UpstreamError("the upstream's answer is no chat completion: it has no choices")
    first = found.choices[0]
    return Reply(
        id=text_field(found.id),
        model=text_field(found.model),
        parts=read_message(first.message),
        stop=STOPS.get(first.finish_reason or "", ""),
        usage=read_usage(found.usage, found.timings),
        tier=text_field(found.service_tier),
        cost_usd=reported_cost(found.usage),
        created=int(number_field(found.created, int) or 0),
        more=tuple(
            Reply(parts=read_message(choice.message), stop=STOPS.get(choice.finish_reason or "", ""))
            for choice in found.choices[1:]
        ),
    )


def read_message(message: Message) -> tuple[Part, ...]:
    """The parts of an answer: reasoning, text, refusal, calls."""
    parts = read_thinking(message)
    if isinstance(message.content, str) and message.content:
        parts.append(Text(message.content))
    elif isinstance(message.content, list):
        parts.extend(read_part(raw, "message.content") for raw in message.content)
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts.extend(_call(call) for call in message.tool_calls or ())
    return tuple(parts)


def _call(call: Call) -> ToolUse:
    function = call.function or Function()
    return ToolUse(call.id or "", function.name or "", arguments_text(function.arguments))


def arguments_text(arguments: Any) -> str:
    """Arguments as text; some servers send the object itself."""
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else encode(arguments).decode()


def write_reply(reply: Reply) -> bytes:
    """A `chat.completion` object."""
    body = {
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [_choice(each, index) for index, each in enumerate((reply, *reply.more))],
        "usage": write_chat(reply.usage) if reply.usage else None,
        "service_tier": reply.tier if reply.tier in TIERS else None,
    }
    return encode(without_none(body))


TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
"""The tiers that OpenAI's clients know; another provider's word is left out."""


def _choice(reply: Reply, index: int) -> Object:
    texts = [part.text for part in reply.parts if isinstance(part, Text)]
    calls = [write_call(part) for part in reply.parts if isinstance(part, ToolUse)]
    refusals = [part.text for part in reply.parts if isinstance(part, Refusal)]
    thinking: list[Part] = [part for part in reply.parts if isinstance(part, Thinking | RedactedThinking)]
    message: Object = {
        "role": "assistant",
        "content": "".join(texts) if texts else None if calls or refusals else "",
        "refusal": "".join(refusals) or None,
        **({"tool_calls": calls} if calls else {}),
        **write_thinking(thinking),
    }
    finish = FINISHES.get(reply.stop, "tool_calls" if calls else "stop")
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
