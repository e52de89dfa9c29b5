"""Is a task running away? Told from what it spent when, against what tasks of its place usually cost.

What it decides: the speed at which a task burns money, and when that is a runaway. What it must not know: where costs
are kept. Loops (the same tool call again) are noticed while calls come in (ledger/stitch.py).
"""

from collections.abc import Sequence

WINDOW_S = 600.0
"""The speed is taken over the last ten minutes of a task's calls: long enough that one large call is no speed."""
FASTER, DEARER = 5.0, 10.0
"""A runaway spends in one window five times the usual cost of a whole task, or has cost ten times as much."""
LEAST_NANO = 1_000_000_000
"""A dollar: below it nothing is called a runaway."""


def velocity_nano_per_min(spent: Sequence[tuple[float, int]]) -> int:
    """Nano-dollars a minute over the last window of (Unix seconds, nano-dollars) in any order; 0 without any."""
    if not spent:
        return 0
    last = max(at for at, _ in spent)
    return int(sum(nano for at, nano in spent if at > last - WINDOW_S) * 60 / WINDOW_S)


def runaway(spent: Sequence[tuple[float, int]], usual_nano: int) -> bool:
    """`usual_nano`: what a task of this kind costs at the median; 0 when nothing is known, and then none is flagged."""
    total = sum(nano for _, nano in spent)
    if usual_nano <= 0 or total < LEAST_NANO:
        return False
    window = velocity_nano_per_min(spent) * WINDOW_S / 60
    return window > FASTER * usual_nano or total > DEARER * usual_nano
