"""Which calls does a cheap model answer as well? Decided before the call, from its site and its words.

What it decides: from a fitted model, the expected loss of leaving the incumbent on this call, and whether that is below
a threshold that was tested when the model was fitted. What it must not know: how the model was fitted
(lab/route_fit.py), which process embeds, the clock or the dice.

The call site is the best feature, so it comes first: where nearly all of a site's past calls fell on one side of the
threshold, its table decides and nothing is embedded. Elsewhere two logistic heads, one a model, share three inputs: the
site, the prompt's embedding, and its hashed words. The call goes to the cheap model when the difference between the two
predicted success rates is small. On MMLU two heads reach a higher APGR than one regression of the difference (.69
against .68): a question's difficulty moves both rates, and a heavy prior fits each of them but not their difference.
"""

import itertools
import math
import re
import zlib
from collections.abc import Sequence
from operator import mul

import msgspec

BUCKETS = 4_096
"""Hash buckets of words and word pairs."""
MAX_WORDS = 128
"""Words read of a prompt, the first ones: each costs .6 us, and a decision may take 150 us beyond the embedding."""
MAX_CHARS = 16 * MAX_WORDS
_WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")


class Head(msgspec.Struct, frozen=True):
    """One model's success as a logistic regression. Lists of floats: it is stored as JSON and read without numpy."""

    bias: float
    sites: dict[str, float]
    vector: tuple[float, ...]
    words: tuple[float, ...]
    """One weight per bucket, the inverse document frequency included."""


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted pre-router of one cheap model against one incumbent."""

    cheap: str
    incumbent: str
    cheap_head: Head
    incumbent_head: Head
    threshold: float
    """A call whose expected loss is below this goes to the cheap model; minus infinity: none does."""
    settled: dict[str, bool]
    """Sites that the table decides: True goes to the cheap model."""
    target: float
    """The share of the incumbent's quality that the threshold was tested to keep."""
    fitted_on: int


class Choice(msgspec.Struct, frozen=True):
    """What to do with one call, and why."""

    cheap: bool
    loss: float
    why: str


def choose(router: Router, site: str, text: str, vector: Sequence[float] | None) -> Choice:
    """Cheap or not. `vector`: the prompt's embedding, or None when it is late; then the incumbent answers."""
    known = settled(router, site)
    if known is not None:
        return Choice(known, 0.0 if known else 1.0, f"the site's table decides: {'cheap' if known else 'incumbent'}")
    if vector is None:
        return Choice(False, 1.0, "no embedding in time: the incumbent answers")
    expected = loss(router, site, text, vector)
    cheap = expected < router.threshold
    sign = "<" if cheap else ">="
    return Choice(cheap, expected, f"expected loss {expected:.3f} {sign} {router.threshold:.3f}")


def settled(router: Router, site: str) -> bool | None:
    """The table's word, before anything is embedded; None: the prompt must be read. Unknown sites stay."""
    if router.threshold == -math.inf or site not in router.cheap_head.sites:
        return False
    return router.settled.get(site)


def loss(router: Router, site: str, text: str, vector: Sequence[float]) -> float:
    """Predicted success of the incumbent minus that of the cheap model, in [-1, 1]."""
    found = words(text)
    return _success(router.incumbent_head, site, found, vector) - _success(router.cheap_head, site, found, vector)


def words(text: str) -> dict[int, float]:
    """Bucket -> signed weight of a text's words and word pairs; unit length. The fit uses this same function."""
    tokens = _WORD.findall(text[:MAX_CHARS].lower())[:MAX_WORDS]
    found: dict[int, float] = {}
    for token in tokens + [f"{one} {two}" for one, two in itertools.pairwise(tokens)]:
        number = zlib.crc32(token.encode())
        bucket = number % BUCKETS
        found[bucket] = 1.0 if number >> 31 else -1.0
    length = math.sqrt(len(found)) or 1.0
    return {bucket: value / length for bucket, value in found.items()}


def _success(head: Head, site: str, found: dict[int, float], vector: Sequence[float]) -> float:
    weight = head.words
    score = head.bias + head.sites.get(site, 0.0) + sum(map(mul, head.vector, vector))
    score += sum(weight[bucket] * value for bucket, value in found.items())
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, score))))
