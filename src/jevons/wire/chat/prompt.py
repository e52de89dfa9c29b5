"""A chat completions request, read into the neutral prompt and written from it.

What lives here: where chat keeps turns, parts, tools and limits, and what it has no place for. What it must not know:
the other dialects.
"""

from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.core.prompt import (
    CacheMark,
    Document,
    Image,
    Part,
    Prompt,
    RedactedThinking,
    Refusal,
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
from jevons.wire.body import Object, decode, read_mark, split_data_url, text_field

DIALECT = "chat"
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
NAMED = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
        "n",
        "reasoning_effort",
        "response_format",
        "stream",
        "metadata",
        "user",
    }
)
"""Top-level fields that the neutral prompt has a name for; all others are kept in `extra`."""


class _Call(msgspec.Struct):
    id: str = ""
    type: str = "function"
    function: Object | None = None
    custom: Object | None = None


class Reasoned(msgspec.Struct):
    """The fields in which servers show reasoning, of a message or a delta."""

    reasoning_content: str | None = None
    reasoning: Any = None
    thinking_blocks: list[Object] | None = None
    reasoning_details: list[Object] | None = None


REASONING_FIELDS = Reasoned.__struct_fields__


class _Message(Reasoned, kw_only=True):
    role: str
    content: str | list[Object] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    function_call: Object | None = None
    audio: Any = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    tools: list[Object] | None = None
    tool_choice: str | Object | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    reasoning_effort: str | None = None
    response_format: Object | None = None
    stream: bool | None = None
    metadata: Object | None = None
    user: str | None = None


def read_prompt(body: bytes) -> Prompt:
    """Raises CallerError that names the place."""
    found = decode(body, _Body)
    everything = decode(body, dict[str, Any])
    schema, name, strict = _schema(found.response_format)
    limit = found.max_completion_tokens if found.max_completion_tokens is not None else found.max_tokens
    return Prompt(
        model=found.model,
        turns=tuple(_turn(message, f"messages[{i}]") for i, message in enumerate(found.messages)),
        tools=tuple(_tool(tool, f"tools[{i}]") for i, tool in enumerate(found.tools or ())),
        tool_choice=read_choice(found.tool_choice),
        parallel_tools=found.parallel_tool_calls,
        sampling=Sampling(
            max_tokens=limit,
            temperature=found.temperature,
            top_p=found.top_p,
            top_k=found.top_k,
            stop=(found.stop,) if isinstance(found.stop, str) else tuple(found.stop or ()),
            seed=found.seed,
            n=found.n,
            reasoning_effort=found.reasoning_effort,
        ),
        schema=schema,
        schema_name=name,
        schema_strict=strict,
        stream=bool(found.stream),
        metadata=found.metadata,
        user=found.user or "",
        extra={key: value for key, value in everything.items() if key not in NAMED},
        dialect=DIALECT,
    )


def _turn(message: _Message, where: str) -> Turn:
    role = ROLES.get(message.role)
    if role is None:
        raise CallerError(
            f"`{where}.role`: {message.role!r} is none of {', '.join(ROLES)}",
            code="invalid_value",
            param=f"{where}.role",
        )
    parts: list[Part] = []
    if isinstance(message.content, str):
        parts.append(Text(message.content))
    for number, raw in enumerate(message.content or ()) if not isinstance(message.content, str) else ():
        parts.append(read_part(raw, f"{where}.content[{number}]"))
    if role == "tool":
        kept = tuple(part for part in parts if isinstance(part, Text | Image | Document))
        return Turn(role, (ToolResult(message.tool_call_id or message.name or "", kept),))
    if role == "assistant":
        parts = [*read_thinking(message), *parts]
        if message.refusal:
            parts.append(Refusal(message.refusal))
        parts.extend(_call(call, f"{where}.tool_calls[{n}]") for n, call in enumerate(message.tool_calls or ()))
        if message.function_call:
            parts.append(_function(message.function_call, text_field(message.function_call.get("name"))))
        if message.audio:
            parts.append(Unknown(DIALECT, "audio", {"audio": message.audio}))
    return Turn(role, tuple(parts), message.name or "")


def read_part(raw: Object, where: str) -> Part:
    """One content part of a message."""
    mark = read_mark(raw.get("cache_control"), raw.get("prompt_cache_breakpoint"))
    kind = raw.get("type")
    if kind == "text" and isinstance(raw.get("text"), str):
        return Text(raw["text"], mark)
    if kind == "refusal" and isinstance(raw.get("refusal"), str):
        return Refusal(raw["refusal"])
    if kind == "image_url":
        image = raw.get("image_url")
        url = image if isinstance(image, str) else text_field(image.get("url")) if isinstance(image, dict) else ""
        detail = text_field(image.get("detail")) if isinstance(image, dict) else ""
        if not url:
            raise CallerError(f"`{where}.image_url.url` is missing", code="missing_field", param=where)
        inline = split_data_url(url)
        if inline:
            return Image(media_type=inline[0], data=inline[1], detail=detail, cache=mark)
        return Image(url=url, detail=detail, cache=mark)
    if kind == "file" and isinstance(raw.get("file"), dict):
        return _file(raw["file"], mark)
    if not isinstance(kind, str) or kind in {"text", "refusal", "file"}:
        raise CallerError(f"`{where}` is no content part of a known form", code="invalid_value", param=where)
    return Unknown(DIALECT, kind, raw)


