"""What jevons saves, measured: a randomised hold-out of tasks, and within the rest a factorial over the levers.

What it decides: which arm a task belongs to, what the arms have shown so far at any look, whether a headline may be
shown, and which levers cost more than they save. What it must not know: how a lever works, where rows are kept, the
clock or the dice: arms come from a salted hash.

Theory of operation. A task (never a call) is held out with probability `holdout`: it runs untouched. Every other task
has each lever switched off with probability `lever_off`, independently, so each lever's own worth is the difference
between its on and off tasks. Dollars are heavy-tailed, so their intervals are asymptotic confidence sequences
(judge/sequence.py) from a burn-in on; they are adjusted for what was expected of the task before it was drawn (the mean
of its call site so far). Success is bounded, so its non-inferiority is an exact betting test. Arms whose sizes do not
fit the draw stop everything: a biased assignment makes every other number worthless.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from jevons.judge.betting import Wealth, bet, non_inferiority, rejects
from jevons.judge.mismatch import mismatched
from jevons.judge.moments import Moments, add
from jevons.judge.sequence import Estimate, Interval, difference, interval, mean, multiple, ratio, tuned

BURN_IN = 200
"""Tasks in the smaller arm before any interval is shown. Asymptotic sequences need it: on resampled agent costs
(coefficient of variation up to 2) see docs/performance/experiment.md for the coverage that this gives."""
REACH = 3.1
"""Standard errors of a two-sided 95% sequence near the size that it is tuned for: used to plan, never to decide."""
LEAST_SOLVED = 30
"""Solved tasks in an arm before dollars per solved task are shown."""
HELD, TREATED = 0, 1
HOLD_OUT = "hold-out"
"""The held-out arm's name in the ledger; the governor chooses nothing under it."""
T = TypeVar("T")
Pairing = tuple[Moments, Moments]
"""(held out, treated), or for a lever (off, on)."""


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's experiment. A new salt is a new experiment."""

    tenant: str
    salt: str
    levers: tuple[str, ...] = ()
    holdout: float = 0.2
    """The share of tasks that run untouched."""
    lever_off: float = 0.2
    """The share of treated tasks that run without a given lever."""
    alpha: float = 0.05
    margin: float = 0.05
    """How many fewer tasks, as a share, may be solved."""
    planned: float = 0.10
    """The saving that the experiment is planned to show."""


