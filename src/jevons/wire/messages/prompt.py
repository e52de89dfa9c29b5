"""A Messages request, read into the neutral prompt.

What lives here: where Anthropic keeps system blocks, turns, parts, tools and cache marks. What it must not know: the
other dialects.
"""

from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.core.prompt import (
    Document,
    Image,
    Part,
    Prompt,
    RedactedThinking,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
    Unknown,
)
from jevons.wire.body import Object, base64_of_text, decode, encode, loads, read_mark, text_field

DIALECT = "messages"
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
NAMED = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "stream",
        "thinking",
        "metadata",
    }
)
"""Top-level fields that the neutral prompt has a name for; all others are kept in `extra`."""


class Block(msgspec.Struct):
    """The union of the content blocks that the neutral form has parts for."""

    type: str
    text: str = ""
    citations: Any = None
    source: Object | None = None
    title: str | None = None
    context: str | None = None
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: str = ""
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None
    cache_control: Object | None = None


_KNOWN = frozenset({"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"})


class _Message(msgspec.Struct):
    role: str
    content: str | list[msgspec.Raw]


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    system: str | list[msgspec.Raw] | None = None
    tools: list[Object] | None = None
    tool_choice: Object | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    thinking: Object | None = None
    metadata: Object | None = None


def read_prompt(body: bytes) -> Prompt:
    """Raises CallerError that names the place."""
    found = decode(body, _Body)
    extra = {key: value for key, value in decode(body, dict[str, Any]).items() if key not in NAMED}
    effort, schema = _output_config(extra)
    choice = found.tool_choice or {}
    thinking = found.thinking or {}
    budget = thinking.get("budget_tokens")
    if thinking.get("type") == "disabled":
        budget = 0
    if thinking.get("type") in ("adaptive", "between_tools") and not effort:
        effort = "medium"
    turns = [_turn(message, f"messages[{number}]") for number, message in enumerate(found.messages)]
    if found.system:
        turns.insert(0, Turn("system", read_parts(found.system, "system")))
    single = choice.get("disable_parallel_tool_use")
    user = (found.metadata or {}).get("user_id")
    return Prompt(
        model=found.model,
        turns=tuple(turns),
        tools=tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(found.tools or ())),
        tool_choice=_choice(choice),
        parallel_tools=not single if isinstance(single, bool) else None,
        sampling=Sampling(
            max_tokens=found.max_tokens,
            temperature=found.temperature,
            top_p=found.top_p,
            top_k=found.top_k,
            stop=tuple(found.stop_sequences or ()),
            reasoning_effort=effort or None,
            thinking_budget=budget if isinstance(budget, int) else None,
        ),
        schema=schema,
        schema_strict=True if schema else None,
        stream=bool(found.stream),
        metadata={key: value for key, value in (found.metadata or {}).items() if key != "user_id"} or None,
        user=text_field(user),
        extra=extra,
        dialect=DIALECT,
    )


def _output_config(extra: Object) -> tuple[str, Object | None]:
    """Takes `output_config` out of `extra` when all of it has a neutral name."""
    config = extra.get("output_config")
    if not isinstance(config, dict):
        return "", None
    shape = config.get("format")
    schema = shape.get("schema") if isinstance(shape, dict) and shape.get("type") == "json_schema" else None
    rest = {key: value for key, value in config.items() if key not in {"effort", "format"}}
    if rest or (shape and not isinstance(schema, dict)):
        extra["output_config"] = rest or config
    else:
        del extra["output_config"]
    return text_field(config.get("effort")), schema if isinstance(schema, dict) else None


def _turn(message: _Message, where: str) -> Turn:
    role = ROLES.get(message.role)
    if role is None:
        raise CallerError(
            f"`{where}.role`: {message.role!r} is neither user nor assistant",
            code="invalid_value",
            param=f"{where}.role",
        )
    return Turn(role, read_parts(message.content, f"{where}.content"))


def read_parts(content: str | list[msgspec.Raw], where: str) -> tuple[Part, ...]:
    """A string or blocks -> parts."""
    if isinstance(content, str):
        return (Text(content),)
    return tuple(read_part(raw, f"{where}[{number}]") for number, raw in enumerate(content))


def read_part(raw: msgspec.Raw, where: str) -> Part:
    """One content block. A tool call's input keeps its own bytes."""
    kind = loads(raw)
    kind = kind.get("type") if isinstance(kind, dict) else None
    if not isinstance(kind, str):
        raise CallerError(f"`{where}` is no content block: it has no type", code="invalid_value", param=where)
    if kind not in _KNOWN:
        return Unknown(DIALECT, kind, decode(raw, dict[str, Any], where))
    block = decode(raw, Block, where)
    mark = read_mark(block.cache_control)
    if kind == "text":
        return Text(block.text, mark, {"citations": block.citations} if block.citations else None)
    if kind == "thinking":
        return Thinking(block.thinking, block.signature)
    if kind == "redacted_thinking":
        return RedactedThinking(block.data)
    if kind == "tool_use":
        return ToolUse(block.id, block.name, bytes(block.input).decode(), mark)
    if kind == "tool_result":
        inner = read_parts(block.content, f"{where}.content") if block.content else ()
        kept = tuple(part for part in inner if isinstance(part, Text | Image | Document))
        lost = [part for part in inner if not isinstance(part, Text | Image | Document)]
        kept += tuple(Text(encode(part.raw).decode()) for part in lost if isinstance(part, Unknown))
        return ToolResult(block.tool_use_id, kept, bool(block.is_error), mark)
    return _sourced(block, where)


def _sourced(block: Block, where: str) -> Part:
    """An image or a document by its source: base64, url, file, text, or content blocks."""
    source, mark = block.source or {}, read_mark(block.cache_control)
    kind, data, url = text_field(source.get("type")), text_field(source.get("data")), text_field(source.get("url"))
    media, file_id = text_field(source.get("media_type")), text_field(source.get("file_id"))
    if kind not in {"base64", "url", "file", "text", "content"}:
        raise CallerError(f"`{where}.source` is of no known type", code="invalid_value", param=f"{where}.source")
    if block.type == "image":
        return Image(media_type=media, data=data, url=url, cache=mark, file_id=file_id)
    extra = {"citations": block.citations, "context": block.context}
    kept = {key: value for key, value in extra.items() if value}
    if kind == "text":
        data = base64_of_text(data)
    if kind == "content":
        content = source.get("content")
        media, data = "text/plain", base64_of_text(content if isinstance(content, str) else encode(content).decode())
    return Document(
        media_type=media,
        data=data,
        url=url,
        file_id=file_id,
        title=block.title or "",
        cache=mark,
        extra=kept or None,
    )


def _tool(raw: Object, where: str) -> Tool:
    name, kind = text_field(raw.get("name")), text_field(raw.get("type")) or "custom"
    mark = read_mark(raw.get("cache_control"))
    if kind != "custom":
        return Tool(name=name, kind=kind, raw=raw, cache=mark)
    if not name:
        raise CallerError(f"`{where}.name` is missing", code="missing_field", param=f"{where}.name")
    schema, strict = raw.get("input_schema"), raw.get("strict")
    return Tool(
        name=name,
        description=text_field(raw.get("description")),
        schema=schema if isinstance(schema, dict) else None,
        strict=strict if isinstance(strict, bool) else None,
        cache=mark,
    )


def _choice(raw: Object) -> str | None:
    kind = raw.get("type")
    if kind == "tool":
        return f"tool:{text_field(raw.get('name'))}"
    return {"auto": "auto", "any": "required", "none": "none"}.get(kind) if isinstance(kind, str) else None
