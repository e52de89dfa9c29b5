"""Fits the pre-router: two logistic heads and a threshold with a promise. Offline; numpy, scipy, scikit-learn.

What lives here: the design matrix, the fit, out-of-fold losses, and the test of the threshold. What it must not know:
where the rows came from (a ledger's shadows, a benchmark's table). The same `words` and the same heads then serve.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from jevons.judge.thresholds import walk
from jevons.levers.route.prerouter import BUCKETS, Head, Router, words

Floats = NDArray[np.float64]
PENALTY = 20.0
"""Prior precision of every weight, chosen on the developer half of routellm_mmlu among 10, 20 and 40."""
SITE_SCALE = 0.75
"""How freely a site's own rate moves against the prompt's weights; same choice, among .5, .75, 1 and 1.5."""
WORD_SCALE = 1.0
FOLDS = 5
STEPS = 40
"""Thresholds tested in turn, at evenly spaced shares of calls that leave the incumbent."""
SETTLED = 0.98
"""A site is settled when this share of its out-of-fold losses lies on one side of the threshold."""
FEWEST_AT_SITE = 30
SHRINKAGE = 20.0
"""A site's own rate weighs as much as the overall one when it has this many calls."""


class Rows(msgspec.Struct, frozen=True):
    """Paired outcomes: what each model made of the same prompts. Outcomes in [0, 1]; vectors [n, width]."""

    sites: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]
    cheap: Floats
    incumbent: Floats

    def take(self, rows: NDArray[Any]) -> "Rows":
        """Some of the rows, by number or by mask."""
        numbers = np.arange(len(self.sites))[rows]
        return Rows(
            [self.sites[i] for i in numbers],
            [self.texts[i] for i in numbers],
            self.vectors[numbers],
            self.cheap[numbers],
            self.incumbent[numbers],
        )


def shrunk_table(sites: Sequence[str], values: Floats, shrinkage: float = SHRINKAGE) -> tuple[dict[str, float], float]:
    """Mean value by site, pulled towards the overall mean; and that mean, for sites never seen."""
    overall = float(values.mean())
    totals: dict[str, list[float]] = {}
    for site, value in zip(sites, values, strict=True):
        totals.setdefault(site, []).append(float(value))
    return {site: (sum(seen) + shrinkage * overall) / (len(seen) + shrinkage) for site, seen in totals.items()}, overall


def fit(rows: Rows, cheap: str, incumbent: str, target: float, alpha: float, dice: np.random.Generator) -> Router:
    """A router whose threshold keeps `target` of the incumbent's quality with probability 1 - alpha.

    The threshold is tested on out-of-fold losses; nothing passes -> the router never leaves the incumbent.
    """
    heads = fit_heads(rows)
    losses = out_of_fold(rows)
    threshold = tested_threshold(losses, rows, target, alpha, dice)
    return Router(
        cheap=cheap,
        incumbent=incumbent,
        cheap_head=heads[0],
        incumbent_head=heads[1],
        threshold=threshold,
        settled=_settled(rows.sites, losses, threshold),
        target=target,
        fitted_on=len(rows.sites),
    )


def fit_heads(rows: Rows) -> tuple[Head, Head]:
    """The cheap model's and the incumbent's success, each from site, embedding and words."""
    names = sorted(set(rows.sites))
    centre = rows.vectors.mean(axis=0).astype(float)
    spread = word_matrix(rows.texts)
    seen = np.asarray((spread != 0).sum(axis=0)).ravel()
    rarity = np.log((1 + len(rows.sites)) / (1 + seen)) + 1.0
    place = {name: number for number, name in enumerate(names)}
    columns = [place[site] for site in rows.sites]
    members = csr_matrix((np.full(len(columns), SITE_SCALE), (range(len(columns)), columns)))
    # rarities make rows longer than one: back to WORD_SCALE on average, as the embedding has length one
    length = float(np.mean(np.asarray(spread.multiply(spread) @ rarity**2)))
    rarity *= WORD_SCALE / math.sqrt(length or 1.0)
    design = hstack([members, csr_matrix(rows.vectors - centre), spread.multiply(rarity)]).tocsr()
    first, second = (_head(design, values, names, centre, rarity) for values in (rows.cheap, rows.incumbent))
    return first, second


