"""What a gated ladder of models costs and solves, on paired trials of real models, against one model alone.

Whether to climb at all (and, with --ladder, which ladder) is chosen on one hash half of the tasks by the functions that
the gateway calls and played on the other half, both ways (cross-fitted). With a simulated gate, expectations over its
verdicts are computed, nothing is drawn. Rows with zero or missing cost are left out.

Controls: always cheap, always strong, a random mix at our cost, firstpass's policy (climb whenever
the gate fails, never ask whether it pays), and an oracle that picks the cheapest model that solves the task.
"""

import argparse
import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pandas as pd

from benchmarks.halves import Floats, bootstrap, half, interval, say, table
from jevons.levers.route.cascade import Gate, Plan, Task, Terms, Trial, arithmetic, choose, play, thrifty, weigh

COVERAGE = 0.95
"""With --ladder all, models that tried fewer of the tasks than this are left out."""


class Played(msgspec.Struct, frozen=True):
    """Per task, in one order: solved and dollars of ours and of the baseline."""

    solved: Floats
    dollars: Floats
    base_solved: Floats
    base_dollars: Floats

    def quality(self, rows: object = slice(None)) -> float:
        return float(self.solved[rows].sum() / self.base_solved[rows].sum())  # type: ignore[call-overload]

    def cost(self, rows: object = slice(None)) -> float:
        return float(self.dollars[rows].sum() / self.base_dollars[rows].sum())  # type: ignore[call-overload]


def read(asked: argparse.Namespace) -> tuple[dict[str, Task], list[str]]:
    """Tasks by name, each tried by all models that may be used; and those models."""
    rows = pd.read_parquet(asked.data)
    rows = rows[rows["cost"] > 0]
    needed = [name for name in (asked.cheap, asked.strong, asked.incumbent) if name]
    rows = rows.rename(columns={"correct": "resolved"}).dropna(subset=["resolved"])
    if "run" in rows:
        runs = [name for name, group in rows.groupby("run") if set(needed) <= set(group["model"])]
        rows = rows[rows["run"] == (runs or [""])[0]]
    else:
        benchmark = asked.benchmark or "swe-bench"
        rows = rows[(rows["benchmark"] == benchmark) & (rows["agent"] == asked.agent)]
    missing = set(needed) - set(rows["model"])
    if missing or not len(rows):
        raise SystemExit(f"the file has no rows of {', '.join(sorted(missing)) or 'that run'} with a cost")
    models = list(dict.fromkeys(needed))
    if asked.ladder == "all":
        tried = rows.groupby("model")["task"].nunique() / rows["task"].nunique()
        models = sorted(set(models) | set(tried[tried >= COVERAGE].index))
    elif asked.ladder:
        models = sorted(set(models) | set(asked.ladder.split(",")))
    gate = None if asked.gate == "real" else Gate(kind="simulated", **errors(asked.gate))
    tasks: dict[str, dict[str, Trial]] = {}
    for row in rows[rows["model"].isin(models)].itertuples():
        solved = float(row.resolved)
        passes = float(row.gate_pass) if gate is None else gate.passes(solved)
        tasks.setdefault(row.task, {})[row.model] = Trial(solved, float(row.cost), passes)
    return {name: task for name, task in tasks.items() if len(task) == len(models)}, models


def errors(gate: str) -> dict[str, float]:
    reject, accept = (float(part) for part in gate.split(","))
    return {"false_reject": reject, "false_accept": accept}


def decide(tasks: Sequence[Task], models: list[str], asked: argparse.Namespace, baseline: str) -> Plan:
    terms = Terms(floor=asked.floor)
    if asked.ladder:
        return choose(tasks, models, baseline, terms)
    return thrifty(tasks, weigh(tasks, (asked.cheap, asked.strong), baseline, terms), baseline)


def cross_fitted(
    tasks: dict[str, Task], models: list[str], asked: argparse.Namespace, baseline: str
) -> tuple[Played, list[Plan]]:
    """Each half played under the plan that was made on the other."""
    sides = [[name for name in tasks if half(name) == side] for side in (0, 1)]
    rows, plans = [], []
    for fit, report in ((0, 1), (1, 0)):
        plan = decide([tasks[name] for name in sides[fit]], models, asked, baseline)
        plans.append(plan)
        say(f"fitted on half {fit}: {'refused, ' if plan.refused else ''}{' -> '.join(plan.ladder)}: {plan.why}")
        for name in sides[report]:
            ours, base = play(tasks[name], plan.ladder, stop=plan.stop), tasks[name][baseline]
            rows.append((ours.solved, ours.dollars, base.solved, base.dollars))
    return Played(*np.array(rows).T), plans


