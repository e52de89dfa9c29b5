"""Can the experiment's headline be believed with a look after every task? Simulated experiments on real agent costs.

Each experiment draws one agent configuration and resamples its tasks (dollars, solved, call site = its benchmark)
with replacement: heavy tails, several sites. In one twin the levers do nothing, in the other the treated tasks cost a
tenth less. Both are looked at after every task with the functions that the gateway calls; those are plain arithmetic
on moments, so all looks of a path are computed at once (a test holds them equal to the gateway's one-by-one path).

false_alarm: share of do-nothing twins in which a saving or a loss is ever claimed. coverage: share of experiments in
which every shown interval (saving, saving's share, dollars per task and per solved task of both arms) holds the truth
at every look; the least of the six. sample_ratio_to_fixed: tasks until the saving shows, over the tasks of a two-
sided 5% test with 80% power that knows the variance: `to_fixed` is such a test without covariates, `to_adjusted` one
that uses the call site too. Nothing is fitted.
"""

import argparse
import json
import math

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.halves import Floats, median_interval, say, share_interval, table
from jevons.judge.mismatch import mismatched
from jevons.judge.moments import Moments
from jevons.judge.sequence import Estimate, difference, interval, mean, multiple, ratio, tuned
from jevons.ledger import experiment
from jevons.ledger.experiment import BURN_IN, Design, begin, planned_size

FEWEST_TASKS = 400
SAVING = 0.10
POWER = (1.959964 + 0.841621) ** 2
"""(z of a two-sided 5% test + z of 80% power) squared."""
HORIZON = 3.0
"""Experiments end at this many fixed-test sizes: 99% have shown their saving by then."""
CHECKED = ("saved", "share", "per_task_held", "per_task_treated", "per_solved_held", "per_solved_treated")


class Pool(msgspec.Struct, frozen=True):
    """One configuration's tasks."""

    dollars: Floats
    solved: Floats
    site: NDArray[np.int64]

    def fixed(self, design: Design, *, adjusted: bool) -> float:
        """Tasks in all that a fixed-size test of a 10% saving needs, knowing this pool's variance."""
        spread = self.dollars.var()
        if adjusted:
            spread = np.mean((self.dollars - pd.Series(self.dollars).groupby(self.site).transform("mean")) ** 2)
        arms = 1.0 / design.holdout + (1.0 - SAVING) ** 2 / (1.0 - design.holdout)
        return float(POWER * spread * arms / (SAVING * self.dollars.mean()) ** 2)


class Path(msgspec.Struct, frozen=True):
    """One experiment, all its looks from the end of the burn-in on, as arrays."""

    n: NDArray[np.int64]
    dollars: tuple[Moments, Moments]
    solved: tuple[Moments, Moments]
    width: Floats
    """Standard errors by number of tasks: width[n]."""


def pools(path: str) -> list[Pool]:
    rows = pd.read_parquet(path)
    rows = rows[(rows["cost"] > 0) & rows["resolved"].notna()]
    found = []
    for _, group in rows.groupby(["agent", "model"]):
        if len(group) >= FEWEST_TASKS:
            site = pd.factorize(group["benchmark"])[0].astype(np.int64)
            found.append(Pool(group["cost"].to_numpy(float), group["resolved"].to_numpy(float), site))
    return found


def expected(dollars: Floats, site: NDArray[np.int64]) -> Floats:
    """Mean dollars of the call site's earlier tasks, whatever their arm; of all earlier tasks while it has none."""
    out = np.empty(len(dollars))
    overall = (np.concatenate([[0.0], dollars.cumsum()[:-1]])) / np.maximum(np.arange(len(dollars)), 1)
    for number in np.unique(site):
        mine = site == number
        before = np.arange(mine.sum())
        total = np.concatenate([[0.0], dollars[mine].cumsum()[:-1]])
        out[mine] = np.where(before > 0, total / np.maximum(before, 1), overall[mine])
    return out


def running(x: Floats, y: Floats, mine: NDArray[np.bool_], start: int) -> Moments:
    """The moments of one arm's tasks as they stand at every look from `start` on."""
    shift_x, shift_y = x.mean(), y.mean()
    dx, dy = np.where(mine, x - shift_x, 0.0), np.where(mine, y - shift_y, 0.0)
    n = mine.cumsum()[start:]
    mean_x, mean_y = dx.cumsum()[start:] / n, dy.cumsum()[start:] / n
    return Moments(
        n=n,
        x=mean_x + shift_x,
        y=mean_y + shift_y,
        xx=(dx * dx).cumsum()[start:] - n * mean_x**2,
        yy=(dy * dy).cumsum()[start:] - n * mean_y**2,
        xy=(dx * dy).cumsum()[start:] - n * mean_x * mean_y,
    )


def play(pool: Pool, design: Design, saving: float, dice: np.random.Generator) -> Path:
    """One experiment of HORIZON fixed-test sizes; the arms are drawn with the design's share."""
    length = max(int(HORIZON * pool.fixed(design, adjusted=False)), int(3 * BURN_IN / design.holdout))
    picked, held = dice.integers(0, len(pool.dollars), length), dice.random(length) < design.holdout
    dollars = pool.dollars[picked] * np.where(held, 1.0, 1.0 - saving)
    start = int(max(np.searchsorted(held.cumsum(), BURN_IN), np.searchsorted((~held).cumsum(), BURN_IN)))
    known, solved = expected(dollars, pool.site[picked]), pool.solved[picked]
    arms = running(known, dollars, held, start), running(known, dollars, ~held, start)
    first = tuple(Moments(*(float(np.asarray(value)[0]) for value in msgspec.structs.astuple(arm))) for arm in arms)
    size = planned_size(msgspec.structs.replace(begin(design), dollars=first), design)
    mixture = tuned(size, design.alpha)
    width = np.array([0.0] + [multiple(n, mixture, design.alpha) for n in range(1, length + 1)])
    return Path(
        n=np.arange(start + 1, length + 1),
        dollars=arms,
        solved=(running(solved, dollars, held, start), running(solved, dollars, ~held, start)),
        width=width,
    )


