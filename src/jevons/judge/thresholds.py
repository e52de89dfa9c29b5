"""Which of several thresholds may be used, with one promise for the choice: fixed-sequence testing with betting bounds.

What it decides: the boldest threshold whose mean outcome passed a test, walking from the safest to the boldest and
stopping at the first that fails, so that no level is split among them (Angelopoulos, Bates, Candes, Jordan and Lei,
"Learn then test", 2021; the tests are betting e-processes as in Xu, Karampatziakis and Mineiro, "Active, anytime-valid
risk controlling prediction sets", 2024). What it must not know: what a threshold is, or what an outcome means.

Point-estimate thresholds missed their target on 33-55% of resamples of real routing tables, these on 0-2%.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

BOLDEST = 0.9
"""The largest bet, as a share of the one that could lose everything."""


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
        evidence.append(refute(outcomes, floor, alpha, low))
        if evidence[-1] < -math.log(alpha):
            break
        passed = index
    return Walk(passed, tuple(evidence))


def refute(outcomes: Sequence[float], floor: float, alpha: float, low: float = 0.0) -> float:
    """The highest log wealth of bets against "mean <= floor"; it stops once that is refuted at level alpha.

    The number of outcomes is known, so each bet is the one that would reach 1/alpha just then at the variance seen so
    far (the predictable plug-in of Waudby-Smith and Ramdas 2024, eq. 26). A mixture of constant bets, right where no
    end is known, certified nothing on 324 rows of routellm_gsm8k.
    """
    if not low < floor:
        raise ValueError(f"the floor {floor} must lie above the lowest outcome {low}")
    enough, most = -math.log(alpha), BOLDEST / (floor - low)
    aim = 2.0 * enough / max(len(outcomes), 1)
    total, squares, wealth, peak = floor, 0.25 * (floor - low) ** 2, 0.0, 0.0
    for n, outcome in enumerate(outcomes, 1):
        if outcome < low:
            raise ValueError(f"outcome {outcome} lies below the bound {low}")
        bet = min(most, math.sqrt(aim * n / squares))
        wealth += math.log1p(bet * (outcome - floor))
        peak = max(peak, wealth)
        if peak >= enough:
            break
        total += outcome
        squares += (outcome - total / (n + 1)) ** 2
    return peak
