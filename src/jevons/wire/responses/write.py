"""The neutral prompt written as a Responses request, with a warning for all that Responses has no place for.

What it must not know: where the prompt came from, but for `extra`, which only its own family of dialects understands.
The answer is not stored (`store` false) unless the caller said so: a caller of another dialect never asked for that.
"""

from jevons.core.prompt import (
    Document,
    Image,
    Part,
    Prompt,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
    Unknown,
)
from jevons.wire.body import Object, Warnings, data_url, encode, warn_extra, without_none
from jevons.wire.chat.write import effort, error_text, shared_extra, write_metadata, write_user
from jevons.wire.reasoning import is_openai_reasoning, item_of


def write_prompt(prompt: Prompt) -> tuple[bytes, tuple[str, ...]]:
    """(request body, warnings)."""
    warnings = Warnings("Responses")
    turns = prompt.turns
    instructions = None
    if (
        turns
        and turns[0].role == "system"
        and all(isinstance(part, Text) and not part.cache for part in turns[0].parts)
    ):
        instructions = "\n\n".join(part.text for part in turns[0].parts if isinstance(part, Text))
        turns = turns[1:]
    word = effort(prompt, warnings)
    sampling = prompt.sampling
    body: Object = {
        "model": prompt.model,
        "instructions": instructions,
        "input": [item for turn in turns for item in _items(turn, warnings)],
        "tools": [tool for each in prompt.tools if (tool := _tool(each, warnings))] or None,
        "tool_choice": _choice(prompt.tool_choice) if prompt.tools else None,
        "parallel_tool_calls": prompt.parallel_tools if prompt.tools else None,
        "max_output_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "reasoning": {"effort": word} if word else None,
        "include": ["reasoning.encrypted_content"] if word and word != "none" else None,
        "text": _format(prompt),
        "stream": True if prompt.stream else None,
        "metadata": write_metadata(prompt.metadata, warnings),
        "user": write_user(prompt.user, warnings),
        "store": False,
    }
    for name, value in (("stop", sampling.stop), ("seed", sampling.seed), ("top_k", sampling.top_k)):
        if value not in (None, ()):
            warnings.dropped(f"`{name}`")
    if sampling.n is not None and sampling.n > 1:
        warnings.add("`n` is not carried to Responses: one answer is given")
    body.update(shared_extra(prompt, warnings))
    return encode(without_none(body)), warnings.all()


def _items(turn: Turn, warnings: Warnings) -> list[Object]:
    """One turn is one message item, but calls, results and reasoning are items of their own, in order."""
    if turn.name:
        warnings.dropped("`name` of a message")
    items: list[Object] = []
    content: list[Object] = []

    def close() -> None:
        if content:
            items.append({"type": "message", "role": turn.role, "content": list(content)})
            content.clear()

    for part in turn.parts:
        if isinstance(part, ToolUse | ToolResult | Thinking | RedactedThinking):
            close()
            if (item := _item(part, warnings)) is not None:
                items.append(item)
        elif (written := write_part(part, turn.role == "assistant", warnings)) is not None:
            content.append(written)
    close()
    return items


def _item(part: Part, warnings: Warnings) -> Object | None:
    if isinstance(part, ToolUse | ToolResult) and part.cache:
        warnings.dropped("`cache_control`")
    if isinstance(part, ToolUse):
        return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
    if isinstance(part, ToolResult):
        return {"type": "function_call_output", "call_id": part.tool_use_id, "output": _output(part, warnings)}
    if isinstance(part, Thinking) and is_openai_reasoning(part.signature):
        item_id, encrypted = item_of(part.signature)
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": encrypted}
    warnings.dropped("reasoning that is not OpenAI's own")
    return None


def _output(part: ToolResult, warnings: Warnings) -> str | list[Object]:
    texts = [inner.text for inner in part.parts if isinstance(inner, Text)]
    if len(texts) == len(part.parts):
        said = "\n".join(texts)
        return error_text(said, warnings) if part.is_error else said
    content = [written for inner in part.parts if (written := write_part(inner, False, warnings)) is not None]
    if part.is_error:
        content.insert(0, {"type": "input_text", "text": error_text("", warnings)})
    return content


def write_part(part: Part, produced: bool, warnings: Warnings) -> Object | None:
    """A content part; `produced` ones are the assistant's. None when there is no place (and the warning is said)."""
    if isinstance(part, Text | Image | Document) and part.cache:
        warnings.dropped("`cache_control`")
    if isinstance(part, Text):
        warn_extra(part.extra, (), warnings)
        if produced:
            return {"type": "output_text", "text": part.text, "annotations": []}
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        url = part.url or (data_url(part.media_type, part.data) if part.data else None)
        shown = {"image_url": url, "file_id": part.file_id or None}
        return {"type": "input_image", "detail": part.detail or "auto", **without_none(shown)}
    if isinstance(part, Document):
        warn_extra(part.extra, (), warnings)
        file = {
            "file_data": data_url(part.media_type, part.data) if part.data else None,
            "file_url": part.url or None,
            "file_id": part.file_id or None,
            "filename": (part.title or "document") if part.data else None,
        }
        return {"type": "input_file", **without_none(file)}
    if isinstance(part, Unknown):
        warnings.dropped(f"a part of type {part.kind!r}")
    return None


def _tool(tool: Tool, warnings: Warnings) -> Object | None:
    if tool.cache:
        warnings.dropped("`cache_control`")
    if tool.kind != "function":
        warnings.dropped(f"the provider-side tool {tool.kind!r}")
        return None
    return {
        "type": "function",
        "name": tool.name,
        "parameters": tool.schema or {"type": "object", "properties": {}},
        "strict": bool(tool.strict),
        **({"description": tool.description} if tool.description else {}),
    }


def _choice(choice: str | None) -> object:
    return {"type": "function", "name": choice[5:]} if choice and choice.startswith("tool:") else choice


def _format(prompt: Prompt) -> Object | None:
    if prompt.schema is None:
        return None
    if not prompt.schema:
        return {"format": {"type": "json_object"}}
    shape = {
        "type": "json_schema",
        "name": prompt.schema_name or "answer",
        "schema": prompt.schema,
        "strict": prompt.schema_strict,
    }
    return {"format": without_none(shape)}
