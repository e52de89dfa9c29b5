"""A Responses request, read into the neutral prompt.

What lives here: how a flat list of items becomes turns (reasoning, message and calls of one assistant answer belong
together). What it must not know: the other dialects. Stored state (`previous_response_id`, `conversation`) is not in
the body, so a request that leans on it can't be read.
"""

from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.core.prompt import (
    Document,
    Image,
    Part,
    Prompt,
    Refusal,
    Role,
    Sampling,
    Text,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
    Unknown,
)
from jevons.wire.body import Object, decode, read_mark, split_data_url, text_field
from jevons.wire.chat.prompt import read_choice
from jevons.wire.reasoning import block_of

DIALECT = "responses"
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "developer"}
STATE = ("previous_response_id", "conversation", "prompt")
"""Fields that stand for context which only the provider holds."""
NAMED = frozenset(
    {
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "max_output_tokens",
        "temperature",
        "top_p",
        "stream",
        "metadata",
        "user",
    }
)
"""Top-level fields that the neutral prompt has a name for; all others are kept in `extra`."""


class _Body(msgspec.Struct):
    model: str
    input: str | list[Object] | None = None
    instructions: str | None = None
    tools: list[Object] | None = None
    tool_choice: str | Object | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Object | None = None
    text: Object | None = None
    stream: bool | None = None
    metadata: Object | None = None
    user: str | None = None


def read_prompt(body: bytes) -> Prompt:
    """Raises CallerError that names the place."""
    found = decode(body, _Body)
    extra = {key: value for key, value in decode(body, dict[str, Any]).items() if key not in NAMED}
    for name in STATE:
        if extra.get(name):
            raise CallerError(
                f"`{name}` stands for context that only the provider holds: this model's endpoint can't be given it. "
                "Send the whole input instead.",
                code="unsupported_state",
                param=name,
            )
    schema, name, strict = _format(found.text or {}, extra)
    effort = (found.reasoning or {}).get("effort")
    _keep_rest(extra, "reasoning", found.reasoning, {"effort", "summary", "generate_summary"})
    turns = _turns(found.input if found.input is not None else [])
    if found.instructions:
        turns.insert(0, Turn("system", (Text(found.instructions),)))
    return Prompt(
        model=found.model,
        turns=tuple(turns),
        tools=tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(found.tools or ())),
        tool_choice=read_choice(found.tool_choice),
        parallel_tools=found.parallel_tool_calls,
        sampling=Sampling(
            max_tokens=found.max_output_tokens,
            temperature=found.temperature,
            top_p=found.top_p,
            reasoning_effort=text_field(effort) or None,
        ),
        schema=schema,
        schema_name=name,
        schema_strict=strict,
        stream=bool(found.stream),
        metadata=found.metadata,
        user=found.user or "",
        extra=extra,
        dialect=DIALECT,
    )


def _keep_rest(extra: Object, name: str, found: Object | None, named: set[str]) -> None:
    rest = {key: value for key, value in (found or {}).items() if key not in named and value is not None}
    extra.pop(name, None)
    if rest:
        extra[name] = rest


def _format(text: Object, extra: Object) -> tuple[Object | None, str, bool | None]:
    _keep_rest(extra, "text", text, {"format"})
    shape = text.get("format")
    kind = shape.get("type") if isinstance(shape, dict) else None
    if not isinstance(shape, dict) or kind is None or kind == "text":
        return None, "", None
    if kind == "json_object":
        return {}, "", None
    schema, strict = shape.get("schema"), shape.get("strict")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise CallerError(
            "`text.format` must be of type text, json_object or json_schema", code="invalid_value", param="text.format"
        )
    return schema, text_field(shape.get("name")), strict if isinstance(strict, bool) else None


def _turns(items: str | list[Object]) -> list[Turn]:
    if isinstance(items, str):
        return [Turn("user", (Text(items),))]
    turns: list[tuple[Role, list[Part]]] = []
    for number, item in enumerate(items):
        role, parts = _item(item, f"input[{number}]")
        if turns and turns[-1][0] == role == "assistant":
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))
    return [Turn(role, tuple(parts)) for role, parts in turns]


