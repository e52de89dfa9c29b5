"""What the routing benchmarks share: the documented half split, the paired bootstrap, and reading a table.

A natural unit (a task, a prompt) goes to half 0 or 1 by the first bit of the SHA-256 of its text. A policy is fitted on
one half and reported on the other; where a benchmark says `cross-fitted`, that is done both ways and every row is
reported once, always under the policy that never saw its half.
"""

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1_000


def half(unit: str) -> int:
    """0 or 1, by the unit's text alone."""
    return hashlib.sha256(unit.encode()).digest()[0] >> 7


def halves(units: list[str]) -> NDArray[np.int64]:
    return np.array([half(unit) for unit in units])


def bootstrap(n: int, statistic: Callable[[NDArray[np.int64]], float], seed: int, resamples: int = RESAMPLES) -> Floats:
    """The statistic on `resamples` resamples of n rows; called with row numbers, so that pairs stay paired."""
    dice = np.random.default_rng(seed)
    return np.array([statistic(dice.integers(0, n, n)) for _ in range(resamples)])


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The central percentile interval."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share seen in n trials."""
    z = 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    return float(centre - reach), float(centre + reach)


def median_interval(values: Floats, seed: int) -> tuple[float, float]:
    """The bootstrap's 95% interval of a median."""
    return interval(bootstrap(len(values), lambda rows: float(np.median(values[rows])), seed))


def say(*words: object) -> None:
    """Progress, to stderr."""
    print(*words, file=sys.stderr, flush=True)


def table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A table for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*columns, title=title, title_justify="left")
    for row in rows:
        grid.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=150).print(grid)
