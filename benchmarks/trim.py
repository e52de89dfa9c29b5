"""What trimming does to the bill of recorded agent sessions, call by call, and what it loses.

Each recorded session is replayed: every assistant message is one call whose prompt is all before it. Policies: the
gateway's trim lever with lossy work allowed (jevons) and without (lossless), a sliding mask of all but the last 10
calls' results, and clearing all but 3 results at 100,000 tokens. The bill has input, cache reads and writes and
output; `bill_reread` adds a full re-read (one more call, and the text carried on) whenever an action quotes what is
gone. Recall: share of strings that an action repeats from tool results alone and that its prompt still shows;
edit_recall: the same for the lines of edits. Nothing is fitted here: the lever learns online, from an empty memory.
"""

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.trim_headroom import Headroom
from benchmarks.trim_traces import BOOKS, Meter, Segment, Trace, load
from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.prompt import Prompt, Text, ToolResult, ToolUse, Turn
from jevons.core.usage import Usage
from jevons.levers.lever import Edit, Outcome, Risk, View
from jevons.levers.trim.check import apply, editable
from jevons.levers.trim.lever import TrimLever
from jevons.levers.trim.rates import Rates
from jevons.levers.trim.session import tokens

MASKED = "[result left out]"
MASK_CALLS = 10
CLEAR_AT, CLEAR_KEEP = 100_000, 3
EDIT_FIELDS = ("old_string", "old_str")
MIN_LINE = 10
MAX_QUOTES = 400
_QUOTABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@:-]{4,}[A-Za-z0-9_]")
_TELLING = re.compile(r"[0-9_/@]|[a-z][A-Z]|\w\.\w")


class Result(msgspec.Struct):
    """Sums over traces; `ratios` are bills with re-reads against untouched, by trace."""

    bill: float = 0.0
    rereads: float = 0.0
    quoted: int = 0
    missing: int = 0
    edited: int = 0
    edited_missing: int = 0
    recalls: int = 0
    ratios: dict[str, float] = msgspec.field(default_factory=dict)
    cpu_s: list[float] = msgspec.field(default_factory=list)
    counts: dict[str, int] = msgspec.field(default_factory=dict)


Policy = Callable[[Segment, int, str], tuple[Edit, ...]]
"""(segment, which call, segment's name) -> edits of that call's prompt."""


class Lever:
    """The gateway's lever behind a stand-in for the governor: it takes the last offer, the lever's furthest."""

    def __init__(self, rates: Rates, risk: Risk):
        self._prompt: Prompt | None = None
        self.lever = TrimLever(lambda _: self._prompt, lambda _call, _view: rates)
        self._risk = risk
        self.spent = 0.0
        """CPU seconds of the last call: offer and learn, without this script's own counting."""
        self._memory: dict[str, Any] = {}

    def __call__(self, segment: Segment, number: int, name: str) -> tuple[Edit, ...]:
        made = segment.calls[number]
        self._prompt = Prompt(model="", turns=segment.turns[: made.turns])
        call = Call(
            operation=f"{name}/{number}", surface=Surface.CHAT, caller=Caller(key_id="k", tenant=name),
            peek=Peek(model=""), body=b"", headers={}, at=made.at, site="s",
        )  # fmt: skip
        view = View(now=made.at, allowed={"trim": self._risk}, memory={"trim": self._memory})
        started = time.process_time()
        offers = _result(self.lever.offer(call, view))
        self.spent = time.process_time() - started
        chosen = tuple(offers[-1:])
        edits = chosen[0].effect.edits if chosen else ()
        touched = {edit.turn for edit in edits}
        sent = apply(self._prompt, edits)
        sizes = _sizes(segment)
        size = sum(_edited_size(sent.turns[at]) if at in touched else sizes[at] for at in range(made.turns))
        usage = Usage(input=round(segment.overhead + segment.scale * size))
        started = time.process_time()
        changes = self.lever.learn(Outcome(call=call, chosen=chosen, usage=usage, cost_nano=0, notes=view.notes))
        self.spent += time.process_time() - started
        for change in changes:
            self._memory[change.key] = change.value
        return edits


