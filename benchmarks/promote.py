"""How safe and how quick promotions are, on paired outcomes of real agents with a look after every pair.

Streams: two configurations that ran the same tasks and whose solve rates lie within the margin are drawn, tasks are
resampled, and the two are swapped at random, so that candidate and incumbent are exactly equal and disagree as often as
real agents do. Failing the candidate at random makes it worse by a known amount. Three kinds are run through the
gateway's own state machine: worse by exactly the margin (false_promotion), equal (median_pairs), and equal until it is
full, then 10 points worse (drift_pairs). Controls: a z-test at every pair, and ADWIN. Nothing is fitted.
"""

import argparse
import json
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.halves import Floats, median_interval, say, share_interval, table
from jevons.levers.route.promotion import Pair, Stage, Terms, move, observe, start

HORIZON = 3_000
"""Pairs after which a stream ends: far past the pairs that an equal model needs."""
FEWEST_TASKS = 100
GOOD_PAIRS = 300
"""Pairs in full service before the drop: a false demotion there counts as a false alarm, not as a find."""
DROP = 0.10
PAIRS = {(n, o): Pair(new=float(n), old=float(o)) for n in (0, 1) for o in (0, 1)}


def agents(path: str, margin: float) -> list[tuple[Floats, Floats]]:
    """Solved by (one, other) on common tasks, for configurations of one benchmark that are within the margin."""
    rows = pd.read_parquet(path)
    rows = rows[rows["cost"] > 0].assign(configuration=lambda frame: frame["agent"] + "/" + frame["model"])
    found = []
    for _, group in rows.groupby("benchmark"):
        solved = group.pivot(index="task", columns="configuration", values="resolved").astype(float)
        for i, one in enumerate(solved.columns):
            for other in solved.columns[:i]:
                both = solved[[one, other]].dropna().to_numpy()
                if len(both) >= FEWEST_TASKS and abs(both[:, 0].mean() - both[:, 1].mean()) < margin:
                    found.append((both[:, 0], both[:, 1]))
    return found


def streams(
    pool: list[tuple[Floats, Floats]], runs: int, length: int, drop: float, begins: int, dice: np.random.Generator
) -> Iterator[list[tuple[int, int]]]:
    """`runs` streams of (candidate solved, incumbent solved); the candidate loses `drop` from pair `begins` on."""
    for _ in range(runs):
        one, other = pool[dice.integers(len(pool))]
        picked, swapped = dice.integers(0, len(one), length), dice.random(length) < 0.5
        new, old = np.where(swapped, one[picked], other[picked]), np.where(swapped, other[picked], one[picked])
        rate = (one.mean() + other.mean()) / 2
        spoiled = (dice.random(length) < drop / rate) & (np.arange(length) >= begins)
        yield list(zip((new * ~spoiled).astype(int).tolist(), old.astype(int).tolist(), strict=True))


def pairs_to_promote(stream: list[tuple[int, int]], terms: Terms) -> int | None:
    candidate = start("site", "incumbent", "candidate", terms, 0.0)
    for n, outcome in enumerate(stream, 1):
        candidate = observe(candidate, PAIRS[outcome], terms, 0.0)
        if candidate.stage is not Stage.SHADOW:
            return n
    return None


def pairs_to_demote(stream: list[tuple[int, int]], terms: Terms) -> int | None:
    candidate = move(start("site", "incumbent", "candidate", terms, 0.0), Stage.FULL, "promoted", 0.0)
    for n, outcome in enumerate(stream, 1):
        candidate = observe(candidate, PAIRS[outcome], terms, 0.0)
        if candidate.stage is Stage.DEMOTED:
            return n
    return None


def z_promotes(stream: list[tuple[int, int]], margin: float) -> bool:
    """The control: a one-sided z-test at 5%, looked at after every pair from the thirtieth on."""
    gains = np.array([new - old for new, old in stream], float)
    n = np.arange(1, len(gains) + 1)
    mean = gains.cumsum() / n
    deviation = np.sqrt(np.maximum((gains**2).cumsum() / n - mean**2, 1e-9) / n)
    return bool((((mean + margin) / deviation)[30:] > 1.645).any())


