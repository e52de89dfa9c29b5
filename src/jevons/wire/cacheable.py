"""What makes two requests the same, and one stored answer both a whole reply and a stream.

What lives here: the canonical form of a request, and the two ways between a stream and a whole body of one dialect.
All fields of an answer survive both ways, those without a neutral name included. What it must not know: stores,
tenants, lifetimes.
"""

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.errors import CallerError, UpstreamError
from jevons.wire import collect, replay
from jevons.wire.body import Object, encode
from jevons.wire.sse import Splitter
from jevons.wire.toplevel import explain

DIGEST_BYTES = 32
EXACT = 2**53
"""Whole numbers below this are exact as floats, so 1.0 and 1 are one number."""
MAX_NUMBER = 1.7976931348623157e308
NOT_IDENTITY = ("stream", "stream_options")
"""How an answer is sent is no part of what it is."""


def identity(surface: Surface, body: bytes) -> bytes:
    """A digest (32 bytes) of the whole request: keys sorted, numbers normalised (1.0 is 1), white space, escapes gone.

    Raises CallerError on anything but one JSON object, and on a key given twice at any depth: two readers could take
    it for two requests. Measured: 0.37 ms at 100 KB, 0.74 ms where the body is escaped or spaced and is read twice.
    """
    found = _canonical(body)
    for name in NOT_IDENTITY:
        found.pop(name, None)
    digest = blake2b(surface.value.encode(), digest_size=DIGEST_BYTES)
    digest.update(b"\0")
    digest.update(msgspec.json.encode(found, order="deterministic"))
    return digest.digest()


def replay_stream(dialect: str, body: bytes, *, include_usage: bool = True) -> bytes:
    """A whole answer as the stream that would have brought it. Raises UpstreamError when it is no such answer."""
    try:
        whole: Object = msgspec.json.decode(body, type=dict)
        return replay.WRITERS[dialect](whole, include_usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, *replay.MISSHAPEN) as error:
        raise UpstreamError(f"a stored answer is no {dialect} answer: {error!r}") from None


def collect_stream(dialect: str, chunks: Iterable[bytes]) -> bytes:
    """A stream as the whole answer that it brought; b'' when it was cut, failed, or is rubbish."""
    splitter, collector = Splitter(), collect.COLLECTORS[dialect]()
    try:
        for chunk in chunks:
            for event in splitter.feed(chunk):
                collector.take(event.data)
        whole = collector.whole()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, UpstreamError, *replay.MISSHAPEN):
        return b""
    return encode(whole) if whole is not None else b""


def _number(text: str) -> float | int:
    value = float(text)
    if abs(value) > MAX_NUMBER:
        raise ValueError(f"the number {text[:32]} is out of range")
    return int(value) if value.is_integer() and abs(value) < EXACT else value


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=_number).decode


def _canonical(body: bytes) -> Object:
    try:
        found = _decode(body)
        if encode(found) != body:  # escapes, white space or other numbers: only then can a key be doubled unseen
            found = json.loads(body, object_pairs_hook=_pairs, parse_float=_number, parse_constant=_constant)
    except CallerError:
        raise
    except msgspec.DecodeError as error:
        raise CallerError(explain(error, len(body)), code="invalid_json") from None
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError
        raise CallerError(f"the body is not valid JSON: {error}", code="invalid_json") from None
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise CallerError(f"the body holds the key {key!r} more than once", code="duplicate_key", param=key)
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
