"""Confidence sequences: intervals that cover the truth at all looks at once, so one may look after every task.

What it decides: how wide an interval must be. Two kinds. *Asymptotic* ones for heavy-tailed means, differences and
ratios (dollars): a normal-mixture boundary around any estimate with a standard error (Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 2024,
Theorem 2.2); they hold from a burn-in on, which the caller must respect. *Exact* ones for outcomes in [0, 1], by
empirical Bernstein bets (Waudby-Smith and Ramdas, JRSS-B 2024, Theorem 2). What it must not know: dollars and arms.

Estimates are (value, variance of that value). They are plain arithmetic on Moments, so they also take arrays.
"""

import math

import msgspec

from jevons.judge.moments import Moments, join

TINY = 1e-300
"""Keeps a quotient of two vanishing variances finite."""


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """A value, and the variance of that value (a squared standard error)."""

    value: float
    variance: float


class Interval(msgspec.Struct, frozen=True, gc=False):
    """A closed interval with its centre."""

    low: float
    value: float
    high: float


def tuned(n: float, alpha: float) -> float:
    """The mixture's variance that makes the boundary tightest near `n` observations (Waudby-Smith et al., eq. 24)."""
    spread = -2.0 * math.log(alpha)
    return (spread + math.log(spread + 1.0)) / n


def multiple(n: int, mixture: float, alpha: float) -> float:
    """How many standard errors the sequence is wide at `n` observations, to each side. Two-sided level alpha.

    Raises ValueError for n < 1. A fixed-size interval would take 1.96 at alpha = .05; this takes about 3 near the n
    that `mixture` is tuned for, and slowly more away from it.
    """
    if n < 1:
        raise ValueError("there is no interval before the first observation")
    load = n * mixture
    return math.sqrt((1.0 + 1.0 / load) * (math.log1p(load) - 2.0 * math.log(alpha)))


def interval(estimate: Estimate, width: float) -> Interval:
    """Value plus and minus `width` standard errors."""
    reach = width * abs(estimate.variance) ** 0.5  # rounding may leave a variance of -1e-20
    return Interval(estimate.value - reach, estimate.value, estimate.value + reach)


def mean(moments: Moments) -> Estimate:
    """The mean of y."""
    return Estimate(moments.y, moments.yy / (moments.n - 1) / moments.n)


def difference(one: Moments, other: Moments) -> Estimate:
    """Mean of y in `one` minus in `other`, adjusted for the covariate x that was known before the arms were drawn.

    Regression in each arm with its own slope (Lin, Annals of Applied Statistics 2013): never less precise than the
    plain difference in large samples, whatever the truth looks like. With a constant x it is the plain difference.
    """
    both = join(one, other)
    slope_one, slope_other = one.xy / (one.xx + TINY), other.xy / (other.xx + TINY)
    value = (one.y - slope_one * (one.x - both.x)) - (other.y - slope_other * (other.x - both.x))
    left_one, left_other = one.yy - slope_one * one.xy, other.yy - slope_other * other.xy
    gap = slope_one - slope_other
    variance = (
        left_one / (one.n - 2) / one.n
        + left_other / (other.n - 2) / other.n
        + gap * gap * both.xx / (both.n - 1) / both.n
    )
    return Estimate(value, variance)


def ratio(moments: Moments) -> Estimate:
    """Mean of y over mean of x (dollars per solved task: y dollars, x solved), by the delta method."""
    value = moments.y / moments.x
    spread = moments.yy - 2.0 * value * moments.xy + value * value * moments.xx
    return Estimate(value, spread / (moments.n - 1) / moments.n / (moments.x * moments.x))


class Bernstein(msgspec.Struct, frozen=True, gc=False):
    """The state of an exact confidence sequence for the mean of outcomes in [0, 1]."""

    alpha: float
    n: int = 0
    total: float = 0.5
    """Sum of the outcomes plus a half: the predictable mean's numerator."""
    spread: float = 0.25
    """Sum of squared deviations from the mean then known, plus a quarter."""
    bets: float = 0.0
    weighted: float = 0.0
    paid: float = 0.0
    low: float = 0.0
    high: float = 1.0
    """The running intersection of all intervals so far."""


def observe(state: Bernstein, outcome: float) -> Bernstein:
    """The sequence after one more outcome. Raises ValueError outside [0, 1]."""
    if not 0.0 <= outcome <= 1.0:
        raise ValueError(f"outcome {outcome} lies outside [0, 1]")
    t = state.n + 1
    log_alpha = math.log(2.0 / state.alpha)
    variance = state.spread / t
    bet = min(0.5, math.sqrt(2.0 * log_alpha / (variance * t * math.log1p(t))))
    before = state.total / t
    cost = (outcome - before) ** 2 * (-math.log1p(-bet) - bet)
    total = state.total + outcome
    after = total / (t + 1)
    bets, weighted, paid = state.bets + bet, state.weighted + bet * outcome, state.paid + cost
    centre, reach = weighted / bets, (log_alpha + paid) / bets
    return Bernstein(
        alpha=state.alpha,
        n=t,
        total=total,
        spread=state.spread + (outcome - after) ** 2,
        bets=bets,
        weighted=weighted,
        paid=paid,
        low=max(state.low, centre - reach),
        high=min(state.high, centre + reach),
    )
