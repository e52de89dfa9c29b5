"""Between the three dialects, hub and spoke: read into the neutral form, write from it.

What lives here: which reader and writer belong to a dialect, and how an error of one is told in another. What it must
not know: any dialect's shape. What can't be carried comes back as a warning; a stream that was cut gets no end here.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from jevons.core.errors import CallerError
from jevons.core.prompt import Prompt
from jevons.core.reply import Event, Reply, Started
from jevons.wire import errors
from jevons.wire.body import encode, loads, text_field
from jevons.wire.chat import prompt as chat_prompt
from jevons.wire.chat import reply as chat_reply
from jevons.wire.chat import stream as chat_stream
from jevons.wire.chat import write as chat_write
from jevons.wire.messages import prompt as messages_prompt
from jevons.wire.messages import reply as messages_reply
from jevons.wire.messages import stream as messages_stream
from jevons.wire.messages import write as messages_write
from jevons.wire.responses import prompt as responses_prompt
from jevons.wire.responses import reply as responses_reply
from jevons.wire.responses import stream as responses_stream
from jevons.wire.responses import stream_write as responses_stream_write
from jevons.wire.responses import write as responses_write


class Reader(Protocol):
    """Stream bytes in, neutral events out."""

    def feed(self, piece: bytes) -> list[Event]: ...


class Writer(Protocol):
    """Neutral events in, stream bytes out."""

    def write(self, event: Event) -> bytes: ...


class Dialect(msgspec.Struct, frozen=True):
    """All that a dialect can do."""

    read_prompt: Callable[[bytes], Prompt]
    write_prompt: Callable[[Prompt], tuple[bytes, tuple[str, ...]]]
    read_reply: Callable[[bytes], Reply]
    write_reply: Callable[[Reply], bytes]
    reader: Callable[[], Reader]
    writer: Callable[[str], Writer]


DIALECTS = {
    "chat": Dialect(
        chat_prompt.read_prompt,
        chat_write.write_prompt,
        chat_reply.read_reply,
        chat_reply.write_reply,
        chat_stream.StreamReader,
        chat_stream.StreamWriter,
    ),
    "messages": Dialect(
        messages_prompt.read_prompt,
        messages_write.write_prompt,
        messages_reply.read_reply,
        messages_reply.write_reply,
        messages_stream.StreamReader,
        messages_stream.StreamWriter,
    ),
    "responses": Dialect(
        responses_prompt.read_prompt,
        responses_write.write_prompt,
        responses_reply.read_reply,
        responses_reply.write_reply,
        responses_stream.StreamReader,
        responses_stream_write.StreamWriter,
    ),
}

MAX_ERROR_TEXT = 500
"""Characters of an error body that is no JSON."""


def dialect(name: str) -> Dialect:
    """Raises CallerError for a surface that carries no conversation."""
    found = DIALECTS.get(name)
    if found is None:
        raise CallerError(f"{name} is not translated: it carries no conversation", code="unsupported_surface")
    return found


def translate_request(source: str, target: str, body: bytes, model: str) -> tuple[bytes, tuple[str, ...]]:
    """(the request in the target dialect for the upstream's model, warnings). Raises CallerError."""
    prompt = dialect(source).read_prompt(body)
    return dialect(target).write_prompt(msgspec.structs.replace(prompt, model=model))


def translate_reply(source: str, target: str, body: bytes, public_model: str, created: int = 0) -> bytes:
    """A whole answer in the caller's dialect; `created` (Unix seconds) where its own says nothing of its time.

    Raises UpstreamError when it is none.
    """
    reply = dialect(source).read_reply(body)
    made = reply.created or created
    return dialect(target).write_reply(msgspec.structs.replace(reply, model=public_model, created=made))


def translate_error(target: str, body: bytes) -> bytes:
    """A provider's error body in the caller's dialect, its message and kind kept. Never raises."""
    found = loads(body)
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        text = body.decode("utf-8", "replace")[:MAX_ERROR_TEXT]
        return encode(errors.shape_error(target, text or "the upstream gave no reason", 502, code="upstream_error"))
    message = text_field(error.get("message")) or encode(error).decode()[:MAX_ERROR_TEXT]
    kind, code, param = (text_field(error.get(name)) for name in ("type", "code", "param"))
    shown = errors.TO_ANTHROPIC.get(kind, kind) if errors.is_anthropic(target) else errors.TO_OPENAI.get(kind, kind)
    return encode(errors.shape_error(target, message, 400, kind=shown, code=code or kind or None, param=param or None))


class Translator:
    """A stream from one dialect to another: feed bytes, take bytes. A cut stream simply ends, and so does this: nothing
    more is owed, what it left open stays open, and the caller is told by an error event."""

    def __init__(self, source: str, target: str, public_model: str, *, include_usage: bool = True, created: int = 0):
        self._reader = dialect(source).reader()
        self._created = created
        if target == "chat":
            self._writer: Writer = chat_stream.StreamWriter(public_model, include_usage)
        else:
            self._writer = dialect(target).writer(public_model)

    def feed(self, piece: bytes) -> bytes:
        """Raises UpstreamError when one event passes all bounds."""
        return b"".join(self._writer.write(self._dated(event)) for event in self._reader.feed(piece))

    def _dated(self, event: Event) -> Event:
        if isinstance(event, Started) and not event.created:
            return msgspec.structs.replace(event, created=self._created)
        return event
