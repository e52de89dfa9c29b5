"""Deferring calls of recorded agent sessions: what it saves against sending them now with the cache, and is it in time.

    python -m benchmarks.batch --data claude_code_sessions.dev.jsonl.gz [--json] [--seed N]

A task is a stream of the file. 30% of the tasks, drawn with --seed, may wait: each gets a deadline per call, drawn
log-uniformly from 10 minutes to 24 hours. A deferred call pushes back all later ones of its chain; recorded pauses
between calls stay as they were. Prices as in benchmarks.sessions; a batch or flex call costs half.

The provider delays what it is given: batch answers take a lognormal time (median 8 minutes, 90% within 29), 2% never
come; ordinary calls take their recorded time, one in fifty five times as long. What never comes is taken back and sent
the ordinary way when `levers.batch.decide` said so, at the full price of a prefix that is gone by then.

Markets: `batch` loses the prefix (as measured: the headline), `flex` keeps it and takes minutes, `alone` are the first
calls of the same tasks as calls that nothing follows (what a batch is made for). Hindsight knows outputs, pauses and
delays, and takes the cheapest course that is in time, for each task.
"""

import argparse
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from jevons.levers.batch.decide import Channel, Plan, Waiting, decide
from jevons.prices.prefix import Rates
from jevons.replay.traces import Step, Trace, read_sessions

NOW = Rates(input=100, cached=10, cache_write_5m=125, cache_write_1h=200, output=500)
HALF = Rates(input=50, cached=5, cache_write_5m=62, cache_write_1h=100, output=250)
SHARE, FIVE = 0.3, 300.0
EARLIEST_S, LATEST_S = 600.0, 86_400.0
NEVER = math.inf
MARKETS = {
    "batch": (Channel(name="batch", rates=HALF, wait_s=1750.0), 480.0, 1.0),
    "flex": (Channel(name="flex", rates=HALF, wait_s=150.0, keeps_prefix=True), 60.0, 0.7),
    "alone": (Channel(name="batch", rates=HALF, wait_s=1750.0), 480.0, 1.0),
}
"""Channel as the policy knows it, median wait, sigma of its logarithm."""


class Fate(msgspec.Struct, frozen=True):
    """What the world has in store for one call, drawn before anything is decided."""

    step: Step
    pause: float
    """Between the answer before and this call."""
    wait: float
    """Until a deferred answer comes."""
    lasts: float
    """An ordinary call's time."""


def fates(trace: Trace, median: float, sigma: float, dice: random.Random) -> list[Fate]:
    out: list[Fate] = []
    before = None
    for step in trace.steps:
        wait = NEVER if dice.random() < 0.02 else median * math.exp(dice.gauss(0.0, sigma))
        lasts = max(step.api_s, 1.0) * (5.0 if dice.random() < 0.02 else 1.0)
        pause = 0.0 if before is None else max(0.0, step.at - before.at - before.api_s)
        out.append(Fate(step, pause, wait, lasts))
        before = step
    return out


def cost(step: Step, held: int, rates: Rates) -> int:
    return held * rates.cached + (step.prompt - held) * rates.cache_write_5m + step.output * rates.output


def lost(step: Step, rates: Rates) -> int:
    """A call that neither reads nor writes a prefix."""
    return step.prompt * rates.input + step.output * rates.output


class Run:
    """One task under the policy: its bill, and which calls were in time. Without channels: everything now."""

    def __init__(self, course: Sequence[Fate], deadline_s: float, channels: Sequence[Channel], mean_s: float):
        self.course, self.deadline_s, self.channels, self.mean_s = course, deadline_s, channels, mean_s
        self.bill = self.met = self.deferred = self.late = 0
        self.followed = len(course) > 1
        self.held_until = -1.0

    def play(self) -> "Run":
        least, done = 0, 0.0
        for index, fate in enumerate(self.course):
            step, at = fate.step, done + fate.pause
            held = step.kept if index and self.held_until >= at else 0
            plan = decide(
                Waiting(
                    at=at,
                    deadline=at + self.deadline_s,
                    prompt=step.prompt,
                    held=held,
                    held_until=self.held_until,
                    output=least,
                    lasts_s=self.mean_s,
                    survives=1_000_000 if self.followed else 0,
                ),
                NOW,
                self.channels,
            )
            done = self._now(fate, held, at) if plan.channel is None else self._defer(fate, held, plan)
            self.met += done <= at + self.deadline_s
            least = min(least, step.output) if index else step.output
        return self

    def _now(self, fate: Fate, held: int, at: float) -> float:
        self.bill += cost(fate.step, held, NOW) if self.followed else lost(fate.step, NOW)
        self.held_until = at + FIVE
        return at + fate.lasts

    def _defer(self, fate: Fate, held: int, plan: Plan) -> float:
        self.deferred += 1
        answered = plan.send_at + fate.wait
        if answered > plan.late_at:
            self.late += 1
            return self._now(fate, held if self.held_until >= plan.late_at else 0, plan.late_at)
        if plan.channel is not None and plan.channel.keeps_prefix:
            began = max(plan.send_at, answered - fate.lasts)
            self.bill += cost(fate.step, held if self.held_until >= began else 0, HALF)
            self.held_until = began + FIVE
        else:
            self.bill += lost(fate.step, HALF)
            self.held_until = -1.0
        return answered


