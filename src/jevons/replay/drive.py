"""Drives the pure pipeline over recorded calls: the same lines as live, answered from values, with a clock of its own.

What lives here: the sync answers to asks. A `burn` function stands for every upstream: recorded answers, or a model of
a provider. What it must not know: any lever, where recordings come from.
"""

from collections.abc import Callable, Generator
from typing import Any

from jevons.core.ask import (
    Answer,
    Ask,
    Book,
    Change,
    Defer,
    Embed,
    Find,
    Keep,
    Pause,
    Relay,
    Relayed,
    Reserve,
    Send,
    Sent,
    Settle,
    Shadow,
    Stored,
)
from jevons.core.errors import JevonsError, OurError
from jevons.plans.budget import Granted

MAX_ASKS = 10_000
"""Of one call: a pipeline that asks more goes round in circles."""


class Driver:
    """Replays calls one after another. What a live store would keep between them is kept here, in plain dicts:
    `operations` are what was booked, `memory` what levers learned, `answers` what caches hold."""

    def __init__(self, burn: Callable[[Send], Sent], at: float = 0.0):
        self.at = at
        """The clock: Unix seconds. The caller moves it between calls; sends and pauses move it within one."""
        self.operations: list[Any] = []
        self.relayed: list[Relay] = []
        self.shadows: list[Shadow] = []
        self.memory: dict[tuple[str, str, str], Any] = {}
        self.answers: dict[tuple[str, str, bytes], Stored] = {}
        self._burn = burn

    def clock(self) -> float:
        return self.at

    def run(self, pipeline: Generator[Ask, Answer, None], tenant: str = "") -> None:
        """One call to its end. `tenant` is whose memory its changes are. Raises OurError when it never ends."""
        try:
            ask = next(pipeline)
            for _ in range(MAX_ASKS):
                try:
                    answer = self._answer(ask, tenant)
                except JevonsError as error:
                    ask = pipeline.throw(error)
                    continue
                ask = pipeline.send(answer)
        except StopIteration:
            return
        raise OurError(f"a call asked {MAX_ASKS} times and did not end")

    def _answer(self, ask: Ask, tenant: str) -> Answer:
        match ask:
            case Send():
                sent = self._burn(ask)
                self.at += sent.duration_s
                return sent
            case Defer():
                self.at = max(self.at, ask.until)
                surface, body = ask.call.surface.value, ask.call.body
                return self._burn(Send(route=ask.route, surface=surface, body=body, stream=False, tier=ask.channel))
            case Relay():
                self.relayed.append(ask)
                return Relayed(usage=ask.sent.usage if ask.sent else None)
            case Book():
                self.operations.append(ask.operation)
            case Change():
                self.memory[ask.store, tenant, ask.key] = ask.value
            case Find():
                return self.answers.get((ask.store, ask.tenant, ask.key))
            case Keep():
                if ask.stored is not None:
                    self.answers[ask.store, ask.tenant, ask.key] = ask.stored
            case Reserve():
                return Granted()
            case Pause():
                self.at += ask.seconds
            case Shadow():
                self.shadows.append(ask)
            case Embed() | Settle():
                return None
        return None
