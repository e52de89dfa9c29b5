"""Logs of whole requests and answers, one pair a line: {request, response} or {body, response: {body}}.

What lives here: where such logs keep the two bodies, the time, the session and the id. OpenAI chat completions,
Responses and embeddings, and Anthropic messages are told apart by the shape of the answer and the request. What it must
not know: prices, sessions that are only to be guessed.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.replay.audit.files import Record
from jevons.replay.audit.seen import Malformed, Once, Seen, amount, inner, moment, text
from jevons.wire.usage import read_usage, reported_cost, reported_tier

SESSION_KEYS = ("session_id", "sessionId", "conversation_id", "thread_id", "trace_id", "traceId", "task_id", "run_id")
TIME_KEYS = ("timestamp", "time", "ts", "started_at", "start_time", "startTime", "created_at", "created", "date")
MESSAGES_ONLY = ("system", "anthropic_version", "stop_sequences", "thinking")


class _Line(msgspec.Struct):
    request: msgspec.Raw = msgspec.Raw(b"null")
    body: msgspec.Raw = msgspec.Raw(b"null")
    response: msgspec.Raw = msgspec.Raw(b"null")


class _Boxed(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw(b"null")


class Reader:
    """See the module's first lines."""

    name = "OpenAI and Anthropic request logs"

    def __init__(self) -> None:
        self.once = Once()

    def take(self, record: Record, where: str) -> Iterator[Seen]:
        """The pair's call. Raises Malformed."""
        if isinstance(record, dict):
            raise Malformed("a CSV row among request logs")
        try:
            line = msgspec.json.decode(record, type=_Line)
            around = msgspec.json.decode(record)
            body = _unboxed(line.request if bytes(line.request) != b"null" else line.body)
            asked, reply = msgspec.json.decode(body), msgspec.json.decode(_unboxed(line.response))
        except msgspec.ValidationError:
            raise Malformed("a field of another type") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("not JSON") from None
        if not isinstance(asked, dict) or not isinstance(reply, dict):
            raise Malformed("no request or no response")
        usage = read_usage(reply.get("usage"), reply.get("timings"))
        model = text(reply.get("model")) or text(asked.get("model"))
        if usage is None or not model:
            raise Malformed("an answer without usage or model")
        metadata = {**inner(asked.get("metadata")), **inner(around.get("metadata"))}
        name = text(reply.get("id"))
        if not self.once(name):
            return
        yield Seen(
            at=_first_moment(around) or moment(reply.get("created")) or moment(reply.get("created_at")),
            model=model,
            usage=usage,
            session=_first_text(around, SESSION_KEYS) or _first_text(metadata, SESSION_KEYS),
            id=name,
            provider=text(around.get("provider")),
            cost_usd=_cost(around, reply),
            tier=text(reply.get("service_tier")) or reported_tier(reply.get("usage")),
            surface=surface_of(asked, reply),
            body=body,
            where=where,
        )

    def end(self) -> Iterator[Seen]:
        """Nothing is held between lines."""
        yield from ()


def is_line(found: dict[str, Any]) -> bool:
    """A pair of request and response, by its keys."""
    return "response" in found and ("request" in found or "body" in found)


def surface_of(asked: dict[str, Any], reply: dict[str, Any]) -> Surface:
    """The endpoint that a pair of bodies comes from."""
    if reply.get("type") == "message" or "stop_reason" in reply:
        return Surface.MESSAGES
    if "messages" in asked:
        kin = any(key in asked for key in MESSAGES_ONLY) and "choices" not in reply
        return Surface.MESSAGES if kin else Surface.CHAT
    if "input" in asked:
        listed = isinstance(reply.get("data"), list) and "output" not in reply
        return Surface.EMBEDDINGS if listed else Surface.RESPONSES
    return Surface.RAW


def _unboxed(raw: msgspec.Raw) -> bytes:
    """A body, or the body inside an envelope with headers and a status; one written as a text is opened."""
    found = bytes(raw)
    for _ in range(2):
        if found.startswith(b'"'):
            found = msgspec.json.decode(found, type=str).encode("utf-8", "replace")
        elif found.startswith(b"{"):
            boxed = bytes(msgspec.json.decode(found, type=_Boxed).body)
            if boxed == b"null":
                break
            found = boxed
    return found


def _first_moment(found: dict[str, Any]) -> float:
    return next((at for at in (moment(found.get(key)) for key in TIME_KEYS) if at), 0.0)


def _first_text(found: dict[str, Any], keys: tuple[str, ...]) -> str:
    return next((value for value in (text(found.get(key)) for key in keys) if value), "")


def _cost(around: dict[str, Any], reply: dict[str, Any]) -> float | None:
    cost = reported_cost(reply.get("usage"))
    return cost if cost is not None else amount(around.get("cost_usd"))
