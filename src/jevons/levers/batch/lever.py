"""The lever that defers: offers batch, flex or an off-peak window to a call that says how long it may wait.

What it decides: whether a call may wait, and until when. The price of it is decide.py's and the governor's. What it
must not know: queues, providers' batch endpoints.
"""

import re
from collections.abc import Callable, Generator, Sequence

from jevons.core.ask import Answer, Ask
from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError
from jevons.core.route import Route
from jevons.levers.batch.decide import Channel, Waiting, decide
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.prices.prefix import Rates

DEADLINE = "x-jevons-deadline"
"""Request header: how long the answer may take, `90s`, `30m`, `2h`, `1d`."""

LONGEST_S = 7 * 86_400.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


class Deferral:
    """See the module's first lines. `channels(route, at)` are what the provider sells for later; `waiting(call, view,
    deadline)` puts the call in numbers."""

    name = "batch"
    risk = Risk.EXACT

    def __init__(
        self,
        rates: Callable[[Route, str, float], Rates | None],
        channels: Callable[[Route, float], Sequence[Channel]],
        waiting: Callable[[Call, View, float], Waiting],
    ):
        self._rates, self._channels, self._waiting = rates, channels, waiting

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        yield from ()
        wish = call.headers.get(DEADLINE, "")
        if not wish or not view.routes or call.surface in {Surface.COUNT_TOKENS, Surface.RAW}:
            return ()
        route = view.routes[0]
        now = self._rates(route, "", view.now)
        if now is None:
            return ()
        waiting = self._waiting(call, view, call.at + seconds(wish))
        plan = decide(waiting, now, self._channels(route, view.now))
        if plan.channel is None:
            return ()
        channel = plan.channel
        effect = Effect(tier=channel.name, defer_until=plan.late_at)
        why = f"{channel.name} surely saves {plan.saves_pico // 1000} nano-dollars; sent by then if nothing came back"
        delay = plan.send_at - call.at + channel.wait_s
        return (Offer(lever=self.name, risk=self.risk, effect=effect, delay_s=delay, why=why),)

    def learn(self, outcome: Outcome) -> Sequence[Ask]:  # noqa: ARG002 - a channel's waits are the queue's to observe
        return ()


def seconds(text: str) -> float:
    """A duration like `2h` or `1h30m`. Raises CallerError on anything else, and beyond a week."""
    parts = _DURATION.findall(text)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not parts or "".join(number + unit for number, unit in parts) != text or not 0 < total <= LONGEST_S:
        raise CallerError(f"{DEADLINE}: {text!r} is not a duration such as 90s, 30m, 2h or 1d (at most 7d)")
    return total
