"""Asks another model beside a call, off the caller's path: a bounded queue, a cap in dollars a day, each one booked.

What it decides: which shadows are run at all, and what one cost. A shadow touches no cache of ours, and none is run for
a held-out task, whose bill is what the others are measured against. One that finds the queue full or its plan's day
spent is dropped and counted; the pair is then missing, and nothing else. What it must not know: why it is asked, what
its answer proves.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from jevons.core.ask import Send, Sent, Shadow
from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError
from jevons.gateway.drive import Drive, World
from jevons.governor.choose import HOLD_OUT
from jevons.ledger.operation import Attempt, Operation
from jevons.levers.lever import Effect, View
from jevons.pipeline.baseline import TermsOf
from jevons.pipeline.course import Course, Price
from jevons.pipeline.shape import Shaped, shape
from jevons.wire.splice import splice_field

log = logging.getLogger("jevons.shadows")

AT_ONCE = 4
"""Shadows in flight: evidence is not urgent, and a provider's rate limits are the callers'."""
MOST_WAITING = 64
"""Shadows that wait, each with its call's body: 2 MiB at 32 KiB a body."""
LONGEST_S = 180.0
DAY_S = 86_400
COUNTED = ("asked", "full", "capped", "held_out", "done", "failed")
DRAIN_S = 2.0
"""How long those in flight may take to end when the gateway stops."""
ONCE = frozenset({"idempotency-key", "x-session-id"})
"""Headers that name the caller's own request: under them a provider may give the same answer again, or refuse."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a shadow. `sent` is whole, in the dialect `source`; `attempt` is what it burned."""

    ask: Shadow
    call: Call
    operation: Operation
    sent: Sent
    source: str
    attempt: Attempt


class Shadows:
    """See the module's first lines. `cap_nano(plan)`: its dollars a day; `spent_nano(plan, day)`: what the ledger
    says of a day that this process did not see from its beginning; `finished` runs in a thread, also where the answer
    is an error."""

    def __init__(
        self,
        world: World,
        *,
        price: Price,
        terms: TermsOf,
        clock: Callable[[], float],
        cap_nano: Callable[[str], int],
        spent_nano: Callable[[str, int], int],
        finished: Callable[[Done], None],
    ):
        self.counts: Counter[str] = Counter()
        """How many shadows came to what."""
        self._world = world
        self._price, self._terms, self._clock = price, terms, clock
        self._cap_nano, self._spent_nano, self._finished = cap_nano, spent_nano, finished
        self._waiting: deque[tuple[Shadow, Call, Operation]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._spent: dict[tuple[str, int], int] = {}
        self._stopping = False

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._running)

    def put(self, ask: Shadow, call: Call, operation: Operation | None) -> None:
        """Take a shadow of a booked call, or drop it. Returns at once."""
        self.counts["asked"] += 1
        if operation is None or self._stopping:
            return
        if operation.arm == HOLD_OUT:
            self.counts["held_out"] += 1
        elif len(self._waiting) >= MOST_WAITING:
            self.counts["full"] += 1
        else:
            self._waiting.append((ask, call, operation))
            if len(self._running) < AT_ONCE:
                task = asyncio.get_running_loop().create_task(self._work())
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Let those in flight end, for a moment; forget those that wait."""
        self._stopping = True
        self._waiting.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            ask, call, operation = self._waiting.popleft()
            try:
                await self._one(ask, call, operation)
            except Exception:  # one shadow's fault must not end the others, and no caller waits for it
                self.counts["failed"] += 1
                log.exception("a shadow of %s failed inside the gateway", operation.operation)

    async def _one(self, ask: Shadow, call: Call, operation: Operation) -> None:
        now = self._clock()
        day = (operation.plan, int(now) // DAY_S * DAY_S)
        if day not in self._spent:
            spent = await asyncio.to_thread(self._spent_nano, *day)
            self._spent = {known: nano for known, nano in self._spent.items() if known[1] == day[1]}
            self._spent.setdefault(day, spent)
        if self._spent[day] >= self._cap_nano(operation.plan):
            self.counts["capped"] += 1
            return
        beside = _beside(ask, call)
        try:
            shaped = shape(beside, Effect(), ask.route)
        except CallerError:
            self.counts["failed"] += 1
            return
        sent = await self._burn(ask, beside, shaped)
        attempt = self._priced(sent, beside, ask.role, now)
        self._spent[day] = self._spent.get(day, 0) + (attempt.cost_nano or 0)
        self.counts["failed" if sent.error or sent.status >= 400 else "done"] += 1
        done = Done(ask=ask, call=call, operation=operation, sent=sent, source=shaped.dialect, attempt=attempt)
        await asyncio.to_thread(self._finished, done)

    async def _burn(self, ask: Shadow, call: Call, shaped: Shaped) -> Sent:
        drive = Drive(call, self._world, _unsent, _silence)
        send = Send(
            route=ask.route,
            surface=shaped.dialect,
            body=shaped.body,
            stream=call.peek.stream,
            hold=True,
            role=ask.role,
        )
        began = time.monotonic()
        try:
            async with asyncio.timeout(LONGEST_S):
                return await drive.burn(send)
        except TimeoutError:
            return Sent(route=ask.route, status=0, error="timeout", duration_s=time.monotonic() - began)

    def _priced(self, sent: Sent, call: Call, role: str, began: float) -> Attempt:
        course = Course(call, View(now=began, allowed={}), self._price, self._terms)
        course.record(sent, role)
        return msgspec.structs.replace(course.attempts[0], started=began)


def _beside(ask: Shadow, call: Call) -> Call:
    """The call as it is asked beside itself: with nothing that names the caller's own request, and kept nowhere."""
    body = ask.body
    if call.surface is Surface.RESPONSES:
        body = splice_field(body, "store", b"false")
    peek = call.peek if body is call.body else msgspec.structs.replace(call.peek, model_span=(0, 0), store=False)
    headers = {name: value for name, value in call.headers.items() if name not in ONCE}
    return msgspec.structs.replace(call, body=body, peek=peek, headers=headers)


async def _unsent(_message: MutableMapping[str, Any]) -> None:
    """Nothing of a shadow reaches a caller."""


async def _silence() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}