def out_of_fold(rows: Rows) -> Floats:
    """Each row's predicted loss by heads that never saw it, on a common level.

    A fold with high losses leaves low ones to its fit, so raw out-of-fold values order folds backwards (on
    routellm_gsm8k that hid the whole signal): each fold is moved to the overall mean.
    """
    fold = np.arange(len(rows.sites)) % FOLDS
    out = np.empty(len(rows.sites))
    for number in range(FOLDS):
        found = losses(fit_heads(rows.take(fold != number)), rows.take(fold == number))
        out[fold == number] = found - found.mean()
    centred: Floats = out + (rows.incumbent - rows.cheap).mean()
    return centred


def losses(heads: tuple[Head, Head], rows: Rows) -> Floats:
    """What prerouter.loss gives for every row, all at once (a test holds the two equal)."""
    spread = word_matrix(rows.texts)
    cheap, incumbent = (_rates(head, rows, spread) for head in heads)
    found: Floats = incumbent - cheap
    return found


def tested_threshold(losses: Floats, rows: Rows, target: float, alpha: float, dice: np.random.Generator) -> float:
    """The highest threshold that keeps the target: growing shares of calls that leave are tested in turn."""
    mixed = dice.permutation(len(losses))
    ordered = np.sort(losses)
    cuts = [float(ordered[round(len(ordered) * step / STEPS) - 1]) + 1e-12 for step in range(1, STEPS + 1)]

    def outcomes(cut: float) -> list[float]:
        routed = np.where(losses < cut, rows.cheap, rows.incumbent)
        kept: list[float] = (routed - target * rows.incumbent)[mixed].tolist()
        return kept

    found = walk(map(outcomes, cuts), 0.0, alpha, low=-target).passed
    return cuts[found] if found >= 0 else -math.inf


def word_matrix(texts: Sequence[str]) -> Any:
    """`words` of every text as a sparse [n, BUCKETS] matrix."""
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for number, text in enumerate(texts):
        found = words(text)
        rows += [number] * len(found)
        columns += found.keys()
        values += found.values()
    return csr_matrix((values, (rows, columns)), shape=(len(texts), BUCKETS))


def _head(design: Any, values: Floats, names: list[str], centre: Floats, rarity: Floats) -> Head:
    """One logistic fit. Outcomes between 0 and 1 count as that share of a success (two weighted rows)."""
    model = LogisticRegression(C=1.0 / PENALTY, max_iter=300)
    if set(np.unique(values)) <= {0.0, 1.0} and len(np.unique(values)) > 1:
        model.fit(design, values > 0.5)
    else:
        doubled = hstack([design.T, design.T]).T.tocsr()
        answer = np.concatenate([np.ones(len(values)), np.zeros(len(values))])
        model.fit(doubled, answer, sample_weight=np.concatenate([values, 1.0 - values]) + 1e-9)
    weights = model.coef_[0]
    width = len(centre)
    vector = weights[len(names) : len(names) + width]
    return Head(
        bias=float(model.intercept_[0] - vector @ centre),
        sites={name: float(SITE_SCALE * weight) for name, weight in zip(names, weights, strict=False)},
        vector=tuple(vector.tolist()),
        words=tuple((weights[len(names) + width :] * rarity).tolist()),
    )


def _rates(head: Head, rows: Rows, spread: Any) -> Floats:
    score = (
        head.bias
        + np.array([head.sites.get(site, 0.0) for site in rows.sites])
        + rows.vectors @ np.array(head.vector)
        + spread @ np.array(head.words)
    )
    rates: Floats = 1.0 / (1.0 + np.exp(-np.clip(score, -30, 30)))
    return rates


def _settled(sites: list[str], losses: Floats, threshold: float) -> dict[str, bool]:
    below: dict[str, list[bool]] = {}
    for site, value in zip(sites, losses, strict=True):
        below.setdefault(site, []).append(bool(value < threshold))
    decided = {}
    for site, seen in below.items():
        share = sum(seen) / len(seen)
        if len(seen) >= FEWEST_AT_SITE and max(share, 1 - share) >= SETTLED:
            decided[site] = share > 0.5
    return decided
