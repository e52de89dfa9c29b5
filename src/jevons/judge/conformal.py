"""When a cheap answer may be trusted: split-conformal abstention at a promised agreement.

What it decides: from calibration pairs (score, agreed), the lowest score at which answers may be served so that, among
served answers, the share that agrees keeps the promise; below it one abstains. The bound is exact for exchangeable
calls: a fixed sequence of scores, most confident first, each tested with Clopper-Pearson's binomial tail (Angelopoulos
et al., "Learn then test", 2021; Geifman and El-Yaniv, "Selective classification", 2017). What it must not know: who
scores, and what agreeing means.

Selected by score, so the promise is about served answers, not all calls: that is what a user sees.
"""

import math
from collections.abc import Sequence

import msgspec

CONFIDENCE = 0.99
"""How surely the promise holds for the future of an unchanged stream. At .95 a promise held in truth is still seen
broken on one finite sample in eight (banking77, 2,700 served); .99 costs two points of share and is seen kept."""
STEPS = 60
"""Thresholds tried, at evenly spaced shares served; the fixed sequence stops at the first failure."""
FIRST_SHARE = 0.25
"""Where the sequence starts: a quarter of the calls served. Starting with the few most confident ones fails on a single
mislabelled call."""


class Abstention(msgspec.Struct, frozen=True):
    """Serve at `threshold` or above. `share` and `agreement` are what calibration showed; no threshold: infinity."""

    threshold: float
    share: float
    agreement: float
    promise: float
    calibrated_on: int


def calibrate(
    scores: Sequence[float], agreed: Sequence[bool], promise: float, confidence: float = CONFIDENCE
) -> Abstention:
    """The lowest threshold that keeps the promise with the given confidence. Serves nothing when none does."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    best = Abstention(math.inf, 0.0, 1.0, promise, len(order))
    first = max(math.ceil(FIRST_SHARE * len(order)), 2 * needed(promise, confidence))
    served = wrong = 0
    for step in range(1, STEPS + 1):
        upto = round(len(order) * step / STEPS)
        if upto < first:
            continue
        wrong += sum(not agreed[order[index]] for index in range(served, upto))
        served = upto
        if binomial_tail(wrong, served, 1.0 - promise) > 1.0 - confidence:
            break
        best = Abstention(scores[order[upto - 1]], served / len(order), 1.0 - wrong / served, promise, len(order))
    return best


def needed(promise: float, confidence: float) -> int:
    """Answers without any error that are needed before a promise can pass at all."""
    return math.ceil(math.log(1.0 - confidence) / math.log(promise))


def binomial_tail(errors: int, n: int, rate: float) -> float:
    """P(at most `errors` of n) when each errs with probability `rate`: the p-value of "the true rate is higher"."""
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    term = n * log_rest
    total = math.exp(term)
    for k in range(1, errors + 1):
        term += math.log((n - k + 1) / k) + log_rate - log_rest
        total += math.exp(term)
    return min(1.0, total)
