"""What cheaper tokens do to the bill: its factors, the split of a change, demand's answer, and forecasts with bands."""

from jevons.rebound.divisia import Split, say, split, waterfall
from jevons.rebound.elasticity import Elasticity, break_even, judge, refusal
from jevons.rebound.factors import Period, factors, summed

__all__ = [
    "Elasticity",
    "Period",
    "Split",
    "break_even",
    "factors",
    "judge",
    "refusal",
    "say",
    "split",
    "summed",
    "waterfall",
]
