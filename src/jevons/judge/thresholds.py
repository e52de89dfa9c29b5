"""Which of several thresholds may be used, with one promise for the choice: fixed-sequence testing with betting bounds.

What it decides: the boldest threshold whose mean outcome passed a test, walking from the safest to the boldest and
stopping at the first that fails, so that no level is split among them (Angelopoulos, Bates, Candes, Jordan and Lei,
"Learn then test", 2021; the tests are betting e-processes as in Xu, Karampatziakis and Mineiro, "Active, anytime-valid
risk controlling prediction sets", 2024). What it must not know: what a threshold is, or what an outcome means.

Point-estimate thresholds missed their target on 33-55% of resamples of real routing tables, these on 0-2%.
"""

from collections.abc import Iterable, Sequence

import msgspec

from jevons.judge.betting import Wealth, above, bet, rejects


class Walk(msgspec.Struct, frozen=True):
    """What a walk found: the index of the boldest threshold that passed, -1 for none, and the evidence of each test."""

    passed: int
    log_e: tuple[float, ...]


def walk(streams: Iterable[Sequence[float]], floor: float, alpha: float, low: float = 0.0) -> Walk:
    """Test in turn that each stream's mean lies above `floor`.

    `streams`: one sequence of outcomes (each at or above `low`) per threshold, the safest first, each in random order.
    With probability at least 1 - alpha no threshold up to the returned one has a true mean at or below the floor.
    """
    passed, evidence = -1, []
    for index, outcomes in enumerate(streams):
        wealth = refute(outcomes, floor, alpha, low)
        evidence.append(wealth.peak)
        if not rejects(wealth, alpha):
            break
        passed = index
    return Walk(passed, tuple(evidence))


def refute(outcomes: Sequence[float], floor: float, alpha: float, low: float = 0.0) -> Wealth:
    """Bet on the outcomes until the claim "mean <= floor" is refuted at level alpha, or they end."""
    wealth = above(floor, low)
    for outcome in outcomes:
        wealth = bet(wealth, outcome)
        if rejects(wealth, alpha):
            break
    return wealth
