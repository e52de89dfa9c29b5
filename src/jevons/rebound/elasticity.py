"""What may be said about demand's answer to price: an estimate from a randomised arm, or a refusal with a range.

What lives here: the values and words of that answer, and the break-even elasticity, which needs no estimate at all.
It never estimates: the heavy statistics are in lab/. It must not turn an observed correlation into a point.
"""

import math

import msgspec

from jevons.core.errors import CallerError

ASSUMED_RANGE = (-2.0, 0.0)
ASSUMED_SOURCE = (
    "an assumption: from no answer to price to quantity rising twice as fast as price falls; the one study of "
    "demand for language models that we know (Demirer, Fradkin, Tadelis and Peng 2025) reports 1.1 in the short run"
)
MIN_CLUSTERS = 20
"""Randomised units per arm below which no point is given: with fewer, clustered intervals are known to be too short."""


class Elasticity(msgspec.Struct, frozen=True, kw_only=True):
    """d ln(quantity) / d ln(price). `point` is None where nothing was randomised: then the ends are a stated range."""

    point: float | None
    low: float
    high: float
    level: float
    method: str
    """ppml | iv | none"""
    source: str
    units: int = 0

    @property
    def measured(self) -> bool:
        return self.point is not None


class BreakEven(msgspec.Struct, frozen=True):
    """The elasticity at which a cheaper token stops saving, and a word on where the given range lies."""

    elasticity: float
    word: str


def refusal(why: str) -> Elasticity:
    """No randomised arm, no point: the stated range instead."""
    low, high = ASSUMED_RANGE
    return Elasticity(point=None, low=low, high=high, level=0.0, method="none", source=f"{why}; {ASSUMED_SOURCE}")


def break_even(price_ratio: float, own_share: float = 0.0) -> float:
    """The elasticity e* below which (more negative) a price cut raises the bill.

    With quantity proportional to price^e, the bill moves by price_ratio^(1 + e), and a lever that costs `own_share` of
    the old bill to run must bring the rest below 1 - own_share. So e* = ln(1 - own_share) / ln(price_ratio) - 1: minus
    one for a plain cut, nearer to zero for a lever that costs something.
    """
    if not 0.0 < price_ratio < 1.0:
        raise CallerError(f"a price cut has a ratio between 0 and 1, got {price_ratio}")
    if not 0.0 <= own_share < 1.0:
        raise CallerError(f"the lever's own cost must be a share of the old bill below 1, got {own_share}")
    return math.log(1.0 - own_share) / math.log(price_ratio) - 1.0


def judge(known: Elasticity, price_ratio: float, own_share: float = 0.0) -> BreakEven:
    """Does the cut save, at every elasticity that is still possible, at none, or is it not settled?"""
    limit = break_even(price_ratio, own_share)
    if known.low > limit:
        word = "saves over the whole interval" if known.measured else "saves over the whole assumed range"
    elif known.high < limit:
        word = "raises the bill over the whole interval" if known.measured else "raises the bill over the assumed range"
    else:
        word = "not settled: the break-even lies inside the " + ("interval" if known.measured else "assumed range")
    return BreakEven(limit, word)


def bill_ratio(elasticity: float, price_ratio: float) -> float:
    """The bill after a price change over the bill before, at a constant elasticity."""
    if price_ratio <= 0.0:
        raise CallerError(f"a price ratio must be positive, got {price_ratio}")
    return math.exp((1.0 + elasticity) * math.log(price_ratio))
