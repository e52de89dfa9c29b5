"""Running first and second moments of pairs (x, y): all that the sequences in this room remember of a stream.

What it decides: nothing; it sums. What it must not know: what x and y are. Every function here is plain arithmetic, so
fields may as well be arrays of one shape: a benchmark asks about all looks of a path at once with these same lines.
"""

import msgspec


class Moments(msgspec.Struct, frozen=True, gc=False):
    """Count, means, and sums of squared and crossed deviations of (x, y)."""

    n: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0


def add(moments: Moments, x: float, y: float) -> Moments:
    """One more pair (Welford's update: no cancellation, whatever the scale)."""
    n = moments.n + 1
    dx, dy = x - moments.x, y - moments.y
    mean_x, mean_y = moments.x + dx / n, moments.y + dy / n
    after = y - mean_y
    return Moments(
        n=n,
        x=mean_x,
        y=mean_y,
        xx=moments.xx + dx * (x - mean_x),
        yy=moments.yy + dy * after,
        xy=moments.xy + dx * after,
    )


def join(a: Moments, b: Moments) -> Moments:
    """The moments of two streams put together (Chan, Golub and LeVeque 1983). One of them must hold something."""
    n = a.n + b.n
    dx, dy, weight = b.x - a.x, b.y - a.y, a.n * b.n / n
    return Moments(
        n=n,
        x=a.x + dx * b.n / n,
        y=a.y + dy * b.n / n,
        xx=a.xx + b.xx + dx * dx * weight,
        yy=a.yy + b.yy + dy * dy * weight,
        xy=a.xy + b.xy + dx * dy * weight,
    )