def fixed(tasks: dict[str, Task], ladder: tuple[str, ...], baseline: str) -> tuple[float, float]:
    """Quality and cost ratios of one ladder on all tasks."""
    played = [(play(task, ladder), task[baseline]) for task in tasks.values()]
    base_solved, base_dollars = sum(base.solved for _, base in played), sum(base.dollars for _, base in played)
    return sum(ours.solved for ours, _ in played) / base_solved, sum(ours.dollars for ours, _ in played) / base_dollars


def oracle(tasks: dict[str, Task], models: list[str], baseline: str) -> tuple[float, float]:
    """The cheapest model that solves each task, the cheapest of all where none does."""
    solved = dollars = base_solved = base_dollars = 0.0
    for task in tasks.values():
        best = min(models, key=lambda model: (task[model].solved == 0, task[model].dollars))
        solved, dollars = solved + task[best].solved, dollars + task[best].dollars
        base_solved, base_dollars = base_solved + task[baseline].solved, base_dollars + task[baseline].dollars
    return solved / base_solved, dollars / base_dollars


def controls(
    tasks: dict[str, Task], models: list[str], ladder: tuple[str, ...], baseline: str, cost: float
) -> dict[str, tuple[float, float]]:
    """Quality and cost ratios of the policies to beat. `ladder`: the one that was asked for, or chosen on half 0."""
    pairs = {"always cheap": fixed(tasks, ladder[:1], baseline), "always strong": fixed(tasks, ladder[-1:], baseline)}
    pairs["firstpass (climb when the gate fails)"] = fixed(tasks, ladder, baseline)
    (low, cheap), (high, dear) = pairs["always cheap"], pairs["always strong"]
    share = min(max((cost - cheap) / (dear - cheap), 0.0), 1.0) if dear > cheap else 1.0
    pairs["random at our cost"] = (low + share * (high - low), cheap + share * (dear - cheap))
    pairs["oracle"] = oracle(tasks, models, baseline)
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", required=True, help="parquet: task, model, solved, dollars (see the README of the data)"
    )
    parser.add_argument("--cheap", default="", help="the first rung")
    parser.add_argument("--strong", default="", help="the last rung; the baseline, unless --incumbent is given")
    parser.add_argument("--incumbent", default="", help="the model that all ratios are taken against")
    parser.add_argument("--ladder", default="", help="choose a ladder from these models (comma-separated), or `all`")
    parser.add_argument("--benchmark", default="", help="which benchmark of the file (default swe-bench)")
    parser.add_argument("--agent", default="openhands", help="which agent of the file")
    parser.add_argument("--gate", default="real", help="`real` (the file's verdicts) or FALSE_REJECT,FALSE_ACCEPT")
    parser.add_argument("--floor", type=float, default=Terms().floor, help="solved share to keep, of the baseline's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    baseline = asked.incumbent or asked.strong
    if not baseline or not (asked.ladder or (asked.cheap and asked.strong)):
        parser.error("give --cheap and --strong, or --ladder with --incumbent or --strong")
    tasks, models = read(asked)
    played, plans = cross_fitted(tasks, models, asked, baseline)
    quality = bootstrap(len(played.solved), played.quality, asked.seed)
    cost = bootstrap(len(played.solved), played.cost, asked.seed)
    ladder = plans[0].ladder if asked.ladder else (asked.cheap, asked.strong)
    others = controls(tasks, models, ladder, baseline, played.cost())
    result = {
        "refused": all(plan.refused for plan in plans),
        "quality_ratio": played.quality(),
        "cost_ratio": played.cost(),
        "oracle_cost_ratio": others["oracle"][1],
        "quality_interval": interval(quality),
        "quality_low_one_sided": float(np.quantile(quality, 0.05)),
        "cost_interval": interval(cost),
        "tasks": len(tasks),
        "plans": [{"ladder": plan.ladder, "refused": plan.refused, "why": plan.why} for plan in plans],
        "controls": {name: {"quality_ratio": pair[0], "cost_ratio": pair[1]} for name, pair in others.items()},
    }
    if asked.json:
        print(json.dumps(result))
        return
    (q0, q1), (c0, c1) = interval(quality), interval(cost)
    rows = [("jevons", f"{played.quality():.4f} [{q0:.4f}, {q1:.4f}]", f"{played.cost():.4f} [{c0:.4f}, {c1:.4f}]")]
    rows += [(name, f"{pair[0]:.4f}", f"{pair[1]:.4f}") for name, pair in others.items()]
    table(f"{len(tasks)} tasks, against {baseline} alone", ("policy", "solved", "dollars"), rows)
    if result["refused"]:
        print("refused:", arithmetic(list(tasks.values()), (asked.cheap or models[0], baseline), baseline))


if __name__ == "__main__":
    main()
