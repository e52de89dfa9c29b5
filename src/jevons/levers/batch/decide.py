"""Now or later: whether a call that may wait is cheaper by batch, flex or an off-peak window, its lost prefix counted.

What it decides: one call's channel, when it is sent, and when waiting ends and it is sent the ordinary way. What it
must not know: how a channel works, what else is waiting, any clock.

Why it so often says no. A batch halves every rate, but one that loses the prefix pays half for all of the prompt where
a cached read pays a tenth, and leaves nothing behind for the next call. So it pays for calls that stand alone, or whose
output outweighs their prompt; on recorded agent sessions as a whole it costs 2.4 times as much. And because a batch may
never come back, a call is deferred only when sending it late is no dearer than sending it now: when nothing is held.
"""

from collections.abc import Sequence

import msgspec

from jevons.prices.prefix import Rates

MILLION = 1_000_000

LATE_FACTOR = 7.0
"""A call that is sent the ordinary way after waiting gets this many times its usual duration before its deadline: 99 of
100 recorded calls took less than 6.8 times the mean of their model."""

LEAST_SYNC_S = 30.0
"""And at least this long."""


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A way to be answered later."""

    name: str
    """batch | flex | off-peak"""
    rates: Rates
    opens: float = 0.0
    """Unix seconds from which on it takes calls (off-peak); 0: always."""
    wait_s: float = 0.0
    """How long an answer usually takes once sent: its 90th percentile as observed. Who waits with a held prefix must
    have that long before it dies; who holds nothing loses nothing by trying."""
    keeps_prefix: bool = False
    """It reads and writes the same prompt cache as ordinary calls."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A call that may wait, in numbers. Tokens; seconds; Unix seconds."""

    at: float
    deadline: float
    prompt: int
    held: int = 0
    """Tokens of the prompt that the provider holds now."""
    held_until: float = 0.0
    """When it lets them go unless they are used."""
    output: int = 0
    """Output that is sure enough to count on: the least that the session has shown."""
    lasts_s: float = 10.0
    """How long such a call usually takes when sent now."""
    survives: int = MILLION
    """Chance, in millionths, that a next call would find this prompt cached if it is sent now. A chain that goes on is
    taken to go on at once; 0 only for a call that is known to stand alone."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a call. `channel` None: send it now."""

    channel: Channel | None = None
    send_at: float = 0.0
    late_at: float = 0.0
    """If nothing has come back by then, take it back and send it the ordinary way."""
    saves_pico: int = 0


def decide(call: Waiting, now_rates: Rates, channels: Sequence[Channel]) -> Plan:
    """The channel that saves most, or now when none surely saves or the deadline is too near.

    A call whose prefix is held waits no longer than that lives: taken back, it costs what it would have cost at once.
    """
    margin = max(LEAST_SYNC_S, LATE_FACTOR * call.lasts_s)
    best = Plan()
    for channel in channels:
        send_at, late_at = max(call.at, channel.opens), call.deadline - margin
        if call.held:
            late_at = min(late_at, call.held_until - 1.0)
        if send_at + (channel.wait_s if call.held else 0.0) >= late_at:
            continue
        saves = saving(call, now_rates, channel)
        if saves > best.saves_pico:
            best = Plan(channel=channel, send_at=send_at, late_at=late_at, saves_pico=saves)
    return best


def saving(call: Waiting, now: Rates, channel: Channel) -> int:
    """Pico-dollars that a channel surely saves on a call and what follows from it; 0 or less: it is not worth it."""
    later = channel.rates
    write = now.cache_write_5m if call.survives else min(now.input, now.cache_write_5m)
    fresh = call.prompt - call.held
    at_once = call.held * now.cached + fresh * write + call.output * now.output
    if channel.keeps_prefix:
        return at_once - call.held * later.cached - fresh * later.cache_write_5m - call.output * later.output
    if call.held:
        return 0  # should the answer not come, the prefix is gone and the call is dearer than it was
    again = call.prompt * (now.cache_write_5m - now.cached) * call.survives // MILLION
    return at_once - call.prompt * later.input - call.output * later.output - again
