"""Puts the gateway together from settings, and runs what runs beside its calls.

What lives here: which parts there are, who is given which, and the order of starting and stopping. What it must not
know: how any part works.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from jevons.core.call import Call
from jevons.core.errors import OurError
from jevons.core.route import Route
from jevons.engines.catalogue import Catalogue, build
from jevons.engines.http import SWEEP_S, Limits
from jevons.engines.upstream import BreakerPolicy, Upstream
from jevons.gateway.app import Gateway
from jevons.gateway.arms import MEMORY, Arms, declared
from jevons.gateway.auth import Keys
from jevons.gateway.drive import World
from jevons.gateway.embedding import EmbedPart
from jevons.gateway.feedback import PATH as FEEDBACK
from jevons.gateway.feedback import FeedbackPage
from jevons.gateway.front import PATHS as FRONT
from jevons.gateway.front import Front
from jevons.gateway.governing import Tariffs, governing
from jevons.gateway.local import LocalPart
from jevons.gateway.metrics import Metrics
from jevons.gateway.pages import pages
from jevons.gateway.passthrough import covered
from jevons.gateway.routing import Routing
from jevons.gateway.shadows import COUNTED
from jevons.gateway.spans import exporter
from jevons.gateway.state import State
from jevons.gateway.stored import PATH as STORED
from jevons.gateway.stored import StoredPage
from jevons.gateway.worker import WorkerPart
from jevons.ledger.operation import Operation
from jevons.levers.cache.breakpoints import STORE as SESSIONS
from jevons.levers.cache.breakpoints import session_key
from jevons.levers.cache.exact import ExactCache
from jevons.levers.cache.semantic.lever import SemanticCache
from jevons.levers.lever import Risk, View
from jevons.pipeline.retry import RetryPolicy
from jevons.pipeline.run import House
from jevons.plans.plan import NO_PLAN, Customer, Plan
from jevons.prices.book import Book
from jevons.settings import Settings, shared_url
from jevons.store import experiments as experiment_rows
from jevons.store import keys as key_rows
from jevons.store import plans as plan_rows
from jevons.store import responses as response_rows
from jevons.store.answers import Answers
from jevons.store.memory import Memory, Shelf
from jevons.store.migrate import open_database
from jevons.store.retention import Keep, prune
from jevons.store.shared import share
from jevons.store.spent import spent_in_ledger
from jevons.store.writer import Writer

log = logging.getLogger("jevons.house")

UNREAD_S = 1.0
"""How long a ledger that did not answer is left alone, since asking holds up every call."""
DAY_S = 86_400
PRUNE_EVERY_S = 3600.0
"""Between looks for what is too old to keep; one look deletes at most 100,000 operations."""

REMEMBERING = ("trim",)
"""Levers that find what they remembered in `View.memory`."""
EXACT_LEVERS = {"exact": Risk.EXACT, "breakpoints": Risk.EXACT, "batch": Risk.EXACT}
"""What acts without a plan's word: the same answer by construction, and only where the arithmetic says it pays."""