def _item(item: Object, where: str) -> tuple[Role, list[Part]]:
    kind = item.get("type", "message")
    if kind == "message":
        role = ROLES.get(text_field(item.get("role")))
        if role is None:
            raise CallerError(
                f"`{where}.role` is none of {', '.join(ROLES)}", code="invalid_value", param=f"{where}.role"
            )
        return role, read_content(item.get("content"), f"{where}.content")
    if kind == "function_call":
        call_id, name = text_field(item.get("call_id")), text_field(item.get("name"))
        return "assistant", [ToolUse(call_id, name, text_field(item.get("arguments")))]
    if kind == "function_call_output":
        parts = read_content(item.get("output"), f"{where}.output")
        kept = tuple(part for part in parts if isinstance(part, Text | Image | Document))
        return "tool", [ToolResult(text_field(item.get("call_id")), kept)]
    if kind == "reasoning":
        return "assistant", [read_reasoning(item)]
    if not isinstance(kind, str):
        raise CallerError(f"`{where}.type` must be a string", code="invalid_type", param=f"{where}.type")
    return "assistant", [Unknown(DIALECT, kind, item)]


def read_reasoning(item: Object) -> Part:
    """A reasoning item: shown text from its content, or else from its summary."""
    for field in ("content", "summary"):
        pieces = item.get(field)
        texts = (
            [text_field(piece.get("text")) for piece in pieces if isinstance(piece, dict)]
            if isinstance(pieces, list)
            else []
        )
        if texts:
            break
    return block_of("\n\n".join(texts), text_field(item.get("id")), text_field(item.get("encrypted_content")))


def read_content(content: Any, where: str) -> list[Part]:
    """A string or content parts of an input message, an output message or a call's output."""
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        raise CallerError(f"`{where}` must be a string or an array", code="invalid_type", param=where)
    return [_part(raw, f"{where}[{number}]") for number, raw in enumerate(content)]


def _part(raw: Any, where: str) -> Part:
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise CallerError(f"`{where}` is no content part: it has no type", code="invalid_value", param=where)
    kind, mark = raw["type"], read_mark(raw.get("cache_control"), raw.get("prompt_cache_breakpoint"))
    if kind in {"input_text", "output_text", "text", "summary_text"}:
        return Text(text_field(raw.get("text")), mark)
    if kind == "refusal":
        return Refusal(text_field(raw.get("refusal")))
    if kind == "input_image":
        url, file_id, detail = (text_field(raw.get(name)) for name in ("image_url", "file_id", "detail"))
        media, data = split_data_url(url) or ("", "")
        return Image(media_type=media, data=data, url="" if data else url, detail=detail, cache=mark, file_id=file_id)
    if kind == "input_file":
        media, data = split_data_url(text_field(raw.get("file_data"))) or ("", text_field(raw.get("file_data")))
        return Document(
            media_type=media or ("application/pdf" if data else ""),
            data=data,
            url=text_field(raw.get("file_url")),
            file_id=text_field(raw.get("file_id")),
            title=text_field(raw.get("filename")),
            cache=mark,
        )
    return Unknown(DIALECT, kind, raw)


def _tool(raw: Object, where: str) -> Tool:
    name, kind = text_field(raw.get("name")), text_field(raw.get("type"))
    if kind != "function":
        return Tool(name=name or kind, kind=kind or "unknown", raw=raw)
    if not name:
        raise CallerError(f"`{where}.name` is missing", code="missing_field", param=f"{where}.name")
    schema, strict = raw.get("parameters"), raw.get("strict")
    return Tool(
        name=name,
        description=text_field(raw.get("description")),
        schema=schema if isinstance(schema, dict) else None,
        strict=strict if isinstance(strict, bool) else None,
        cache=read_mark(raw.get("cache_control")),
    )
