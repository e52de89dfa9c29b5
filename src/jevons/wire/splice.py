"""Changing one top-level field of a request and no other byte.

What it must not know: why. The conversation is never decoded: values are skipped and bytes are cut and joined.
"""

from typing import Any

import msgspec

from jevons.wire.toplevel import Fields, fields, span

_encode = msgspec.json.encode
_USAGE = b'"stream_options":{"include_usage":true}'


def splice_model(body: bytes, where: tuple[int, int], model: str) -> bytes:
    """Another model name at `Peek.model_span`."""
    start, end = where
    return b"".join((body[:start], _encode(model), body[end:]))


def splice_field(body: bytes, name: str, value: bytes) -> bytes:
    """Set a top-level field to a JSON value: in its place when it is there, else as the last. Raises CallerError."""
    found = fields(body)
    start, end = span(body, found, name)
    if end:
        return b"".join((body[:start], value, body[end:]))
    return _append(body, b"".join((_encode(name), b":", value)), empty=not found)


def append_field(body: bytes, name: str, value: bytes) -> bytes:
    """A top-level field that the body is known not to have, as its last: nothing is read, no offset before it moves.

    The body must be a JSON object with a field in it.
    """
    return _append(body, b"".join((_encode(name), b":", value)), empty=False)


def ask_usage(body: bytes, *, absent: bool = False) -> bytes:
    """A chat stream that reports its usage: `stream_options.include_usage` set, other options kept.

    absent: the caller of this function knows from its Peek that the body has no `stream_options`; then nothing is read
    (4 us instead of 44 at 100 KB).
    """
    found: Fields = {} if absent else fields(body)
    raw = found.get("stream_options")
    if raw is None:
        return _append(body, _USAGE, empty=not (absent or found))
    options: Any = msgspec.json.decode(raw)
    merged = _encode({**(options if isinstance(options, dict) else {}), "include_usage": True})
    start, end = span(body, found, "stream_options")
    return b"".join((body[:start], merged, body[end:]))


def _append(body: bytes, member: bytes, *, empty: bool) -> bytes:
    at = body.rindex(b"}")
    return b"".join((body[:at], member if empty else b"," + member, body[at:]))
