"""Demand's answer to price from a randomised arm: Poisson pseudo-likelihood and its instrumental twin, clustered.

What lives here: the estimators and the rule that picks one. Both solve moment conditions, so one sandwich serves both:

    PPML  sum x (y - exp(x b)) = 0           (arm applied to everyone it was drawn for: the contrast of the arms' means)
    IV    sum z (y exp(-x b) - 1) = 0        (Mullahy 1997: price paid is endogenous or the arm was not always applied)

Intervals are Student's t with G - 1 degrees on a jackknife over the randomised units (CRV3 by one Newton step), since
the usual sandwich is too short with dozens of units and skewed sizes. Heavy: numpy and scipy, never on the gateway's
path. It must not give a point where nothing was randomised.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from jevons.core.errors import CallerError
from jevons.rebound.elasticity import MIN_CLUSTERS, Elasticity, refusal

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

LEVEL = 0.95
MAX_STEPS = 100
TOLERANCE = 1e-9
MAX_LINEAR = 30.0
"""exp of the linear predictor is capped here: beyond it the step was wild, and halving it finds the way back."""
WEAK_F = 10.0
"""First-stage F below which an instrument is called weak and no point is given (Staiger and Stock 1997)."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One randomised unit (a customer, or a task) in one period after the arms were drawn.

    `assigned` is the price multiplier of its arm; `price` what it really paid per unit of `quantity` (tokens, calls);
    `before` its quantity before the draw (0 if unknown), which only narrows the interval.
    """

    unit: str
    period: int
    assigned: float
    price: float
    quantity: float
    before: float = 0.0
    applied: bool = True
    """Did the arm's price reach this unit? One False makes the whole estimate instrumental."""


class Fit(msgspec.Struct, frozen=True):
    """Coefficients with the jackknife's and the plain sandwich's covariance, and the number of clusters."""

    beta: Floats
    jackknife: Floats
    sandwich: Floats
    clusters: int

    def interval(self, index: int, level: float = LEVEL) -> tuple[float, float]:
        """Two-sided, Student's t with G - 1 degrees of freedom."""
        reach = float(student.ppf(0.5 + level / 2.0, self.clusters - 1)) * float(np.sqrt(self.jackknife[index, index]))
        return float(self.beta[index]) - reach, float(self.beta[index]) + reach


def _sums(values: Floats, cluster: Ints, clusters: int) -> Floats:
    total = np.zeros((clusters, *values.shape[1:]))
    np.add.at(total, cluster, values)
    return total


def _covariances(scores: Floats, jacobians: Floats) -> tuple[Floats, Floats]:
    """(jackknife, CRV1 sandwich) from per-cluster scores (G, k) and the per-cluster minus derivatives (G, k, k)."""
    clusters = len(scores)
    whole = jacobians.sum(axis=0)
    moves = np.linalg.solve(whole[None] - jacobians, -scores[..., None])[..., 0]
    centred = moves - moves.mean(axis=0)
    jackknife = (clusters - 1) / clusters * centred.T @ centred
    bread = np.linalg.inv(whole)
    sandwich = clusters / (clusters - 1) * bread @ (scores.T @ scores) @ bread.T
    return jackknife, sandwich


def _moments(y: Floats, x: Floats, z: Floats | None, beta: Floats) -> tuple[Floats, Floats]:
    """(weight of each row in the moment, weight of each row in its minus derivative)."""
    linear = np.clip(x @ beta, -MAX_LINEAR, MAX_LINEAR)
    if z is None:
        mean = np.exp(linear)
        return y - mean, mean
    scaled = y * np.exp(-linear)
    return scaled - 1.0, scaled


def solve(y: Floats, x: Floats, cluster: Ints, z: Floats | None = None) -> Fit:
    """Newton with halving on the moment conditions of the module's first lines.

    `y` (n,) >= 0, `x` (n, k), `cluster` (n,) codes 0..G-1, `z` (n, k) instruments (exogenous columns of x repeated) or
    None for PPML. Raises CallerError when it does not converge or the design is singular: no point is better than a
    wrong one.
    """
    left = x if z is None else z
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(max(float(y.mean()), 1e-12))
    residual, slope = _moments(y, x, z, beta)
    gap = left.T @ residual
    for _ in range(MAX_STEPS):
        step = _newton(left, slope, x, gap)
        scale = 1.0
        while True:
            trial = beta + scale * step
            residual, slope = _moments(y, x, z, trial)
            new_gap = left.T @ residual
            if np.linalg.norm(new_gap) < np.linalg.norm(gap) or scale < 1e-6:
                break
            scale /= 2.0
        beta, gap = trial, new_gap
        if np.max(np.abs(scale * step)) < TOLERANCE:
            break
    else:
        raise CallerError("the demand estimate did not converge: too few units, or arms without overlap")
    clusters = int(cluster.max()) + 1
    scores = _sums(left * residual[:, None], cluster, clusters)
    jacobians = _sums(left[:, :, None] * (x * slope[:, None])[:, None, :], cluster, clusters)
    try:
        jackknife, sandwich = _covariances(scores, jacobians)
    except np.linalg.LinAlgError:
        raise CallerError("one unit alone decides the estimate: no interval can be given") from None
    return Fit(beta, jackknife, sandwich, clusters)