def holds(estimate: Estimate, width: Floats, truth: float) -> bool:
    """Whether the truth lies inside at every look."""
    found = interval(estimate, width)  # type: ignore[arg-type]  # an interval per look
    return bool(np.all((found.low <= truth) & (truth <= found.high)))


def judge(path: Path, pool: Pool, saving: float) -> tuple[dict[str, bool], float]:
    """Which intervals held the truth throughout, and the task at which a difference was claimed (infinite: never)."""
    held, treated = path.dollars
    cost, rate = pool.dollars.mean(), pool.solved.mean()
    arm_width = path.width[np.asarray(held.n)], path.width[np.asarray(treated.n)]
    wide = path.width[path.n]
    saved = interval(difference(held, treated), wide)  # type: ignore[arg-type]
    claimed = np.flatnonzero((np.asarray(saved.low) > 0) | (np.asarray(saved.high) < 0))
    truth = (cost * saving, saving, cost, cost * (1 - saving), cost / rate, cost * (1 - saving) / rate)
    estimates = (
        (difference(held, treated), wide),
        (experiment.share(held, treated), wide),
        (mean(held), arm_width[0]),
        (mean(treated), arm_width[1]),
        (ratio(path.solved[0]), arm_width[0]),
        (ratio(path.solved[1]), arm_width[1]),
    )
    held_true = {
        name: holds(estimate, width, true)
        for name, (estimate, width), true in zip(CHECKED, estimates, truth, strict=True)
    }
    return held_true, float(path.n[claimed[0]]) if len(claimed) else math.inf


def size_alarms(design: Design, runs: int, dice: np.random.Generator) -> float:
    """Share of fair draws whose arm sizes are ever called a mismatch, looked at every 20 tasks over 10,000."""
    alarms = 0
    for _ in range(runs):
        held = (dice.random(10_000) < design.holdout).cumsum()
        alarms += any(
            mismatched((int(held[n - 1]), n - int(held[n - 1])), (design.holdout, 1 - design.holdout))
            for n in range(20, 10_001, 20)
        )
    return alarms / runs


def simulate(found: list[Pool], design: Design, runs: int, dice: np.random.Generator) -> dict[str, object]:
    claims, held, ratios = [], [], []
    for run in range(runs):
        pool = found[dice.integers(len(found))]
        quiet, when = judge(play(pool, design, 0.0, dice), pool, 0.0)
        claims.append(math.isfinite(when))
        saving, shown = judge(play(pool, design, SAVING, dice), pool, SAVING)
        held += [quiet, saving]
        ratios.append((shown / pool.fixed(design, adjusted=False), shown / pool.fixed(design, adjusted=True)))
        if (run + 1) % 200 == 0:
            say(f"{run + 1} of {runs} experiments")
    covered = {name: float(np.mean([each[name] for each in held])) for name in CHECKED}
    plain, adjusted = np.array(ratios).T
    return {
        "false_alarm": float(np.mean(claims)),
        "coverage": min(covered.values()),
        "sample_ratio_to_fixed": float(np.median(plain)),
        "sample_ratio_p80": float(np.quantile(plain, 0.8)),
        "sample_ratio_to_adjusted": float(np.median(adjusted)),
        "sample_ratio_to_adjusted_p80": float(np.quantile(adjusted, 0.8)),
        "shown_in_horizon": float(np.isfinite(plain).mean()),
        "false_alarm_interval": share_interval(float(np.mean(claims)), len(claims)),
        "coverage_interval": share_interval(min(covered.values()), len(held)),
        "sample_ratio_interval": median_interval(plain, 0),
        "coverages": covered,
        "size_alarms": size_alarms(design, max(1, runs // 20), dice),
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="parquet: benchmark, task, agent, model, resolved, cost")
    parser.add_argument("--runs", type=int, default=2_000, help="experiments of each twin")
    parser.add_argument("--holdout", type=float, default=Design(tenant="", salt="").holdout)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    design = Design(tenant="simulated", salt=str(asked.seed), holdout=asked.holdout)
    found = pools(asked.data)
    spread = [pool.dollars.std() / pool.dollars.mean() for pool in found]
    say(f"{len(found)} configurations; deviation over mean of their dollars: {min(spread):.2f} to {max(spread):.2f}")
    result = simulate(found, design, asked.runs, np.random.default_rng(asked.seed))
    if asked.json:
        print(json.dumps(result))
        return
    rows = [(name, value) for name, value in result.items() if name != "coverages"]
    covered = result["coverages"]
    assert isinstance(covered, dict)
    rows += [(f"coverage of {name}", value) for name, value in covered.items()]
    table(f"{asked.runs} experiments without effect and {asked.runs} with a 10% saving", ("figure", "value"), rows)


if __name__ == "__main__":
    main()