def adwin_pairs(stream: list[tuple[int, int]]) -> int | None:
    """The control: ADWIN on the differences; only a change downwards counts."""
    from river.drift import ADWIN

    detector = ADWIN(delta=0.05)
    for n, (new, old) in enumerate(stream, 1):
        before = detector.estimation
        detector.update((new - old + 1) / 2)
        if detector.drift_detected and detector.estimation < before:
            return n
    return None


def after_the_drop(found: list[int | None]) -> tuple[Floats, float]:
    """Pairs from the drop to its find (infinite: never), and the share of streams that alarmed before it."""
    early = [n for n in found if n is not None and n <= GOOD_PAIRS]
    late = [math.inf if n is None else n - GOOD_PAIRS for n in found if n is None or n > GOOD_PAIRS]
    return np.array(late), len(early) / len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="parquet: benchmark, task, agent, model, resolved, cost")
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    terms, dice = Terms(margin=asked.margin), np.random.default_rng(asked.seed)
    pool = agents(asked.data, asked.margin)
    disagree = float(np.median([np.mean(one != other) for one, other in pool]))
    say(f"{len(pool)} pairs of configurations; they disagree on {disagree:.0%} of tasks at the median")

    worse = list(streams(pool, asked.runs, HORIZON, asked.margin, 0, dice))
    false = np.mean([pairs_to_promote(stream, terms) is not None for stream in worse])
    false_z = np.mean([z_promotes(stream, asked.margin) for stream in worse])
    say("worse by the margin: done")
    needed = [pairs_to_promote(stream, terms) for stream in streams(pool, asked.runs, HORIZON, 0.0, 0, dice)]
    waits = np.array([math.inf if n is None else n for n in needed])
    say("equal: done")
    drops = list(streams(pool, asked.runs, GOOD_PAIRS + 1_500, DROP, GOOD_PAIRS, dice))
    delays, early = after_the_drop([pairs_to_demote(stream, terms) for stream in drops])
    delays_adwin, early_adwin = after_the_drop([adwin_pairs(stream) for stream in drops])
    result = {
        "false_promotion": float(false),
        "median_pairs": float(np.median(waits)),
        "drift_pairs": float(np.median(delays)),
        "drift_found_in_400": float((delays <= 400).mean()),
        "demoted_before_drop": early,
        "promoted_in_horizon": float(np.isfinite(waits).mean()),
        "controls": {
            "z_every_pair": {"false_promotion": float(false_z)},
            "adwin": {
                "drift_pairs": float(np.median(delays_adwin)) if np.isfinite(np.median(delays_adwin)) else None,
                "drift_found_in_400": float((delays_adwin <= 400).mean()),
                "demoted_before_drop": early_adwin,
            },
        },
        "false_promotion_interval": share_interval(float(false), asked.runs),
        "median_pairs_interval": median_interval(waits, asked.seed),
        "drift_pairs_interval": median_interval(delays, asked.seed),
        "runs": asked.runs,
        "margin": asked.margin,
    }
    if not asked.json:
        show(result)
        return
    print(json.dumps(result))


def show(result: dict[str, object]) -> None:
    controls = result["controls"]
    assert isinstance(controls, dict)
    adwin = controls["adwin"]
    rows = [
        ("false promotion (worse by the margin)", "false_promotion", controls["z_every_pair"]["false_promotion"]),
        ("pairs to promote an equal model, median", "median_pairs", ""),
        ("pairs to find a 10-point drop, median", "drift_pairs", f"{adwin['drift_pairs']} (ADWIN)"),
        ("drops found within 400 pairs", "drift_found_in_400", f"{adwin['drift_found_in_400']:.3f} (ADWIN)"),
        ("demoted before the drop", "demoted_before_drop", f"{adwin['demoted_before_drop']:.3f} (ADWIN)"),
    ]
    lines = [(text, result[key], spread(result.get(f"{key}_interval")), control) for text, key, control in rows]
    columns = ("figure", "jevons", "95%", "control (z-test at every pair)")
    table(f"{result['runs']} streams of each kind", columns, lines)


def spread(found: object) -> str:
    return "[{:.4g}, {:.4g}]".format(*found) if isinstance(found, tuple) else ""


if __name__ == "__main__":
    main()
