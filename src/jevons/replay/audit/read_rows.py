"""Spend logs of LiteLLM and observations of Langfuse, as JSON or CSV: a row a call, counts and sometimes texts.

What lives here: the columns of both, under the names of their exports. What it must not know: prices, sessions that
are only to be guessed. Sources: LiteLLM's table LiteLLM_SpendLogs; Langfuse's observation model and its exports, whose
CSV headings are the same words with other capitals and separators.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.usage import Usage
from jevons.replay.audit.files import Record
from jevons.replay.audit.read_bodies import surface_of
from jevons.replay.audit.seen import Malformed, Once, Seen, amount, count, inner, moment, text
from jevons.wire.usage import read_usage

Row = dict[str, Any]
SAMPLING = ("temperature", "top_p", "n", "max_tokens", "tools", "tool_choice", "response_format", "seed")


class LiteLLM:
    """One row of a spend log is one call. A reported spend of zero for tokens means that no price was known there."""

    name = "LiteLLM spend logs"

    def __init__(self) -> None:
        self.once = Once()

    def take(self, record: Record, where: str) -> Iterator[Seen]:
        """The row's call; none for a cache hit of LiteLLM's own. Raises Malformed."""
        row = plain(record)
        if "completiontokens" not in row or not text(row.get("model")):
            raise Malformed("a spend log without model or tokens")
        if str(row.get("cachehit")).lower() == "true":
            return
        metadata = inner(row.get("metadata"))
        usage = read_usage(_counts(row, metadata))
        if usage is None or not self.once(text(row.get("requestid"))):
            return
        model = text(row.get("model"))
        body, surface = _request(row, model)
        yield Seen(
            at=moment(row.get("starttime")),
            model=model,
            usage=usage,
            session=text(row.get("sessionid")) or text(metadata.get("session_id")) or text(metadata.get("trace_id")),
            id=text(row.get("requestid")),
            provider=text(row.get("customllmprovider")),
            cost_usd=amount(row.get("spend")) or None,
            surface=surface,
            body=body,
            where=where,
        )

    def end(self) -> Iterator[Seen]:
        """Nothing is held between rows."""
        yield from ()


class Langfuse:
    """A generation is a call; spans, events and traces are not."""

    name = "Langfuse observations"

    def __init__(self) -> None:
        self.once = Once()

    def take(self, record: Record, where: str) -> Iterator[Seen]:
        """The observation's call; none for other kinds. Raises Malformed."""
        row = plain(record)
        kind = text(row.get("type")).upper() or "GENERATION"
        if kind not in {"GENERATION", "EMBEDDING"}:
            return
        model = text(row.get("providedmodelname")) or text(row.get("model")) or text(row.get("internalmodel"))
        usage = _observed(row)
        if not model or usage is None:
            raise Malformed("a generation without model or usage")
        if not self.once(text(row.get("id"))):
            return
        body, surface = _input(row, model)
        yield Seen(
            at=moment(row.get("starttime")),
            model=model,
            usage=usage,
            session=text(row.get("sessionid")) or text(row.get("traceid")),
            id=text(row.get("id")),
            cost_usd=_cost(row),
            surface=surface,
            body=body,
            where=where,
        )

    def end(self) -> Iterator[Seen]:
        """Nothing is held between rows."""
        yield from ()


def is_litellm(found: Row) -> bool:
    """A spend log, by its columns."""
    return {"requestid", "spend", "prompttokens"} <= {_name(key) for key in found}


def is_langfuse(found: Row) -> bool:
    """An observation, by its columns."""
    names = {_name(key) for key in found}
    costs = {"usagedetails", "usage", "totalcost", "calculatedtotalcost", "costdetails", "inputusage", "totaltokens"}
    return "traceid" in names and bool(names & costs)


