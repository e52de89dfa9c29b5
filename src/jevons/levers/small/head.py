"""Answers a call site whose answers form a closed set, from the prompt's embedding, or abstains.

What it decides: the answer and whether it may be served. A softmax over one linear score a class; served when the
probability of the best reaches the threshold that conformal calibration found (judge/conformal.py), else the large
model answers. What it must not know: how it was fitted (lab/distill.py), who embeds, how an answer is put on the wire.

The arithmetic is plain Python over packed float32 rows. It runs beside the embedder, where numpy is loaded anyway and
then does it (about 20 us); without numpy 80 classes take about 1 ms.
"""

import array
import math
import sys
from collections.abc import Sequence
from operator import mul

import msgspec

MAX_CLASSES = 1_000
"""Answers of one site: past this they are not a closed set."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted head. `weights`: float32, little-endian, [classes, width]; `biases`: one a class."""

    site: str
    answers: tuple[str, ...]
    """The exact text to serve, by class."""
    width: int
    weights: bytes
    biases: tuple[float, ...]
    threshold: float
    """Serve at this probability or above; infinity: always abstain."""
    promise: float
    """The agreement with the large model that calibration promised among served answers."""
    share: float
    """The share of calls that calibration served."""
    fitted_on: int


class Answer(msgspec.Struct, frozen=True):
    """What the head says. `served` False: it abstains, and `text` is only its guess."""

    text: str
    probability: float
    served: bool


def answer(head: Head, vector: Sequence[float]) -> Answer:
    """The most likely answer to a prompt with this embedding. Raises ValueError for a vector of another width."""
    if len(vector) != head.width:
        raise ValueError(f"an embedding of width {len(vector)} for a head of width {head.width}")
    scores = _scores(head, vector)
    best = max(range(len(scores)), key=scores.__getitem__)
    top = scores[best]
    probability = 1.0 / sum(math.exp(score - top) for score in scores)
    return Answer(head.answers[best], probability, probability >= head.threshold)


def _scores(head: Head, vector: Sequence[float]) -> list[float]:
    numpy = sys.modules.get("numpy")  # never imported here: the gateway must stay without it
    if numpy is not None:
        weights = numpy.frombuffer(head.weights, dtype="<f4").reshape(-1, head.width)
        found: list[float] = (weights @ numpy.asarray(vector, dtype="<f4") + numpy.asarray(head.biases)).tolist()
        return found
    packed = array.array("f", head.weights)
    if sys.byteorder == "big":
        packed.byteswap()
    width = head.width
    return [
        sum(map(mul, packed[row * width : (row + 1) * width], vector)) + bias for row, bias in enumerate(head.biases)
    ]
