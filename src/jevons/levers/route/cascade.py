"""A ladder of models behind a gate: try the cheap one, check its answer, climb only when the check fails.

What it decides: which ladder is worth trying instead of the incumbent, with the arithmetic of why or why not; and, for
a gate that gives a score, from which score on a cheap answer may stand. What it must not know: how a gate looks at an
answer, how an answer is sent, the clock or the dice.

Everything is computed from paired trials: the same tasks tried by every model, so that what the cheap model fails on is
what the strong one then sees. Multiplying average rates instead misses that hard tasks are hard for all and cost more:
on SWE-bench Verified the tasks that a cheap agent fails cost the strong one 1.7x its mean, and 2.4x as much where the
cheap run was among the dearest quarter as among the cheapest, at about the same chance to be solved. A chosen ladder
is an estimate; it serves only after promotion (promotion.py) proved it at the call site.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from jevons.judge.moments import Moments, add
from jevons.judge.sequence import mean
from jevons.judge.thresholds import walk

DEEPEST = 3
"""Rungs: the third of a ladder sees a tenth of the tasks, a fourth would see next to nothing."""
WIDEST = 12
"""Non-dominated models that ladders are built from: 12 give at most 298 ladders."""
SURE = 1.645
"""Standard errors by which a saving must stand out: 95% one-sided."""
KEEP = 1.01
"""Of the incumbent's solved share, what a ladder that solves more than it keeps when it saves by stopping early."""
MATERIAL = 0.05
"""A stop that saves less than this share of the incumbent's bill isn't worth an answer that its gate has rejected."""
STOPS = 40
GATES = ("schema", "tests", "generated", "trajectory", "judge")
"""Checks by price: parsing, the user's own command or webhook, checks that a model wrote once, the run's own signals
(cost, loops, failed tools), a judging model."""


class Trial(msgspec.Struct, frozen=True, gc=False):
    """One model's try at one task."""

    solved: float
    dollars: float
    passes: float
    """The chance that the gate lets the answer stand: 0 or 1 where the verdict is known."""


Task = Mapping[str, Trial]
"""One task, tried by every model."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a check is known to get wrong, and what it costs."""

    kind: str
    false_reject: float = 0.0
    false_accept: float = 0.0
    dollars: float = 0.0

    def passes(self, solved: float) -> float:
        """The chance to let an answer stand that is right with probability `solved`."""
        return solved * (1.0 - self.false_reject) + (1.0 - solved) * self.false_accept


class Score(msgspec.Struct, frozen=True, gc=False):
    """What a ladder brings per task: means over the tasks it was computed on."""

    solved: float
    dollars: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict. Refused: `ladder` is the incumbent alone, and `why` holds the arithmetic."""

    ladder: tuple[str, ...]
    refused: bool
    why: str
    quality_ratio: float
    cost_ratio: float
    reach: tuple[float, ...] = (1.0,)
    """The share of tasks that reaches each rung."""
    stop: float = math.inf
    """Dollars spent on a task above which the last climb is not made."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a ladder must keep: its solved share as a ratio of the incumbent's, and a saving that stands out."""

    floor: float = 0.98
    least_tasks: int = 50


def play(task: Task, ladder: Sequence[str], gate_dollars: float = 0.0, stop: float = math.inf) -> Score:
    """Expected outcome of one task. Every rung but the last is checked; the last one's answer stands.

    Where the rungs before the last have cost more than `stop`, the last climb isn't made: the rejected answer stands.
    """
    reached, solved, dollars, wronged = 1.0, 0.0, 0.0, 0.0
    for model in ladder[:-1]:
        trial = task[model]
        dollars += reached * (trial.dollars + gate_dollars)
        solved += reached * trial.passes * trial.solved
        reached *= 1.0 - trial.passes
        wronged = reached * trial.solved
    if spent(task, ladder) > stop:
        return Score(solved + wronged, dollars)
    last = task[ladder[-1]]
    return Score(solved + reached * last.solved, dollars + reached * last.dollars)


def spent(task: Task, ladder: Sequence[str]) -> float:
    """Dollars that a task has cost when it comes to the last climb."""
    return sum(task[model].dollars for model in ladder[:-1])


