"""Which prompts need the large model? The pre-router against its controls, on real paired outcomes of two models.

Everything is fitted on one hash half of the prompts and reported on the other, both ways (cross-fitted): the router,
its tested threshold, and all controls. Prompts are embedded by the gateway's own embedder.

apgr: the share of the gap between the two models that is recovered, averaged over all shares of calls that go to the
large one (RouteLLM's measure; a random mix has .5). cost_at_98: the least share of calls to the large model with 98%
of its quality. target_kept: share of resamples (fit half and report half both redrawn: the threshold is tested anew
on each) in which the tested threshold kept the stated target. cost_below_random: its share of large calls stays below
what a random mix needs for the quality that was reached. Controls: always small, always large, random, the site
table, kNN-100, k-means-60, and an oracle. firstpass's policy checks answers and these files hold no verdicts: it
climbs always.
"""

import argparse
import json
from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.embedded import embed
from benchmarks.halves import Floats, halves, interval, say, table
from jevons.lab.route_fit import Rows, fit, fit_heads, losses, out_of_fold, shrunk_table, tested_threshold

NEIGHBOURS = 100
CLUSTERS = 60
ALPHA = 0.05
RESAMPLES = 1_000
TARGET_RESAMPLES = 200
Score = Callable[[Rows, Rows], Floats]
"""(fit rows, report rows) -> a score per report row, high where the large model is needed."""


class Curve(msgspec.Struct, frozen=True):
    """What a ranking is worth."""

    apgr: float
    cost_at_98: float


def read(path: str) -> tuple[Rows, str, str]:
    """A routing table of two models: boolean columns weak and strong, or per-model scores (`NAME|score`)."""
    frame = pd.read_parquet(path)
    texts = frame["prompt"].tolist()
    site = next((name for name in ("domain", "dataset") if name in frame), "")
    sites = [str(value) for value in frame[site]] if site else ["all"] * len(frame)
    if "weak" in frame:
        names, outcomes = ["weak", "strong"], frame[["weak", "strong"]].to_numpy(float)
    else:
        names = [name.removesuffix("|score") for name in frame if name.endswith("|score")]
        outcomes = frame[[f"{name}|score" for name in names]].to_numpy(float)
        if outcomes[:, 0].mean() > outcomes[:, 1].mean():
            names, outcomes = names[::-1], outcomes[:, ::-1]
    return Rows(sites, texts, embed(texts), outcomes[:, 0], outcomes[:, 1]), names[0], names[1]


def curve(score: Floats, rows: Rows) -> Curve:
    """Calls go to the large model in the order of `score`, the highest first."""
    order = np.argsort(-score, kind="stable")
    gain = np.concatenate([[0.0], (rows.incumbent - rows.cheap)[order].cumsum()]) / len(order)
    quality, gap = rows.cheap.mean() + gain, rows.incumbent.mean() - rows.cheap.mean()
    enough = quality >= 0.98 * rows.incumbent.mean() - 1e-12
    return Curve(float((gain[:-1] + gain[1:]).mean() / 2 / gap), float(np.argmax(enough) / len(order)))


def site_table(known: Rows, asked: Rows) -> Floats:
    rates, overall = shrunk_table(known.sites, known.incumbent - known.cheap)
    return np.array([rates.get(site, overall) for site in asked.sites])


def neighbours(known: Rows, asked: Rows) -> Floats:
    gain, near = known.incumbent - known.cheap, min(NEIGHBOURS, len(known.sites))
    closest = np.argpartition(-(asked.vectors @ known.vectors.T), near - 1, axis=1)[:, :near]
    found: Floats = gain[closest].mean(axis=1)
    return found


