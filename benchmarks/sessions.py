"""What recorded agent sessions cost under a prompt cache's two lifetimes, and under ours.

    python -m benchmarks.sessions --data claude_code_sessions.dev.jsonl.gz [--json] [--seed N]

Prices are relative to an uncached input token: output 5, cached read .1, writes 1.25 (five minutes) and 2 (one hour).
Chain method: a request can read what it shares with its forerunner in the stream, while that lives. The provider's
books below are this script's own and share no code with the policy: a token keeps the lifetime it was written with,
one-hour tokens precede five-minute ones, asking for an hour writes five-minute tokens again at 2x.

The policy is `jevons.levers.cache.breakpoints.lifetime` over `jevons.levers.cache.pauses`, as the gateway calls them.
Its table of pauses is fitted on the streams of one hash half (first bit of sha256 of the stream's id) and used on the
other, both ways round, so that every stream is judged by a table that has not seen it. It decides at each request from
what is past; nothing is drawn at random but the bootstrap's samples.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.usage import Usage
from jevons.levers.cache.breakpoints import lifetime
from jevons.levers.cache.pauses import Request, Table, chance, fit
from jevons.levers.cache.session import advance, pace_at, standing
from jevons.prices.prefix import Rates
from jevons.replay.traces import Step, Trace, half, read_sessions

RATES = Rates(input=100, cached=10, cache_write_5m=125, cache_write_1h=200, output=500)
"""Hundredths of an uncached input token."""
FIVE, HOUR = 300.0, 3600.0
BOOTSTRAPS = 2000


def uncached(trace: Trace) -> int:
    return sum(step.prompt * RATES.input + step.output * RATES.output for step in trace.steps)


def fixed(trace: Trace, life: float, write: int) -> int:
    """One lifetime for all."""
    bill, before = 0, None
    for step in trace.steps:
        read = step.kept if before is not None and step.at - before <= life else 0
        bill += read * RATES.cached + (step.prompt - read) * write + step.output * RATES.output
        before = step.at
    return bill


def always_5m(trace: Trace) -> int:
    return fixed(trace, FIVE, RATES.cache_write_5m)


def always_1h(trace: Trace) -> int:
    return fixed(trace, HOUR, RATES.cache_write_1h)


def hindsight_request(trace: Trace) -> int:
    """Each request's write at the price of the lifetime that the next gap will have needed. A bound that no provider
    sells: what is already written takes the new lifetime for free."""
    bill, alive = 0, False
    gaps = [after.at - before.at for before, after in pairwise(trace.steps)]
    for step, gap in zip(trace.steps, [*gaps, HOUR + 1], strict=True):
        read = step.kept if alive else 0
        write = RATES.cache_write_5m if gap <= FIVE else RATES.cache_write_1h if gap <= HOUR else RATES.input
        bill += read * RATES.cached + (step.prompt - read) * write + step.output * RATES.output
        alive = gap <= HOUR
    return bill


class Books:
    """The provider's side of one stream: two positions, what each request is billed."""

    def __init__(self) -> None:
        self.hour = self.held = 0
        self.before: float | None = None

    def bill(self, step: Step, ttl: str) -> Usage:
        gap = 0.0 if self.before is None else step.at - self.before
        if gap > HOUR:
            self.hour = 0
        if gap > FIVE:
            self.held = self.hour
        self.hour, self.held = min(self.hour, step.kept), min(self.held, step.kept)
        self.before = step.at
        if ttl == "1h":
            usage = Usage(cached=self.hour, cache_write_1h=step.prompt - self.hour, output=step.output)
            self.hour = self.held = step.prompt
        else:
            usage = Usage(cached=self.held, cache_write_5m=step.prompt - self.held, output=step.output)
            self.held = step.prompt
        return usage


def ours(trace: Trace, table: Table) -> int:
    """The stream under our lifetimes, decided at each request from the replies before it."""
    books, session, bill = Books(), None, 0
    for step in trace.steps:
        pace = pace_at(session, step.at, step.prompt, sub=trace.sub)
        stand = standing(session, step.at, step.prompt, step.kept)
        usage = books.bill(step, lifetime(RATES, stand, chance(table, pace)))
        session = advance(session, step.at, usage, sub=trace.sub)
        bill += (
            usage.cached * RATES.cached
            + usage.cache_write_5m * RATES.cache_write_5m
            + usage.cache_write_1h * RATES.cache_write_1h
            + usage.output * RATES.output
        )
    return bill


def fitted_on(traces: Sequence[Trace]) -> dict[str, tuple[int, int]]:
    return fit((trace.sub, [Request(step.at, step.prompt, step.kept) for step in trace.steps]) for trace in traces)


