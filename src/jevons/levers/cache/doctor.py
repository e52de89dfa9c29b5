"""The prefix doctor: what broke the prompt's prefix between two requests of a session, what it costs, how to mend it.

What it decides: for a pair of consecutive bodies, the first place where they part, and the likeliest reason from a
short list. What it must not know: prices (rates are arguments), stores, the wire formats beyond the three places that
a prefix has: tools, system, messages. A diagnosis is for people and for the levers that mend (stable tool order); a
reason that is not recognised is called `edited`, never guessed at.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from jevons.prices.prefix import Rates

DAYS_A_MONTH = 30.44

_NEAR = 64
"""Characters shown on either side of the first difference."""


class Break(StrEnum):
    """Why a prefix was not found. The value is what reports print."""

    TIMESTAMP = "timestamp"
    IDENTIFIER = "identifier"
    COUNTER = "counter"
    TOOLS_REORDERED = "tools reordered"
    TOOLS_CHANGED = "tools changed"
    KEYS_REORDERED = "JSON keys reordered"
    HISTORY_CUT = "history cut"
    EDITED = "edited"
    MODEL = "model switched"
    EXPIRED = "expired"


FIX = {
    Break.TIMESTAMP: "move the time to the end of the last user message, or round it to the day",
    Break.IDENTIFIER: "drop the request id from the prompt, or move it behind the last breakpoint",
    Break.COUNTER: "move the number behind the last breakpoint",
    Break.TOOLS_REORDERED: "send the tools in one order: sort by name, or let the plan allow `stable_tools`",
    Break.TOOLS_CHANGED: "send all tools of the session from its first request on",
    Break.KEYS_REORDERED: "serialise JSON with sorted keys, or keep the text that was sent first",
    Break.HISTORY_CUT: "cut the history rarely and in large pieces; after a pause that empties the cache it is free",
    Break.EDITED: "append to the history instead of changing it",
    Break.MODEL: "keep a session on one model, or switch where a pause has emptied the cache anyway",
    Break.EXPIRED: "ask for one hour where pauses are common, or let the `breakpoints` lever choose",
}


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """One break. `lost` are tokens behind it that were held and had to be written again."""

    reason: Break
    where: str
    """`tools[3]`, `system`, `messages[12]`, or `` when nothing in the body changed."""
    lost: int
    before: str = ""
    after: str = ""

    @property
    def fix(self) -> str:
        return FIX[self.reason]


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the doctor sees it: when, to which model, its body, and its prompt tokens as reported."""

    at: float
    model: str
    body: bytes
    prompt: int
    ttl_s: float = 300.0


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw] = []
    input: msgspec.Raw = msgspec.Raw(b"null")
    system: msgspec.Raw = msgspec.Raw(b"null")
    instructions: msgspec.Raw = msgspec.Raw(b"null")
    tools: list[msgspec.Raw] | None = None


_STAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[AP]M)?\b"
    r"|\b1[5-9]\d{8}(?:\d{3})?(?:\.\d+)?\b"
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [A-Z][a-z]+ \d{1,2}\b"
)
_ID = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    r"|\b(?:[a-z]+[-_])?(?=[0-9A-Za-z]*\d)(?=[0-9A-Za-z]*[A-Za-z])[0-9A-Za-z]{12,}\b"
)
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")


def diagnose(before: Sent, after: Sent) -> Diagnosis | None:
    """What broke the prefix between two consecutive requests of a session, or None when the second extends the first.

    A changed model and a pause that outlived the cache come first: they lose everything, whatever the bodies say.
    Raises msgspec.DecodeError on a body that is not JSON.
    """
    if before.model != after.model:
        return Diagnosis(
            reason=Break.MODEL, where="", lost=min(before.prompt, after.prompt), before=before.model, after=after.model
        )
    old, new = _pieces(before.body), _pieces(after.body)
    parted = _first_difference(old, new)
    if after.at - before.at > before.ttl_s:
        kept = before.prompt if parted is None else _tokens_before(new, parted, after.prompt)
        return Diagnosis(reason=Break.EXPIRED, where="", lost=min(kept, before.prompt))
    if parted is None:
        return None
    lost = max(0, min(before.prompt, after.prompt) - _tokens_before(new, parted, after.prompt))
    where, was = old[parted]
    now = new[parted][1] if parted < len(new) else b""
    reason = _why(where, was, now, old, new, parted)
    one, two = _around(was, now)
    return Diagnosis(reason=reason, where=where, lost=lost, before=one, after=two)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One reason over many requests of a call site."""

    reason: Break
    times: int
    lost: int
    nano: int
    """What those tokens cost more than if they had been read from the cache."""
    nano_a_month: int
    fix: str
    example: Diagnosis


def findings(diagnoses: Iterable[Diagnosis], rates: Rates, seconds: float) -> list[Finding]:
    """Diagnoses of one call site over a span of time, summed by reason and priced: dearest first.

    A lost token is written for five minutes instead of read: (w - r) pico-dollars."""
    groups: dict[Break, list[Diagnosis]] = {}
    for diagnosis in diagnoses:
        groups.setdefault(diagnosis.reason, []).append(diagnosis)
    months = max(seconds, 1.0) / (DAYS_A_MONTH * 86_400)
    out = []
    for reason, group in groups.items():
        lost = sum(diagnosis.lost for diagnosis in group)
        nano = lost * (rates.cache_write_5m - rates.cached) // 1000
        example = max(group, key=lambda diagnosis: diagnosis.lost)
        out.append(
            Finding(
                reason=reason,
                times=len(group),
                lost=lost,
                nano=nano,
                nano_a_month=round(nano / months),
                fix=FIX[reason],
                example=example,
            )
        )
    return sorted(out, key=lambda finding: -finding.nano)


def _pieces(body: bytes) -> list[tuple[str, bytes]]:
    """(place, bytes) in the order of the provider's prefix: tools, system, messages. Cache marks are not content."""
    parsed = msgspec.json.decode(body, type=_Body)
    pieces = [(f"tools[{index}]", bytes(tool)) for index, tool in enumerate(parsed.tools or ())]
    for name in ("system", "instructions"):
        raw = bytes(getattr(parsed, name))
        if raw != b"null":
            pieces.append((name, raw))
    pieces += [(f"messages[{index}]", bytes(message)) for index, message in enumerate(parsed.messages)]
    if bytes(parsed.input) != b"null":
        pieces += _input_pieces(bytes(parsed.input))
    return [(where, _MARK.sub(b"", raw)) for where, raw in pieces]


