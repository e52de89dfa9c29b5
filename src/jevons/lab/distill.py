"""Trains what a small model needs from a large one's answers: a classifier head, calibrated to keep a promise.

What lives here: whether a site's answers form a closed set, the fit, the calibration. What it must not know: where the
pairs came from (the body store, a benchmark). Offline; numpy and scikit-learn.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from jevons.core.errors import CallerError
from jevons.judge.conformal import Abstention, calibrate
from jevons.levers.small.head import MAX_CLASSES, Head

Vectors = NDArray[np.float32]
FOLDS = 10
"""Each pair's calibration score comes from a head fitted on nine tenths: close to the head that will serve."""
LOOSENESS = 10.0
"""Inverse penalty of the logistic fit; 5 to 30 gave the same share within a point on banking77's developer half."""
FEWEST_PAIRS = 500
FEWEST_PER_CLASS = 5
LARGEST_TAIL = 0.05
"""A closed set: at most this share of answers is rarer than FEWEST_PER_CLASS."""


class Fitted(msgspec.Struct, frozen=True):
    """A head, and the out-of-fold scores that it was calibrated on."""

    head: Head
    scores: NDArray[np.float64]
    agreed: NDArray[np.bool_]


def closed_set(answers: Sequence[str]) -> tuple[bool, str]:
    """Whether these answers of one call site can be a head's classes, and the sentence that says why or why not."""
    counts = Counter(answers)
    often = {text for text, seen in counts.items() if seen >= FEWEST_PER_CLASS}
    tail = sum(seen for text, seen in counts.items() if text not in often) / max(len(answers), 1)
    if len(answers) < FEWEST_PAIRS:
        return False, f"{len(answers)} pairs are too few: {FEWEST_PAIRS} are needed"
    if not 2 <= len(often) <= MAX_CLASSES:
        return False, f"{len(often)} answers recur; a head needs 2 to {MAX_CLASSES}"
    if tail > LARGEST_TAIL:
        return False, f"{tail:.0%} of the answers are rare ones: the set is open"
    return True, f"{len(often)} answers cover {1 - tail:.1%} of {len(answers)} calls"


def fit(site: str, vectors: Vectors, answers: Sequence[str], promise: float, dice: np.random.Generator) -> Fitted:
    """A head for a site that keeps the promised agreement, or abstains always. Raises CallerError for an open set.

    Rare answers are left out of the classes but stay in the calibration, where the head is wrong about them.
    """
    closed, why = closed_set(answers)
    if not closed:
        raise CallerError(f"no classifier for {site}: {why}", code="open_set")
    truth = np.asarray(answers)
    counts = Counter(answers)
    usual = np.array([counts[text] >= FEWEST_PER_CLASS for text in answers])
    scores, agreed = _out_of_fold(vectors, truth, usual, dice)
    rule = calibrate(scores.tolist(), agreed.tolist(), promise)
    return Fitted(pack(site, _model(vectors[usual], truth[usual]), rule), scores, agreed)


def pack(site: str, model: LogisticRegression, rule: Abstention) -> Head:
    """The serving form of a fitted model."""
    weights, biases = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weights, biases = np.vstack([np.zeros_like(weights), weights]), np.concatenate([[0.0], biases])
    return Head(
        site=site,
        answers=tuple(str(name) for name in model.classes_),
        width=int(weights.shape[1]),
        weights=weights.astype("<f4").tobytes(),
        biases=tuple(float(bias) for bias in biases),
        threshold=rule.threshold,
        promise=rule.promise,
        share=rule.share,
        fitted_on=rule.calibrated_on,
    )


def _out_of_fold(
    vectors: Vectors, truth: NDArray[np.str_], usual: NDArray[np.bool_], dice: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    fold = dice.permutation(len(truth)) % FOLDS
    scores, agreed = np.empty(len(truth)), np.empty(len(truth), bool)
    for number in range(FOLDS):
        mine = fold == number
        model = _model(vectors[~mine & usual], truth[~mine & usual])
        rates = model.predict_proba(vectors[mine])
        scores[mine] = rates.max(axis=1)
        agreed[mine] = model.classes_[rates.argmax(axis=1)] == truth[mine]
    return scores, agreed


def _model(vectors: Vectors, truth: NDArray[np.str_]) -> LogisticRegression:
    return LogisticRegression(C=LOOSENESS, max_iter=200).fit(vectors, truth)