def clusters(known: Rows, asked: Rows) -> Floats:
    from sklearn.cluster import KMeans

    model = KMeans(min(CLUSTERS, len(known.sites) // 5), n_init=2, random_state=0).fit(known.vectors)
    rates, overall = shrunk_table([str(label) for label in model.labels_], known.incumbent - known.cheap)
    return np.array([rates.get(str(label), overall) for label in model.predict(asked.vectors)])


def ours(known: Rows, asked: Rows) -> Floats:
    return losses(fit_heads(known), asked)


def oracle(_known: Rows, asked: Rows) -> Floats:
    return asked.incumbent - asked.cheap


SCORES: dict[str, Score] = {
    "jevons": ours, "site table": site_table, "kNN-100": neighbours, "k-means-60": clusters, "oracle": oracle
}  # fmt: skip


def cross_fitted(rows: Rows, side: NDArray[np.int64], score: Score) -> Floats:
    """A score for every row by a fit on the other half, as its rank within its own half (the halves' scales differ)."""
    out = np.empty(len(side))
    for fitted in (0, 1):
        found = score(rows.take(side == fitted), rows.take(side != fitted))
        out[side != fitted] = found.argsort(kind="stable").argsort(kind="stable") / len(found)
    return out


def resampled(scores: dict[str, Floats], rows: Rows, seed: int) -> dict[str, dict[str, tuple[float, float]]]:
    """95% intervals by the paired bootstrap: of our figures, and of our APGR minus each control's."""
    dice, ours_apgr, ours_cost = np.random.default_rng(seed), [], []
    beaten: dict[str, list[float]] = {name: [] for name in scores if name not in {"jevons", "oracle"}}
    for _ in range(RESAMPLES):
        drawn = dice.integers(0, len(rows.sites), len(rows.sites))
        few = Rows([], [], rows.vectors[:0], rows.cheap[drawn], rows.incumbent[drawn])
        if few.incumbent.mean() <= few.cheap.mean():
            continue
        base = curve(scores["jevons"][drawn], few)
        ours_apgr.append(base.apgr)
        ours_cost.append(base.cost_at_98)
        for name, values in beaten.items():
            values.append(base.apgr - curve(scores[name][drawn], few).apgr)
    return {
        "intervals": {"apgr": interval(np.array(ours_apgr)), "cost_at_98": interval(np.array(ours_cost))},
        "apgr_minus_control": {name: interval(np.array(values)) for name, values in beaten.items()},
    }


def target(rows: Rows, side: NDArray[np.int64], aim: float, seed: int) -> dict[str, float]:
    """Resamples in which the tested threshold keeps its target, and what it costs, against random at equal quality."""
    dice, kept, cheaper, costs = np.random.default_rng(seed), [], [], []
    for fitted in (0, 1):
        known, asked = rows.take(side == fitted), rows.take(side != fitted)
        seen, coming = out_of_fold(known), ours(known, asked)
        for _ in range(TARGET_RESAMPLES // 2):
            one, two = (dice.integers(0, n, n) for n in (len(seen), len(coming)))
            again = Rows([], [], known.vectors[:0], known.cheap[one], known.incumbent[one])
            cut = tested_threshold(seen[one], again, aim, ALPHA, dice)
            small, large = asked.cheap[two], asked.incumbent[two]
            away = coming[two] < cut
            quality, cost = float(np.where(away, small, large).mean()), float(1 - away.mean())
            kept.append(quality >= aim * large.mean())
            random_cost = (quality - small.mean()) / (large.mean() - small.mean())
            cheaper.append(cost <= random_cost)
            costs.append((cost, random_cost))
    mean_cost, mean_random = np.array(costs).mean(axis=0)
    return {
        "target": aim,
        "target_kept": float(np.mean(kept)),
        "cost_at_target": float(mean_cost),
        "random_cost_at_equal_quality": float(mean_random),
        "cost_below_random": float(np.mean(cheaper)),
    }


def settled_share(rows: Rows, side: NDArray[np.int64], aim: float, seed: int) -> float:
    """Share of reported calls that a fitted router decides by their site, without an embedding."""
    from jevons.levers.route.prerouter import settled

    found = []
    for fitted in (0, 1):
        router = fit(rows.take(side == fitted), "cheap", "incumbent", aim, ALPHA, np.random.default_rng(seed))
        found += [settled(router, site) is not None for site in rows.take(side != fitted).sites]
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="parquet: prompt, weak, strong [, domain], or NAME|score columns")
    parser.add_argument("--target", type=float, default=0.95, help="share of the large model's quality to keep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows, small, large = read(asked.data)
    side = halves(rows.texts)
    say(f"{len(side)} prompts; {small} {rows.cheap.mean():.3f}, {large} {rows.incumbent.mean():.3f}")
    scores = {name: cross_fitted(rows, side, score) for name, score in SCORES.items()}
    curves = {name: curve(score, rows) for name, score in scores.items()}
    one_half = curve(ours(rows.take(side == 0), rows.take(side == 1)), rows.take(side == 1))
    say("fitted; resampling")
    again = resampled(scores, rows, asked.seed)
    beats = again["apgr_minus_control"]
    kept = target(rows, side, asked.target, asked.seed)
    gap = rows.incumbent.mean() - rows.cheap.mean()
    random_98 = float((0.98 * rows.incumbent.mean() - rows.cheap.mean()) / gap)
    others = {name: msgspec.structs.asdict(found) for name, found in curves.items() if name != "jevons"}
    others |= {
        "always small": {"apgr": 0.0, "cost_at_98": None},
        "always large": {"apgr": 1.0, "cost_at_98": 1.0},
        "random": {"apgr": 0.5, "cost_at_98": max(random_98, 0.0)},
    }
    result = {
        "apgr": curves["jevons"].apgr,
        "cost_at_98": curves["jevons"].cost_at_98,
        **kept,
        **again,
        "one_half": msgspec.structs.asdict(one_half),
        "settled_without_embedding": settled_share(rows, side, asked.target, asked.seed),
        "controls": others,
        "prompts": len(side),
    }
    if asked.json:
        print(json.dumps(result))
        return
    lines = [("jevons", curves["jevons"].apgr, curves["jevons"].cost_at_98, "")]
    lines += [
        (name, found["apgr"], "-" if found["cost_at_98"] is None else found["cost_at_98"], spread(beats.get(name)))
        for name, found in others.items()
    ]
    table(f"{large} against {small}", ("policy", "APGR", "cost at 98%", "our APGR minus it, 95%"), lines)
    table("the tested threshold", tuple(kept), [tuple(kept.values())])


def spread(found: tuple[float, float] | None) -> str:
    return "" if found is None else f"{found[0]:.3f} to {found[1]:.3f}"


if __name__ == "__main__":
    main()
