"""The few helpers that raw ASGI needs: reading headers and bodies within bounds, sending whole answers.

What lives here: the ASGI messages. What it must not know: calls, pipelines, stores.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.errors import CallerError, JevonsError, TooLarge
from jevons.wire.errors import error_body

ASGISend = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]

WANTED = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"anthropic-beta",
        b"anthropic-version",
        b"openai-organization",
        b"openai-project",
        b"openai-beta",
        b"idempotency-key",
        b"traceparent",
        b"transfer-encoding",
        b"x-session-id",
        b"session-id",
        b"x-claude-code-session-id",
        b"session_id",
        b"x-conversation-id",
        b"conversation_id",
        b"x-stainless-retry-count",
    }
)
"""Request headers that anything here looks at, besides `x-jevons-...`."""

MAX_DRAINED_BYTES = 64 * 1024 * 1024
"""So much of a body that is too large is read and dropped: a client that is still sending would see its connection
reset in place of the answer. A larger one is answered at once, and cut."""


def wanted(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The request headers that anything here looks at; the first of each name counts."""
    headers: dict[str, str] = {}
    for name, value in raw:
        if name in WANTED or name.startswith(b"x-jevons-"):
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


async def read_body(headers: Mapping[str, str], receive: ASGIReceive, limit: int) -> bytes:
    """The whole request body. Raises TooLarge, or CallerError for a caller who leaves or compresses."""
    if headers.get("content-encoding", "identity") != "identity":
        raise CallerError("send the body uncompressed: compressed requests are not taken", status=415)
    if headers.get("transfer-encoding", "chunked").lower() != "chunked":
        raise CallerError("the only transfer coding that is taken is `chunked`", code="unsupported_coding", status=400)
    length = headers.get("content-length", "")
    announced = int(length) if length.isdigit() else 0
    if announced > limit + MAX_DRAINED_BYTES:
        raise TooLarge(f"the body is {announced} bytes; the limit here is {limit} (server.max_body_bytes)")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerError("the caller left before its request was whole", code="incomplete_request", status=400)
        body = message.get("body", b"")
        size += len(body)
        more = message.get("more_body", False)
        if max(size, announced) > limit:
            parts.clear()
            if not more or size > limit + MAX_DRAINED_BYTES:
                raise TooLarge(f"the body is larger than the limit of {limit} bytes (server.max_body_bytes)")
            continue
        parts.append(body)
        if not more:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_error(send: ASGISend, surface: Surface, error: JevonsError) -> None:
    """An error as a whole answer in the surface's dialect."""
    headers = [(b"x-jevons-error", error.code.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", f"{max(1, round(error.retry_after_s))}".encode()))
    if error.allow:
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, TooLarge):
        headers.append((b"connection", b"close"))
    await send_whole(send, error.status, error_body(surface, error), headers)


async def send_json(send: ASGISend, value: Any, status: int = 200) -> None:
    await send_whole(send, status, msgspec.json.encode(value), [])


async def send_whole(
    send: ASGISend,
    status: int,
    body: bytes,
    headers: list[tuple[bytes, bytes]],
    content_type: bytes = b"application/json",
) -> None:
    start = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
