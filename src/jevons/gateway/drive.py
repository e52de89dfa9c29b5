"""Drives the pure pipeline with real things: each ask is answered by a socket, a store or a clock.

What lives here: the order of waiting, cancelling and sending for one call. What it must not know: what any lever does,
what a body means, what a token costs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import msgspec

from jevons.core.ask import (
    Answer,
    Ask,
    Book,
    Change,
    Defer,
    Embed,
    Find,
    Gone,
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
from jevons.core.call import Call, Surface
from jevons.core.errors import JevonsError, OurError, UpstreamError
from jevons.core.route import Route
from jevons.engines.http import Exchange, ExchangeFailed, Limits
from jevons.engines.upstream import Breaker, Upstream
from jevons.gateway.asgi import ASGIReceive, ASGISend
from jevons.gateway.held import whole
from jevons.gateway.passthrough import Tap
from jevons.gateway.pump import Pump
from jevons.gateway.state import Recorder
from jevons.gateway.worker import WorkerPart
from jevons.levers.cache.semantic.lever import STORE as SEMANTIC
from jevons.plans.budget import Denied, Granted
from jevons.store.answers import Answers
from jevons.store.counters import Counters
from jevons.store.memory import Memory
from jevons.store.shared import SharedAnswers
from jevons.store.valkey import SharedCounters
from jevons.wire.facts import Facts, facts

LEASE_S = 120.0
"""How long a reservation outlives its last sign of life; a running call renews it."""

NO_FACTS = Facts()

Pipeline = Generator[Ask, Answer, None]


class World(msgspec.Struct):
    """All that a driver reaches outside itself. `book` answers what to wait for when it must be durable, else None."""

    upstreams: dict[str, Upstream]
    answers: Answers | SharedAnswers
    counters: Counters | SharedCounters
    memory: Memory
    limits: Limits
    book: Callable[[Any], Awaitable[None] | None]
    collect_bytes: int = 1024 * 1024
    shadow: Callable[[Shadow, Call, Any], None] | None = None
    """Takes what is asked beside a call, with the operation as it was booked; None: nobody does."""
    worker: WorkerPart | None = None
    """Who looks questions up that were asked in other words."""


class Drive:
    """One call being driven. `gone` is set by whoever notices that the caller left, and cancels the task."""

    __slots__ = (
        "_booked",
        "_pump",
        "_receive",
        "_recorder",
        "_route",
        "_send",
        "_started",
        "_task",
        "_world",
        "answered",
        "begun",
        "call",
        "gone",
        "provider_key",
        "renewed",
        "watched",
    )

    def __init__(
        self,
        call: Call,
        world: World,
        send: ASGISend,
        receive: ASGIReceive,
        *,
        provider_key: str = "",
        recorder: Recorder | None = None,
    ):
        self.call = call
        self.gone = False
        self.watched = False
        self.answered = False
        self.begun = self.renewed = time.monotonic()
        self.provider_key = provider_key
        self._task: asyncio.Task[Any] | None = None
        self._receive = receive
        self._world = world
        self._send = send
        self._started = False
        self._pump: Pump | Tap | None = None
        self._booked: Any = None
        self._recorder = recorder
        self._route: Route | None = None

    async def watch(self) -> None:
        """Wait for the caller's leaving: stop waiting for upstreams, and let the pipeline book what was burned."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None and not self._task.done():
            self.gone = True
            self._task.cancel()

    async def run(self, pipeline: Pipeline) -> None:
        """Answer asks until the pipeline ends, then end the response. What was burned is booked whatever happens."""
        self._task = asyncio.current_task()
        try:
            ask = next(pipeline)
            while True:
                try:
                    answer = await self._answer(ask)
                except asyncio.CancelledError:
                    ask = pipeline.throw(Gone(self._so_far()))
                    await self._after_leaving(pipeline, ask)
                    if not self.gone:
                        raise
                    return
                except JevonsError as error:
                    ask = pipeline.throw(error)
                    continue
                ask = pipeline.send(answer)
        except StopIteration:
            self._task = None
            if self._started:
                await self._send({"type": "http.response.body", "body": b""})

    async def _after_leaving(self, pipeline: Pipeline, ask: Ask) -> None:
        """Only booking and letting go is left: nothing here waits for the network, so nothing here is cancelled."""
        if self._task is not None:
            self._task.uncancel()
        try:
            while True:
                ask = pipeline.send(await asyncio.shield(self._answer_ours(ask)))
        except StopIteration:
            return

    async def _answer_ours(self, ask: Ask) -> Answer:
        return await self._answer(ask) if isinstance(ask, Book | Settle | Keep | Change) else None

    async def _answer(self, ask: Ask) -> Answer:
        if isinstance(ask, Send):
            return await self.burn(ask)
        if isinstance(ask, Relay):
            return await (self._whole(ask) if ask.sent is None else self._stream(ask, ask.sent))
        if isinstance(ask, Book):
            self._booked = ask.operation
            waiting = self._world.book(ask.operation)
            return None if waiting is None else await waiting
        if isinstance(ask, Reserve):
            found = self._world.counters.reserve(ask.operation, ask.claims, time.time() + LEASE_S)
            return found if isinstance(found, Granted | Denied) else await found
        if isinstance(ask, Settle):
            return self._world.counters.settle(ask.operation, ask.took)
        if isinstance(ask, Find | Keep):
            return await self._remembered(ask)
        if isinstance(ask, Pause):
            return await asyncio.sleep(ask.seconds)
        if isinstance(ask, Change):
            return self._world.memory.put(ask.store, self.call.caller.tenant, ask.key, ask.value)
        if isinstance(ask, Shadow):
            if self._world.shadow is None or self.provider_key:  # what a caller pays for itself goes nowhere else
                return None
            return self._world.shadow(ask, self.call, self._booked)
        if isinstance(ask, Embed | Defer):
            return None
        raise OurError(f"no one answers {type(ask).__name__}")

    async def _remembered(self, ask: Find | Keep) -> Stored | None:
        answers, worker = self._world.answers, self._world.worker
        if ask.store != SEMANTIC:
            if isinstance(ask, Find):
                return await answers.find(ask.tenant, ask.key, time.time(), wait=ask.wait)
            answers.keep(ask.tenant, ask.key, ask.stored, time.time())
        elif worker is not None:
            if isinstance(ask, Find):
                return await worker.find(ask.key)
            worker.keep(ask.key, ask.stored)
        return None

    # --- upstream

    async def burn(self, ask: Send) -> Sent:
        """One attempt at one upstream, with its breaker. A stream comes back as a handle, unless it is to be held."""
        route, began = ask.route, time.monotonic()
        self._route = route
        upstream = self._world.upstreams[route.provider.name]
        breaker = upstream.breaker(route.upstream_model)
        if not breaker.admits(began):
            return Sent(route=route, status=0, error="open", retry_after_s=max(0.0, breaker.open_until - began))
        try:
            exchange = await self._ask(upstream, ask)
            if ask.hold and _flows(ask, exchange):
                sent = await whole(exchange, ask.surface, route, self._world.collect_bytes)
                (breaker.failed(time.monotonic()) if sent.error else breaker.succeeded())
                return msgspec.structs.replace(sent, duration_s=time.monotonic() - began)
            if _flows(ask, exchange):
                (breaker.failed(time.monotonic()) if exchange.status >= 500 else breaker.succeeded())
                return Sent(
                    route=route,
                    status=exchange.status,
                    content_type=exchange.header(b"content-type").decode("latin-1") or "application/octet-stream",
                    headers=_headers(exchange),
                    handle=exchange,
                    duration_s=time.monotonic() - began,
                )
            body = await exchange.whole()
        except ExchangeFailed as failure:
            breaker.failed(time.monotonic())
            return Sent(route=route, status=0, error=failure.kind, duration_s=time.monotonic() - began)
        except BaseException:
            breaker.forgot()
            raise
        return self._judge(ask, exchange, body, breaker, time.monotonic() - began)

    async def _ask(self, upstream: Upstream, ask: Send) -> Exchange:
        call, limits, key = self.call, self._world.limits, self.provider_key
        if ask.surface == Surface.RAW:
            return await upstream.raw(
                "GET" if call.method == "HEAD" else call.method,
                call.path,
                ask.body,
                limits,
                headers=call.headers,
                stream=True,
                key=key,
            )
        return await upstream.send(ask.surface, ask.body, limits, stream=ask.stream, headers=call.headers, key=key)

    def _judge(self, ask: Send, exchange: Exchange, body: bytes, breaker: Breaker, seconds: float) -> Sent:
        """A whole answer: is it one, what did it burn, and how is the route's health."""
        status, found = exchange.status, NO_FACTS
        if status < 300:
            found = facts(ask.surface, body)
        # A redirect is not followed: an upstream's address is the operator's to choose.
        rubbish = 300 <= status < 400 or (status < 300 and not found.ok)
        if status >= 500 or (rubbish and status < 300):
            breaker.failed(time.monotonic())
        else:
            breaker.succeeded()
        return Sent(
            route=ask.route,
            status=status,
            body=body,
            content_type=exchange.header(b"content-type").decode("latin-1") or "application/json",
            headers=_headers(exchange),
            usage=found.usage,
            tier=found.tier,
            cost_usd=found.cost_usd,
            error="rubbish" if rubbish else "",
            retry_after_s=_retry_after(exchange),
            duration_s=seconds,
        )

    # --- caller

    async def _start(
        self, status: int, content_type: str, headers: tuple[tuple[str, str], ...], length: int | None
    ) -> None:
        self._started = self.answered = True
        out = [(b"content-type", content_type.encode("latin-1"))]
        if length is not None:
            out.append((b"content-length", b"%d" % length))
        out.extend((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers)
        await self._send({"type": "http.response.start", "status": status, "headers": out})

    async def _whole(self, ask: Relay) -> Relayed:
        if self._recorder is not None and self._route is not None and ask.status < 300:
            await self._recorder.whole(self._route, ask.body)
        await self._start(ask.status, ask.content_type, ask.headers, len(ask.body))
        self._started = False  # the response ends here, not with the pipeline
        await self._send({"type": "http.response.body", "body": ask.body})
        return Relayed()

    async def _stream(self, ask: Relay, sent: Sent) -> Relayed:
        exchange: Exchange = sent.handle
        self._pump = pump = self._follow(ask, sent)
        error, began = "", time.monotonic()
        recorder = self._recorder
        if recorder is not None:
            recorder.begin(sent.route)
        try:
            await self._start(ask.status, ask.content_type, ask.headers, None)
            async for piece in exchange.pieces():
                if pump.first_byte_s is None:
                    pump.first_byte_s = sent.duration_s + time.monotonic() - began
                out = pump.feed(piece)
                if out:
                    if recorder is not None:
                        await recorder.piece(out)
                    await self._send({"type": "http.response.body", "body": out, "more_body": True})
        except (ExchangeFailed, UpstreamError) as failure:  # cut, silent, or one event beyond all bounds
            exchange.abort()
            error = failure.kind if isinstance(failure, ExchangeFailed) else "rubbish"
        except asyncio.CancelledError:
            exchange.abort()
            raise
        out, relayed = pump.finish(error, sent.duration_s + time.monotonic() - began)
        if out:
            if recorder is not None:
                await recorder.piece(out)
            await self._send({"type": "http.response.body", "body": out, "more_body": True})
        if error and ask.source == Surface.RAW:
            self._started = False  # the connection ends, as the upstream's did: a made-up end would look whole
        return relayed

    def _follow(self, ask: Relay, sent: Sent) -> Pump | Tap:
        if ask.source == Surface.RAW:
            return Tap(sent.route.provider.dialect, ask.content_type)
        return Pump(ask, self.call.surface.value, self._world.collect_bytes)

    def _so_far(self) -> Relayed:
        """What a caller who left has been given."""
        seconds = time.monotonic() - self.begun
        return (
            Relayed(error="cancelled", done=False) if self._pump is None else self._pump.relayed("cancelled", seconds)
        )


def _flows(ask: Send, exchange: Exchange) -> bool:
    """Whether the answer is passed on as it comes: a stream that was asked for, and whatever a raw path answers."""
    if ask.surface == Surface.RAW:
        return True
    return ask.stream and exchange.status < 300 and exchange.header(b"content-type").startswith(b"text/event-stream")


def _headers(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.headers)


def _retry_after(exchange: Exchange) -> float | None:
    """Seconds that the upstream asks for; a date or rubbish counts as not asked (RFC 9110, 10.2.3)."""
    value = exchange.header(b"retry-after")
    try:
        return min(max(0.0, float(value)), 86400.0) if value else None
    except ValueError:
        return None