def score(tasks: Sequence[Task], ladder: Sequence[str], gate_dollars: float = 0.0, stop: float = math.inf) -> Score:
    """Means over tasks."""
    played = [play(task, ladder, gate_dollars, stop) for task in tasks]
    return Score(sum(each.solved for each in played) / len(played), sum(each.dollars for each in played) / len(played))


def frontier(tasks: Sequence[Task], models: Sequence[str]) -> list[str]:
    """The models that no other model beats in both dollars and solved share, cheapest first."""
    best, kept = -math.inf, []
    scores = {model: score(tasks, (model,)) for model in models}
    for model in sorted(models, key=lambda name: (scores[name].dollars, -scores[name].solved)):
        if scores[model].solved > best:
            best = scores[model].solved
            kept.append(model)
    return kept


def ladders(tasks: Sequence[Task], models: Sequence[str], incumbent: str) -> Iterator[tuple[str, ...]]:
    """Ladders worth a look: up to DEEPEST non-dominated rungs, cheapest first; the incumbent may end any of them."""
    steps = frontier(tasks, models)[:WIDEST]
    ends = steps if incumbent in steps else [*steps, incumbent]
    for depth in range(1, DEEPEST + 1):
        for rungs in itertools.combinations(ends, depth):
            if rungs != (incumbent,):
                yield rungs


def choose(
    tasks: Sequence[Task], models: Sequence[str], incumbent: str, terms: Terms, gate_dollars: float = 0.0
) -> Plan:
    """The cheapest ladder that is estimated to keep the floor and whose saving stands out of its noise.

    Each estimate of quality is taken one standard error low: picking the best of many favours lucky ones.
    """
    if len(tasks) < terms.least_tasks:
        return _refuse(incumbent, f"{len(tasks)} paired tasks are too few; {terms.least_tasks} are needed")
    verdicts = [weigh(tasks, rungs, incumbent, terms, gate_dollars, 1.0) for rungs in ladders(tasks, models, incumbent)]
    passed = [plan for plan in verdicts if not plan.refused]
    if passed:
        return thrifty(tasks, min(passed, key=lambda plan: plan.cost_ratio), incumbent, gate_dollars)
    return _refuse(incumbent, f"none of {len(verdicts)} ladders keeps {terms.floor:.1%} of {incumbent} and saves")


def weigh(
    tasks: Sequence[Task],
    ladder: tuple[str, ...],
    incumbent: str,
    terms: Terms,
    gate_dollars: float = 0.0,
    caution: float = 0.0,
) -> Plan:
    """One ladder against the incumbent alone, with the arithmetic. `caution`: standard errors that the solved share is
    taken low by; none where one named ladder is weighed, since promotion still has to prove it."""
    base, ours = score(tasks, (incumbent,)), score(tasks, ladder, gate_dollars)
    saved, lost = Moments(), Moments()
    for task in tasks:
        played, alone = play(task, ladder, gate_dollars), task[incumbent]
        saved = add(saved, 0.0, alone.dollars - played.dollars)
        lost = add(lost, 0.0, played.solved - terms.floor * alone.solved)
    saving, slack = mean(saved), mean(lost)
    why = arithmetic(tasks, ladder, incumbent)
    if saving.value <= SURE * math.sqrt(saving.variance):
        return _refuse(incumbent, f"it does not pay: {why}", ours, base)
    if slack.value < caution * math.sqrt(slack.variance):
        return _refuse(incumbent, f"it is not seen to keep {terms.floor:.1%} of the solved tasks: {why}", ours, base)
    return Plan(
        ladder=ladder,
        refused=False,
        why=why,
        quality_ratio=ours.solved / base.solved,
        cost_ratio=ours.dollars / base.dollars,
        reach=reach(tasks, ladder),
    )