def _newton(left: Floats, slope: Floats, x: Floats, gap: Floats) -> Floats:
    try:
        step: Floats = np.linalg.solve(left.T @ (x * slope[:, None]), gap)
    except np.linalg.LinAlgError:
        raise CallerError("the design is singular: the arms or the periods do not vary") from None
    return step


def least_squares(y: Floats, x: Floats, cluster: Ints) -> Fit:
    """Ordinary least squares with the same clustered covariances: the naive control, and the first stage."""
    beta: Floats = np.linalg.lstsq(x, y, rcond=None)[0]
    residual = y - x @ beta
    clusters = int(cluster.max()) + 1
    scores = _sums(x * residual[:, None], cluster, clusters)
    jacobians = _sums(x[:, :, None] * x[:, None, :], cluster, clusters)
    jackknife, sandwich = _covariances(scores, jacobians)
    return Fit(beta, jackknife, sandwich, clusters)


def _design(rows: Sequence[Observation]) -> tuple[Floats, Ints, dict[str, int]]:
    """Exogenous columns (constant, log of the quantity before, period marks), the clusters' codes and their names."""
    periods = sorted({row.period for row in rows})
    units: dict[str, int] = {}
    codes = np.array([units.setdefault(row.unit, len(units)) for row in rows])
    before = np.log1p(np.array([row.before for row in rows]))
    columns = [np.ones(len(rows))]
    if np.ptp(before) > 0:
        columns.append(before - before.mean())
    columns.extend(np.array([float(row.period == period) for row in rows]) for period in periods[1:])
    return np.column_stack(columns), codes, units


def _checked(rows: Sequence[Observation]) -> None:
    for row in rows:
        if not (row.assigned > 0.0 and np.isfinite(row.assigned)):
            raise CallerError(f"unit {row.unit!r}: an arm's price multiplier must be positive, got {row.assigned}")
        if not (row.price > 0.0 and np.isfinite(row.price)):
            raise CallerError(f"unit {row.unit!r}: a price of {row.price} has no logarithm; leave free units out")
        if not (row.quantity >= 0.0 and np.isfinite(row.quantity) and row.before >= 0.0):
            raise CallerError(f"unit {row.unit!r}: quantities must be at least zero")
    arms: dict[str, float] = {}
    for row in rows:
        if arms.setdefault(row.unit, row.assigned) != row.assigned:
            raise CallerError(f"unit {row.unit!r} is in two arms; randomise whole units")


def _why_not(rows: Sequence[Observation]) -> str:
    """Why no point may be given from these rows; '' when one may."""
    members: dict[float, set[str]] = {}
    for row in rows:
        members.setdefault(row.assigned, set()).add(row.unit)
    if len(members) < 2:
        return "nothing was randomised"
    smallest = min(len(units) for units in members.values())
    if smallest < MIN_CLUSTERS:
        return f"the smallest arm has {smallest} units, fewer than {MIN_CLUSTERS}"
    return ""


def measure(rows: Sequence[Observation], *, level: float = LEVEL) -> Elasticity:
    """The elasticity from a randomised arm, or a refusal with a stated range.

    With every arm applied: PPML of quantity on the log multiplier, which for two arms is the arc elasticity of mean
    demand whatever demand's shape. Else IV: the multiplier instruments the price paid, and a constant elasticity is
    assumed. Raises CallerError for rows that cannot be.
    """
    _checked(rows)
    if why := _why_not(rows):
        return refusal(why)
    exogenous, codes, units = _design(rows)
    y = np.array([row.quantity for row in rows])
    if not np.any(y > 0):
        return refusal("no unit used anything")
    arm = np.log(np.array([row.assigned for row in rows]))
    scale = y.mean()
    if all(row.applied for row in rows):
        fit, method = solve(y / scale, np.column_stack([exogenous, arm]), codes), "ppml"
    else:
        paid = np.log(np.array([row.price for row in rows]))
        first = least_squares(paid, np.column_stack([exogenous, arm]), codes)
        strength = float(first.beta[-1] ** 2 / first.jackknife[-1, -1])
        if strength < WEAK_F:
            return refusal(f"the arm hardly moved the price paid (first-stage F = {strength:.1f})")
        instruments = np.column_stack([exogenous, arm])
        fit, method = solve(y / scale, np.column_stack([exogenous, paid]), codes, instruments), "iv"
    low, high = fit.interval(len(fit.beta) - 1, level)
    return Elasticity(
        point=float(fit.beta[-1]),
        low=low,
        high=high,
        level=level,
        method=method,
        source=f"randomised arms, {len(rows)} observations of {len(units)} units",
        units=len(units),
    )


def naive(rows: Sequence[Observation], *, level: float = LEVEL) -> tuple[float, float, float]:
    """Control: OLS of log(1 + quantity) on the log price paid, clustered. (point, low, high); for benchmarks only."""
    exogenous, codes, _ = _design(rows)
    paid = np.log(np.array([row.price for row in rows]))
    y = np.log1p(np.array([row.quantity for row in rows]))
    fit = least_squares(y, np.column_stack([exogenous, paid]), codes)
    low, high = fit.interval(len(fit.beta) - 1, level)
    return float(fit.beta[-1]), low, high