def _result(offers: Any) -> Sequence[Any]:
    try:
        next(offers)
    except StopIteration as done:
        return done.value or ()
    raise RuntimeError("the trim lever asks nothing of the world")


_SIZES: dict[int, list[float]] = {}
_TEXT_SIZES: dict[str, float] = {}


def _sizes(segment: Segment) -> list[float]:
    """Estimated tokens per turn, once per segment."""
    if id(segment) not in _SIZES:
        _SIZES[id(segment)] = [sum(map(tokens, turn.parts)) for turn in segment.turns]
    return _SIZES[id(segment)]


def _size(text: str) -> float:
    if text not in _TEXT_SIZES:
        _TEXT_SIZES[text] = tokens(Text(text))
    return _TEXT_SIZES[text]


def untouched(_segment: Segment, _number: int, _name: str) -> tuple[Edit, ...]:
    return ()


def mask(segment: Segment, number: int, _name: str) -> tuple[Edit, ...]:
    """Results older than the last MASK_CALLS calls are left out, anew at each call."""
    if number < MASK_CALLS:
        return ()
    horizon = segment.calls[number - MASK_CALLS].turns
    return tuple(Edit(turn, part, MASKED) for turn, part in _results(segment.turns[:horizon]))


class Clear:
    """All results but the last CLEAR_KEEP are left out whenever the prompt passes CLEAR_AT tokens."""

    def __init__(self) -> None:
        self._gone: dict[str, tuple[Edit, ...]] = {}

    def __call__(self, segment: Segment, number: int, name: str) -> tuple[Edit, ...]:
        made = segment.calls[number]
        gone = self._gone.get(name, ())
        saved = sum(tokens(segment.turns[e.turn].parts[e.part]) - _size(MASKED) for e in gone)
        if segment.overhead + segment.scale * (sum(_sizes(segment)[: made.turns]) - saved) > CLEAR_AT:
            places = _results(segment.turns[: made.turns])
            gone = tuple(Edit(turn, part, MASKED) for turn, part in places[:-CLEAR_KEEP])
            self._gone[name] = gone
        return gone


def _results(turns: Sequence[Turn]) -> list[tuple[int, int]]:
    return [
        (number, at)
        for number, turn in enumerate(turns)
        for at, part in enumerate(turn.parts)
        if (editable(part) or "") and len(editable(part) or "") > len(MASKED)
    ]


class Quotes(msgspec.Struct, frozen=True):
    """What one answer repeats from tool results only: strings, and the lines that it edits."""

    strings: tuple[str, ...]
    lines: tuple[str, ...]


def quotes(segment: Segment) -> list[Quotes]:
    """For each call, judged on the untouched conversation."""
    found: list[Quotes] = []
    said, shown, walked = "", "", 0
    for made in segment.calls:
        for turn in segment.turns[walked : made.turns]:
            for part in turn.parts:
                if isinstance(part, ToolResult):
                    shown += "\n" + (editable(part) or "")
                else:
                    said += "\n" + _spoken(part)
        walked = made.turns
        answer = segment.turns[made.turns]
        spoken = "\n".join(map(_spoken, answer.parts))
        strings = [s for s in dict.fromkeys(_QUOTABLE.findall(spoken)) if _TELLING.search(s)][:MAX_QUOTES]
        needed = tuple(s for s in strings if s not in said and s in shown)
        lines = tuple(line for line in _edited(answer) if line in shown)
        found.append(Quotes(needed, lines))
    return found


def _spoken(part: Any) -> str:
    """Text and arguments as the model reads them; a tool call's strings without their JSON escapes."""
    if isinstance(part, ToolUse):
        return "\n".join(_strings(part.arguments))
    return getattr(part, "text", "")