def tables(traces: Sequence[Trace]) -> tuple[Table, Table]:
    """For each half, the table fitted on the other."""
    first, second = (fitted_on([trace for trace in traces if half(trace.id) != side]) for side in (0, 1))
    return first, second


def write_table(traces: Sequence[Trace], path: Path) -> None:
    """The table that a version ships, fitted on all streams of a file: one cell a line, for review."""
    cells = sorted(fitted_on(traces).items())
    rows = [f"  {msgspec.json.encode(name).decode()}: [{tokens}, {hits}]" for name, (tokens, hits) in cells]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def measure(traces: Sequence[Trace], seed: int) -> dict[str, Any]:
    fitted = tables(traces)
    plain = [uncached(trace) for trace in traces]
    five = [always_5m(trace) for trace in traces]
    hour = [always_1h(trace) for trace in traces]
    mine = [ours(trace, fitted[half(trace.id)]) for trace in traces]
    best = [min(pair) for pair in zip(five, hour, strict=True)]
    total = sum(plain)

    def share(bills: Sequence[int]) -> float:
        return sum(bills) / total

    def to_best(bills: Sequence[int]) -> float:
        return sum(bill / least for bill, least in zip(bills, best, strict=True)) / len(best)

    ratios = [bill / cheap for bill, cheap in zip(mine, five, strict=True)]
    worst = max(range(len(ratios)), key=ratios.__getitem__)
    return {
        "uncached": 1.0,
        "always_5m": share(five),
        "always_1h": share(hour),
        "hindsight_session": share(best),
        "hindsight_request": share([hindsight_request(trace) for trace in traces]),
        "jevons": share(mine),
        "jevons_mean_ratio_to_best_fixed": to_best(mine),
        "always_5m_mean_ratio_to_best_fixed": to_best(five),
        "always_1h_mean_ratio_to_best_fixed": to_best(hour),
        "jevons_interval": interval(lambda pick: sum(mine[i] for i in pick) / sum(plain[i] for i in pick), plain, seed),
        "gain_over_1h_interval": interval(
            lambda pick: sum(hour[i] - mine[i] for i in pick) / sum(plain[i] for i in pick), plain, seed
        ),
        "worst_session_to_5m": ratios[worst],
        "worst_session": traces[worst].id,
        "streams": len(traces),
        "requests": sum(len(trace.steps) for trace in traces),
    }


def interval(value: Callable[[Sequence[int]], float], units: Sequence[int], seed: int) -> list[float]:
    """95% bootstrap interval over streams."""
    dice = random.Random(seed)
    every = range(len(units))
    drawn = sorted(value(dice.choices(every, k=len(units))) for _ in range(BOOTSTRAPS))
    return [drawn[BOOTSTRAPS // 40], drawn[-BOOTSTRAPS // 40]]


def show(found: dict[str, Any]) -> None:
    low, high = found["jevons_interval"]
    gain = found["gain_over_1h_interval"]
    print(f"{found['streams']} streams, {found['requests']} requests; bill as a share of uncached input and output\n")
    print(f"{'policy':<42}{'bill':>8}   mean ratio to each stream's better fixed lifetime")
    for name, note in (
        ("uncached", ""),
        ("always_5m", f"{found['always_5m_mean_ratio_to_best_fixed']:.4f}"),
        ("always_1h", f"{found['always_1h_mean_ratio_to_best_fixed']:.4f}"),
        ("jevons", f"{found['jevons_mean_ratio_to_best_fixed']:.4f}  (95% of bootstraps {low:.4f} to {high:.4f})"),
        ("hindsight_session", "1.0000"),
        ("hindsight_request", "(a bound: lifetimes change for free)"),
    ):
        print(f"{name:<42}{found[name]:>8.4f}   {note}")
    print(f"\njevons saves against always_1h: {gain[0]:.4f} to {gain[1]:.4f} of uncached (95%, paired by stream)")
    print(f"worst session against always_5m: {found['worst_session_to_5m']:.3f}x ({found['worst_session']})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a sessions file (.jsonl or .jsonl.gz)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line instead of a table")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (default 1)")
    parser.add_argument("--write-table", type=Path, help="also write the table of pauses of the whole file here")
    options = parser.parse_args()
    print(f"reading {options.data}", file=sys.stderr)
    traces = list(read_sessions(options.data))
    if options.write_table:
        write_table(traces, options.write_table)
    found = measure(traces, options.seed)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(found)


if __name__ == "__main__":
    main()
