"""Has something that was fine become worse? An e-detector over bounded outcomes, valid at every look.

What it decides: whether the mean has fallen below a floor at some unknown time. At each outcome a new test starts, and
the alarm looks at the sum of all their wealths (Shiryaev-Roberts form; Shin, Ramdas and Rinaldo, "E-detectors", 2023).
While the mean stays at or above the floor, the expected number of outcomes before an alarm is at least `patience`.
What it must not know: what the outcomes mean, or what is done about an alarm.

Against ADWIN (adaptive windows, Bifet and Gavalda 2007) on 400 streams of real agent outcomes that fall by 10 points
after 600 pairs, at about 5% false alarms in 3,000 pairs: found within 400 pairs in 79% (median 260) against 67% (252).
"""

import msgspec

from jevons.judge.betting import SHARES


class Watch(msgspec.Struct, frozen=True, gc=False):
    """The state of one detector for outcomes that are never above `high`."""

    floor: float
    high: float
    patience: float
    sums: tuple[float, ...] = (0.0,) * len(SHARES)
    """For each constant bet, the sum over starting times of the wealth since then."""
    n: int = 0

    @property
    def alarmed(self) -> bool:
        return sum(self.sums) >= self.patience * len(SHARES)


def watch(floor: float, high: float, patience: float) -> Watch:
    """A detector of "the mean is below `floor`". `patience` is the least mean number of outcomes to a false alarm."""
    if not floor < high:
        raise ValueError(f"the floor {floor} must lie below the highest outcome {high}")
    return Watch(floor=floor, high=high, patience=patience)


def see(state: Watch, outcome: float) -> Watch:
    """The detector after one more outcome. An alarm stays: the sums are kept at the bound that raised it."""
    if outcome > state.high:
        raise ValueError(f"outcome {outcome} lies above the bound {state.high}")
    if state.alarmed:
        return state
    gain = (state.floor - outcome) / (state.high - state.floor)
    sums = tuple((total + 1.0) * (1.0 + share * gain) for total, share in zip(state.sums, SHARES, strict=True))
    return Watch(floor=state.floor, high=state.high, patience=state.patience, sums=sums, n=state.n + 1)
