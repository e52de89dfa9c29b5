"""The neutral prompt written as a chat completions request, with a warning for all that chat has no place for.

What it must not know: where the prompt came from, but for `extra`, which only its own family of dialects understands.
"""

import re
from typing import Any

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
from jevons.wire.body import Object, Warnings, data_url, encode, text_of_base64, warn_extra, without_none

OPENAI_OWN = re.compile(r"(?:gpt-|chatgpt-|codex-|o\d)")
"""OpenAI's own models want `max_completion_tokens`; every compatible server knows `max_tokens`."""
SHARED_EXTRA = frozenset(
    {
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "safety_identifier",
        "store",
        "top_logprobs",
        "moderation",
    }
)
"""Fields beyond the neutral ones with one meaning in both OpenAI dialects."""
SILENT = frozenset({"stream_options", "include", "truncation"})
"""How an answer is sent, not what it says."""
USER_MAX_CHARS = 64
"""OpenAI refuses longer identifiers of a user."""


def write_prompt(prompt: Prompt) -> tuple[bytes, tuple[str, ...]]:
    """(request body, warnings)."""
    warnings = Warnings("chat completions")
    messages: list[Object] = []
    own = OPENAI_OWN.match(prompt.model) is not None
    for turn in prompt.turns:
        messages.extend(_turn(turn, own, warnings))
    sampling = prompt.sampling
    limit = "max_completion_tokens" if own else "max_tokens"
    body = {
        "model": prompt.model,
        "messages": messages,
        "tools": [tool for each in prompt.tools if (tool := _tool(each, warnings))] or None,
        "tool_choice": write_choice(prompt.tool_choice) if prompt.tools else None,
        "parallel_tool_calls": prompt.parallel_tools if prompt.tools else None,
        limit: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "n": sampling.n,
        "reasoning_effort": effort(prompt, warnings),
        "response_format": _format(prompt),
        "stream": True if prompt.stream else None,
        "metadata": write_metadata(prompt.metadata, warnings),
        "user": write_user(prompt.user, warnings),
    }
    if sampling.top_k is not None:
        warnings.dropped("`top_k`")
    body.update(shared_extra(prompt, warnings))
    return encode(without_none(body)), warnings.all()


def shared_extra(prompt: Prompt, warnings: Warnings, also: frozenset[str] = frozenset()) -> Object:
    """What both OpenAI dialects understand beyond the neutral fields; the rest is said."""
    extra = prompt.extra or {}
    if prompt.dialect not in {"chat", "responses"}:
        tier = extra.get("service_tier")
        warn_extra(extra, SILENT | also | {"service_tier"}, warnings)
        return {"service_tier": "default"} if tier == "standard_only" else {}
    warn_extra(extra, SILENT | SHARED_EXTRA | also, warnings)
    return {key: value for key, value in extra.items() if key in SHARED_EXTRA and value is not None}


def effort(prompt: Prompt, warnings: Warnings) -> str | None:
    """OpenAI's word for how much to reason; a budget in tokens becomes the nearest word."""
    if prompt.sampling.reasoning_effort:
        return prompt.sampling.reasoning_effort
    budget = prompt.sampling.thinking_budget
    if budget is None:
        return None
    word = "none" if budget == 0 else "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    if budget:
        warnings.add(f"a thinking budget of {budget} tokens became reasoning effort {word}")
    return word


def write_user(user: str, warnings: Warnings) -> str | None:
    if len(user) > USER_MAX_CHARS:
        warnings.dropped(f"a user id of more than {USER_MAX_CHARS} characters")
        return None
    return user or None


def write_metadata(metadata: Object | None, warnings: Warnings) -> Object | None:
    """OpenAI's metadata maps strings to strings."""
    kept = {key: value for key, value in (metadata or {}).items() if isinstance(value, str)}
    if len(kept) < len(metadata or {}):
        warnings.dropped("metadata that is no string")
    return kept or None


def write_choice(choice: str | None) -> Any:
    if choice and choice.startswith("tool:"):
        return {"type": "function", "function": {"name": choice[5:]}}
    return choice


def _turn(turn: Turn, own: bool, warnings: Warnings) -> list[Object]:
    if turn.role in {"tool", "user"}:
        return _results_then_user(turn, warnings)
    if turn.role == "assistant":
        return [_assistant(turn, own, warnings)]
    content = [part for each in turn.parts if (part := write_part(each, warnings))]
    return [without_none({"role": turn.role, "content": _plain(content), "name": turn.name or None})]


def _results_then_user(turn: Turn, warnings: Warnings) -> list[Object]:
    """Tool results are messages of their own and hold only text: their images follow in a user message."""
    messages: list[Object] = []
    content: list[Object] = []
    for part in turn.parts:
        if not isinstance(part, ToolResult):
            if (written := write_part(part, warnings)) is not None:
                content.append(written)
            continue
        texts = [inner.text for inner in part.parts if isinstance(inner, Text)]
        for inner in part.parts:
            if not isinstance(inner, Text) and (written := write_part(inner, warnings)) is not None:
                content.append(written)
                warnings.add("images and files of tool results were moved into a user message")
        said = error_text("\n".join(texts), warnings) if part.is_error else "\n".join(texts)
        if part.cache or any(inner.cache for inner in part.parts):
            warnings.dropped("`cache_control`")
        messages.append({"role": "tool", "tool_call_id": part.tool_use_id, "content": said})
    if content or not messages:
        messages.append(without_none({"role": "user", "content": _plain(content), "name": turn.name or None}))
    return messages


