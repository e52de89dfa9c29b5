"""The neutral prompt written as a Messages request, with a warning for all that Anthropic has no place for.

What lives here: how turns are folded into Anthropic's order (system first, results in the next user turn), and which
models take which parameters. What it must not know: where the prompt came from.
"""

import re

from jevons.core.prompt import (
    CacheMark,
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
from jevons.wire.body import Object, Warnings, arguments_object, encode, text_of_base64, warn_extra, without_none
from jevons.wire.reasoning import is_openai_reasoning

DEFAULT_MAX_TOKENS = 4096
"""Anthropic wants a limit, OpenAI's dialects don't. The most that every Claude model takes, the oldest included."""
OLD_CLAUDE = re.compile(r"claude-(?:instant|2|3|(?:opus|sonnet|haiku)-4(?:$|-[0-5](?!\d)|-20))")
"""Models that think by a budget of tokens; later ones (4.6 on) adapt to an effort."""
TAKES_SAMPLING = re.compile(r"claude-(?:instant|2|3|(?:opus|sonnet|haiku)-4(?:$|-[0-6](?!\d)|-20))")
"""Claude models that take temperature, top_p and top_k: later ones refuse any but the default (API reference and the
SDK's types, 2026-11). Servers that imitate the dialect for other models take them."""
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
BUDGETS = {"low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 32768}
"""Thinking tokens by effort, for models that take a budget; never more than half of the output limit."""
MIN_BUDGET = 1024
SILENT = frozenset({"stream_options", "include", "store", "truncation"})
"""How an answer is sent or kept, not what it says."""


def write_prompt(prompt: Prompt) -> tuple[bytes, tuple[str, ...]]:
    """(request body, warnings)."""
    warnings = Warnings("Anthropic Messages")
    system, turns = _split_system(prompt.turns)
    limit = prompt.sampling.max_tokens
    if limit is None:
        limit = DEFAULT_MAX_TOKENS
        warnings.add(f"max_tokens was not given and is required: {DEFAULT_MAX_TOKENS} was set")
    thinking, effort = _thinking(prompt, limit, warnings)
    body: Object = {
        "model": prompt.model,
        "max_tokens": limit,
        "system": write_parts(system, warnings) or None,
        "messages": _messages(turns, warnings),
        "tools": [_tool(each) for each in prompt.tools if _keeps(each, warnings)] or None,
        "tool_choice": _choice(prompt),
        "stop_sequences": list(prompt.sampling.stop) or None,
        "stream": True if prompt.stream else None,
        "thinking": thinking,
        "output_config": without_none({"effort": effort, "format": _format(prompt, warnings)}) or None,
        "metadata": {"user_id": prompt.user} if prompt.user else None,
        **_sampling(prompt, thinking is not None and thinking.get("type") != "disabled", warnings),
        **_extra(prompt, warnings),
    }
    return encode(without_none(body)), warnings.all()


def _split_system(turns: tuple[Turn, ...]) -> tuple[list[Part], tuple[Turn, ...]]:
    system: list[Part] = []
    for number, turn in enumerate(turns):
        if turn.role not in {"system", "developer"}:
            return system, turns[number:]
        system.extend(turn.parts)
    return system, ()


def _messages(turns: tuple[Turn, ...], warnings: Warnings) -> list[Object]:
    """Turns of one side that follow each other are one message; tool results lead it, as Anthropic wants them."""
    messages: list[tuple[str, list[Part]]] = []
    for turn in turns:
        role = "assistant" if turn.role == "assistant" else "user"
        if turn.role in {"system", "developer"}:
            warnings.add("a system message inside the conversation is sent as a user message")
        if turn.name:
            warnings.dropped("`name` of a message")
        if messages and messages[-1][0] == role:
            messages[-1][1].extend(turn.parts)
        else:
            messages.append((role, list(turn.parts)))
    written: list[Object] = []
    for role, parts in messages:
        if role == "user":
            parts.sort(key=lambda part: not isinstance(part, ToolResult))
        content = write_parts(parts, warnings)
        if not content:
            content = [{"type": "text", "text": "(empty)"}]
            warnings.add("an empty message was sent as `(empty)`: Anthropic refuses empty ones")
        written.append({"role": role, "content": content})
    return written


def write_parts(parts: list[Part] | tuple[Part, ...], warnings: Warnings) -> list[Object]:
    """Content blocks of a request. Empty texts, which Anthropic refuses, are left out."""
    return [block for part in parts if (block := write_part(part, warnings)) is not None]


def write_part(part: Part, warnings: Warnings) -> Object | None:
    """A content block, or None when there is no place for it (and the warning is said)."""
    if isinstance(part, Text):
        if not part.text:
            return None
        extra = part.extra if part.extra and "citations" in part.extra else None
        return _marked({"type": "text", "text": part.text, **(extra or {})}, part.cache)
    if isinstance(part, Thinking):
        if not part.signature or is_openai_reasoning(part.signature):
            warnings.dropped("reasoning without a signature of Anthropic's")
            return None
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, RedactedThinking):
        return {"type": "redacted_thinking", "data": part.data}
    if isinstance(part, ToolUse):
        arguments = arguments_object(part.arguments, warnings)
        return _marked({"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}, part.cache)
    if isinstance(part, ToolResult):
        block: Object = {"type": "tool_result", "tool_use_id": part.tool_use_id}
        if content := write_parts(part.parts, warnings):
            block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return _marked(block, part.cache)
    if isinstance(part, Refusal):
        return {"type": "text", "text": part.text} if part.text else None
    if isinstance(part, Unknown):
        if part.dialect == "messages":
            return part.raw
        warnings.dropped(f"a part of type {part.kind!r}")
        return None
    return _sourced(part, warnings)


def _sourced(part: Image | Document, warnings: Warnings) -> Object | None:
    block: Object = {"type": "image" if isinstance(part, Image) else "document"}
    if isinstance(part, Image) and part.detail not in {"", "auto"}:
        warnings.dropped("`detail` of an image")
    text = text_of_base64(part.data) if isinstance(part, Document) and part.media_type.startswith("text/") else None
    if text is not None:
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    elif part.data:
        block["source"] = {"type": "base64", "media_type": part.media_type, "data": part.data}
    elif part.url:
        block["source"] = {"type": "url", "url": part.url}
    else:
        warnings.dropped("a file by another provider's id")
        return None
    if isinstance(part, Document):
        block.update({"title": part.title} if part.title else {}, **(part.extra or {}))
    return _marked(block, part.cache)


def _marked(block: Object, mark: CacheMark | None) -> Object:
    if mark is not None:
        block["cache_control"] = write_mark(mark)
    return block


def write_mark(mark: CacheMark) -> Object:
    """Five minutes is the default and stays unsaid."""
    return {"type": "ephemeral", "ttl": "1h"} if mark.ttl == "1h" else {"type": "ephemeral"}


def _keeps(tool: Tool, warnings: Warnings) -> bool:
    if tool.kind == "function":
        return True
    warnings.dropped(f"the provider-side tool {tool.kind!r}")
    return False


def _tool(tool: Tool) -> Object:
    schema = tool.schema or {}
    if "type" not in schema:  # required here, optional elsewhere
        schema = {"type": "object", "properties": {}, **schema}
    written = {
        "name": tool.name,
        "description": tool.description or None,
        "input_schema": schema,
        "strict": True if tool.strict else None,
        "cache_control": write_mark(tool.cache) if tool.cache else None,
    }
    return without_none(written)


def _choice(prompt: Prompt) -> Object | None:
    if not prompt.tools:
        return None
    choice = prompt.tool_choice or ("auto" if prompt.parallel_tools is False else None)
    if choice is None:
        return None
    written: Object = {"type": {"required": "any"}.get(choice, choice)}
    if choice.startswith("tool:"):
        written = {"type": "tool", "name": choice[5:]}
    if prompt.parallel_tools is False and choice != "none":
        written["disable_parallel_tool_use"] = True
    return written


def _thinking(prompt: Prompt, limit: int, warnings: Warnings) -> tuple[Object | None, str | None]:
    """(`thinking`, `output_config.effort`). An effort of `none` or a budget of 0 turns thinking off."""
    wanted, budget = prompt.sampling.reasoning_effort, prompt.sampling.thinking_budget
    if wanted is None and budget is None:
        return None, None
    if wanted == "none" or budget == 0:
        return {"type": "disabled"}, None
    effort = EFFORTS.get(wanted or "medium", "medium")
    forced = prompt.tools and prompt.tool_choice and prompt.tool_choice not in {"auto", "none"}
    if not OLD_CLAUDE.search(prompt.model.replace(".", "-")):
        return (None if forced else {"type": "adaptive"}), effort
    tokens = min(budget or BUDGETS[effort], limit // 2)
    if forced or tokens < MIN_BUDGET or _resumes_unsigned(prompt):
        warnings.add("reasoning is off: this request leaves no room for it (limit, forced tool, or unsigned tool turn)")
        return None, None
    return {"type": "enabled", "budget_tokens": tokens}, None


def _resumes_unsigned(prompt: Prompt) -> bool:
    """A tool turn that is resumed with thinking on must begin with signed thinking."""
    last = next((turn for turn in reversed(prompt.turns) if turn.role == "assistant"), None)
    if last is None or not any(isinstance(part, ToolUse) for part in last.parts):
        return False
    first = last.parts[0]
    return not (isinstance(first, RedactedThinking) or (isinstance(first, Thinking) and bool(first.signature)))


def _sampling(prompt: Prompt, thinks: bool, warnings: Warnings) -> Object:
    sampling = prompt.sampling
    if sampling.seed is not None:
        warnings.dropped("`seed`")
    if sampling.n is not None and sampling.n > 1:
        warnings.add("`n` is not carried to Anthropic Messages: one answer is given")
    given = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    model = prompt.model.replace(".", "-")
    refuses = "claude" in model and not TAKES_SAMPLING.search(model)
    written: Object = {}
    for name, value in given.items():
        if value is None:
            continue
        if refuses or (thinks and name != "top_p"):
            warnings.add(f"`{name}` is not taken by {prompt.model}{' while it thinks' if thinks else ''}")
        elif name == "temperature" and value > 1:
            warnings.add("temperature was lowered to 1, Anthropic's highest")
            written[name] = 1.0
        else:
            written[name] = value
    return written


def _format(prompt: Prompt, warnings: Warnings) -> Object | None:
    if prompt.schema is None:
        return None
    if not prompt.schema:
        warnings.add("any JSON object is not enforced by Anthropic Messages: the prompt must ask for it")
        return None
    return {"type": "json_schema", "schema": prompt.schema}


def _extra(prompt: Prompt, warnings: Warnings) -> Object:
    extra = prompt.extra or {}
    if prompt.metadata:
        warnings.dropped("`metadata`")
    tier = extra.get("service_tier")
    written = {"auto": "auto", "default": "standard_only"}.get(tier) if isinstance(tier, str) else None
    silent = SILENT | ({"service_tier"} if written or tier is None else frozenset())
    warn_extra(extra, silent, warnings)
    return {"service_tier": written} if written else {}