def plain(record: Record) -> Row:
    """A row by its columns' bare names: `prompt_tokens`, `promptTokens` and `Prompt Tokens` are one."""
    if isinstance(record, bytes):
        try:
            record = msgspec.json.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("not JSON") from None
    if not isinstance(record, dict):
        raise Malformed("not an object")
    return {_name(key): value for key, value in record.items()}


def _name(key: str) -> str:
    return "".join(char for char in key.lower() if char.isalnum())


def _counts(row: Row, metadata: Row) -> Row:
    """The usage object that the provider sent, where it was kept, else one of the columns."""
    kept = inner(metadata.get("usage_object"))
    if kept:
        return kept
    details = inner(metadata.get("additional_usage_values"))
    prompt = count(row.get("prompttokens"))
    return {**details, "prompt_tokens": prompt, "completion_tokens": count(row.get("completiontokens"))}


def _request(row: Row, model: str) -> tuple[bytes, Surface]:
    """The request's body, where prompts are stored: the proxy's own copy, else the messages without parameters (whose
    temperature is not known, so that they never count as repeats)."""
    asked = inner(row.get("proxyserverrequest"))
    asked = inner(asked.get("body")) or asked
    messages = _opened(row.get("messages"))
    if "messages" not in asked and isinstance(messages, list) and messages:
        asked = {"messages": messages}
    if "messages" not in asked:
        return b"", Surface.RAW
    kept = {key: value for key, value in asked.items() if key not in {"litellm_metadata", "proxy_server_request"}}
    return msgspec.json.encode({**kept, "model": model}), surface_of(kept, inner(row.get("response")))


def _observed(row: Row) -> Usage | None:
    """Usage of an observation: details by kind (input without the cached ones), the older object, or flat columns."""
    details = inner(row.get("usagedetails"))
    if details:
        named = {_name(key): count(value) for key, value in details.items()}
        cached = max(
            (named.get(key, 0) for key in ("inputcachedtokens", "cachereadinputtokens", "cacheread")), default=0
        )
        hour = named.get("inputcachecreation1h", 0)
        written = max(named.get("cachecreationinputtokens", 0), named.get("inputcachecreation", 0))
        output = named.get("output", 0) or named.get("outputtokens", 0)
        thought = named.get("outputreasoningtokens", 0)
        plain_input = named.get("input", 0) or named.get("inputtokens", 0)
        return Usage(
            input=plain_input,
            cached=cached,
            cache_write_5m=max(0, written - hour),
            cache_write_1h=hour,
            output=output + thought,
            reasoning=thought,
        )
    older = {_name(key): value for key, value in inner(row.get("usage")).items()}
    names = (
        ("input", "inputusage", "prompttokens", "inputtokens"),
        ("output", "outputusage", "completiontokens", "outputtokens"),
    )
    found = [
        next((count(source[name]) for source in (older, row) for name in kind if _given(source.get(name))), None)
        for kind in names
    ]
    if found[0] is None and found[1] is None:
        return None
    return Usage(input=found[0] or 0, output=found[1] or 0)


def _given(value: Any) -> bool:
    return value is not None and not isinstance(value, dict | list) and amount(value) is not None


def _cost(row: Row) -> float | None:
    """Dollars that Langfuse reports; zero means that it knew no price."""
    details = inner(row.get("costdetails"))
    costs = (amount(row.get("totalcost")), amount(row.get("calculatedtotalcost")), amount(details.get("total")))
    return next((cost for cost in costs if cost), None)


def _input(row: Row, model: str) -> tuple[bytes, Surface]:
    """An observation's input as a request: a list of messages, or an object with one."""
    given = _opened(row.get("input"))
    asked = dict(given) if isinstance(given, dict) else {"messages": given}
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) and "role" in each for each in messages):
        return b"", Surface.RAW
    parameters = inner(row.get("modelparameters"))
    numbers = {key: _opened(parameters[key]) for key in SAMPLING if key in parameters}
    return msgspec.json.encode({**numbers, **asked, "model": model}), surface_of(asked, {})


def _opened(value: Any) -> Any:
    """A value that was written as a JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value
