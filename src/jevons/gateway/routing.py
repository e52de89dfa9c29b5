"""Cheaper models in the running gateway: which candidates a call meets, what came of them, and who follows the changes.

What it decides: when a candidate begins at a call site (the plan names it, it is cheaper, nobody tried it there),
which way leads to it for a call, and that one which fails, vanishes or is no longer named stops serving. Stages are
decided by levers/route/promotion.py alone. What it must not know: how a pair is judged (evidence.py), how a shadow is
sent.

The hot path reads memory only. Every change of a candidate is one transaction (store/promotions.py), made by a thread:
as a shadow ends, or twice a second for what calls have shown and for what others have changed.
"""

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError, NotFound
from jevons.core.route import Route
from jevons.engines.catalogue import Catalogue
from jevons.gateway.drive import World
from jevons.gateway.evidence import weigh
from jevons.gateway.governing import Tariffs
from jevons.gateway.shadows import DAY_S, Done, Shadows
from jevons.ledger.operation import Operation
from jevons.ledger.waterfall import OWN
from jevons.levers.lever import Lever, Risk
from jevons.levers.route.cascade_lever import NAME as CASCADE
from jevons.levers.route.cascade_lever import CascadeLever
from jevons.levers.route.needs import lacks
from jevons.levers.route.promotion import Candidate, Pair, Stage, Terms, move, observe, rest, start
from jevons.levers.route.promotion_lever import NAME, Check, PromotionLever
from jevons.pipeline.shape import native
from jevons.plans.plan import NO_PLAN, Plan
from jevons.prices.book import Book
from jevons.store import promotions as rows
from jevons.store.migrate import open_database
from jevons.store.promotions import Key
from jevons.store.savings import by_line
from jevons.store.supplement import supplement
from jevons.store.writer import Writer

SURFACES = frozenset({Surface.CHAT, Surface.MESSAGES, Surface.RESPONSES})
SERVING = frozenset({Stage.CANARY, Stage.FULL})
MOST_SITES = 20_000
"""Call sites with candidates; at further ones none begins. About 40 MB at the bound."""
MOST_PENDING = 10_000
FLUSH_S = 2.0
"""How long a shadow's operation is waited for, until it is in the ledger."""
MOST_MARGIN = 0.5
"""However low a quality floor is: at a margin of 1 nothing could be refuted."""
USUAL_PROMPT = 4
"""Prompt tokens for each output token where two prices are compared: the least of recorded coding sessions' mix."""
FAILED = Pair(new=0.0, old=1.0, failed=True)
GATEWAY = "gateway"

Step = Callable[[Candidate | None], Candidate | None]


