"""The few fields that every call is looked up by, read from a body whose conversation is never decoded.

What it decides: what a body must have before anything is done with it. What it must not know: what is done. Unknown
fields are the provider's business and travel on as they came.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from jevons.core.call import Peek, Surface
from jevons.core.errors import CallerError
from jevons.wire.toplevel import Fields, fields, span

_MODEL = msgspec.json.Decoder(str).decode
_TEXT = msgspec.json.Decoder(str | None).decode
_FLAG = msgspec.json.Decoder(bool | None).decode
_COUNT = msgspec.json.Decoder(int | None).decode
_NUMBER = msgspec.json.Decoder(float | None).decode
_OBJECT = msgspec.json.Decoder(dict[str, Any] | None).decode

_READ: dict[str, tuple[str, Callable[[msgspec.Raw], Any]]] = {
    "temperature": ("temperature", _NUMBER),
    "seed": ("seed", _COUNT),
    "n": ("n", _COUNT),
    "max_tokens": ("max_tokens", _COUNT),
    "max_completion_tokens": ("max_tokens", _COUNT),
    "max_output_tokens": ("max_tokens", _COUNT),
    "service_tier": ("service_tier", _TEXT),
    "prompt_cache_key": ("prompt_cache_key", _TEXT),
    "user": ("user", _TEXT),
    "metadata": ("metadata", _OBJECT),
    "previous_response_id": ("previous_response_id", _TEXT),
    "store": ("store", _FLAG),
    "stream": ("stream", _FLAG),
}
"""Body field -> field of Peek and its reader. The three names of one limit never stand in one valid body."""

_NEEDS = {
    Surface.CHAT: ("messages", b"["),
    Surface.MESSAGES: ("messages", b"["),
    Surface.COUNT_TOKENS: ("messages", b"["),
    Surface.EMBEDDINGS: ("input", b'"['),
    Surface.RESPONSES: ("", b""),
}
"""What no body of a surface can do without, and how its JSON begins."""

_KINDS = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "true", b"f": "false", b"n": "null"}


def peek(surface: Surface, body: bytes) -> Peek:
    """Look into a request. Raises CallerError that says what is wrong and where, and names the field in `param`."""
    return peek_fields(surface, body, fields(body))


def peek_fields(surface: Surface, body: bytes, found: Fields) -> Peek:
    """`peek` for a caller who has the body's fields already."""
    raw = found.get("model")
    if raw is None:
        raise CallerError("the body has no `model`", code="missing_model", param="model")
    model: str = _decode(_MODEL, raw, "model")
    if not model:
        raise CallerError("`model` is empty", code="missing_model", param="model")
    known: dict[str, Any] = {}
    for name, value in found.items():
        reader = _READ.get(name)
        if reader is not None:
            decoded = _decode(reader[1], value, name)
            if decoded is not None:
                known[reader[0]] = decoded
    _check(surface, found, known)
    options = found.get("stream_options")
    tools = found.get("tools")
    return Peek(
        model=model,
        include_usage=options is not None and _asks_usage(options),
        has_stream_options=options is not None,
        has_tools=tools is not None and len(tools) > 4,
        model_span=span(body, found, "model"),
        **known,
    )


def _asks_usage(options: msgspec.Raw) -> bool:
    return (_decode(_OBJECT, options, "stream_options") or {}).get("include_usage") is True


def _decode(reader: Callable[[msgspec.Raw], Any], raw: msgspec.Raw, name: str) -> Any:
    try:
        return reader(raw)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        text = str(error)
        where = text.partition(" - at `$")[2].rstrip("`")
        raise CallerError(f"`{name}{where}`: {text.partition(' - at ')[0]}", code="invalid_type", param=name) from None


def _check(surface: Surface, found: Fields, known: dict[str, Any]) -> None:
    """What would otherwise fail late: the conversation's kind, and counts that no budget could reserve."""
    needed, begins = _NEEDS.get(surface, ("", b""))
    if needed:
        raw = found.get(needed)
        if raw is None:
            raise CallerError(f"the body has no `{needed}`", code="missing_field", param=needed)
        first = bytes(memoryview(raw)[:1])
        if first not in begins:
            kind = _KINDS.get(first, "a number")
            wanted = "an array" if begins == b"[" else "a string or an array"
            raise CallerError(f"`{needed}` must be {wanted}, got {kind}", code="invalid_type", param=needed)
    if known.get("max_tokens", 0) < 0:
        raise CallerError("the limit of output tokens must not be negative", code="invalid_value", param="max_tokens")
    if known.get("n", 1) < 1:
        raise CallerError("`n` must be at least 1", code="invalid_value", param="n")