class Arm(msgspec.Struct, frozen=True):
    """Where a task belongs. `off`: the levers that it runs without (all of them when held out)."""

    held: bool
    off: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the ledger stores: `hold-out`, `on`, `on-trim`, `on-trim+route`."""
        return HOLD_OUT if self.held else "-".join(("on", *(["+".join(self.off)] if self.off else [])))


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of an experiment: a few hundred bytes, whatever its length."""

    dollars: Pairing = (Moments(), Moments())
    """x: dollars expected of the task before the draw; y: dollars it cost."""
    solved: Pairing = (Moments(), Moments())
    """x: solved (0 or 1); y: dollars. Only tasks whose outcome is known."""
    levers: dict[str, Pairing] = {}
    success: Wealth
    waiting: tuple[int, float] = (0, 0.0)
    """Treated tasks with an outcome since the last held-out one: how many, and the sum of their outcomes."""
    mixture: float = 0.0
    """The sequences' tuning, set once when the burn-in ends."""
    broken: bool = False
    """The arms' sizes were once refuted; that stays."""

    @property
    def counts(self) -> tuple[int, int]:
        return self.dollars[HELD].n, self.dollars[TREATED].n


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said now. Every figure in it is measured; None: not enough tasks for it yet."""

    shown: bool
    why: str
    """Why nothing is shown, or what the figure rests on."""
    more_tasks: int | None
    """About how many more tasks until a difference of the planned saving (or the one seen, if larger) would show."""
    tasks: tuple[int, int]
    saved_per_task: Interval | None = None
    """Dollars per task, held out minus treated, adjusted: positive is a saving."""
    saved_share: Interval | None = None
    per_task: tuple[Interval, Interval] | None = None
    per_solved: tuple[Interval, Interval] | None = None
    success_kept: bool = False
    """The treated arm is proven not to solve fewer tasks by the margin."""
    success_p: float = 1.0
    switch_off: tuple[str, ...] = ()
    """Levers proven to cost more than they save."""


def assign(design: Design, task: str) -> Arm:
    """The arm of a task: the same for all its calls, on every worker, and in replay."""
    if _uniform(design, "holdout", task) < design.holdout:
        return Arm(held=True, off=design.levers)
    return Arm(held=False, off=tuple(name for name in design.levers if _uniform(design, name, task) < design.lever_off))


def named(name: str, design: Design) -> Arm:
    """The arm that the ledger stored under a name. Raises ValueError for one that is none."""
    if name == HOLD_OUT:
        return Arm(held=True, off=design.levers)
    base, _, off = name.partition("-")
    if base != "on":
        raise ValueError(f"{name!r} is no arm: hold-out, on, or on-LEVER+LEVER")
    return Arm(held=False, off=tuple(off.split("+")) if off else ())


def permitted(arm: Arm, allowed: Mapping[str, T]) -> dict[str, T]:
    """What a plan allows (by lever name), less what the arm runs without."""
    return {} if arm.held else {name: risk for name, risk in allowed.items() if name not in arm.off}


def begin(design: Design) -> Evidence:
    """Nothing seen yet."""
    return Evidence(
        success=non_inferiority(design.margin), levers={name: (Moments(), Moments()) for name in design.levers}
    )


def record(
    evidence: Evidence, design: Design, arm: Arm, dollars: float, expected: float, solved: bool | None
) -> Evidence:
    """One finished task. `expected`: what its call site has cost per task so far; any constant when unknown.

    Raises ValueError for a cost that is not a finite number: an unpriced task is left out by the caller, and counted.
    """
    if not math.isfinite(dollars) or not math.isfinite(expected):
        raise ValueError("a task's dollars must be finite: leave unpriced tasks out")
    side = HELD if arm.held else TREATED
    after = msgspec.structs.replace(
        evidence,
        dollars=_put(evidence.dollars, side, expected, dollars),
        levers=evidence.levers if arm.held else _levers(evidence.levers, arm, expected, dollars),
    )
    if solved is not None:
        after = _outcome(after, side, float(solved), dollars)
    if not after.mixture and min(after.counts) >= BURN_IN:
        after = msgspec.structs.replace(after, mixture=tuned(planned_size(after, design), design.alpha))
    if not after.broken and mismatched(after.counts, (design.holdout, 1.0 - design.holdout)):
        after = msgspec.structs.replace(after, broken=True)
    return after


def look(evidence: Evidence, design: Design) -> Headline:
    """What may be said at this moment. May be asked after every task: all statements hold together at every look."""
    held, treated = evidence.dollars
    tasks = (held.n, treated.n)
    if evidence.broken:
        why = f"arm sizes {held.n} and {treated.n} do not fit the draw: assignment or logging is broken"
        return Headline(shown=False, why=why, more_tasks=None, tasks=tasks)
    if not evidence.mixture:
        return Headline(
            shown=False, why="both arms need more tasks", more_tasks=_to_burn_in(tasks, design), tasks=tasks
        )
    width = multiple(held.n + treated.n, evidence.mixture, design.alpha)
    saved = interval(difference(held, treated), width)
    kept = rejects(evidence.success, design.alpha)
    more = tasks_to_show(evidence, design)
    shown = saved.low > 0 or saved.high < 0
    return Headline(
        shown=shown,
        why=_reason(saved, kept) if shown else f"no difference shown yet; about {more} more tasks",
        more_tasks=None if shown else more,
        tasks=tasks,
        saved_per_task=saved,
        saved_share=interval(share(held, treated), width),
        per_task=(_arm(held, evidence, design), _arm(treated, evidence, design)),
        per_solved=_per_solved(evidence, design),
        success_kept=kept,
        success_p=evidence.success.p,
        switch_off=tuple(name for name in evidence.levers if net_negative(evidence, design, name)),
    )


def net_negative(evidence: Evidence, design: Design, lever: str) -> bool:
    """Whether tasks without the lever are proven cheaper than tasks with it. The level is shared by all levers."""
    saving = lever_saving(evidence, design, lever)
    return saving is not None and saving.high < 0


def lever_saving(evidence: Evidence, design: Design, lever: str) -> Interval | None:
    """Dollars per task that a lever saves: tasks without it minus tasks with it. None: too few tasks."""
    off, on = evidence.levers[lever]
    if not evidence.mixture or min(off.n, on.n) < BURN_IN:
        return None
    width = multiple(off.n + on.n, evidence.mixture, design.alpha / len(evidence.levers))
    return interval(difference(off, on), width)


def planned_size(evidence: Evidence, design: Design) -> float:
    """Tasks in all after which a sequence would show the planned saving, from the variance seen so far."""
    held, treated = evidence.dollars
    target = design.planned * held.y
    return float(max((held.n + treated.n) * difference(held, treated).variance * (REACH / target) ** 2, 1.0))


def tasks_to_show(evidence: Evidence, design: Design) -> int:
    """About how many more tasks until the planned saving, or the difference seen if larger, would be shown."""
    held, treated = evidence.dollars
    n, seen = held.n + treated.n, difference(held, treated)
    target = max(abs(seen.value), design.planned * held.y)
    width = multiple(n, evidence.mixture, design.alpha)
    return max(1, math.ceil(n * (seen.variance * width * width / (target * target) - 1.0)))


def _uniform(design: Design, what: str, task: str) -> float:
    text = "\x1f".join((design.salt, design.tenant, what, task)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64


def _put(pairing: Pairing, side: int, x: float, y: float) -> Pairing:
    first, second = pairing
    return (add(first, x, y), second) if side == 0 else (first, add(second, x, y))


def _levers(levers: dict[str, Pairing], arm: Arm, expected: float, dollars: float) -> dict[str, Pairing]:
    return {name: _put(pairing, int(name not in arm.off), expected, dollars) for name, pairing in levers.items()}


def _outcome(evidence: Evidence, side: int, solved: float, dollars: float) -> Evidence:
    """Success is paired in order of arrival: a held-out task against the mean of the treated ones since the last."""
    n, total = evidence.waiting
    success = evidence.success
    if side == TREATED:
        n, total = n + 1, total + solved
    elif n:
        success = bet(success, total / n - solved)
        n, total = 0, 0.0
    return msgspec.structs.replace(
        evidence, solved=_put(evidence.solved, side, solved, dollars), success=success, waiting=(n, total)
    )


def _arm(moments: Moments, evidence: Evidence, design: Design) -> Interval:
    return interval(mean(moments), multiple(moments.n, evidence.mixture, design.alpha))


def _per_solved(evidence: Evidence, design: Design) -> tuple[Interval, Interval] | None:
    held, treated = evidence.solved
    if min(arm.n * arm.x for arm in (held, treated)) < LEAST_SOLVED or min(held.n, treated.n) < BURN_IN:
        return None
    first, second = (interval(ratio(arm), multiple(arm.n, evidence.mixture, design.alpha)) for arm in (held, treated))
    return first, second


def share(held: Moments, treated: Moments) -> Estimate:
    """Saving as a share of the held-out mean, by the delta method, not adjusted."""
    one, other = mean(held), mean(treated)
    kept = other.value / one.value
    return Estimate(1.0 - kept, (other.variance + kept * kept * one.variance) / (one.value * one.value))


def _to_burn_in(tasks: tuple[int, int], design: Design) -> int:
    shares = (design.holdout, 1.0 - design.holdout)
    return max(math.ceil((BURN_IN - n) / share) for n, share in zip(tasks, shares, strict=True))


def _reason(saved: Interval, kept: bool) -> str:
    success = "success proven not worse" if kept else "success not yet proven equal"
    return f"measured on randomised tasks; {'a saving' if saved.low > 0 else 'a loss'}; {success}"
