"""How well calls find their task when they carry no id, and what that costs.

    python -m benchmarks.stitching --data tau_airline.dev.jsonl.xz [--tasks 100] [--live 100000] [--json] [--seed N]

Each recorded run is taken apart into the calls that made it: one for each answer of the model, with all that stood
before it. The calls of up to `--tasks` runs are interleaved at random, each run's own order kept, as bodies of the
provider's wire format, from one key, with no header, no metadata and no cache key. What is called is the gateway's own
`Identifier` behind the wire's own field scan; only that is timed (CPU of this process), the field scan left out, which
every call pays anyway. Before, `--live` other tasks are opened in the same memory, as many as it is made to hold.

Pairwise: over all pairs of calls, precision is the share of pairs put together that belong together, recall the share
of pairs that belong together and were put together. Nothing is fitted. Controls: one task per first user message (what
session-guessing tools do), one task per call site, and every call for itself.
"""

import argparse
import json
import lzma
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.call import Call, Caller, Surface
from jevons.gateway.identify import Identifier
from jevons.wire.peek import peek
from jevons.wire.toplevel import fields

CALLER = Caller(key_id="key_1", name="bench", tenant="key_1")
GAP_S = 0.1
"""Between two calls of the interleaving: with 100 tasks, 10 s between two of one task."""
Made = tuple[str, Surface, bytes]
"""A call: the run that it belongs to, its surface, its body."""


def read(path: Path, most: int, rng: random.Random) -> list[dict[str, Any]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        runs = [json.loads(line) for line in file]
    rng.shuffle(runs)
    return runs[:most]


def calls_of(run: dict[str, Any], *, claude: bool) -> list[Made]:
    """The bodies that made a run: everything before each of the model's answers; several lines of one answer (same
    `mid`) are one."""
    messages = run["messages"]
    made = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or index == 0:
            continue
        if messages[index - 1]["role"] == "assistant" and messages[index - 1].get("mid") == message.get("mid"):
            continue
        before = [{k: v for k, v in m.items() if k not in {"ts", "mid", "usage"}} for m in messages[:index]]
        made.append((run["id"], *(_claude(before) if claude else _chat(run, before))))
    return made


def _chat(run: dict[str, Any], messages: list[dict[str, Any]]) -> tuple[Surface, bytes]:
    body = {"model": "gpt-4o", "messages": messages, "tools": run["tools"] or []}
    return Surface.CHAT, msgspec.json.encode(body)


def _claude(messages: list[dict[str, Any]]) -> tuple[Surface, bytes]:
    """As the client sends it: tool calls and results as blocks, one cache mark on the last turn, moving along."""
    turns: list[dict[str, Any]] = []
    system = [m["content"] for m in messages if m["role"] == "system"]
    for message in messages:
        if message["role"] == "system":
            continue
        role, blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = turns[-1]["content"] + blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if turns:
        *rest, last = turns[-1]["content"]
        turns[-1] = {**turns[-1], "content": [*rest, {**last, "cache_control": {"type": "ephemeral"}}]}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 8192, "system": "\n".join(map(str, system)), "messages": turns}
    return Surface.MESSAGES, msgspec.json.encode(body)


