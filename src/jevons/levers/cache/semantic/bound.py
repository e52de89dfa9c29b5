"""How many wrong answers may have been served, seen only through a coin: an anytime-valid bound with no model in it.

Every would-be hit tosses a coin that shows `audit` with probability q. An audited one is a miss whose fresh answer
tells whether it would have been wrong; a served one never tells. So among the would-be hits that are wrong, whatever
made them wrong, each is audited with chance q: A audited ones bound the E served ones. For any 0 < rho < 1

    rho^A * ((1 - rho q) / (1 - q))^E        is a nonnegative martingale that starts at 1,

because a wrong would-be hit multiplies it by rho with probability q and by (1 - rho q)/(1 - q) with 1 - q, mean 1.
Ville's inequality for the average over a few rho: with probability 1 - alpha, at *all* times together, E stays below
`served_wrong(A)`. No assumption about the stream, the verifier or its drift: the threshold may depend on all that was
seen. It needs a fair coin, and a true label on the audits.

What it must not know: what a hit is, time, or the plan's level.
"""

import math
from typing import Final

from jevons.core.errors import OurError

RHOS: Final = (0.2, 0.5, 0.8, 0.95)
"""Each is best at another number of audits: .2 near 1, .5 near 5, .8 near 50, .95 near 1,000."""
LARGE: Final = 200
"""Above this count a Poisson tail is summed no more."""


class Coin:
    """A fair audit coin with bias `q` and what it proves at error probability `alpha`."""

    def __init__(self, q: float, alpha: float):
        if not (0.0 < q < 1.0 and 0.0 < alpha < 1.0):
            raise OurError(f"an audit coin needs 0 < q < 1 and 0 < alpha < 1, not q={q}, alpha={alpha}")
        self.q = q
        self.alpha = alpha
        self._gains = [(math.log(rho), math.log((1.0 - rho * q) / (1.0 - q))) for rho in RHOS]
        self._known: dict[int, int] = {}

    def served_wrong(self, audited_wrong: int) -> int:
        """The most wrong answers that may have been served, given how many wrong ones were audited."""
        known = self._known.get(audited_wrong)
        if known is None:
            known = self._known[audited_wrong] = self._solve(audited_wrong)
        return known

    def _solve(self, audited_wrong: int) -> int:
        low, high = 0, 16
        while self._evidence(audited_wrong, high) < 0.0:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._evidence(audited_wrong, middle) < 0.0:
                low = middle
            else:
                high = middle
        return low

    def _evidence(self, audited: int, served: int) -> float:
        """log(alpha * martingale): at or above 0, `served` is refuted."""
        logs = [audited * loss + served * gain for loss, gain in self._gains]
        top = max(logs)
        return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs)) + math.log(self.alpha)


def poisson_mean(count: float, alpha: float) -> float:
    """The largest mean m with P(Poisson(m) > count) <= alpha: how much risk fits when `count` errors are allowed."""
    allowed = math.floor(count)
    if allowed < 0:
        return 0.0
    if allowed > LARGE:  # the normal's two-sided-safe line: 3 standard deviations are below any alpha used here
        return allowed - 3.0 * math.sqrt(allowed)
    low, high = 0.0, allowed + 1.0
    for _ in range(40):
        middle = (low + high) / 2
        term = total = math.exp(-middle)
        for k in range(1, allowed + 1):
            term *= middle / k
            total += term
        low, high = (middle, high) if 1.0 - total <= alpha else (low, middle)
    return low