def thrifty(tasks: Sequence[Task], plan: Plan, incumbent: str, gate_dollars: float = 0.0) -> Plan:
    """The plan with a stop, where the ladder solves more than the incumbent and giving some of that back saves.

    A task that was dear below is dear above and no likelier to be solved there (module's first lines), so the last
    climb is left out where most was spent before it. KEEP stays; a saving that is not MATERIAL changes nothing.
    """
    if plan.refused or len(plan.ladder) < 2:
        return plan
    base, full = score(tasks, (incumbent,)), score(tasks, plan.ladder, gate_dollars)
    before = sorted(spent(task, plan.ladder) for task in tasks)
    stops = [before[len(before) * step // STOPS] for step in range(STOPS // 4, STOPS)]
    tried = [(score(tasks, plan.ladder, gate_dollars, stop), stop) for stop in stops]
    kept = [(found.dollars, found.solved, stop) for found, stop in tried if found.solved >= KEEP * base.solved]
    if not kept or full.dollars - min(kept)[0] < MATERIAL * base.dollars:
        return plan
    dollars, solved, stop = min(kept)
    return msgspec.structs.replace(
        plan,
        stop=stop,
        why=arithmetic(tasks, plan.ladder, incumbent, stop),
        quality_ratio=solved / base.solved,
        cost_ratio=dollars / base.dollars,
        reach=reach(tasks, plan.ladder, stop),
    )


def reach(tasks: Sequence[Task], ladder: Sequence[str], stop: float = math.inf) -> tuple[float, ...]:
    """The share of tasks that reaches each rung; the first is 1."""
    return tuple(sum(weights) / len(tasks) for weights in _arrivals(tasks, ladder, stop))


def arithmetic(tasks: Sequence[Task], ladder: tuple[str, ...], incumbent: str, stop: float = math.inf) -> str:
    """The sum, readable: what each rung costs per task that reaches it, how many reach it, and the incumbent alone."""
    parts = []
    for model, weights in zip(ladder, _arrivals(tasks, ladder, stop), strict=True):
        bill = sum(weight * task[model].dollars for weight, task in zip(weights, tasks, strict=True))
        parts.append(f"{sum(weights) / len(tasks):.0%} of tasks x ${bill / max(sum(weights), 1e-12):.4f} at {model}")
    total, base = score(tasks, ladder, stop=stop), score(tasks, (incumbent,))
    limit = "" if stop == math.inf else f" (no last climb past ${stop:.4f} already spent)"
    return (
        f"{' + '.join(parts)}{limit} = ${total.dollars:.4f} a task, {total.solved:.1%} solved; "
        f"{incumbent} alone ${base.dollars:.4f}, {base.solved:.1%} solved"
    )


def _arrivals(tasks: Sequence[Task], ladder: Sequence[str], stop: float) -> list[list[float]]:
    """For each rung, each task's chance to get to it."""
    reached, found = [1.0] * len(tasks), []
    for model in ladder:
        if model == ladder[-1] and len(ladder) > 1:
            reached = [0.0 if spent(task, ladder) > stop else at for at, task in zip(reached, tasks, strict=True)]
        found.append(reached)
        reached = [at * (1.0 - task[model].passes) for at, task in zip(reached, tasks, strict=True)]
    return found


def safe_threshold(
    cheap: Sequence[tuple[float, float]],
    strong: Sequence[float],
    thresholds: Sequence[float],
    margin: float,
    alpha: float,
) -> float:
    """The lowest gate score at which cheap answers may stand, proven not worse than the strong model by `margin`.

    `cheap`: (gate score, solved) by task in random order, `strong`: solved by the same tasks. Infinity: none is proven.
    """
    downwards = sorted(thresholds, reverse=True)
    streams = [
        [
            (solved if scored >= threshold else other) - other
            for (scored, solved), other in zip(cheap, strong, strict=True)
        ]
        for threshold in downwards
    ]
    found = walk(streams, -margin, alpha, low=-1.0).passed
    return math.inf if found < 0 else downwards[found]


def _refuse(incumbent: str, why: str, ours: Score | None = None, base: Score | None = None) -> Plan:
    known = ours is not None and base is not None
    return Plan(
        ladder=(incumbent,),
        refused=True,
        why=why,
        quality_ratio=ours.solved / base.solved if known and ours and base else 1.0,
        cost_ratio=ours.dollars / base.dollars if known and ours and base else 1.0,
    )
