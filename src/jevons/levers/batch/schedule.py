"""What is packed together: calls that wait for the same channel, never two of one dependent chain.

What it decides: the batches that go now, and when to look again. What it must not know: who sends them.
"""

from collections.abc import Sequence

import msgspec

MAX_CALLS = 10_000
"""Calls in one batch. Providers take 50,000 to 100,000; a smaller batch fails in smaller pieces."""

GATHER_S = 60.0
"""A call waits at most this long for company: a batch costs nothing but a request, and hours are at stake."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was put on a channel."""

    operation: str
    tenant: str
    task: str
    """The chain that it belongs to: the next call of a chain needs the answer to this one."""
    channel: str
    model: str
    since: float
    send_at: float
    late_at: float


class Batch(msgspec.Struct, frozen=True):
    """Calls of one tenant for one channel and model; they go in this order."""

    channel: str
    model: str
    tenant: str
    operations: tuple[str, ...]


def pack(waiting: Sequence[Ready], at: float) -> tuple[list[Batch], float]:
    """(batches that go now, when the next ones may). A group goes when its oldest call has gathered long enough, when
    it is full, or when its most urgent call can wait no longer. Of two calls of one chain the earlier goes alone."""
    groups: dict[tuple[str, str, str], list[Ready]] = {}
    seen: set[tuple[str, str]] = set()
    again = float("inf")
    for call in sorted(waiting, key=lambda each: (each.since, each.operation)):
        chain = (call.tenant, call.task)
        if call.task and chain in seen:
            continue
        seen.add(chain)
        if call.send_at > at:
            again = min(again, call.send_at)
            continue
        groups.setdefault((call.channel, call.model, call.tenant), []).append(call)
    out: list[Batch] = []
    for (channel, model, tenant), calls in groups.items():
        due = min(max(calls[0].since, calls[0].send_at) + GATHER_S, *(call.late_at for call in calls))
        if due > at and len(calls) < MAX_CALLS:
            again = min(again, due)
            continue
        for start in range(0, len(calls), MAX_CALLS):
            names = tuple(call.operation for call in calls[start : start + MAX_CALLS])
            out.append(Batch(channel, model, tenant, names))
    return out, again


def late(waiting: Sequence[Ready], at: float) -> list[str]:
    """Operations whose time for waiting is over: they are sent the ordinary way now."""
    return [call.operation for call in waiting if call.late_at <= at]
