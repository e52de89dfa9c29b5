"""An error in the words of the caller's own SDK: a body before anything was sent, an event once a stream has begun.

What lives here: each dialect's error shape and its names for a status. What it must not know: why it failed.
"""

from typing import Any

import msgspec

from jevons.core.errors import JevonsError

_encode = msgspec.json.encode

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status, as its API reference lists them."""
TO_ANTHROPIC = {
    "server_error": "api_error",
    "insufficient_quota": "billing_error",
    "requests": "rate_limit_error",
    "tokens": "rate_limit_error",
    "service_unavailable_error": "overloaded_error",
}
"""OpenAI's words for kinds of errors that Anthropic calls otherwise."""
TO_OPENAI = {
    "api_error": "server_error",
    "overloaded_error": "server_error",
    "timeout_error": "server_error",
    "billing_error": "insufficient_quota",
    "request_too_large": "invalid_request_error",
}


def error_body(dialect: str, error: JevonsError) -> bytes:
    """The whole body of an error answer on a surface."""
    return _encode(shape_error(dialect, error.message, error.status, code=error.code, param=error.param))


def error_event(dialect: str, error: JevonsError) -> bytes:
    """The event that ends a stream which can't go on. No `[DONE]`, `message_stop` or `response.completed` follows."""
    if dialect == "responses":
        data = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "sequence_number": 0,
        }
        return b"event: error\ndata: " + _encode(data) + b"\n\n"
    prefix = b"event: error\n" if is_anthropic(dialect) else b""
    return prefix + b"data: " + error_body(dialect, error) + b"\n\n"


def shape_error(
    dialect: str, message: str, status: int, *, kind: str = "", code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The error object of a dialect. `kind` overrides the type that the status stands for."""
    if is_anthropic(dialect):
        return {"type": "error", "error": {"type": kind or anthropic_type(status), "message": message}}
    kind = kind or _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_type(status: int) -> str:
    """Anthropic's word for a status."""
    return _ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def is_anthropic(dialect: str) -> bool:
    """Whether a surface speaks Anthropic's errors."""
    return dialect in {"messages", "count_tokens"}
