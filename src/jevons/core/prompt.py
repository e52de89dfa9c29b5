"""A conversation in neutral form: what the three wire formats have in common, with nothing dropped.

The wire modules read a body into these values and write them back. A call that no lever changes is never decoded
this far: its bytes travel on as they came. What a format has beyond the named fields is kept in `extra`, by the
dialect that it came from.
"""

from typing import Any, Literal

import msgspec

Role = Literal["system", "developer", "user", "assistant", "tool"]


class CacheMark(msgspec.Struct, frozen=True, gc=False):
    """A client's prompt-cache breakpoint after a part."""

    ttl: Literal["5m", "1h"] = "5m"


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str
    cache: CacheMark | None = None
    extra: dict[str, Any] | None = None


class Image(msgspec.Struct, frozen=True, tag="image"):
    """Either `url`, or `data` (base64) with its `media_type`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""
    cache: CacheMark | None = None
    file_id: str = ""


class Document(msgspec.Struct, frozen=True, tag="document"):
    """A file: `data` (base64) with `media_type`, a `url`, or a provider's `file_id`."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    title: str = ""
    cache: CacheMark | None = None
    extra: dict[str, Any] | None = None


class Thinking(msgspec.Struct, frozen=True, tag="thinking"):
    """Visible reasoning; `signature` must travel byte for byte, an empty `text` too."""

    text: str
    signature: str = ""


class RedactedThinking(msgspec.Struct, frozen=True, tag="redacted_thinking"):
    data: str


class ToolUse(msgspec.Struct, frozen=True, tag="tool_use"):
    """A tool call. `arguments` is the JSON text as it came, never re-encoded."""

    id: str
    name: str
    arguments: str
    cache: CacheMark | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    tool_use_id: str
    parts: tuple["Text | Image | Document", ...]
    is_error: bool = False
    cache: CacheMark | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    text: str


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """A part that only its own dialect understands, kept whole; a translation warns of it."""

    dialect: str
    kind: str
    raw: dict[str, Any]


Part = Text | Image | Document | Thinking | RedactedThinking | ToolUse | ToolResult | Refusal | Unknown


class Turn(msgspec.Struct, frozen=True):
    """One message. Parts keep their order."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""


class Tool(msgspec.Struct, frozen=True):
    """A function tool; `schema` is its JSON Schema. Provider-side tools keep `kind` and `raw` instead."""

    name: str
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    kind: str = "function"
    raw: dict[str, Any] | None = None
    cache: CacheMark | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters with one meaning in every dialect; None = not given."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    reasoning_effort: str | None = None
    thinking_budget: int | None = None


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request. System text is the leading turns with role system or developer."""

    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    """`auto`, `none`, `required`, or a tool's name prefixed with `tool:`."""
    parallel_tools: bool | None = None
    sampling: Sampling = Sampling()
    schema: dict[str, Any] | None = None
    """Structured output: the JSON Schema; `{}` asks for any JSON object."""
    schema_name: str = ""
    schema_strict: bool | None = None
    stream: bool = False
    metadata: dict[str, Any] | None = None
    user: str = ""
    extra: dict[str, Any] | None = None
    """Fields that only the dialect it came from understands."""
    dialect: str = ""