def hindsight(course: Sequence[Fate], deadline_s: float, channel: Channel, followed: bool) -> int:
    """The cheapest course over {now, later} for each call, with outputs, pauses and delays known."""
    cold, warm = 0, None  # cheapest bill so far with the prefix gone, and with it held
    for index, fate in enumerate(course):
        step = fate.step
        gap = fate.pause + (course[index - 1].lasts if index else 0.0)
        held_bills = [bill for bill in (warm,) if bill is not None and gap <= FIVE and index]
        gone = min(bill for bill in (cold, warm) if bill is not None)
        now = min([gone + (cost(step, 0, NOW) if followed else lost(step, NOW))]
                  + [bill + cost(step, step.kept, NOW) for bill in held_bills])  # fmt: skip
        later = None
        if fate.wait <= deadline_s:
            later = gone + lost(step, HALF)
            if channel.keeps_prefix:
                later = min([gone + cost(step, 0, HALF)] + [bill + cost(step, step.kept, HALF) for bill in held_bills])
        if channel.keeps_prefix:
            warm = now if later is None else min(now, later)
            cold = warm
        else:
            warm, cold = now, now if later is None else later
    return min(bill for bill in (cold, warm) if bill is not None)


def market(name: str, traces: Sequence[Trace], seed: int) -> dict[str, Any]:
    """All deferrable tasks of one market."""
    channel, median, sigma = MARKETS[name]
    dice = random.Random(f"{seed}/{name}")
    drawn = [trace for trace in traces if random.Random(f"{seed}/{trace.id}").random() < SHARE]
    mean_s = sum(step.api_s for trace in traces for step in trace.steps) / sum(len(t.steps) for t in traces)
    now = mine = best = met = calls = deferred = late = 0
    worst = (0.0, "")
    for trace in drawn:
        course = fates(trace, median, sigma, dice)
        if name == "alone":
            course = course[:1]
        deadline = math.exp(dice.uniform(math.log(EARLIEST_S), math.log(LATEST_S)))
        run = Run(course, deadline, [channel], mean_s).play()
        base = Run(course, deadline, [], mean_s).play().bill
        now, mine = now + base, mine + run.bill
        best += hindsight(course, deadline, channel, run.followed)
        worst = max(worst, (run.bill / base, trace.id))
        met, calls = met + run.met, calls + len(course)
        deferred, late = deferred + run.deferred, late + run.late
    return {
        "ratio_to_now": mine / now,
        "ratio_to_hindsight": mine / best,
        "hindsight_to_now": best / now,
        "worst_task_ratio": worst[0],
        "worst_task": worst[1],
        "deadlines_met": met / calls,
        "tasks": len(drawn),
        "calls": calls,
        "deferred": deferred,
        "taken_back": late,
    }


def all_by_batch(traces: Sequence[Trace]) -> float:
    """The control: every call of every session by batch, against sending now with the cache."""
    now = sum(Run(fates(trace, 1.0, 0.0, random.Random(0)), LATEST_S, [], 1.0).play().bill for trace in traces)
    return sum(lost(step, HALF) for trace in traces for step in trace.steps) / now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a sessions file (.jsonl or .jsonl.gz)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line instead of a table")
    parser.add_argument("--seed", type=int, default=1, help="draws the tasks, deadlines and delays (default 1)")
    options = parser.parse_args()
    print(f"reading {options.data}", file=sys.stderr)
    traces = list(read_sessions(options.data))
    markets = {name: market(name, traces, options.seed) for name in MARKETS}
    found = {**markets["batch"], "all_by_batch": all_by_batch(traces), "markets": markets}
    if options.json:
        print(msgspec.json.encode(found).decode())
        return
    print(
        f"{'market':<8}{'to now':>9}{'hindsight':>11}{'worst task':>12}{'in time':>9}{'deferred':>11}{'taken back':>12}"
    )
    for name, each in markets.items():
        print(
            f"{name:<8}{each['ratio_to_now']:>9.4f}{each['hindsight_to_now']:>11.4f}{each['worst_task_ratio']:>12.4f}"
            f"{each['deadlines_met']:>9.4f}{each['deferred']:>6}/{each['calls']:<5}{each['taken_back']:>11}"
        )
    print(f"\nevery call by batch, against now with the cache: {found['all_by_batch']:.2f}x")


if __name__ == "__main__":
    main()
