"""What the semantic cache is measured against: exact match, a fixed cosine, and vCache written from its paper.

vCache (Schroeder et al., arXiv 2502.03771): each cached entry keeps (similarity, was it the same answer) of the
look-ups it was nearest to, fits a logistic curve to them, and explores with the probability that makes
P(correct) >= 1 - delta under the curve's confidence band. An explored request costs a fresh answer, teaches the nearest
entry, and is cached when its answer is new.
"""

import math
import random
from statistics import NormalDist
from typing import Protocol

import numpy as np

from benchmarks.cache_stream import Known, Texts

CONFIDENCES = (0.001, 0.002, 0.005, *(0.01 * step for step in range(1, 30)))
"""The grid of epsilon over which vCache takes its smallest exploration probability."""
NEWTON_STEPS = 10
RIDGE = 1e-2
FIRST_POINTS = ((0.0, 0.0), (1.0, 1.0))
"""Every curve starts with these two: nothing alike is never right, the same always."""
QUANTILES = tuple((epsilon, NormalDist().inv_cdf(1.0 - epsilon)) for epsilon in CONFIDENCES)
"""With the upper confidence limit of the threshold that belongs to each, in standard errors."""


class Policy(Protocol):
    """A cache under test: an answer, or None for a miss, after which `learn` is called."""

    def look_up(self, ns: str, text: str) -> str | None: ...
    def learn(self, ns: str, text: str, answer: str) -> None: ...


class Nearest:
    """What the baselines share: entries and the one nearest to a text."""

    def __init__(self, texts: Texts):
        self.texts = texts
        self.shelves: dict[str, Known] = {}
        self.answers: dict[tuple[str, int], str] = {}
        self.exact: dict[tuple[str, str], str] = {}

    def nearest(self, ns: str, text: str) -> tuple[int, float] | None:
        found = self.shelves.setdefault(ns, Known(self.texts)).top(self.texts.embed((text,))[0], 1)
        return found[0] if found else None

    def add(self, ns: str, text: str, answer: str) -> None:
        if (ns, text) not in self.exact:
            shelf = self.shelves.setdefault(ns, Known(self.texts))
            self.answers[ns, shelf.add(self.texts.embed((text,))[0])] = answer
        self.exact[ns, text] = answer


class Exact(Nearest):
    """The same text in the same namespace."""

    def look_up(self, ns: str, text: str) -> str | None:
        return self.exact.get((ns, text))

    def learn(self, ns: str, text: str, answer: str) -> None:
        self.exact[ns, text] = answer


class Cosine(Nearest):
    """The nearest entry from a fixed cosine on."""

    def __init__(self, texts: Texts, least: float):
        super().__init__(texts)
        self.least = least

    def look_up(self, ns: str, text: str) -> str | None:
        found = self.nearest(ns, text)
        return self.answers[ns, found[0]] if found and found[1] >= self.least else None

    def learn(self, ns: str, text: str, answer: str) -> None:
        self.add(ns, text, answer)


class VCache(Nearest):
    """See the module's first lines."""

    def __init__(self, texts: Texts, delta: float, seed: int):
        super().__init__(texts)
        self.delta = delta
        self.dice = random.Random(seed)
        self.seen: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self.curves: dict[tuple[str, int], tuple[float, float, float] | None] = {}
        self.asked: tuple[int, float] | None = None

    def look_up(self, ns: str, text: str) -> str | None:
        self.asked = found = self.nearest(ns, text)
        if found is None:
            return None
        entry = (ns, found[0])
        if entry not in self.curves:
            self.curves[entry] = fit(self.seen.get(entry, []))
        if self.dice.random() <= explore(self.curves[entry], found[1], self.delta):
            return None
        return self.answers[entry]

    def learn(self, ns: str, text: str, answer: str) -> None:
        right = False
        if self.asked is not None:
            entry = (ns, self.asked[0])
            right = self.answers[entry] == answer
            self.seen.setdefault(entry, []).append((self.asked[1], float(right)))
            self.curves.pop(entry, None)
        if not right:
            self.add(ns, text, answer)


def fit(seen: list[tuple[float, float]]) -> tuple[float, float, float] | None:
    """(threshold, steepness, standard error of the threshold) by Newton; None without a look-up to learn from."""
    if not seen:
        return None
    points = np.array((*FIRST_POINTS, *seen))
    x, y = points[:, 0], points[:, 1]
    slope, shift = 10.0, -8.0
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * x + shift, -30, 30)))
        w = p * (1.0 - p)
        g1, g0 = float(((y - p) * x).sum()) - RIDGE * (slope - 10.0), float((y - p).sum()) - RIDGE * (shift + 8.0)
        h11, h10, h00 = float((w * x * x).sum()) + RIDGE, float((w * x).sum()), float(w.sum()) + RIDGE
        det = h11 * h00 - h10 * h10
        slope += (h00 * g1 - h10 * g0) / det
        shift += (h11 * g0 - h10 * g1) / det
    if slope <= 0.0:
        return None
    v11, v10, v00 = h00 / det, -h10 / det, h11 / det
    threshold = -shift / slope
    variance = (v00 + 2.0 * threshold * v10 + threshold * threshold * v11) / (slope * slope)
    return threshold, slope, math.sqrt(max(0.0, variance))


def explore(curve: tuple[float, float, float] | None, similarity: float, delta: float) -> float:
    """The smallest exploration probability over the grid that keeps P(correct) at 1 - delta or above."""
    if curve is None:
        return 1.0
    threshold, slope, error = curve
    least = 1.0
    for epsilon, quantile in QUANTILES:
        z = min(30.0, max(-30.0, slope * (similarity - threshold - quantile * error)))
        correct = (1.0 - epsilon) / (1.0 + math.exp(-z))
        least = min(least, 1.0 - delta / max(delta, 1.0 - correct))
    return least