def _file(file: Object, mark: CacheMark | None) -> Document:
    data = text_field(file.get("file_data"))
    media, content = split_data_url(data) or ("application/pdf" if data else "", data)
    return Document(
        media_type=media,
        data=content,
        file_id=text_field(file.get("file_id")),
        title=text_field(file.get("filename")),
        cache=mark,
    )


def read_thinking(message: Reasoned) -> list[Part]:
    """Shown reasoning. Signed blocks come as `thinking_blocks` (LiteLLM's form, and ours) or as OpenRouter's
    `reasoning_details`; unsigned ones as `reasoning_content` (DeepSeek, llama.cpp, vLLM) or `reasoning`."""
    parts: list[Part] = []
    for block in message.thinking_blocks or ():
        if block.get("type") == "redacted_thinking":
            parts.append(RedactedThinking(text_field(block.get("data"))))
        else:
            parts.append(Thinking(text_field(block.get("thinking")), text_field(block.get("signature"))))
    for detail in () if parts else message.reasoning_details or ():
        if detail.get("type") == "reasoning.encrypted":
            parts.append(RedactedThinking(text_field(detail.get("data"))))
        elif detail.get("type") in ("reasoning.text", "reasoning.summary"):
            text = text_field(detail.get("text")) or text_field(detail.get("summary"))
            parts.append(Thinking(text, text_field(detail.get("signature"))))
    shown = message.reasoning_content or text_field(message.reasoning)
    if not parts and shown:
        parts.append(Thinking(shown))
    return parts


def _call(call: _Call, where: str) -> Part:
    if call.function is None:
        if call.custom is not None:
            return Unknown(DIALECT, "custom tool call", {"id": call.id, "custom": call.custom})
        raise CallerError(f"`{where}.function` is missing", code="missing_field", param=where)
    return _function(call.function, call.id)


def _function(function: Object, call_id: str) -> ToolUse:
    return ToolUse(call_id, text_field(function.get("name")), text_field(function.get("arguments")))


def _tool(raw: Object, where: str) -> Tool:
    mark = read_mark(raw.get("cache_control"))
    function = raw.get("function")
    if raw.get("type", "function") == "function" and isinstance(function, dict):
        mark = mark or read_mark(function.get("cache_control"))
        schema, strict = function.get("parameters"), function.get("strict")
        name = text_field(function.get("name"))
        if not name:
            raise CallerError(f"`{where}.function.name` is missing", code="missing_field", param=where)
        return Tool(
            name=name,
            description=text_field(function.get("description")),
            schema=schema if isinstance(schema, dict) else None,
            strict=strict if isinstance(strict, bool) else None,
            cache=mark,
        )
    inner = raw.get("custom")
    name = text_field(inner.get("name")) if isinstance(inner, dict) else text_field(raw.get("type"))
    return Tool(name=name, kind=text_field(raw.get("type")) or "unknown", raw=raw)


def read_choice(raw: Any) -> str | None:
    """`tool_choice` of both OpenAI dialects -> the neutral word. Of `allowed_tools` only the mode is kept."""
    if isinstance(raw, str):
        return raw if raw in {"auto", "none", "required"} else None
    if isinstance(raw, dict):
        function = raw.get("function") or raw.get("custom") or raw
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            return f"tool:{name}"
        allowed = raw.get("allowed_tools")
        mode = allowed.get("mode") if isinstance(allowed, dict) else raw.get("mode")
        return mode if mode in ("auto", "required") else None
    return None


def _schema(raw: Object | None) -> tuple[Object | None, str, bool | None]:
    kind = (raw or {}).get("type")
    if raw is None or kind is None or kind == "text":
        return None, "", None
    if kind == "json_object":
        inner = raw.get("schema")  # llama.cpp's form of a schema
        return (inner if isinstance(inner, dict) else {}), "", None
    inner = raw.get("json_schema")
    if kind != "json_schema" or not isinstance(inner, dict):
        raise CallerError(
            "`response_format` must be of type text, json_object or json_schema",
            code="invalid_value",
            param="response_format",
        )
    schema, strict = inner.get("schema"), inner.get("strict")
    return (
        schema if isinstance(schema, dict) else {},
        text_field(inner.get("name")),
        strict if isinstance(strict, bool) else None,
    )
