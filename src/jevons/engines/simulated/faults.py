"""Scripted misbehaviour: which fault a request meets, read from a header, a prompt or a rule.

A fault is a word with parameters, `cut;after=5` or `429;retry_after=2`. What each one does to the bytes is in
`outlet.py`; what refuses before any work is here, with the provider's own error type.
"""

import random
from typing import Any

import msgspec

from jevons.engines.simulated.prompt import Refused, Reply

REFUSALS = {
    "400": ("invalid_request_error", "invalid_request_error"),
    "401": ("invalid_request_error", "authentication_error"),
    "403": ("permission_error", "permission_error"),
    "404": ("invalid_request_error", "not_found_error"),
    "413": ("invalid_request_error", "request_too_large"),
    "429": ("requests", "rate_limit_error"),
    "500": ("server_error", "api_error"),
    "503": ("server_error", "api_error"),
    "529": ("server_error", "overloaded_error"),
}
"""Status -> error type (OpenAI, Anthropic). Refused requests are not billed."""
UNBILLED = ("reset", "hang_up")
"""The connection ends before the provider has begun: nothing is billed."""
IN_REPLY = (
    "stall_first",  # silence of `s` before the first byte
    "stall_mid",  # silence of `s` after `after` events
    "cut",  # the connection closes after `after` events (or half of a whole body)
    "reset_mid",  # the same with a TCP reset
    "no_done",  # the stream ends cleanly after `after` events, without its end mark
    "error_event",  # an error event after `after` events ends the stream
    "rubbish",  # 200 with an HTML page; in a stream, a data line that is no JSON
    "truncated_json",  # a whole reply of half a JSON text; in a stream, one event of half a JSON text
    "crlf",  # server-sent events with CRLF line ends
    "split_utf8",  # every write cut inside a character where there is one, and at odd places elsewhere
    "drip",  # one byte a write, `s` between writes
    "repeat_index",  # a block's or tool call's start is sent twice with the same index
    "interleave",  # parallel tool calls' deltas in turns
    "no_usage",  # usage is left out
    "odd_cached",  # more cached tokens than prompt tokens
    "huge",  # the text is `mb` MiB long
    "comments",  # SSE comment lines and blank events between the events
)
KINDS = (*REFUSALS, *UNBILLED, *IN_REPLY)


class Fault(msgspec.Struct, frozen=True):
    """One fault. `after` counts events, `s` is seconds, `mb` MiB."""

    kind: str = ""
    after: int = 3
    s: float = 30.0
    retry_after: float = 1.0
    mb: float = 1.0


NONE = Fault()


def parse(text: str) -> Fault:
    """`kind[;name=value]...`. Raises ValueError for an unknown kind or parameter."""
    if not text:
        return NONE
    kind, *rest = (part.strip() for part in text.split(";"))
    if kind not in KINDS:
        raise ValueError(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
    fields: dict[str, Any] = dict(part.split("=", 1) for part in rest if part)
    if kind == "drip":
        fields.setdefault("s", "0")
    unknown = set(fields) - set(Fault.__struct_fields__)
    if unknown:
        raise ValueError(f"unknown fault parameter {min(unknown)!r}")
    return msgspec.convert({"kind": kind, **fields}, Fault, strict=False)


def refusal(fault: Fault, provider: str) -> Refused | None:
    """The refusal that a fault is, in the provider's words."""
    if fault.kind not in REFUSALS:
        return None
    openai, anthropic = REFUSALS[fault.kind]
    status = int(fault.kind)
    if provider == "openai" and status == 529:
        status = 503
    code = {"429": "rate_limit_exceeded", "401": "invalid_api_key"}.get(fault.kind)
    message = f"Simulated fault {fault.kind}."
    return Refused(status, openai if provider == "openai" else anthropic, message, code=code)


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the requests that match: a fault, a reply, or both. Empty conditions match all."""

    path: str = ""
    """The path ends with this."""
    model: str = ""
    key: str = ""
    contains: str = ""
    """The body holds this text."""
    fault: str = ""
    reply: Reply | None = None
    rate: float = 1.0
    """Share of the matching requests, drawn with the simulator's seed."""
    times: int = 0
    """At most so many; 0 = no end."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A simulator's settings, as JSON in `--script FILE`."""

    rules: tuple[Rule, ...] = ()
    orgs: dict[str, str] = {}
    """API key -> organisation; a key that is not named is an organisation of its own."""
    only_keys: bool = False
    """Keys that `orgs` does not name are refused with 401."""
    first_byte_s: float = 0.0
    event_s: float = 0.0
    requests_per_minute: int = 0
    """A limit per organisation; 0 = none."""
    batch_s: float = 0.0
    """How long a batch takes."""
    batch_outcome: str = ""
    """'' | expired | vanished: what becomes of batches."""


class Dice:
    """Which rules fire: seeded, and counted for `times`."""

    def __init__(self, script: Script, seed: int):
        for rule in script.rules:
            parse(rule.fault)
        self._rules = script.rules
        self._random = random.Random(seed)
        self._used = [0] * len(script.rules)

    def roll(self, path: str, key: str, model: str, body: bytes) -> tuple[Fault, Reply | None]:
        """The first matching rule's fault and the first matching rule's reply."""
        fault, reply = NONE, None
        for index, rule in enumerate(self._rules):
            if not path.endswith(rule.path) or (rule.model and rule.model != model) or (rule.key and rule.key != key):
                continue
            if rule.contains and rule.contains.encode() not in body:
                continue
            if (rule.times and self._used[index] >= rule.times) or self._random.random() >= rule.rate:
                continue
            self._used[index] += 1
            fault = fault if fault.kind else parse(rule.fault)
            reply = reply or rule.reply
        return fault, reply