def _blocks(message: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    content = message.get("content") or ""
    if message["role"] == "tool":
        return "user", [{"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    if isinstance(content, list):
        blocks = content
    for call in message.get("tool_calls") or []:
        function = call["function"]
        blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": function["arguments"]})
    return message["role"], blocks


def interleave(runs: Sequence[list[Made]], rng: random.Random) -> list[Made]:
    """All calls in a random order that keeps each run's own."""
    order = [number for number, calls in enumerate(runs) for _ in calls]
    rng.shuffle(order)
    nexts = [iter(calls) for calls in runs]
    return [next(nexts[number]) for number in order]


def pairwise(truth: Sequence[Hashable], found: Sequence[Hashable]) -> tuple[float, float]:
    """(precision, recall) over pairs of calls; 1 where there is no pair."""
    both = _pairs(Counter(zip(truth, found, strict=True)))
    together, belong = _pairs(Counter(found)), _pairs(Counter(truth))
    return (both / together if together else 1.0), (both / belong if belong else 1.0)


def _pairs(sizes: Counter[Any]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes.values())


def fill(identifier: Identifier, live: int) -> None:
    """Open tasks of four messages each, in as many tenants as a busy gateway has, three calls each."""
    for number in range(live):
        caller = Caller(key_id="key_1", tenant=f"tenant{number % 50}")
        messages = [{"role": "system", "content": "You work."}, {"role": "user", "content": f"Task {number}."}]
        for step in range(3):
            body = msgspec.json.encode({"model": "gpt-4o", "messages": messages})
            identify(identifier, caller, Surface.CHAT, body, f"live{number}.{step}")
            messages += [{"role": "assistant", "content": f"{number} at {step}"}, {"role": "user", "content": "Go on."}]
        if number % 20_000 == 0:
            print(f"{number} live tasks", file=sys.stderr)


def identify(
    identifier: Identifier, caller: Caller, surface: Surface, body: bytes, operation: str, at: float = 0.0
) -> tuple[str, str, float]:
    """(task, site, CPU seconds) of a call, as the gateway asks for them."""
    found = fields(body)
    call = Call(
        operation=operation, surface=surface, caller=caller, peek=peek(surface, body), body=body, headers={}, at=at
    )
    began = time.process_time_ns()
    call = identifier.identify(call, found)
    seconds = (time.process_time_ns() - began) / 1e9
    return (call.task.task if call.task else operation), call.site, seconds


def first_user(body: bytes) -> str:
    messages = msgspec.json.decode(body)["messages"]
    return json.dumps(next((m for m in messages if m["role"] == "user"), None)).replace(
        ', "cache_control": {"type": "ephemeral"}', ""
    )


def resident_mib() -> float:
    text = Path("/proc/self/statm").read_text().split()[1]
    return int(text) * resource.getpagesize() / 2**20


def measure(data: Path, tasks: int, live: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    runs = read(data, tasks, rng)
    claude = any("claude" in str(run.get("source", "")) + str(run.get("model", "")) + data.name for run in runs)
    identifier = Identifier()
    before = resident_mib()
    fill(identifier, live)
    memory = resident_mib() - before
    calls = interleave([calls_of(run, claude=claude) for run in runs], rng)
    truth, found, sites, seconds, by_size = [], [], [], [], []
    for number, (run, surface, body) in enumerate(calls):
        task, site, took = identify(identifier, CALLER, surface, body, f"op{number}", number * GAP_S)
        truth.append(run)
        found.append(task)
        sites.append(site)
        seconds.append(took)
        by_size.append(len(body))
    precision, recall = pairwise(truth, found)
    large = sorted((size, took) for size, took in zip(by_size, seconds, strict=True))
    return {
        "calls": len(calls),
        "runs": len(runs),
        "pairwise_precision": precision,
        "pairwise_recall": recall,
        "cpu_us_per_call": 1e6 * sum(seconds) / max(1, len(seconds)),
        "cpu_us_median": 1e6 * sorted(seconds)[len(seconds) // 2],
        "cpu_us_largest_tenth": 1e6 * _mean([took for _, took in large[-max(1, len(large) // 10) :]]),
        "body_bytes_mean": sum(by_size) // max(1, len(by_size)),
        "body_bytes_largest": max(by_size, default=0),
        "live_tasks": live,
        "memory_mib": round(memory, 1),
        "remembered": identifier.stitcher.sizes(),
        "controls": {
            "first user message": pairwise(truth, [first_user(body) for _, _, body in calls]),
            "call site": pairwise(truth, sites),
            "every call alone": pairwise(truth, range(len(truth))),
        },
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def show(result: dict[str, Any], say: Callable[[str], None] = print) -> None:
    say(f"{result['calls']} calls of {result['runs']} tasks, interleaved; {result['live_tasks']} other live tasks")
    say(f"{'':24}{'precision':>10}{'recall':>10}")
    say(f"{'jevons':24}{result['pairwise_precision']:>10.4f}{result['pairwise_recall']:>10.4f}")
    for name, (precision, recall) in result["controls"].items():
        say(f"{name:24}{precision:>10.4f}{recall:>10.4f}")
    say(
        f"CPU a call: {result['cpu_us_per_call']:.1f} us mean, {result['cpu_us_median']:.1f} us median, "
        f"{result['cpu_us_largest_tenth']:.1f} us in the largest tenth of bodies "
        f"(mean body {result['body_bytes_mean']:,} bytes, largest {result['body_bytes_largest']:,})"
    )
    say(f"Memory of the live tasks: {result['memory_mib']} MiB; remembered: {result['remembered']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a context file (jsonl or jsonl.xz)")
    parser.add_argument("--tasks", type=int, default=100, help="recorded runs to interleave (default 100)")
    parser.add_argument("--live", type=int, default=100_000, help="other tasks held in memory (default 100,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.data, options.tasks, options.live, options.seed)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