class Housekeeping:
    """The gateway with all its parts. `start`, then serve `gateway`, then `stop`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Callable[[], float] = time.time):
        self.settings = settings
        self.clock = clock
        self.catalogue: Catalogue = build(settings, environ)
        self.metrics = Metrics()
        endpoint = settings.telemetry.otlp_endpoint
        self._trace = exporter(endpoint) if endpoint else None
        self.keys = Keys(anonymous=settings.access.anonymous)
        self.writer = Writer(settings.database.url, settings.database.durability, settings.database.window_s)
        self.db = open_database(settings.database.url)
        self._reader = open_database(settings.database.url)
        self.plans: dict[str, Plan] = {}
        self.customers: dict[str, Customer] = {}
        self._allowed: dict[str, Mapping[str, Risk]] = {}
        self._baselines: dict[str, Route | None] = {}
        self._off: frozenset[tuple[str, str]] = frozenset()
        self.arms = Arms(experiment_rows.ensure(self.db, secrets.token_hex(16), time.time()).salt)
        self._keys_at = self._plans_at = 0
        self._unread_until = 0.0
        self.shared = share(
            shared_url(settings.shared),
            settings.shared.timeout_s,
            here=Answers(
                max_bytes=settings.cache.max_bytes,
                max_entry_bytes=settings.cache.max_entry_bytes,
                ttl_s=settings.cache.ttl_s,
            ),
            max_entry_bytes=settings.cache.max_entry_bytes,
            ttl_s=settings.cache.ttl_s,
            seed=self._spent_before,
            parts=settings.server.workers,
        )
        self.world = World(
            upstreams={name: self._upstream(name, environ) for name in self.catalogue.providers},
            answers=self.shared.answers,
            memory=Memory(),
            counters=self.shared.counters,
            limits=Limits(
                connect_s=settings.timeouts.connect_s,
                first_byte_s=settings.timeouts.first_byte_s,
                idle_s=settings.timeouts.idle_s,
                total_s=settings.timeouts.total_s,
            ),
            book=self._book if settings.database.durability == "batched" else self._book_strictly,
            collect_bytes=settings.cache.max_entry_bytes,
        )
        access = settings.access
        self.state = State(
            settings.database.url,
            keep_days=settings.responses.keep_days,
            max_bytes=settings.responses.max_bytes,
            conversations=covered("conversations", access.passthrough),
        )
        stored = StoredPage(self.state, self.keys, access, self.world.upstreams, self.world.limits)
        self.front = Front(settings.database.url, self.catalogue)
        self.feedback = FeedbackPage(settings.database.url, self.keys, self.writer, clock)
        self.worker = self.world.worker = WorkerPart(settings.semantic, settings.database.url)
        self.feedback.wrong = self.worker.wrong
        book = Book.load(settings.prices.overrides, settings.local.usd_per_hour)
        levers, choose = governing(book)
        self.routing = Routing(self.catalogue, book, settings.database.url, self.writer, self.plans, clock)
        self.shadows = self.routing.beside(self.world)
        self.world.shadow = self.shadows.put
        self.gateway = Gateway(
            world=self.world,
            house=House(
                levers=(
                    *([ExactCache()] if settings.cache.exact else []),
                    *([SemanticCache(settings.semantic.unit)] if self.worker.offered else []),
                    *levers,
                    *self.routing.levers,
                ),
                choose=choose,
                price=book.price_route,
                retry=RetryPolicy(
                    attempts=settings.retry.attempts, base_s=settings.retry.base_s, cap_s=settings.retry.cap_s
                ),
                clock=clock,
                dice=_dice(random.Random()),
                terms=Tariffs(book).terms,
            ),
            catalogue=self.catalogue,
            keys=self.keys,
            metrics=self.metrics,
            view=self._view,
            admits=self._admits,
            pages={
                **pages(self.catalogue, self.keys, self.metrics, self.ready),
                STORED: stored,
                FEEDBACK: self.feedback,
                **(dict.fromkeys(FRONT, self.front) if settings.pages.enabled else {}),
            },
            state=self.state,
            access=access,
            max_body_bytes=settings.server.max_body_bytes,
        )
        self.local = LocalPart(settings.local, self.catalogue, self.world.upstreams, book.quote)
        self.embeddings = EmbedPart(settings.local, self.catalogue, self.world.upstreams)
        self._tasks: list[asyncio.Task[None]] = []
        self.gateway.identifier.stitcher.noticed = self.feedback.note
        self._gauges()

    async def start(self) -> None:
        """Load the keys and begin the work beside the calls."""
        self._follow()
        self.routing.follow()
        self.local.start()
        self._tasks = [asyncio.create_task(work()) for work in (self._sweep, self._follow_changes, self._prune)]
        self._tasks += await self.shared.start()

    async def stop(self) -> None:
        """Stop the work beside the calls, and write what is queued."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.shadows.stop()
        await self.worker.stop()
        await self.local.stop()
        await self.embeddings.stop()
        await self.front.stop()
        for upstream in self.world.upstreams.values():
            upstream.pool.close()
        if not await asyncio.to_thread(self.writer.close):
            log.error("the ledger could not be written: %s", self.writer.health.error)
        self.state.close()
        self.routing.close()
        self.feedback.close()
        self.db.close()
        self._reader.close()

    def ready(self) -> dict[str, Any]:
        """Each part: `ok`, or what is wrong with it."""
        health = self.writer.health
        return {
            "ledger": "ok" if health.ready and not health.error else health.error or f"{health.queued} operations wait",
            "local model": self.local.state,
            "shared store": self.shared.state,
            "draining": "draining" if self.gateway.draining else "ok",
        }

    def _admits(self) -> None:
        """Raise where no new call may begin: the ledger has no room, and what can't be booked must not burn."""
        if not self.writer.ready:
            raise OurError(
                "the ledger is behind: no new calls until it has caught up",
                code="ledger_behind",
                status=503,
                retry_after_s=1.0,
            )

    def _upstream(self, name: str, environ: Mapping[str, str]) -> Upstream:
        configured = self.settings.providers.get(name)
        retry = self.settings.retry
        return Upstream(
            self.catalogue.providers[name],
            environ,
            max_connections=configured.max_connections if configured else 512,
            breaker=BreakerPolicy(retry.breaker_failures, retry.breaker_open_s),
        )

    def _view(self, call: Call) -> View:
        caller = call.caller
        customer = self.customers.get(caller.customer)
        plan = self.plans.get(caller.plan or (customer.plan if customer else ""), NO_PLAN)
        levers = self._allowed.get(plan.name, EXACT_LEVERS)
        placed = self.arms.place(call, plan, levers)
        levers = levers if placed is None else placed.levers
        return View(
            now=call.at,
            allowed=levers,
            quality_floor=plan.quality_floor,
            session=self.world.memory.get(SESSIONS, caller.tenant, session_key(call)) if call.task else None,
            plan=plan,
            memory={
                MEMORY: "" if placed is None else placed.arm.name,
                **{name: Shelf(self.world.memory, name, caller.tenant) for name in REMEMBERING},
                **self.routing.memory(call, plan, levers),
            },
            customer=customer,
            baseline=self._baselines.get(plan.name),
        )

    def _spent_before(self, counter: str) -> int:
        """What a window's counter stood at when this process began: the ledger knows, or the call is refused."""
        now = time.monotonic()
        if now >= self._unread_until:
            try:
                return self._reader.retried(lambda db: spent_in_ledger(db, counter))
            except self._reader.away as error:
                self._unread_until = now + UNREAD_S
                log.warning("a budget could not be read from the ledger: %s", error)
        message = "the ledger does not answer, so this budget is not known"
        raise OurError(message, code="budget_unknown", status=503, retry_after_s=UNREAD_S)

    def _book(self, operation: Operation) -> None:
        self._tell(operation)
        self.writer.book(operation)

    def _book_strictly(self, operation: Operation) -> Awaitable[None]:
        self._tell(operation)
        return self.writer.durable(operation)

    def _tell(self, operation: Operation) -> None:
        self.metrics.count(operation)
        self.routing.booked(operation)
        if self._trace is not None:
            self._trace(operation)

    def _gauges(self) -> None:
        gauge, writer, answers = self.metrics.gauge, self.writer, self.world.answers
        gauge("jevons_active_calls", "Calls in flight", lambda: len(self.gateway.active))
        gauge("jevons_ledger_queued", "Operations not yet on disk", lambda: writer.health.queued)
        gauge("jevons_ledger_written", "Operations on disk", lambda: writer.health.written)
        gauge("jevons_ledger_refused", "Bookings lost; anything but 0 is an alarm", lambda: writer.health.refused)
        gauge("jevons_ledger_rejected", "Operations that no row takes, put aside whole", lambda: writer.health.rejected)
        gauge("jevons_ledger_retries", "Batches that the database did not take at once", lambda: writer.health.retries)
        gauge("jevons_ledger_stalled_seconds", "How long the batch at hand waits", lambda: writer.health.stalled_s)
        gauge("jevons_reservations", "Calls that hold a part of a budget", lambda: self.world.counters.reservations)
        gauge("jevons_shared_up", "1 while the shared store answers, or none is used", lambda: self.shared.up)
        gauge("jevons_shared_losses", "How often the shared store went away", lambda: self.shared.losses)
        gauge("jevons_shared_grants", "Calls let in by this gateway's part of a limit", lambda: self.shared.grants)
        gauge("jevons_shared_refusals", "Calls refused since a limit is closed meanwhile", lambda: self.shared.refusals)
        gauge("jevons_shadows_waiting", "Shadows that wait or run", lambda: self.shadows.waiting)
        for what in COUNTED:
            gauge(f"jevons_shadows_{what}", f"Shadows {what}", partial(self.shadows.counts.__getitem__, what))
        gauge("jevons_cache_bytes", "Bytes of answers kept", lambda: answers.size_bytes)
        gauge("jevons_cache_entries", "Answers kept", lambda: len(answers))
        self.worker.gauges(gauge)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.gateway.sweep()
            self.front.sweep()

    async def _follow_changes(self) -> None:
        while True:
            await asyncio.sleep(key_rows.POLL_S)
            try:
                await asyncio.to_thread(self.db.retried, lambda _db: self._follow())
                await asyncio.to_thread(self.feedback.settle)
                await asyncio.to_thread(self.routing.follow)
            except self.db.away as error:
                log.warning("keys and plans could not be read, the known ones stay: %s", error)
            except Exception:  # one bad row must not end the following: a revocation would never bind again
                log.exception("changes could not be followed; the next look tries again")

    async def _prune(self) -> None:
        """Delete what is too old, in short transactions of a connection of its own."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                gone = await asyncio.to_thread(_prune, self.settings, time.time())
            except self.db.away as error:
                log.warning("old operations could not be deleted, the next hour tries again: %s", error)
            except Exception:  # as above: what is too old must go some day
                log.exception("old operations could not be deleted; the next hour tries again")
            else:
                log.info("retention deleted %d rows", gone)

    def _follow(self) -> None:
        """Take in keys, plans and customers that have changed since the last look."""
        for key in key_rows.changes_since(self.db, self._keys_at):
            self.keys.change(key)
            self._keys_at = key.changed
        self._plans_at, changed = plan_rows.changes_since(self.db, self._plans_at)
        experiment = experiment_rows.current(self.db)
        if experiment is not None:
            self.arms.begin(experiment.salt)
        for item in changed:
            if isinstance(item, Plan):
                self.plans[item.name] = item
                self._baselines[item.name] = declared(self.catalogue, item)
            elif isinstance(item, Customer):
                self.customers[item.name] = item
            else:
                (self.plans if item[0] == "plan" else self.customers).pop(item[1], None)
        off = experiment_rows.switched_off(self.db)
        if changed or off != self._off:
            self._off, self._allowed = off, {name: allowed(plan, off) for name, plan in self.plans.items()}
            self.arms.forget()


def allowed(plan: Plan, off: frozenset[tuple[str, str]] = frozenset()) -> Mapping[str, Risk]:
    """What may act under a plan: the exact levers unless it says off, and what it names; less what its experiment has
    switched off."""
    said = {lever: Risk[risk.upper()] for lever, risk in plan.levers.items() if risk != "off"}
    exact = {lever: risk for lever, risk in EXACT_LEVERS.items() if plan.levers.get(lever) != "off"}
    return {lever: risk for lever, risk in {**exact, **said}.items() if (plan.name, lever) not in off}


def _prune(settings: Settings, now: float) -> int:
    with open_database(settings.database.url) as db:
        return prune(db, now, Keep()) + response_rows.prune(db, now - settings.responses.keep_days * DAY_S)


def _dice(source: random.Random) -> Iterator[float]:
    while True:
        yield source.random()
