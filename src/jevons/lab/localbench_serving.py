"""What serving costs: tokens per CPU-second with one call and with eight, a warm prefix, our process against none.

Measured on a served model through its own HTTP, by the CPU seconds of the serving process. The control is xllamacpp
started alone with the same options, without our supervision, in alternating rounds.
"""

import asyncio
import json
import random
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from jevons.engines.http import Limits, Pool
from jevons.engines.local import LocalEngine
from jevons.engines.local_child import Options
from jevons.engines.local_process import free_port
from jevons.lab.localbench_choose import Interval, interval

SLOTS = 8
CONTEXT_TOKENS = 3072
ANSWER_TOKENS = 96
ROUNDS = 4
PREFIX_WORDS = 2000
"""About 2,040 tokens with the default model."""
OVERHEAD_CALLS = 3
IDLE_S = 5.0
BARE = (
    "import sys, msgspec, threading\n"
    "from jevons.engines.local_child import Options, parameters\n"
    "import xllamacpp\n"
    "server = xllamacpp.Server(parameters(msgspec.json.decode(sys.stdin.buffer.readline(), type=Options)))\n"
    "print(server.listening_address, flush=True)\n"
    "threading.Event().wait()\n"
)
"""The control: the engine alone, as its users start it."""
WORDS = ("water", "steam", "iron", "copper", "engine", "valve", "furnace", "coal", "price", "labour", "market", "wheel")


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens are of answers; CPU is of the serving process, for decoding. Intervals are 95% over rounds."""

    tok_per_cpu_s_at_1: Interval
    tok_per_cpu_s_at_8: Interval
    batching_gain: float
    prefix_tokens: int
    cold_cpu_s: Interval
    warm_cpu_s: Interval
    prefix_gain: float
    ours_over_bare: Interval
    """CPU of the supervised child over xllamacpp alone, round by round."""
    supervisor_cpu_per_s: float
    """CPU-seconds a second of the supervising process while nothing is asked."""


def serving(model: Path, *, seed: int = 0, threads: int = 1, report: Callable[[str], None] = lambda _: None) -> Serving:
    """Everything above. Raises ModelError when the model can't be served."""
    return asyncio.run(_serving(model, random.Random(seed), threads, report))


async def _serving(model: Path, dice: random.Random, threads: int, report: Callable[[str], None]) -> Serving:
    engine = LocalEngine(model, threads=threads, slots=SLOTS, ctx=CONTEXT_TOKENS, cache_ram_mib=0)
    await engine.start()
    try:
        client = Client(engine.url, engine.key, engine.pid)
        report("batching")
        one, eight = [], []
        for _ in range(ROUNDS):
            one.append(await client.rate([_words(dice, 12) for _ in range(3)], together=1))
            eight.append(await client.rate([_words(dice, 12) for _ in range(SLOTS)], together=SLOTS))
        report("prefix")
        cold, warm, tokens = await _prefix(client, dice)
        idle = time.process_time()
        await asyncio.sleep(IDLE_S)
        idle = time.process_time() - idle
        report("overhead")
        ratio = await _overhead(client, model, dice, threads)
        client.close()
    finally:
        await engine.stop()
    alone, batched, cold_s, warm_s = interval(one), interval(eight), interval(cold), interval(warm)
    return Serving(
        tok_per_cpu_s_at_1=alone, tok_per_cpu_s_at_8=batched, batching_gain=batched.mean / alone.mean,
        prefix_tokens=tokens, cold_cpu_s=cold_s, warm_cpu_s=warm_s, prefix_gain=cold_s.mean / warm_s.mean,
        ours_over_bare=interval(ratio), supervisor_cpu_per_s=idle / IDLE_S,
    )  # fmt: skip