def error_text(text: str, warnings: Warnings) -> str:
    """OpenAI's dialects have no flag for a failed tool: it is said in words."""
    warnings.add("`is_error` of a tool result is said in words")
    return text if text.lower().startswith("error") else f"Error: {text}"


def _assistant(turn: Turn, own: bool, warnings: Warnings) -> Object:
    content: list[Object] = []
    calls: list[Object] = []
    thinking: list[Part] = []
    refusals: list[str] = []
    for part in turn.parts:
        if isinstance(part, ToolUse):
            if part.cache:
                warnings.dropped("`cache_control`")
            calls.append(write_call(part))
        elif isinstance(part, Thinking | RedactedThinking):
            thinking.append(part)
        elif isinstance(part, Refusal):
            refusals.append(part.text)
        elif (written := write_part(part, warnings)) is not None:
            content.append(written)
    if own and thinking:  # OpenAI's own endpoint refuses message fields that it does not know
        warnings.dropped("earlier reasoning")
        thinking = []
    return without_none(
        {
            "role": "assistant",
            "content": _plain(content) if content else (None if calls or refusals else ""),
            "name": turn.name or None,
            "refusal": "".join(refusals) or None,
            "tool_calls": calls or None,
            **write_thinking(thinking),
        }
    )


def write_thinking(parts: list[Part]) -> Object:
    """Text for those who read `reasoning_content`; the blocks, byte for byte, for those who must send them back."""
    if not parts:
        return {}
    text = "".join(part.text for part in parts if isinstance(part, Thinking))
    fields: Object = {"reasoning_content": text} if text else {}
    if any(isinstance(part, RedactedThinking) or (isinstance(part, Thinking) and part.signature) for part in parts):
        fields["thinking_blocks"] = [thinking_block(part) for part in parts]
    return fields


def thinking_block(part: Part) -> Object:
    if isinstance(part, RedactedThinking):
        return {"type": "redacted_thinking", "data": part.data}
    assert isinstance(part, Thinking)  # noqa: S101 - the callers choose by kind
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def write_call(part: ToolUse) -> Object:
    function = {"name": part.name, "arguments": part.arguments or "{}"}
    return {"id": part.id, "type": "function", "function": function}


def write_part(part: Part, warnings: Warnings) -> Object | None:
    """A content part, or None when chat has no place for it (and the warning is said)."""
    if isinstance(part, Text | Image | Document) and part.cache:
        warnings.dropped("`cache_control`")
    if isinstance(part, Text):
        warn_extra(part.extra, (), warnings)
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return _image(part, warnings)
    if isinstance(part, Document):
        warn_extra(part.extra, (), warnings)
        return _document(part, warnings)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Unknown):
        if part.dialect == "chat" and part.kind == "input_audio":
            return part.raw
        warnings.dropped(f"a part of type {part.kind!r}")
    return None


def _image(part: Image, warnings: Warnings) -> Object | None:
    url = part.url or (data_url(part.media_type, part.data) if part.data else "")
    if not url:
        warnings.dropped("an image by file id")
        return None
    return {"type": "image_url", "image_url": without_none({"url": url, "detail": part.detail or None})}


def _document(part: Document, warnings: Warnings) -> Object | None:
    if part.media_type.startswith("text/") and part.data:
        text = text_of_base64(part.data)
        if text is not None:
            warnings.add("a text document became a text part")
            return {"type": "text", "text": f"{part.title}\n\n{text}" if part.title else text}
    if part.data:
        file = {"file_data": data_url(part.media_type, part.data), "filename": part.title or "document.pdf"}
        return {"type": "file", "file": file}
    if part.file_id:
        return {"type": "file", "file": {"file_id": part.file_id}}
    warnings.dropped("a document by URL")
    return None


def _tool(tool: Tool, warnings: Warnings) -> Object | None:
    if tool.cache:
        warnings.dropped("`cache_control`")
    if tool.kind != "function":
        warnings.dropped(f"the provider-side tool {tool.kind!r}")
        return None
    function = {
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.schema,
        "strict": tool.strict,
    }
    return {"type": "function", "function": without_none(function)}


def _format(prompt: Prompt) -> Object | None:
    if prompt.schema is None:
        return None
    if not prompt.schema:
        return {"type": "json_object"}
    inner = {"name": prompt.schema_name or "answer", "schema": prompt.schema, "strict": prompt.schema_strict}
    return {"type": "json_schema", "json_schema": without_none(inner)}


def _plain(content: list[Object]) -> Any:
    """One text is written as a string, which every compatible server takes."""
    if len(content) == 1 and content[0].get("type") == "text":
        return content[0]["text"]
    return content or ""
