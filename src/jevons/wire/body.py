"""What the dialects' readers and writers share: decoding with errors that name the place, warnings, data URLs, marks.

What it must not know: any dialect's shape.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from jevons.core.errors import CallerError
from jevons.core.prompt import CacheMark
from jevons.wire.toplevel import explain

T = TypeVar("T")
Object = dict[str, Any]

encode = msgspec.json.encode
_any = msgspec.json.Decoder().decode


class Warnings:
    """Says each thing once, in the order it came up."""

    def __init__(self, target: str):
        self._target = target
        self._said: dict[str, None] = {}

    def add(self, text: str) -> None:
        self._said[text] = None

    def dropped(self, what: str) -> None:
        """A field or part that the target dialect has no place for."""
        self.add(f"{what} is not carried to {self._target}")

    def all(self) -> tuple[str, ...]:
        return tuple(self._said)


def decode(raw: bytes | msgspec.Raw, kind: type[T], where: str = "") -> T:
    """JSON -> a value of a type. Raises CallerError that names the place (`messages[3].content`)."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        place = f"{where}{path.rstrip('`')}".removeprefix(".")
        raise CallerError(f"`{place}`: {text}" if place else text, code="invalid_type", param=place or None) from None
    except UnicodeDecodeError:
        raise CallerError("the body is not valid UTF-8", code="invalid_utf8") from None
    except msgspec.DecodeError as error:
        raise CallerError(explain(error, len(bytes(raw))), code="invalid_json") from None
    except RecursionError:
        raise CallerError("the body is nested too deeply", code="invalid_json") from None


def loads(text: str | bytes | msgspec.Raw) -> Any:
    """JSON of any kind, or None when it is none."""
    try:
        return _any(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def arguments_object(arguments: str, warnings: Warnings) -> msgspec.Raw:
    """A tool call's arguments as the JSON object that some dialects want: its own bytes when they are one."""
    if not arguments.strip():
        return msgspec.Raw(b"{}")
    if isinstance(loads(arguments), dict):
        return msgspec.Raw(arguments.strip().encode())
    warnings.add("a tool call whose arguments are no JSON object was wrapped in one")
    return msgspec.Raw(encode({"arguments": arguments}))


def without_none(values: Object) -> Object:
    """Fields that are given."""
    return {key: value for key, value in values.items() if value is not None}


def data_url(media_type: str, data: str) -> str:
    """Base64 data as a URL."""
    return f"data:{media_type or 'application/octet-stream'};base64,{data}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """A base64 data URL -> (media type, data); None when it is no such URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head[5:-7].partition(";")[0], data


def text_of_base64(data: str) -> str | None:
    """The text in a base64 document, or None when it is none."""
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def base64_of_text(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def read_mark(cache_control: Any, breakpoint_: Any = None) -> CacheMark | None:
    """Anthropic's `cache_control` (also on OpenAI-style parts, as OpenRouter takes it) or OpenAI's
    `prompt_cache_breakpoint`, whose lifetimes (30m, 12h) become the nearest shorter one that can be bought."""
    if isinstance(cache_control, dict) and cache_control.get("type") == "ephemeral":
        return CacheMark("1h" if cache_control.get("ttl") == "1h" else "5m")
    if isinstance(breakpoint_, dict):
        return CacheMark("1h" if breakpoint_.get("ttl") == "12h" else "5m")
    return None


def warn_extra(extra: Object | None, silent: Iterable[str], warnings: Warnings) -> None:
    """Every given field that the target has no place for is said, but for those in `silent`."""
    for name, value in (extra or {}).items():
        if name not in silent and value not in (None, [], {}):
            warnings.dropped(f"`{name}`")


def text_field(found: Any) -> str:
    """A string, or '' for anything else."""
    return found if isinstance(found, str) else ""


def number_field(found: Any, kind: type[T]) -> T | None:
    """A number of the kind, or None; a bool is none."""
    if isinstance(found, bool):
        return None
    return found if isinstance(found, kind) else None
