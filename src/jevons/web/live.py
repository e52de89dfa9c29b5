"""One fragment of live figures for all who watch, as server-sent events.

What lives here: how often it is made (only while somebody watches, once for all of them) and what is sent. What it
must not know: what is in it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

EVERY_S = 2.0
QUIET_S = 15.0
"""Without news a comment is sent after so long, so that nobody on the way takes the stream for dead."""
LONGEST_S = 1800.0
"""A stream ends then; the browser opens another."""


class Live:
    """`make` gives the fragment. See the module's first lines."""

    def __init__(self, make: Callable[[], Awaitable[str]]):
        self._make = make
        self._watchers = 0
        self._text = ""
        self._changed = asyncio.Condition()
        self._maker: asyncio.Task[None] | None = None

    async def events(self, allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """The stream of one viewer. It ends when `allowed` says no, asked at every pause and every tenth event."""
        self._watchers += 1
        if self._maker is None or self._maker.done():
            self._maker = asyncio.create_task(self._keep_making())
        loop = asyncio.get_running_loop()
        until, seen, sent = loop.time() + LONGEST_S, "", 0
        try:
            yield "retry: 3000\n\n"
            while loop.time() < until:
                fresh = await self._next(seen)
                sent += 1
                if (not fresh or sent % 10 == 0) and not await allowed():
                    return
                if fresh:
                    seen = fresh
                    yield event(fresh)
                else:
                    yield ": still here\n\n"
        finally:
            self._watchers -= 1

    async def _next(self, seen: str) -> str:
        """The fragment once it differs from what was seen; '' after QUIET_S without one."""
        try:
            async with asyncio.timeout(QUIET_S), self._changed:
                await self._changed.wait_for(lambda: bool(self._text) and self._text != seen)
                return self._text
        except TimeoutError:
            return ""

    async def _keep_making(self) -> None:
        while self._watchers:
            text = await self._make()
            if text != self._text:
                async with self._changed:
                    self._text = text
                    self._changed.notify_all()
            await asyncio.sleep(EVERY_S)
        self._text = ""


def event(text: str) -> str:
    """One message: each line of it a `data` line."""
    return "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
