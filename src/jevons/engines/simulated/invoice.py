"""The simulator's invoice: its lines summed by day, model and key, in the shapes of the providers' own exports.

OpenAI: the organization usage and costs endpoints (pages of daily buckets) and the dashboard's CSV. Anthropic: the
usage and cost report endpoints and the console's CSV. Amounts are exact decimals, never rounded.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from jevons.engines.simulated.books import Line

PICO = Decimal(10) ** -12
DAY_S = 86_400
OPENAI_COSTS = {"input": "input", "read": "cached input", "output": "output"}
ANTHROPIC_TOKEN_TYPES = {
    "input": "uncached_input_tokens",
    "read": "cache_read_input_tokens",
    "write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}
CSV_TOKEN_TYPES = {"input": "input_no_cache", "read": "input_cache_read", "write_5m": "input_cache_write_5m",
                   "write_1h": "input_cache_write_1h", "output": "output"}  # fmt: skip


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def day(line: Line) -> int:
    """The start of the line's UTC day, in seconds."""
    return int(line.at // DAY_S) * DAY_S


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dollars(pico: int) -> str:
    return format((pico * PICO).normalize(), "f")


def key_id(key: str) -> str:
    """How an export names a key: never by its secret part."""
    return f"key_{key[-4:]}" if key else ""


def grouped(lines: Iterable[Line], key: Callable[[Line], tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], list[Line]]]:
    groups: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        groups[key(line)].append(line)
    return sorted(groups.items(), key=lambda item: tuple(map(str, item[0])))


def export(path: str, query: dict[str, str], lines: list[Line]) -> dict[str, Any]:
    """The providers' own endpoints. `start_time`, `end_time` (OpenAI) and `starting_at`, `ending_at` are honoured."""
    anthropic = path.startswith("/v1/organizations/")
    start, end = window(query)
    chosen = [
        line for line in lines
        if line.provider == ("anthropic" if anthropic else "openai") and start <= line.at < end
    ]  # fmt: skip
    rows: Callable[[list[Line]], list[dict[str, Any]]]
    if anthropic:
        rows = anthropic_costs if path.endswith("/cost_report") else anthropic_usage
    elif path.endswith("/costs"):
        rows = openai_costs
    else:
        surface = "embeddings" if path.endswith("/embeddings") else ""
        chosen = [line for line in chosen if (line.surface == "embeddings") == bool(surface)]
        rows = openai_usage
    buckets = [
        bucket(at, rows(group), anthropic=anthropic) for (at,), group in grouped(chosen, lambda line: (day(line),))
    ]
    if anthropic:
        return {"data": buckets, "has_more": False, "next_page": None}
    return {"object": "page", "data": buckets, "has_more": False, "next_page": None}


def window(query: dict[str, str]) -> tuple[float, float]:
    """Seconds from and to, from either provider's parameters."""

    def at(text: str, default: float) -> float:
        if not text:
            return default
        return float(text) if text.isdigit() else datetime.fromisoformat(text).timestamp()

    start = at(query.get("start_time") or query.get("starting_at", ""), 0.0)
    return start, at(query.get("end_time") or query.get("ending_at", ""), float("inf"))


def bucket(at: int, results: list[dict[str, Any]], *, anthropic: bool) -> dict[str, Any]:
    if anthropic:
        return {"starting_at": iso(at), "ending_at": iso(at + DAY_S), "results": results}
    return {"object": "bucket", "start_time": at, "end_time": at + DAY_S, "results": results}


# --- OpenAI


def openai_usage(lines: list[Line]) -> list[dict[str, Any]]:
    out = []
    for (model, key, tier), group in grouped(lines, lambda line: (line.model, line.key, line.tier)):
        embeds = group[0].surface == "embeddings"
        row = {
            "object": f"organization.usage.{'embeddings' if embeds else 'completions'}.result",
            "input_tokens": sum(line.counts.prompt for line in group),
            "num_model_requests": len(group),
            "project_id": None, "user_id": None, "api_key_id": key_id(key), "model": model,
        }  # fmt: skip
        if not embeds:
            row |= {
                "output_tokens": sum(line.counts.output for line in group),
                "input_cached_tokens": sum(line.counts.read for line in group),
                "input_audio_tokens": 0, "output_audio_tokens": 0,
                "batch": tier == "batch", "service_tier": "default" if tier in ("standard", "batch") else tier,
            }  # fmt: skip
        out.append(row)
    return out


def openai_costs(lines: list[Line]) -> list[dict[str, Any]]:
    out = []
    for (model, tier), group in grouped(lines, lambda line: (line.model, line.tier)):
        for kind, words in OPENAI_COSTS.items():
            pico = sum(line.pico[kind] for line in group)
            if pico:
                item = f"{model}, {words}" + (f", {tier}" if tier != "standard" else "")
                amount = {"value": float(pico * PICO), "currency": "usd"}
                out.append(
                    {"object": "organization.costs.result", "amount": amount, "line_item": item, "project_id": None}
                )
    return out


# --- Anthropic


def context(line: Line) -> str:
    return "200k-1M" if line.counts.prompt > 200_000 else "0-200k"