_MARK = re.compile(rb',?\s*"cache_control"\s*:\s*\{[^{}]*\}')


def _input_pieces(raw: bytes) -> list[tuple[str, bytes]]:
    if not raw.lstrip().startswith(b"["):
        return [("input", raw)]
    items = msgspec.json.decode(raw, type=list[msgspec.Raw])
    return [(f"input[{index}]", bytes(item)) for index, item in enumerate(items)]


def _first_difference(old: Sequence[tuple[str, bytes]], new: Sequence[tuple[str, bytes]]) -> int | None:
    """Index of the first piece of the old prompt that the new one does not repeat; None when it repeats all."""
    for index, piece in enumerate(old):
        if index >= len(new) or new[index] != piece:
            return index
    return None


def _tokens_before(pieces: Sequence[tuple[str, bytes]], index: int, prompt: int) -> int:
    """Prompt tokens in front of a piece, by its share of the bytes."""
    total = sum(len(raw) for _, raw in pieces)
    front = sum(len(raw) for _, raw in pieces[:index])
    return prompt * front // total if total else 0


def _why(
    where: str,
    was: bytes,
    now: bytes,
    old: Sequence[tuple[str, bytes]],
    new: Sequence[tuple[str, bytes]],
    index: int,
) -> Break:
    if where.startswith("tools") or (index < len(new) and new[index][0].startswith("tools")):
        return _why_tools(old, new)
    if not now:
        return Break.HISTORY_CUT
    before, after = _value(was), _value(now)
    if before is not None and before == after:
        return Break.KEYS_REORDERED
    kind = _why_text(_text(was), _text(now))
    if kind is not None:
        return kind
    if where.startswith(("messages", "input")):
        moved_up = any(raw == now for _, raw in old[index + 1 :])
        return Break.HISTORY_CUT if moved_up or len(new) < len(old) else Break.EDITED
    return Break.EDITED


def _why_tools(old: Sequence[tuple[str, bytes]], new: Sequence[tuple[str, bytes]]) -> Break:
    mine = [_value(raw) for where, raw in old if where.startswith("tools")]
    theirs = [_value(raw) for where, raw in new if where.startswith("tools")]
    if mine == theirs:
        return Break.KEYS_REORDERED
    same = len(mine) == len(theirs) and all(tool in theirs for tool in mine)
    return Break.TOOLS_REORDERED if same else Break.TOOLS_CHANGED


def _why_text(was: str, now: str) -> Break | None:
    """Whether two texts are one, but for stamps, ids or numbers."""
    for pattern, reason in ((_STAMP, Break.TIMESTAMP), (_ID, Break.IDENTIFIER), (_NUMBER, Break.COUNTER)):
        was, now = pattern.sub("\0", was), pattern.sub("\0", now)
        if was == now:
            return reason
    return None


def _value(raw: bytes) -> Any:
    """JSON as a value, texts that are JSON themselves included (tool arguments and results)."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return _opened(value)


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _around(was: bytes, now: bytes) -> tuple[str, str]:
    """The two texts from a little before their first difference, for people."""
    limit = min(len(was), len(now))
    at = next((index for index in range(limit) if was[index] != now[index]), limit)
    start = max(0, at - _NEAR)
    return _text(was[start : at + _NEAR]), _text(now[start : at + _NEAR])
