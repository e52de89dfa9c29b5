"""A provider's own export of usage or costs, read into lines: OpenAI's and Anthropic's, as JSON pages or as CSV.

What it decides: which of the eight shapes a text is, and what each of its numbers means. What it must not know: files,
the ledger. Nothing is guessed: a number or a date in the writing of another place, another currency, a page that says
there is more, or a column that is missing is refused with its line and what to do. Shapes as the providers document
them (organization usage and costs; usage and cost reports; the dashboard's and the console's CSV), read 2026-11-24.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from jevons.core.errors import CallerError
from jevons.core.usage import NOTHING, Usage

PICO_PER_DOLLAR = 10**12
MOST_LINES = 1_000_000
KINDS = ("input", "cached", "cache_write_5m", "cache_write_1h", "output")
"""Token kinds that are billed apart: the fields of Usage."""
WHOLE = re.compile(r"\d+\Z")
ISO = re.compile(r"\d{4}-\d\d-\d\d")
DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z")
OPENAI_WORDS = {"input": "input", "cached input": "cached", "output": "output"}
ANTHROPIC_TYPES = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cached",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
    "input_no_cache": "input",
    "input_cache_read": "cached",
    "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
    "output": "output",
}
ANTHROPIC_COLUMNS = {
    "input": "usage_input_tokens_no_cache",
    "cached": "usage_input_tokens_cache_read",
    "cache_write_5m": "usage_input_tokens_cache_write_5m",
    "cache_write_1h": "usage_input_tokens_cache_write_1h",
    "output": "usage_output_tokens",
}


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an export: usage, or a cost of one kind of token."""

    day: str
    """ISO date, UTC."""
    model: str
    key: str = ""
    tier: str = "standard"
    usage: Usage = NOTHING
    requests: int | None = None
    kind: str = ""
    """Of a cost: one of KINDS, or the provider's own words for what is no token."""
    pico: int = 0
    """Of a cost: pico-dollars."""


class Invoice(msgspec.Struct, frozen=True):
    """`what`: usage | cost."""

    provider: str
    what: str
    lines: tuple[Billed, ...]


