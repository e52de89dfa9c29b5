"""How much of a closed-set call site a classifier head can answer at a promised agreement with the large model.

Prompts with the large model's answers (here: intents) are split by hash; a head is fitted and calibrated on one half
and answers the other, both ways (cross-fitted), through the functions that the gateway calls.

share_small: share of calls that the head answers. agreement: with the large model, among those. promise_kept: share
of resamples (calibration rows redrawn and calibrated anew, report rows redrawn) in which that agreement reached the
promise. cpu_ms: process time of one decision after the embedding. Controls: no abstention, a fixed threshold of .9, a
point-estimate threshold (the lowest that kept the promise on the calibration rows), and the nearest neighbour.
"""

import argparse
import gzip
import json
import math
import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded import embed
from benchmarks.halves import Floats, halves, say, table
from jevons.judge.conformal import calibrate
from jevons.lab.distill import Fitted, fit
from jevons.levers.small.head import answer

RESAMPLES = 400
TIMED = 500


class Side(msgspec.Struct, frozen=True):
    """A head fitted on one half, and what it said of the other."""

    fitted: Fitted
    scores: Floats
    agreed: NDArray[np.bool_]
    nearest: NDArray[np.bool_]
    cpu_ms: float


def read(path: str) -> tuple[list[str], list[str]]:
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["prompt"] for row in rows], [row["answer"] for row in rows]


def play(
    vectors: NDArray[np.float32], answers: NDArray[np.str_], known: NDArray[np.bool_], promise: float, seed: int
) -> Side:
    """Fit on the known rows, answer the others one by one."""
    fitted = fit("benchmark", vectors[known], answers[known].tolist(), promise, np.random.default_rng(seed))
    asked, truth = vectors[~known], answers[~known]
    began = time.process_time()
    for row in asked[:TIMED]:
        answer(fitted.head, row)
    cpu_ms = (time.process_time() - began) / len(asked[:TIMED]) * 1e3
    said = [answer(fitted.head, row) for row in asked]
    closest = (asked @ vectors[known].T).argmax(axis=1)
    return Side(
        fitted=fitted,
        scores=np.array([each.probability for each in said]),
        agreed=np.array([each.text for each in said]) == truth,
        nearest=answers[known][closest] == truth,
        cpu_ms=cpu_ms,
    )


def served(side: Side, threshold: float) -> tuple[float, float]:
    """Share served and agreement at a threshold."""
    taken = side.scores >= threshold
    return float(taken.mean()), float(side.agreed[taken].mean()) if taken.any() else 1.0


def kept(sides: list[Side], promise: float, seed: int) -> dict[str, float]:
    """Share of resamples in which the promise held: for our rule, and for a point estimate as control."""
    dice, ours, point = np.random.default_rng(seed), [], []
    for _ in range(RESAMPLES):
        right, total, right_point, total_point = 0, 0, 0, 0
        for side in sides:
            one = dice.integers(0, len(side.fitted.scores), len(side.fitted.scores))
            two = dice.integers(0, len(side.scores), len(side.scores))
            seen, good = side.fitted.scores[one], side.fitted.agreed[one]
            taken = side.scores[two] >= calibrate(seen.tolist(), good.tolist(), promise).threshold
            right, total = right + side.agreed[two][taken].sum(), total + taken.sum()
            taken = side.scores[two] >= point_threshold(seen, good, promise)
            right_point, total_point = right_point + side.agreed[two][taken].sum(), total_point + taken.sum()
        ours.append(right >= promise * total)
        point.append(right_point >= promise * total_point)
    return {"jevons": float(np.mean(ours)), "point estimate": float(np.mean(point))}


def point_threshold(scores: Floats, agreed: NDArray[np.bool_], promise: float) -> float:
    """The lowest score above which the calibration rows kept the promise, with no allowance for chance."""
    order = np.argsort(-scores)
    enough = np.flatnonzero(agreed[order].cumsum() >= promise * np.arange(1, len(order) + 1))
    return float(scores[order[enough[-1]]]) if len(enough) else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="JSONL.gz of prompt and answer")
    parser.add_argument(
        "--promise", type=float, default=0.98, help="agreement with the large model among served answers"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    prompts, said = read(asked.data)
    vectors, answers, side = embed(prompts), np.array(said), halves(prompts)
    sides = []
    for number in (0, 1):
        sides.append(play(vectors, answers, side == number, asked.promise, asked.seed))
        say(f"fitted on half {number}: threshold {sides[-1].fitted.head.threshold:.3f}")
    weights = [len(each.scores) for each in sides]

    def overall(rule: list[float]) -> tuple[float, float]:
        found = [served(each, threshold) for each, threshold in zip(sides, rule, strict=True)]
        share = float(np.average([share for share, _ in found], weights=weights))
        answered = [share * weight for (share, _), weight in zip(found, weights, strict=True)]
        return share, float(np.average([good for _, good in found], weights=answered)) if share else 1.0

    share, agreement = overall([each.fitted.head.threshold for each in sides])
    promise = kept(sides, asked.promise, asked.seed)
    points = [point_threshold(each.fitted.scores, each.fitted.agreed, asked.promise) for each in sides]
    others = {"no abstention": overall([0.0, 0.0]), "threshold .9": overall([0.9, 0.9]), "point": overall(points)}
    nearest = float(np.average([each.nearest.mean() for each in sides], weights=weights))
    result = {
        "share_small": share,
        "agreement": agreement,
        "promise_kept": promise["jevons"],
        "cpu_ms": max(each.cpu_ms for each in sides),
        "halves": [
            dict(zip(("share", "agreement"), served(each, each.fitted.head.threshold), strict=True)) for each in sides
        ],
        "controls": {name: {"share": pair[0], "agreement": pair[1]} for name, pair in others.items()}
        | {"nearest neighbour": {"share": 1.0, "agreement": nearest}},
        "point_promise_kept": promise["point estimate"],
        "prompts": len(prompts),
        "answers": len(set(said)),
    }
    if asked.json:
        print(json.dumps(result))
        return
    rows = [("jevons", share, agreement, promise["jevons"])]
    rows += [(name, *pair, promise["point estimate"] if name == "point" else "-") for name, pair in others.items()]
    rows.append(("nearest neighbour", 1.0, nearest, "-"))
    table(f"{len(prompts)} prompts, {result['answers']} answers", ("policy", "share", "agreement", "kept"), rows)
    print(f"CPU after the embedding: {result['cpu_ms']:.3f} ms")


if __name__ == "__main__":
    main()
