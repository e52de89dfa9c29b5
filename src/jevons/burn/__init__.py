"""What a call burns in the world: operations, bytes, joules, heat, water, carbon; each figure with its band."""

from jevons.burn.band import Band
from jevons.burn.estimate import Burn, estimate, measured
from jevons.burn.total import Total, grouped, saved, total

__all__ = ["Band", "Burn", "Total", "estimate", "grouped", "measured", "saved", "total"]
