"""A figure with its band: what every number of this room is. No figure leaves it bare.

What lives here: the arithmetic of (low, mid, high). Bands add and multiply end to end, as if every part were wrong
in the same direction: wider than independent errors would be, and never too narrow because of a hidden correlation.
"""

import math

import msgspec

from jevons.core.errors import CallerError


class Band(msgspec.Struct, frozen=True, gc=False):
    """A non-negative quantity: `low <= mid <= high`, in the unit that its field names."""

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.mid <= self.high < math.inf:
            raise CallerError(f"a band must be finite and ordered, 0 <= low <= mid <= high; got {self}")

    def __add__(self, other: "Band") -> "Band":
        return Band(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __mul__(self, other: "Band | float") -> "Band":
        if isinstance(other, Band):
            return Band(self.low * other.low, self.mid * other.mid, self.high * other.high)
        return Band(self.low * other, self.mid * other, self.high * other)

    def widened(self, factor: float) -> "Band":
        """The same middle, with both ends moved away by a factor of at least 1."""
        return Band(self.low / factor, self.mid, self.high * factor)

    def show(self, unit: str) -> str:
        """`3.1 kWh (1.9 to 5.2)`: three significant digits, the band always beside the middle."""
        return f"{self.mid:.3g} {unit} ({self.low:.3g} to {self.high:.3g})"


NONE = Band(0.0, 0.0, 0.0)


def exactly(value: float) -> Band:
    """A figure without uncertainty, for counts."""
    return Band(value, value, value)


def span(values: tuple[float, float, float] | list[float]) -> Band:
    """Three corners in any order; the middle one stays the middle as long as it lies between the others."""
    ordered = sorted(values)
    return Band(ordered[0], ordered[1], ordered[2])
