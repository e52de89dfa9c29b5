"""Does the elasticity's 95% interval hold the truth? Simulated worlds with known answers, honest and nasty.

    python -m benchmarks.rebound [--runs 500] [--json] [--seed N]

Each run draws a kind of world and its parameters: customers, periods, two price arms, heavy-tailed sizes, and one
violation. The truth is computed on 40,000 customers of that world without sampling noise: the arc elasticity between
the arms (for the instrumental worlds, the constant elasticity). Controls: OLS of log quantity on the log price paid
over the same rows; and `no_arm`, how often the estimator gives a point when nothing was randomised (must be 0).
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jevons.core.errors import CallerError
from jevons.lab.rebound_fit import Observation, measure, naive

TRUTH_CUSTOMERS = 40_000
STEEPEST = 3.0
"""No customer's own elasticity is beyond -3: steeper tails let one customer in ten thousand make a world's whole mean,
which no sample of hundreds can see (unbounded, 39% of such intervals held the truth)."""


@dataclass(frozen=True)
class World:
    """`demand(size, price, taste, rng)` is mean quantity per period; prices are base x arm."""

    kind: str
    customers: int
    periods: int
    cut: float
    elasticity: float
    sd: float
    endogenous: float
    """How the base price follows a customer's size: -1 gives the largest the deepest discounts."""
    demand: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    dispersion: float
    zeros: float
    refuse: float
    """Share of treated customers that the arm does not reach, more often large ones."""
    drift: float
    memory: float


def draw_world(rng: np.random.Generator) -> World:
    kinds = (
        "loglinear",
        "endogenous",
        "refused",
        "mixed_tastes",
        "linear_demand",
        "threshold",
        "zeros",
        "drifting",
        "few_units",
    )
    kind = kinds[int(rng.integers(len(kinds)))]
    elasticity = -float(rng.uniform(0.1, 2.0))
    few = kind == "few_units"
    common = {
        "kind": kind,
        "customers": int(rng.integers(50, 70)) if few else int(rng.integers(120, 500)),
        "periods": int(rng.integers(2, 8)),
        "cut": float(rng.uniform(0.4, 0.85)),
        "elasticity": elasticity,
        "sd": float(rng.uniform(0.4, 1.0 if few else 1.3)),
        "endogenous": float(rng.uniform(-0.6, 0.6)) if kind != "loglinear" else 0.0,
        "dispersion": float(rng.uniform(0.05, 0.5)),
        "zeros": float(rng.uniform(0.2, 0.6)) if kind == "zeros" else 0.0,
        "refuse": float(rng.uniform(0.1, 0.5)) if kind == "refused" else 0.0,
        "drift": float(rng.uniform(-0.3, 0.4)) if kind == "drifting" else 0.0,
        "memory": 0.8 if kind == "drifting" else 0.3,
    }

    def loglinear(size: np.ndarray, price: np.ndarray, _taste: np.ndarray) -> np.ndarray:
        return np.asarray(size * price**elasticity)

    def mixed(size: np.ndarray, price: np.ndarray, taste: np.ndarray) -> np.ndarray:
        own = np.maximum(elasticity * np.exp(0.7 * taste + 0.3 * np.log(size)), -STEEPEST)
        return np.asarray(size * price**own)

    def linear(size: np.ndarray, price: np.ndarray, taste: np.ndarray) -> np.ndarray:
        return size * np.maximum(1.0 - price / (2.0 + np.exp(taste)), 0.0)

    def threshold(size: np.ndarray, price: np.ndarray, taste: np.ndarray) -> np.ndarray:
        return size * np.where(price < 0.7 + 0.3 * taste, 1.0 - elasticity, 1.0)

    shapes = {"mixed_tastes": mixed, "linear_demand": linear, "threshold": threshold}
    return World(demand=shapes.get(kind, loglinear), **common)  # type: ignore[arg-type]