def read(content: bytes) -> Invoice:
    """An export's bytes. Raises CallerError that says what was expected where."""
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise CallerError("the file is UTF-16, as spreadsheets save `Unicode text`: export it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CallerError("the file is not UTF-8; take the export as the provider made it") from None
    if text.lstrip()[:1] in {"{", "["}:
        return _pages(text)
    return _table(text)


# --- JSON pages


def _pages(text: str) -> Invoice:
    try:
        tree = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise CallerError(f"the file is not JSON: {error}") from None
    pages = tree if isinstance(tree, list) else [tree]
    if not all(isinstance(page, dict) and isinstance(page.get("data"), list) for page in pages):
        raise CallerError('the JSON is no export: pages with "data" are expected, one or a list of them')
    if pages and pages[-1].get("has_more"):
        raise CallerError(
            'the last page says "has_more": fetch the remaining pages and put all of them in one JSON list'
        )
    found: list[tuple[str, str, Billed]] = []
    for page in pages:
        for bucket in page["data"]:
            found += _bucket(bucket)
    return _whole(found)


def _bucket(bucket: Mapping[str, Any]) -> Iterator[tuple[str, str, Billed]]:
    start = bucket.get("start_time", bucket.get("starting_at"))
    day = _day(start, "a bucket's start")
    for row in bucket.get("results", ()):
        if "amount" in row and isinstance(row["amount"], Mapping):
            yield (
                "openai",
                "cost",
                _openai_cost(day, row["line_item"], row["amount"].get("currency"), row["amount"].get("value"), ""),
            )
        elif "amount" in row:
            yield "anthropic", "cost", _anthropic_cost(day, row)
        elif "uncached_input_tokens" in row:
            yield "anthropic", "usage", _anthropic_usage(day, row)
        elif "input_tokens" in row:
            yield "openai", "usage", _openai_usage(day, row, "")
        else:
            raise CallerError(f"a result of {day} is neither usage nor cost: it has {', '.join(sorted(row))}")


# --- CSV


def _table(text: str) -> Invoice:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = set(reader.fieldnames or ())
    if len(columns) == 1 and re.search(r"[;\t]", next(iter(columns))):
        raise CallerError(
            "the columns are not separated by commas: a spreadsheet of another locale saved this file. "
            "Take the export as the provider made it, without opening it"
        )
    shape = _shape(columns)
    found: list[tuple[str, str, Billed]] = []
    for number, row in enumerate(reader, 2):
        if number > MOST_LINES:
            raise CallerError(f"the export has more than {MOST_LINES:,} lines: reconcile it month by month")
        where = f" (line {number})"
        if None in row or None in row.values():
            raise CallerError(f"line {number} has another number of columns than the first line")
        found.append(_row(shape, row, where))
    return _whole(found, shape)


def _shape(columns: set[str]) -> tuple[str, str]:
    for shape, needed in (
        (("openai", "usage"), {"start_time", "input_tokens", "output_tokens", "model"}),
        (("openai", "cost"), {"start_time", "amount_value", "line_item"}),
        (("anthropic", "usage"), {"usage_date_utc", "model_version", *ANTHROPIC_COLUMNS.values()}),
        (("anthropic", "cost"), {"usage_date_utc", "model", "token_type", "cost_usd"}),
    ):
        if needed <= columns:
            return shape
    raise CallerError(
        f"the columns ({', '.join(sorted(map(str, columns))[:12]) or 'none'}) are of no export that is known: "
        "OpenAI usage or costs, Anthropic usage or costs"
    )


def _row(shape: tuple[str, str], row: Mapping[str, str], where: str) -> tuple[str, str, Billed]:
    provider, what = shape
    if provider == "openai":
        day = _day(row["start_time"], "start_time" + where)
        if what == "usage":
            return (*shape, _openai_usage(day, row, where))
        currency = row.get("amount_currency", "usd")
        return (*shape, _openai_cost(day, row["line_item"], currency, row["amount_value"], where))
    day = _day(row["usage_date_utc"], "usage_date_utc" + where)
    key, tier = row.get("api_key", ""), row.get("usage_type") or "standard"
    if what == "usage":
        counts = {kind: _whole_number(row[column], column + where) for kind, column in ANTHROPIC_COLUMNS.items()}
        return (*shape, Billed(day=day, model=row["model_version"], key=key, tier=tier, usage=Usage(**counts)))
    kind = ANTHROPIC_TYPES.get(row["token_type"], row["token_type"])
    pico = _dollars(row["cost_usd"], "cost_usd" + where)
    return (*shape, Billed(day=day, model=row["model"], key=key, tier=tier, kind=kind, pico=pico))


# --- the four kinds of line


def _openai_usage(day: str, row: Mapping[str, Any], where: str) -> Billed:
    prompt = _whole_number(row["input_tokens"], "input_tokens" + where)
    cached = _whole_number(row.get("input_cached_tokens") or 0, "input_cached_tokens" + where)
    if cached > prompt:
        raise CallerError(f"input_cached_tokens{where} is {cached}, more than the {prompt} input_tokens that hold it")
    if not row.get("model"):
        raise CallerError(f"a line of {day} names no model{where}: ask for the usage grouped by model (group_by=model)")
    batch = row.get("batch") in {True, "True", "true", "TRUE"}
    return Billed(
        day=day,
        model=row["model"],
        key=row.get("api_key_id") or "",
        tier="batch" if batch else row.get("service_tier") or "standard",
        usage=Usage(
            input=prompt - cached,
            cached=cached,
            output=_whole_number(row.get("output_tokens") or 0, "output_tokens" + where),
        ),
        requests=_whole_number(row.get("num_model_requests") or 0, "num_model_requests" + where),
    )


def _openai_cost(day: str, item: str | None, currency: Any, value: Any, where: str) -> Billed:
    _in_dollars(currency, where)
    if not item:
        raise CallerError(f"a cost of {day} has no line_item{where}: ask for the costs grouped by line_item")
    model, _, rest = item.partition(", ")
    words, _, tier = rest.partition(", ")
    pico = _dollars(value, "amount" + where)
    return Billed(day=day, model=model, tier=tier or "standard", kind=OPENAI_WORDS.get(words, words), pico=pico)


def _anthropic_usage(day: str, row: Mapping[str, Any]) -> Billed:
    written = row.get("cache_creation") or {}
    counts = {
        "input": row["uncached_input_tokens"],
        "cached": row.get("cache_read_input_tokens", 0),
        "cache_write_5m": written.get("ephemeral_5m_input_tokens", 0),
        "cache_write_1h": written.get("ephemeral_1h_input_tokens", 0),
        "output": row.get("output_tokens", 0),
    }
    if not row.get("model"):
        raise CallerError(f"a line of {day} names no model: ask for the report grouped by model (group_by[]=model)")
    return Billed(
        day=day,
        model=row["model"],
        key=row.get("api_key_id") or "",
        tier=row.get("service_tier") or "standard",
        usage=Usage(**{kind: _whole_number(count, kind) for kind, count in counts.items()}),
    )


def _anthropic_cost(day: str, row: Mapping[str, Any]) -> Billed:
    """Amounts are decimal strings in cents."""
    _in_dollars(row.get("currency"), "")
    if not row.get("model"):
        what = row.get("cost_type") or row.get("description") or "cost"
        return Billed(day=day, model="", kind=str(what), pico=_dollars(row["amount"], "amount") // 100)
    kind = ANTHROPIC_TYPES.get(row.get("token_type") or "", row.get("token_type") or "")
    pico = _dollars(row["amount"], "amount") // 100
    return Billed(day=day, model=row["model"], tier=row.get("service_tier") or "standard", kind=kind, pico=pico)


# --- values


def _day(value: Any, where: str) -> str:
    """Of Unix seconds or an ISO date, in UTC."""
    text = str(value).strip()
    try:
        if WHOLE.match(text):
            return datetime.fromtimestamp(int(text), UTC).date().isoformat()
        moment = datetime.fromisoformat(text if ISO.match(text) else "")
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise CallerError(f"{where} is {value!r}: a date is written 2026-11-24, or as Unix seconds") from None


def _whole_number(value: Any, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (value == "" or WHOLE.match(value)):
        return int(value or 0)
    raise CallerError(
        f"{where} is {value!r}: a whole number without separators is expected. If a spreadsheet rewrote the file, "
        "take the export as the provider made it"
    )


def _dollars(value: Any, where: str) -> int:
    """Pico-dollars, or of cents hundredths of that. `1.234,56` could be two numbers, so it is refused."""
    text = repr(value) if isinstance(value, float) else str(value).strip()
    if isinstance(value, bool) or not DECIMAL.match(text):
        raise CallerError(
            f"{where} is {value!r}: an amount is written 1234.56, with a point and no separators. If a spreadsheet of "
            "another locale rewrote the file, take the export as the provider made it"
        )
    return int((Decimal(text) * PICO_PER_DOLLAR).to_integral_value())


def _in_dollars(currency: Any, where: str) -> None:
    if str(currency).lower() != "usd":
        raise CallerError(f"the currency{where} is {currency!r}: only exports in US dollars can be reconciled")


def _whole(found: Sequence[tuple[str, str, Billed]], shape: tuple[str, str] | None = None) -> Invoice:
    shapes = {(provider, what) for provider, what, _ in found} or ({shape} if shape else set())
    if len(shapes) != 1:
        mixed = ", ".join(f"{provider} {what}" for provider, what in sorted(shapes)) or "nothing"
        raise CallerError(f"one export at a time is reconciled; this file holds {mixed}")
    provider, what = next(iter(shapes))
    return Invoice(provider, what, tuple(line for _, _, line in found))