def _strings(arguments: str) -> list[str]:
    try:
        value = json.loads(arguments)
    except ValueError:
        return [arguments]
    found: list[str] = []
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, Mapping):
            stack.extend(top.values())
        elif isinstance(top, list):
            stack.extend(top)
        else:
            found.append(str(top))
    return found


def _edited(turn: Turn) -> list[str]:
    lines: list[str] = []
    for part in turn.parts:
        if isinstance(part, ToolUse):
            try:
                fields = json.loads(part.arguments)
            except ValueError:
                continue
            for field in EDIT_FIELDS:
                lines += [line for line in str(fields.get(field) or "").split("\n") if len(line.strip()) >= MIN_LINE]
    return lines


class Judge:
    """Follows one segment under one policy: what its prompt shows, what an answer misses, what comes back."""

    def __init__(self, segment: Segment, meter: Meter, result: Result):
        self._segment, self._meter, self._result = segment, meter, result
        self._back: list[str] = []

    def look(self, wanted: Quotes, sent: Prompt) -> None:
        """Count what the answer needs and its prompt lacks, and charge a re-read of each result that had it."""
        changed = [
            (old, new) for old, new in zip(self._segment.turns, sent.turns, strict=False) if old is not new
        ]  # fmt: skip
        self._result.quoted += len(wanted.strings)
        self._result.edited += len(wanted.lines)
        if not changed or not (wanted.strings or wanted.lines):
            return
        visible = "\n".join([*(_spoken_or_shown(turn) for turn in sent.turns), *self._back])
        lost = [s for s in wanted.strings if s not in visible]
        lost_lines = [line for line in wanted.lines if line not in visible]
        self._result.missing += len(lost)
        self._result.edited_missing += len(lost_lines)
        gone = [old for old, _ in reversed(changed)]
        for string in (*lost, *lost_lines):
            if any(string in text for text in self._back):
                continue
            turn = next((turn for turn in gone if string in _spoken_or_shown(turn)), None)
            if turn is not None:
                self._back.append(_spoken_or_shown(turn))
                self._meter.recall(self._segment.scale * sum(map(tokens, turn.parts)))
                self._result.recalls += 1


def _spoken_or_shown(turn: Turn) -> str:
    return "\n".join((editable(part) or "") if isinstance(part, ToolResult) else _spoken(part) for part in turn.parts)


def replay(traces: Sequence[Trace], wanted: Mapping[int, list[Quotes]], rates: Rates, policy: Policy) -> Result:
    """All traces under one policy and price book."""
    result = Result()
    for trace in traces:
        bill = 0.0
        for number, segment in enumerate(trace.segments):
            meter = Meter(rates, segment.overhead)
            judge = Judge(segment, meter, result)
            sizes = _sizes(segment)
            for at, made in enumerate(segment.calls):
                started = time.process_time()
                edits = policy(segment, at, f"{trace.id}/{number}")
                spent = policy.spent if isinstance(policy, Lever) else time.process_time() - started
                result.cpu_s.append(spent)
                prompt = Prompt(model="", turns=segment.turns[: made.turns])
                sent = apply(prompt, edits)
                edited = {edit.turn for edit in edits}
                charged = [
                    (
                        (turn, sent.turns[turn]) if turn in edited else turn,
                        segment.scale * (_edited_size(sent.turns[turn]) if turn in edited else sizes[turn]),
                    )
                    for turn in range(made.turns)
                ]
                meter.charge(charged, made.at, segment.scale * made.output)
                judge.look(wanted[id(segment)][at], sent)
            result.bill += meter.bill
            result.rereads += meter.rereads
            bill += meter.bill + meter.rereads
        result.ratios[trace.id] = bill
    return result


def _edited_size(turn: Turn) -> float:
    return sum(_size(editable(part) or "") if isinstance(part, ToolResult) else tokens(part) for part in turn.parts)