def anthropic_usage(lines: list[Line]) -> list[dict[str, Any]]:
    return [
        {
            "uncached_input_tokens": sum(line.counts.uncached for line in group),
            "cache_creation": {
                "ephemeral_1h_input_tokens": sum(line.counts.write_1h for line in group),
                "ephemeral_5m_input_tokens": sum(line.counts.write_5m for line in group),
            },
            "cache_read_input_tokens": sum(line.counts.read for line in group),
            "output_tokens": sum(line.counts.output for line in group),
            "server_tool_use": {"web_search_requests": 0},
            "api_key_id": key_id(key), "workspace_id": None, "model": model, "service_tier": tier,
            "context_window": words,
        }
        for (model, key, tier, words), group in grouped(
            lines, lambda line: (line.model, line.key, line.tier, context(line))
        )
    ]  # fmt: skip


def anthropic_costs(lines: list[Line]) -> list[dict[str, Any]]:
    """Amounts are decimal strings in cents, as the cost report documents."""
    out = []
    for (model, tier, words), group in grouped(lines, lambda line: (line.model, line.tier, context(line))):
        for kind, token_type in ANTHROPIC_TOKEN_TYPES.items():
            pico = sum(line.pico[kind] for line in group)
            if pico:
                out.append({
                    "currency": "USD", "amount": dollars(pico * 100), "workspace_id": None,
                    "description": f"{model} Usage - {token_type}", "cost_type": "tokens", "context_window": words,
                    "model": model, "service_tier": tier, "token_type": token_type,
                })  # fmt: skip
    return out


# --- the simulator's own path


def simulated(query: dict[str, str], lines: list[Line]) -> tuple[str, bytes]:
    """(content type, body) of /sim/invoice?provider=openai|anthropic&kind=usage|costs|lines&format=json|csv."""
    provider, kind = query.get("provider", ""), query.get("kind", "usage")
    start, end = window(query)
    lines = [line for line in lines if provider in ("", line.provider) and start <= line.at < end]
    if query.get("format") == "csv":
        rows = csv_rows(provider or "openai", kind, [line for line in lines if line.provider == (provider or "openai")])
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["empty"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return "text/csv; charset=utf-8", out.getvalue().encode()
    if provider and kind != "lines":
        root = "/v1/organization/" if provider == "openai" else "/v1/organizations/"
        leaf = {"openai": {"usage": "usage/completions", "costs": "costs"},
                "anthropic": {"usage": "usage_report/messages", "costs": "cost_report"}}[provider][kind]  # fmt: skip
        return "application/json", dump(export(root + leaf, query, lines))
    return "application/json", dump({
        "currency": "USD", "total": dollars(sum(line.total_pico for line in lines)),
        "total_pico": sum(line.total_pico for line in lines), "lines": [shown(line) for line in lines],
    })  # fmt: skip


def shown(line: Line) -> dict[str, Any]:
    return {
        "number": line.number, "at": line.at, "provider": line.provider, "key": key_id(line.key), "model": line.model,
        "surface": line.surface, "tier": line.tier, "input": line.counts.uncached, "cached": line.counts.read,
        "cache_write_5m": line.counts.write_5m, "cache_write_1h": line.counts.write_1h, "output": line.counts.output,
        "reasoning": line.counts.reasoning, "pico": line.total_pico, "complete": line.complete,
        "request_id": line.request_id,
    }  # fmt: skip


def csv_rows(provider: str, kind: str, lines: list[Line]) -> list[dict[str, Any]]:
    """The dashboard's (OpenAI) or console's (Anthropic) CSV export, usage or costs."""
    out: list[dict[str, Any]] = []
    for (at,), group in grouped(lines, lambda line: (day(line),)):
        stamps = {"start_time": at, "end_time": at + DAY_S, "start_time_iso": iso(at), "end_time_iso": iso(at + DAY_S)}
        if provider == "openai" and kind == "usage":
            out += [stamps | {name: "" if value is None else value for name, value in row.items() if name != "object"}
                    for row in openai_usage([line for line in group if line.surface != "embeddings"])]  # fmt: skip
        elif provider == "openai":
            out += [stamps | {"amount_value": row["amount"]["value"], "amount_currency": "usd",
                              "line_item": row["line_item"], "project_id": "", "project_name": ""}
                    for row in openai_costs(group)]  # fmt: skip
        else:
            out += console_rows(iso(at)[:10], kind, group)
    return out


def console_rows(date: str, kind: str, lines: list[Line]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for (model, key, tier, words), group in grouped(
        lines, lambda line: (line.model, line.key, line.tier, context(line))
    ):
        head = {
            "usage_date_utc": date, "model_version" if kind == "usage" else "model": model, "api_key": key_id(key),
            "workspace": "Default", "usage_type": tier, "context_window": words,
        }  # fmt: skip
        if kind == "usage":
            out.append(head | {
                "usage_input_tokens_no_cache": sum(line.counts.uncached for line in group),
                "usage_input_tokens_cache_write_5m": sum(line.counts.write_5m for line in group),
                "usage_input_tokens_cache_write_1h": sum(line.counts.write_1h for line in group),
                "usage_input_tokens_cache_read": sum(line.counts.read for line in group),
                "usage_output_tokens": sum(line.counts.output for line in group), "web_search_count": 0,
            })  # fmt: skip
            continue
        for name, token_type in CSV_TOKEN_TYPES.items():
            pico = sum(line.pico[name] for line in group)
            if pico:
                out.append(head | {"token_type": token_type, "cost_usd": dollars(pico), "cost_type": "token"})
    return out
