"""Recorded conversations for the trim benchmark, and what a provider charges for them. No policy lives here.

A trace is read into segments (a client's own compaction starts a new prompt), each a list of neutral turns with the
calls that were made on it. The bill is the chain model: what a prompt shares with the previous one, up to the end of
that one or of an earlier one, is read; the rest is written; a pause longer than the cache's life makes all of it new.
"""

import json
import lzma
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.prompt import Part, Text, Thinking, ToolResult, ToolUse, Turn
from jevons.levers.trim.rates import Rates
from jevons.levers.trim.session import tokens

BOOKS = {
    "anthropic_5m": Rates(read=0.1, write=1.25, output=5.0, ttl_s=300.0),
    "anthropic_1h": Rates(read=0.1, write=2.0, output=5.0, ttl_s=3600.0),
    "openai_10": Rates(read=0.1, write=1.0, output=8.0, ttl_s=300.0),
    "openai_25": Rates(read=0.25, write=1.0, output=4.0, ttl_s=300.0),
    "openai_50": Rates(read=0.5, write=1.0, output=4.0, ttl_s=300.0),
    "uncached": Rates(read=1.0, write=1.0, output=5.0, ttl_s=0.0),
}
"""Relative to plain input; output is a typical ratio of each price list."""
MIN_CACHED = 1_024
SECONDS_PER_CALL = 10.0
"""Where a trace has no times."""
RECALL_OUTPUT = 60.0


class CallMade(msgspec.Struct, frozen=True):
    """A call: its prompt is the segment's first `turns` turns; the answer is the next turn."""

    turns: int
    at: float
    output: float
    reported: int
    """Prompt tokens that the provider counted; 0 when unknown."""


class Segment(msgspec.Struct, frozen=True):
    turns: tuple[Turn, ...]
    calls: tuple[CallMade, ...]
    scale: float
    """Reported tokens per estimated token."""
    overhead: float
    """Tokens before the turns (tools and system text that the record lacks), from the first reported prompt."""


class Trace(msgspec.Struct, frozen=True):
    id: str
    task: str
    segments: tuple[Segment, ...]


def load(path: Path, hidden: float = 0.0) -> Iterator[Trace]:
    """All traces of a context file (.jsonl or .jsonl.xz); `hidden` tokens stand before turns whose usage is unknown."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        for line in lines:
            row = json.loads(line)
            cut = [at for at, message in enumerate(row["messages"]) if message.get("boundary")]
            starts, ends = [0, *(at + 1 for at in cut)], [*cut, len(row["messages"])]
            parts = [row["messages"][a:b] for a, b in zip(starts, ends, strict=True)]
            yield Trace(row["id"], str(row["task"]), tuple(_segment(part, hidden) for part in parts if part))


def _segment(messages: Sequence[dict[str, Any]], hidden: float) -> Segment:
    turns = tuple(_turn(message) for message in messages)
    sizes = [sum(map(tokens, turn.parts)) for turn in turns]
    calls: list[CallMade] = []
    for at, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        usage = message.get("usage") or {}
        reported = sum(
            usage.get(key) or 0 for key in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        when = _seconds(message["ts"]) if message.get("ts") else SECONDS_PER_CALL * len(calls)
        # A streamed record holds the count of the first event: the text itself is then the better witness.
        output = max(float(usage.get("output_tokens") or 0), sizes[at])
        calls.append(CallMade(at, when, output, reported))
    scale, overhead = _calibrate(calls, sizes, hidden)
    return Segment(turns, tuple(calls), scale, overhead)


def _calibrate(calls: Sequence[CallMade], sizes: Sequence[float], hidden: float) -> tuple[float, float]:
    known = [(call.reported, sum(sizes[: call.turns])) for call in calls if call.reported]
    if not known:
        return 1.0, hidden
    (first, low), (last, high) = known[0], known[-1]
    scale = (last - first) / (high - low) if high > low and last > first else 1.0
    return scale, max(0.0, first - scale * low)


def _turn(message: dict[str, Any]) -> Turn:
    parts: list[Part] = []
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content)
    if message["role"] == "tool":
        return Turn("tool", (ToolResult(message["tool_call_id"], (Text(text),)),))
    if message.get("reasoning"):
        parts.append(Thinking(message["reasoning"]))
    if text:
        parts.append(Text(text))
    parts += [
        ToolUse(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    return Turn(message["role"], tuple(parts))


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


class Meter:
    """Charges one segment's calls, in plain input tokens. Feed each prompt as (identity, tokens) per turn."""

    def __init__(self, rates: Rates, overhead: float):
        self._rates = rates
        self._overhead = overhead
        self._last: list[tuple[Any, float]] = []
        self._ends: list[int] = []
        self._at = 0.0
        self._recalled = 0.0
        self.bill = 0.0
        self.rereads = 0.0

    def charge(self, prompt: list[tuple[Any, float]], at: float, output: float) -> None:
        """One call. A prefix is read up to the end of an earlier prompt, as a breakpoint stood only there."""
        same = 0
        for old, new in zip(self._last, prompt, strict=False):
            if old != new:
                break
            same += 1
        warm = bool(self._last) and not self._rates.expired(at - self._at)
        ends = [end for end in self._ends if end <= same] if warm else []
        total = self._overhead + sum(size for _, size in prompt)
        cached = self._overhead + sum(size for _, size in prompt[: ends[-1]]) if ends else 0.0
        if warm and not ends:
            cached = self._overhead
        if total < MIN_CACHED:
            self.bill += total
        else:
            if cached < MIN_CACHED:
                cached = 0.0
            self.bill += self._rates.read * cached + self._rates.write * (total - cached)
        self.bill += self._rates.output * output
        # What was recalled earlier stays in the prompt: carried as cached, or written again after a pause.
        self.rereads += self._recalled * (self._rates.read if warm else self._rates.write)
        self._ends = [*ends, len(prompt)]
        self._last, self._at = prompt, at

    def recall(self, tokens_back: float) -> None:
        """The model asked for removed text: one more call over the last prompt, and the text from then on."""
        prompt = self._overhead + self._recalled + sum(size for _, size in self._last)
        self.rereads += self._rates.read * prompt + self._rates.write * tokens_back + self._rates.output * RECALL_OUTPUT
        self._recalled += tokens_back