def policies(rates: Rates, more: Mapping[str, Policy]) -> dict[str, Policy]:
    return {
        "jevons": Lever(rates, Risk.LOSSY),
        "lossless": Lever(rates, Risk.EQUIVALENT),
        "mask_10": mask,
        "clear_100k": Clear(),
        **more,
    }


def report(traces: Sequence[Trace], book: str, more: Mapping[str, Policy]) -> dict[str, Any]:
    """The contract's figures under one price book."""
    rates = BOOKS[book]
    wanted = {id(segment): quotes(segment) for trace in traces for segment in trace.segments}
    base = replay(traces, wanted, rates, untouched)
    rows: dict[str, Any] = {}
    for name, policy in policies(rates, more).items():
        print(f"{book}: {name}", file=sys.stderr)
        got = replay(traces, wanted, rates, policy)
        ratios = {key: bill / base.ratios[key] for key, bill in got.ratios.items() if base.ratios[key]}
        cpu = sorted(got.cpu_s)
        rows[name] = {
            "bill": round(got.bill / base.bill, 4),
            "bill_reread": round((got.bill + got.rereads) / base.bill, 4),
            "recall": round(1 - got.missing / max(1, got.quoted), 4),
            "edit_recall": round(1 - got.edited_missing / max(1, got.edited), 4),
            "worst_trace": round(max(ratios.values()), 4),
            "cpu_ms_p95": round(1e3 * cpu[int(0.95 * (len(cpu) - 1))], 2),
            "recalls": got.recalls,
            "quoted": got.quoted,
            "edited_lines": got.edited,
        }
        if isinstance(policy, Lever):
            rows[name]["counts"] = dict(policy.lever.counts)
    return rows


def half(trace: Trace) -> int:
    """0 or 1 by the task's hash: thresholds are chosen on 0 and reported on 1."""
    return hashlib.blake2b(trace.task.encode()).digest()[0] & 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a context file (.jsonl or .jsonl.xz)")
    parser.add_argument("--prices", choices=sorted(BOOKS), default="anthropic_5m")
    parser.add_argument("--all-prices", action="store_true", help="all six price books (key `books`)")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only traces of one hash half of the tasks")
    parser.add_argument(
        "--hidden", type=float, default=0.0, help="tokens of tools that a record without usage lacks (default 0)"
    )
    parser.add_argument("--headroom", metavar="PYTHON", help="an interpreter that has headroom-ai: adds its row")
    parser.add_argument("--seed", type=int, default=0, help="unused: nothing here is random")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    options = parser.parse_args()
    traces = [
        trace for trace in load(options.data, options.hidden) if options.half is None or half(trace) == options.half
    ]
    books = sorted(BOOKS) if options.all_prices else [options.prices]
    with Headroom(options.headroom) if options.headroom else nullcontext() as headroom:
        more: dict[str, Policy] = {"headroom": headroom} if headroom is not None else {}
        reports = {book: report(traces, book, more) for book in books}
    if options.json:
        calls = sum(len(segment.calls) for trace in traces for segment in trace.segments)
        body: dict[str, Any] = {"prices": options.prices, "traces": len(traces), "calls": calls}
        print(
            json.dumps(
                {**body, "policies": reports[options.prices], **({"books": reports} if options.all_prices else {})}
            )
        )
        return
    for book, rows in reports.items():
        print(f"\n{book}: {len(traces)} traces")
        print(f"{'policy':<12}{'bill':>9}{'reread':>9}{'recall':>9}{'edits':>9}{'worst':>9}{'recalls':>9}{'ms p95':>9}")
        for name, row in rows.items():
            keys = ("bill", "bill_reread", "recall", "edit_recall", "worst_trace", "recalls", "cpu_ms_p95")
            print(f"{name:<12}" + "".join(f"{row[key]:>9}" for key in keys))


if __name__ == "__main__":
    main()
