"""Do the arms have the sizes that the draw should give? A sample-ratio check that is valid at every look.

What it decides: whether the counts contradict the intended shares. A mismatch means that assignment or logging is
broken, and no effect may be read. Method: the Bayes factor of a Dirichlet prior around the intended shares against
exactly those shares is a martingale when the shares are true, so Ville's inequality bounds its maximum (Lindon and
Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022). What it must not know: what the arms do.
"""

import math
from collections.abc import Sequence

CONCENTRATION = 1_000.0
"""Weight of the prior, in tasks: it expects a broken share to be off by a few points, and finds 2 points of 50 in about
8,000 tasks."""
ALPHA = 0.001
"""A broken experiment is rare and an alarm stops the headline: as in the literature's common practice."""


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Log evidence against "arms are drawn with these shares". Shares are positive and sum to 1."""
    if len(counts) != len(shares) or abs(sum(shares) - 1.0) > 1e-9 or min(shares) <= 0:
        raise ValueError("one positive share per arm, and they sum to 1")
    n = sum(counts)
    evidence = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + n)
    for count, share in zip(counts, shares, strict=True):
        weight = CONCENTRATION * share
        evidence += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return evidence


def mismatched(counts: Sequence[int], shares: Sequence[float], alpha: float = ALPHA) -> bool:
    """Whether the counts at this look refute the shares. Look as often as you like; keep an alarm once raised."""
    return log_bayes_factor(counts, shares) >= -math.log(alpha)