def _people(world: World, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(size, base price, taste) of `count` customers."""
    shock = rng.normal(size=count)
    size = np.exp(world.sd * shock)
    base = np.exp(world.endogenous * shock * 0.5 + 0.15 * rng.normal(size=count))
    return size, base, rng.normal(size=count)


def truth(world: World, rng: np.random.Generator) -> float:
    if world.refuse:
        return world.elasticity
    size, base, taste = _people(world, TRUTH_CUSTOMERS, rng)
    cheap, dear = (float(np.mean(world.demand(size, base * arm, taste))) for arm in (world.cut, 1.0))
    return float(np.log(cheap / dear) / np.log(world.cut))


def observe(world: World, rng: np.random.Generator) -> list[Observation]:
    n = world.customers
    size, base, taste = _people(world, n, rng)
    arm = np.where(rng.permutation(n) < n // 2, world.cut, 1.0)
    refused = rng.random(n) < world.refuse * np.clip(size / np.median(size), 0.2, 1.8)
    reached = np.where(refused, 1.0, arm)
    scale = float(rng.uniform(5, 200))
    idle = rng.random(n) < world.zeros
    wave = rng.normal(size=n)
    rows = []
    before = np.zeros(n)
    for period in range(-1, world.periods):
        wave = world.memory * wave + np.sqrt(1 - world.memory**2) * rng.normal(size=n)
        price = base * (reached if period >= 0 else 1.0)
        mean = scale * world.demand(size, price, taste) * np.exp(0.3 * wave - 0.045 + world.drift * max(period, 0))
        gamma = rng.gamma(1 / world.dispersion, world.dispersion, size=n)
        quantity = np.where(idle & (rng.random(n) < 0.8), 0.0, rng.poisson(mean * gamma).astype(float))
        if period < 0:
            before = quantity
            continue
        rows += [
            Observation(
                unit=f"c{i}",
                period=period,
                assigned=float(arm[i]),
                price=float(price[i]),
                quantity=float(quantity[i]),
                before=float(before[i]),
                applied=not refused[i] or arm[i] == 1.0,
            )
            for i in range(n)
        ]
    return rows


def without_arm(rows: list[Observation]) -> list[Observation]:
    """The same customers as an operator without an experiment sees them: prices vary, nothing was drawn."""
    return [
        Observation(unit=row.unit, period=row.period, assigned=1.0, price=row.price, quantity=row.quantity)
        for row in rows
    ]


def run(runs: int, seed: int) -> dict[str, object]:
    found: dict[str, list[tuple[bool, bool, float, float]]] = {}
    refused = points_without_arm = 0
    for number in range(runs):
        rng = np.random.default_rng((seed, number))
        world = draw_world(rng)
        true = truth(world, rng)
        rows = observe(world, rng)
        points_without_arm += measure(without_arm(rows)).measured
        try:
            result = measure(rows)
        except CallerError as error:
            print(f"run {number} ({world.kind}): {error}", file=sys.stderr)
            refused += 1
            continue
        if result.point is None:
            refused += 1
            continue
        _, low, high = naive(rows)
        covered = (result.low <= true <= result.high, low <= true <= high)
        found.setdefault(world.kind, []).append((*covered, result.high - result.low, result.point - true))
        if (number + 1) % 100 == 0:
            print(f"{number + 1} worlds", file=sys.stderr)
    every = [row for rows in found.values() for row in rows]

    def summary(rows: list[tuple[bool, bool, float, float]]) -> dict[str, float]:
        return {
            "coverage": float(np.mean([row[0] for row in rows])),
            "ols_coverage": float(np.mean([row[1] for row in rows])),
            "width_median": float(np.median([row[2] for row in rows])),
            "bias_median": float(np.median([row[3] for row in rows])),
            "worlds": len(rows),
        }

    whole = summary(every)
    error = 1.96 * float(np.sqrt(whole["coverage"] * (1 - whole["coverage"]) / len(every)))
    return whole | {
        "coverage_interval_95": [round(whole["coverage"] - error, 4), round(min(1.0, whole["coverage"] + error), 4)],
        "refused": refused,
        "points_without_arm": points_without_arm,
        "kinds": {kind: summary(rows) for kind, rows in sorted(found.items())},
    }


def table(result: dict[str, object]) -> None:
    print(f"{'world':16s} {'coverage':>9s} {'OLS':>6s} {'width':>7s} {'bias':>7s} {'worlds':>7s}")
    kinds = result["kinds"]
    assert isinstance(kinds, dict)
    for kind, row in {**kinds, "all": result}.items():
        print(
            f"{kind:16s} {row['coverage']:9.3f} {row['ols_coverage']:6.3f} {row['width_median']:7.3f} "
            f"{row['bias_median']:7.3f} {row['worlds']:7.0f}"
        )
    print(f"coverage of all, 95% interval over worlds: {result['coverage_interval_95']}")
    print(f"refused with an arm: {result['refused']}; points given without an arm: {result['points_without_arm']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="simulated worlds (default 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()
    result = run(args.runs, args.seed)
    if args.json:
        print(json.dumps(result))
    else:
        table(result)


if __name__ == "__main__":
    main()
