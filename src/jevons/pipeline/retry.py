"""Which route next, and when: the pure half of retries, fallback chains and weighted balance.

What lives here: the order of attempts. What it must not know: sockets, clocks, breakers (the driver says `open`).
"""

from collections.abc import Iterator, Sequence

import msgspec

from jevons.core.ask import Sent
from jevons.core.route import Route

RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""An answer that says: not now. 409 and 425 are what OpenAI's own SDK retries; 529 is Anthropic's overload."""
LONGEST_RETRY_AFTER_S = 8.0
"""A provider that asks for more patience than this gets none: the caller is told, with the provider's own words."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    attempts: int = 3
    base_s: float = 0.25
    cap_s: float = 8.0


def order(routes: Sequence[Route], dice: float) -> list[Route]:
    """Routes as they are tried: by `order`, and within one order one drawn by weight first. `dice` is in [0, 1)."""
    if len(routes) == 1:
        return list(routes)
    chosen: list[Route] = []
    for level in sorted({route.order for route in routes}):
        group = [route for route in routes if route.order == level]
        point, first = dice * sum(route.weight for route in group), group[-1]
        for route in group:
            point -= route.weight
            if point < 0:
                first = route
                break
        chosen.append(first)
        chosen.extend(route for route in group if route is not first)
    return chosen


def may_retry(sent: Sent, *, elsewhere: bool) -> bool:
    """Whether this outcome is worth another attempt. Never for a stream that began: its bytes are the caller's.

    A time-out or rubbish may have been billed already: it is tried again only elsewhere.
    """
    if sent.handle is not None:
        return False
    if sent.error in {"connect", "reset", "open"}:
        return True
    if sent.error:
        return elsewhere
    return sent.status in RETRYABLE_STATUS


def delays(policy: RetryPolicy, dice: Iterator[float]) -> Iterator[float]:
    """Full-jitter exponential back-off, in seconds (AWS Architecture Blog, "Exponential backoff and jitter", 2015)."""
    step = policy.base_s
    while True:
        yield step * next(dice)
        step = min(step * 2, policy.cap_s)