class Routing:
    """See the module's first lines. `plans`: the gateway's own, by name."""

    def __init__(
        self,
        catalogue: Catalogue,
        book: Book,
        url: str,
        writer: Writer,
        plans: Mapping[str, Plan],
        clock: Callable[[], float],
    ):
        self.levers: tuple[Lever, ...] = (
            PromotionLever(self.route, lambda view: terms_of(view.plan)),
            CascadeLever(self._rung),
        )
        self.counts: Counter[str] = Counter()
        """pairs | unbooked | dropped: shadows that were judged, that found no operation, changes that found no room."""
        self._catalogue, self._book, self._tariffs = catalogue, book, Tariffs(book)
        self._writer, self._plans, self._clock = writer, plans, clock
        self._db = open_database(url)
        self._lock, self._mine = threading.Lock(), threading.Lock()
        self._sites: dict[tuple[str, str], dict[tuple[str, str], Candidate]] = {}
        self._pending: deque[tuple[Key, Step]] = deque()
        self._rested: Counter[Key] = Counter()
        self._rooms: dict[str, int] = {}
        self._at = 0
        self._world: World | None = None

    def beside(self, world: World) -> Shadows:
        """What runs this gateway's shadows."""
        self._world = world
        return Shadows(
            world,
            price=self._book.price_route,
            terms=self._tariffs.terms,
            clock=self._clock,
            cap_nano=self.cap_nano,
            spent_nano=self.spent_nano,
            finished=self.finished,
        )

    # --- on the way of a call: memory only

    def memory(self, call: Call, plan: Plan, allowed: Mapping[str, Risk]) -> dict[str, Any]:
        """The ladder and the candidates of a call's site, as levers find them in `View.memory`; new ones begin here."""
        if plan.quality_floor >= 1.0 or call.surface not in SURFACES or not call.site:
            return {}
        found: dict[str, Any] = {}
        if CASCADE in allowed and self._world is not None:
            found[CASCADE] = self._world.memory.get(CASCADE, call.caller.tenant, call.site)
        if plan.candidates and allowed.get(NAME, Risk.EXACT) >= Risk.LOSSY:
            found[NAME] = self._candidates(call, plan)
        return found

    def _candidates(self, call: Call, plan: Plan) -> tuple[Candidate, ...]:
        tenant, incumbent = call.caller.tenant, call.peek.model
        known = self._sites.get((tenant, call.site), {})
        terms, found = terms_of(plan), []
        for model in plan.candidates:
            key = Key(tenant, call.site, incumbent, model)
            candidate = known.get((incumbent, model)) or self._begin(key, terms, call.at)
            if candidate is not None:
                candidate = self._looked_at(key, candidate, terms, call.at)
                found.append(candidate)
        for (model_of, model), candidate in known.items():
            if model_of == incumbent and model not in plan.candidates and candidate.stage in SERVING:
                self._move(
                    Key(tenant, call.site, incumbent, model), candidate, Stage.STOPPED, "the plan names it no more"
                )
        return tuple(found)

    def route(self, model: str, call: Call) -> Route | None:
        """The way to a model for this call. None: there is none, or it lacks what the call needs."""
        try:
            route = self._catalogue.routes(model)[0]
            native(call, route)
        except (NotFound, CallerError):
            return None
        return None if lacks(call, route.upstream_model, self._room(route)) else route

    def _room(self, route: Route) -> int:
        """The book searches for a model in up to 0.1 ms, so what it says is kept."""
        name = route.name
        found = self._rooms.get(name)
        if found is None:
            provider = route.provider.price_provider or route.provider.name
            found = self._book.context_tokens(provider, route.upstream_model)
            if len(self._rooms) < MOST_SITES:
                self._rooms[name] = found
        return found

    def _rung(self, model: str, call: Call) -> Route | None:
        """A rung is held and replayed; a stream of Responses, whose id can be continued, comes from its provider."""
        return None if call.surface is Surface.RESPONSES and call.peek.stream else self.route(model, call)

    def booked(self, operation: Operation) -> None:
        """What an operation shows of a serving candidate: it failed, or it came back. Called for every one."""
        known = self._sites.get((operation.tenant, operation.site))
        if known is None or operation.cancelled or not operation.attempts:
            return
        for (incumbent, model), candidate in known.items():
            if incumbent != operation.model or candidate.stage not in SERVING:
                continue
            key = Key(operation.tenant, operation.site, incumbent, model)
            failed = self._failed(operation, model)
            if failed:
                self._later(key, _observe(candidate, FAILED, self._terms(operation.plan), self._clock()))
            elif failed is False and candidate.failed_in_row:
                self._later(key, _recovered)

    # --- beside the calls: in threads

    def finished(self, done: Done) -> None:
        """A shadow ended: book what it burned, and count the pair."""
        check: Check = done.ask.about
        candidate = check.candidate
        if not self._supplement(done):
            self.counts["unbooked"] += 1
        now = self._clock()
        key = Key(done.operation.tenant, candidate.site, candidate.incumbent, candidate.model)
        if done.attempt.cost_nano is None:
            self._change(key, lambda held: move(held or candidate, Stage.STOPPED, "what it burns has no price", now))
            return
        plan = self._plans.get(done.operation.plan, NO_PLAN)
        pair = weigh(done, plan.trials.evidence)
        self.counts["pairs"] += 1
        self._change(key, _observe(candidate, pair, terms_of(plan), now))

    def follow(self) -> None:
        """Write what calls have shown, and take in what other gateways and the operator have changed."""
        with self._lock:
            at, changed = self._db.retried(lambda db: rows.changes_since(db, self._at))
        self._at = at
        for held in changed:
            self._remember(held.key, held.candidate)
        for key, times in list(self._rested.items()):
            del self._rested[key]
            self._change(key, _rest(times, self._terms_at(key), self._clock()))
        while self._pending:
            self._change(*self._pending[0])  # one that the database does not take now stays the first
            self._pending.popleft()

    def cap_nano(self, plan: str) -> int:
        """What the shadows of a plan may burn in a day."""
        return self._plans.get(plan, NO_PLAN).trials.day_nano

    def spent_nano(self, plan: str, day: int) -> int:
        """What they have burned, as the ledger says."""
        with self._lock:
            lines = self._db.retried(lambda db: by_line(db, DAY_S, day, day + DAY_S, column="plan", value=plan))
        return -sum(lines.get(f"{OWN}{role}", (0, 0))[1] for role in ("shadow", "audit"))

    def close(self) -> None:
        """Write what is left to write."""
        with contextlib.suppress(*self._db.transient):
            self.follow()
        with self._lock:
            self._db.close()

    # --- inside

    def _begin(self, key: Key, terms: Terms, now: float) -> Candidate | None:
        """A candidate that nobody tried at this site, where it is cheaper. It is written with its first pair."""
        if key.model == key.incumbent or len(self._sites) >= MOST_SITES or not self._cheaper(key, now):
            return None
        candidate = start(key.site, key.incumbent, key.model, terms, now)
        self._remember(key, candidate)
        return candidate

    def _cheaper(self, key: Key, now: float) -> bool:
        try:
            new, old = (self._catalogue.routes(model)[0] for model in (key.model, key.incumbent))
        except NotFound:
            return False
        rates = [self._tariffs.rates(route, "", now) for route in (new, old)]
        if new.name == old.name or rates[0] is None or rates[1] is None:
            return False
        mixed = [each.input * USUAL_PROMPT + each.output for each in rates if each is not None]
        return mixed[0] < mixed[1]

    def _looked_at(self, key: Key, candidate: Candidate, terms: Terms, now: float) -> Candidate:
        """What a call that passes by changes: a rest is counted, a promoted model that is gone serves no more."""
        if candidate.stage is Stage.DEMOTED:
            self._rested[key] += 1
        elif candidate.stage in SERVING and not self._served(key.model):
            return self._move(key, candidate, Stage.DEMOTED, "no route serves it any more")
        elif -candidate.wealth.null > terms.margin + 1e-9:
            fresh = start(key.site, key.incumbent, key.model, terms, now)
            reason = f"the plan allows it to lose {terms.margin:.0%} now, less than it was tried for"
            again = msgspec.structs.replace(fresh, pinned=candidate.pinned, trial=candidate.trial, reason=reason)
            self._remember(key, again)
            self._later(key, lambda _held: again)
            return again
        return candidate

    def _served(self, model: str) -> bool:
        try:
            return bool(self._catalogue.routes(model))
        except NotFound:
            return False

    def _failed(self, operation: Operation, model: str) -> bool | None:
        """Whether the candidate failed where the incumbent did not; None: it was not asked."""
        try:
            route = self._catalogue.routes(model)[0]
        except NotFound:
            return None
        mine = [a for a in operation.attempts if (a.provider, a.model) == (route.provider.name, route.upstream_model)]
        if not mine:
            return None
        last = operation.attempts[-1]
        if last is mine[-1]:
            return True if operation.error and operation.status < 300 else None if operation.status >= 300 else False
        return True if operation.status < 300 else None

    def _move(self, key: Key, candidate: Candidate, stage: Stage, reason: str) -> Candidate:
        """To another stage, at once here and soon in the database."""
        now = self._clock()
        moved = move(candidate, stage, reason, now)
        self._remember(key, moved)
        self._later(key, lambda held: move(held, stage, reason, now) if held and held.stage in SERVING else held)
        return moved

    def _later(self, key: Key, step: Step) -> None:
        if len(self._pending) >= MOST_PENDING:
            self.counts["dropped"] += 1
            return
        self._pending.append((key, step))

    def _change(self, key: Key, step: Step) -> None:
        with self._lock:
            after = self._db.retried(lambda db: rows.change(db, key, step, who=GATEWAY, at=self._clock()))
        if after is not None:
            self._remember(key, after)

    def _remember(self, key: Key, candidate: Candidate) -> None:
        """Sites are replaced, never changed in place: a call reads them while a thread writes."""
        with self._mine:
            at = (key.tenant, key.site)
            self._sites[at] = {**self._sites.get(at, {}), (key.incumbent, key.model): candidate}

    def _supplement(self, done: Done) -> bool:
        for wait in (False, True):
            if wait and not self._writer.flush(FLUSH_S):
                return False
            with self._lock:
                if self._db.retried(lambda db: supplement(db, done.operation.operation, done.attempt)):
                    return True
        return False

    def _terms(self, plan: str) -> Terms:
        return terms_of(self._plans.get(plan, NO_PLAN))

    def _terms_at(self, key: Key) -> Terms:
        """The terms of whichever plan names the candidate: a demoted one is known by its site only."""
        named = (plan for plan in self._plans.values() if key.model in plan.candidates)
        return terms_of(next(named, NO_PLAN))


def terms_of(plan: Plan) -> Terms:
    """A plan's trials in the terms of a promotion: what may be lost is what its quality floor leaves."""
    trials = plan.trials
    return Terms(
        margin=min(MOST_MARGIN, 1.0 - plan.quality_floor),
        alpha=trials.alpha,
        shadow_share=trials.shadow_share,
        canary_share=trials.canary_share,
        canary_pairs=trials.canary_pairs,
        audit_share=trials.audit_share,
        rest_calls=trials.rest_calls,
        cap_nano=trials.trial_nano,
    )


def _observe(begun: Candidate, pair: Pair, terms: Terms, now: float) -> Step:
    return lambda held: observe(held or begun, pair, terms, now)


def _rest(times: int, terms: Terms, now: float) -> Step:
    def step(held: Candidate | None) -> Candidate | None:
        for _ in range(times):
            held = rest(held, terms, now) if held is not None else None
        return held

    return step


def _recovered(held: Candidate | None) -> Candidate | None:
    return msgspec.structs.replace(held, failed_in_row=0) if held is not None else None
