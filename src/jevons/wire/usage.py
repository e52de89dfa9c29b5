"""What a provider says it burned, in every convention, read into tokens that are each counted once.

What lives here: where each convention keeps its numbers, and how they are made disjoint. What it must not know:
prices, and where in a reply or stream the usage was found. Rubbish counts as zero; nothing here raises.

OpenAI and its many imitators report prompt tokens with cached and written ones inside; Anthropic reports them side by
side. Sources: the types of the official `openai` and `anthropic` SDKs, and the API pages of DeepSeek
(prompt_cache_hit_tokens), Moonshot (usage.cached_tokens), xAI (reasoning outside of completion_tokens), OpenRouter
(usage.cost) and llama.cpp's server (timings).
"""

from typing import Any

from jevons.core.usage import Usage

MAX_TOKENS = 2**53
"""Beyond this a count is rubbish: no integer column and no JSON reader in a browser holds it."""
MAX_COST_USD = 1e6
"""No single reply costs this."""


def read_usage(raw: Any, timings: Any = None) -> Usage | None:
    """A `usage` object of any dialect -> Usage. None when it is absent or holds no counts.

    timings: llama.cpp's own object beside `usage`, looked at only for the cached tokens that older servers leave out.
    """
    if type(raw) is not dict or not raw:
        return None
    if "prompt_tokens" in raw:
        return _openai(raw, "prompt", "completion", timings)
    if "input_tokens_details" in raw or ("total_tokens" in raw and "input_tokens" in raw):
        return _openai(raw, "input", "output", timings)
    if "input_tokens" in raw or "output_tokens" in raw:
        return _anthropic(raw)
    return None


def reported_cost(raw: Any) -> float | None:
    """The dollars that the provider itself reports in `usage` (OpenRouter's `cost`), or None."""
    cost = raw.get("cost") if type(raw) is dict else None
    if isinstance(cost, int | float) and 0 <= cost < MAX_COST_USD:
        return float(cost)
    return None


def reported_tier(raw: Any) -> str:
    """`usage.service_tier` (Anthropic), or ''."""
    tier = raw.get("service_tier") if type(raw) is dict else None
    return tier if type(tier) is str else ""


def _openai(raw: dict[str, Any], prompt_name: str, output_name: str, timings: Any) -> Usage:
    prompt, output = _count(raw, f"{prompt_name}_tokens"), _count(raw, f"{output_name}_tokens")
    read = _inner(raw, f"{prompt_name}_tokens_details")
    cached = _count(read, "cached_tokens") or _count(raw, "prompt_cache_hit_tokens") or _count(raw, "cached_tokens")
    cached = cached or _count(raw, "cache_read_input_tokens") or _count(_inner(timings), "cache_n")
    written = _count(read, "cache_write_tokens") or _count(read, "cache_creation_tokens")
    written = written or _count(raw, "cache_creation_input_tokens")
    cached = min(cached, prompt)
    written = min(written, prompt - cached)
    long = min(_count(_inner(read, "cache_write_tokens_details"), "ttl_12h_tokens"), written)
    reasoning = _count(_inner(raw, f"{output_name}_tokens_details"), "reasoning_tokens")
    if reasoning and _count(raw, "total_tokens") == prompt + output + reasoning:
        output += reasoning  # xAI keeps hidden reasoning beside completion_tokens; it is billed as output
    return Usage(
        input=prompt - cached - written,
        cached=cached,
        cache_write_5m=written - long,
        cache_write_1h=long,
        output=output,
        reasoning=min(reasoning, output),
    )


def _anthropic(raw: dict[str, Any]) -> Usage:
    created = _inner(raw, "cache_creation")
    hour, short = _count(created, "ephemeral_1h_input_tokens"), _count(created, "ephemeral_5m_input_tokens")
    short = max(short, _count(raw, "cache_creation_input_tokens") - hour)  # the total alone means five minutes
    output = _count(raw, "output_tokens")
    usage = Usage(
        input=_count(raw, "input_tokens"),
        cached=_count(raw, "cache_read_input_tokens"),
        cache_write_5m=short,
        cache_write_1h=hour,
        output=output,
        reasoning=min(_count(_inner(raw, "output_tokens_details"), "thinking_tokens"), output),
    )
    iterations = raw.get("iterations")
    for step in iterations if type(iterations) is list else ():
        if type(step) is dict and step.get("type") == "compaction":  # billed, and not inside the totals
            usage = usage + _anthropic({k: v for k, v in step.items() if k != "iterations"})
    return usage


def _inner(raw: Any, name: str = "") -> dict[str, Any]:
    found = raw.get(name) if name and type(raw) is dict else raw
    return found if type(found) is dict else {}


def _count(raw: dict[str, Any], name: str) -> int:
    found = raw.get(name)
    if type(found) is int and 0 <= found <= MAX_TOKENS:
        return found
    if type(found) is float and 0 <= found <= MAX_TOKENS:
        return int(found)
    return 0


def write_chat(usage: Usage) -> dict[str, Any]:
    """Usage as chat completions report it: prompt tokens with cached and written ones inside."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": _read_details(usage),
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def write_responses(usage: Usage) -> dict[str, Any]:
    """Usage as Responses report it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": _read_details(usage),
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.output,
    }


def write_messages(usage: Usage) -> dict[str, Any]:
    """Usage as Messages report it: side by side."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
    }


def _read_details(usage: Usage) -> dict[str, int]:
    return {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h}