async def _prefix(client: "Client", dice: random.Random) -> tuple[list[float], list[float], int]:
    """CPU of one-token answers behind a shared prefix: the first call of each prefix is cold, five more are warm."""
    cold, warm, tokens = [], [], 0
    for _ in range(3):
        prefix = _words(dice, PREFIX_WORDS)
        spent, tokens = await client.spend(prefix + "\nFirst question.", 1)
        cold.append(spent)
        seen = [await client.spend(f"{prefix}\nQuestion {number}.", 1) for number in range(5)]
        warm.append(sum(spent for spent, _ in seen) / len(seen))
    return cold, warm, tokens


async def _overhead(ours: "Client", model: Path, dice: random.Random, threads: int) -> list[float]:
    """Ours over the bare engine, the order of the two drawn anew each round, on the same prompts."""
    options = Options(
        model=str(model), port=free_port(), key="bare", threads=threads, slots=SLOTS, context_tokens=CONTEXT_TOKENS,
        cache_ram_mib=0,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", BARE, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdin is not None  # noqa: S101 - made with pipes above
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(msgspec.json.encode(options) + b"\n")
    bare = Client(f"http://127.0.0.1:{options.port}", options.key, process.pid)
    ratios = []
    try:
        await process.stdout.readline()
        for _ in range(ROUNDS + 1):
            prompts = [_words(dice, 60) for _ in range(OVERHEAD_CALLS)]
            rates = {}
            for which in dice.sample([ours, bare], 2):
                rates[which is ours] = await which.rate(prompts, together=1)
            ratios.append(rates[False] / rates[True])
    finally:
        bare.close()
        process.kill()
        await process.wait()
    return ratios[1:]  # the first round warms both


class Client:
    """Chat calls to a server, with the CPU that they cost it."""

    def __init__(self, url: str, key: str, pid: int):
        self._pool, self._key, self._pid = Pool(url), key, pid

    async def rate(self, prompts: list[str], *, together: int) -> float:
        """Answer tokens per CPU-second of decoding, `together` calls at once.

        The prompts' own cost is taken off: that of as many one-token answers to prompts as long.
        """
        turned = [" ".join(reversed(prompt.split())) for prompt in prompts]
        short_cpu_s, short = await self._cost(turned, 1, together)
        long_cpu_s, long = await self._cost(prompts, ANSWER_TOKENS, together)
        return (long - short) / max(long_cpu_s - short_cpu_s, 1e-3)

    async def _cost(self, prompts: list[str], answer_tokens: int, together: int) -> tuple[float, int]:
        """(CPU seconds, answer tokens) of one answer to each prompt."""
        before, gate = cpu_s(self._pid), asyncio.Semaphore(together)

        async def one(prompt: str) -> int:
            async with gate:
                return int((await self._ask(prompt, answer_tokens))["completion_tokens"])

        tokens = sum(await asyncio.gather(*(one(prompt) for prompt in prompts)))
        return cpu_s(self._pid) - before, tokens

    async def spend(self, prompt: str, answer_tokens: int) -> tuple[float, int]:
        """(CPU seconds of one call, its prompt's tokens)."""
        before = cpu_s(self._pid)
        usage = await self._ask(prompt, answer_tokens)
        return max(cpu_s(self._pid) - before, 1e-3), int(usage["prompt_tokens"])

    async def _ask(self, prompt: str, answer_tokens: int) -> dict[str, Any]:
        """The usage of one answer, of its full length whatever the model would say."""
        body = json.dumps({
            "model": "local", "messages": [{"role": "user", "content": prompt}], "max_tokens": answer_tokens,
            "temperature": 0, "ignore_eos": True,
        }).encode()  # fmt: skip
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._pool.authority}\r\nauthorization: Bearer {self._key}"
            f"\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        exchange = await self._pool.send(head.encode("latin-1"), body, Limits(), stream=False)
        reply = json.loads(await exchange.whole())
        return dict(reply["usage"])

    def close(self) -> None:
        self._pool.close()


def cpu_s(pid: int) -> float:
    """A process's CPU seconds so far: the scheduler's own nanoseconds, summed over its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


def _words(dice: random.Random, count: int) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(count))
