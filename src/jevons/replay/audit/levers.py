"""What the gateway's levers would have done with recorded calls, each by itself, and what that would have saved.

What lives here: the gateway's own levers driven over recordings, beside a twin of the session's cache that follows what
they choose. Every figure is modelled: a twin untouched and a twin with the lever are billed alike, and their difference
counts, so that an error of the model is in both. No rule of its own: lifetimes and breakpoints are
`levers.cache.breakpoints` priced by the governor, trimming is `levers.trim` without recall, repeats are what
`levers.cache.exact` calls the same, a batch is `levers.batch.decide.saving`. What it must not know: files, sessions'
names.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from math import inf

import msgspec

from jevons.core.ask import Answer, Ask
from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError
from jevons.core.prompt import Prompt
from jevons.core.usage import Usage
from jevons.governor import Governor
from jevons.levers.batch.decide import Channel, Waiting, saving
from jevons.levers.cache import pauses
from jevons.levers.cache.breakpoints import Breakpoints, Lookup, lifetime
from jevons.levers.cache.exact import key_of, wanted
from jevons.levers.cache.pauses import SHORT_S
from jevons.levers.cache.session import Session, Standing, advance, pace_at, standing
from jevons.levers.cache.sites import Sites
from jevons.levers.lever import Offer, Outcome, Risk, View
from jevons.levers.trim.lever import EDITABLE, TrimLever
from jevons.levers.trim.rates import Rates as Relative
from jevons.prices import horizon
from jevons.replay.audit.bill import Bill, Place
from jevons.replay.audit.seen import Seen
from jevons.replay.audit.waste import Step
from jevons.wire.translate import dialect

MOST_ANSWERS = 200_000
"""Requests remembered as answered, about 40 MB; the oldest are forgotten first."""
ANSWER_LIVES_S = 3600.0
"""As long as a gateway with default settings keeps an answer."""
MOST_TURNS = 4_000
"""A longer conversation is not replayed by the trim lever: every call walks over all of its turns."""
UNCACHED = Relative(read=1.0, write=1.0, output=4.0, ttl_s=0.0)
ALLOWED = {"breakpoints": Risk.EXACT, "trim": Risk.EQUIVALENT}


class Twins(msgspec.Struct):
    """A session at one model: its cache as it was (`real`), as modelled untouched, and as modelled with the lever."""

    real: Session | None = None
    plain: Session | None = None
    lever: Session | None = None
    ttl: str = ""
    """The lifetime that the client asks for; empty: it places no breakpoints."""
    trimmed: int = 0
    """Tokens that trimming had taken out of the last prompt."""
    turns: int = 0
    unknown: bool = False
    """The client has cut its prompt in a way that the recorded texts do not show."""


class Found(msgspec.Struct):
    """What the levers would have done with one call: nano-dollars saved, None where a lever could not look."""

    breakpoints: int | None = None
    acted: bool = False
    plain_nano: int = 0
    booked_nano: int = 0
    trim: int | None = None
    exact: int | None = None
    batch: int | None = None
    """If the call turns out to stand alone."""


class Levers:
    """See the module's first lines. Holds what the levers remember; one per audit."""

    def __init__(self, bill: Bill, lookup: Lookup):
        self._bill = bill
        self._sites = Sites(pauses.shipped())
        self._marks = Breakpoints(lookup, self._sites.table)
        calls = horizon.shipped()
        self._governor = Governor(lookup, self._sites.table, lambda _site: calls)
        self._prompt: Prompt | None = None
        self._trim = TrimLever(lambda _call: self._prompt, _relative_of(lookup), recall=False)
        self._answers: OrderedDict[bytes, float] = OrderedDict()

    def look(self, place: Place, seen: Seen, call: Call, twins: Twins, step: Step) -> Found:
        """One call, in order. `twins` moves on."""
        found = Found()
        if place.rates is None:
            return found
        if place.terms is not None and place.terms.marked and seen.usage.prompt >= place.terms.min_tokens:
            self._lifetimes(place, seen, call, twins, step, found)
        if seen.body:
            found.exact = self._repeat(place, seen, call)
        found.trim = self._trimmed(place, seen, call, twins)
        found.batch = self._later(place, seen)
        return found

    def learn(self, call: Call, usage: Usage, twins: Twins) -> None:
        """The site's own pauses, after the call was judged."""
        gap = call.at - twins.real.at if twins.real is not None else None
        pace = pace_at(twins.real, call.at, usage.prompt, sub=_sub(call))
        self._sites.see(call.site, f"{call.task.task if call.task else ''}/{call.peek.model}", gap, pace, usage)

    def _lifetimes(self, place: Place, seen: Seen, call: Call, twins: Twins, step: Step, found: Found) -> None:
        usage = seen.usage
        if usage.cache_write_1h or usage.cache_write_5m or usage.cached:
            twins.ttl = "1h" if usage.cache_write_1h else twins.ttl if not usage.cache_write_5m and twins.ttl else "5m"
        else:
            twins.ttl = ""
        size = usage.prompt - (usage.input if twins.ttl else 0)
        chosen = self._choose(place, seen, call, twins, Standing(*_held(twins.lever, call.at, size, step)))
        found_anyway = min(usage.cached, size) if usage.cached > _held(twins.real, call.at, size, step)[2] else 0
        plain, twins.plain = _send(twins.plain, call, usage, size, step, twins.ttl, found_anyway)
        changed = chosen == "1h" and twins.ttl != "1h"  # others' five-minute tokens are written again for an hour
        lever, twins.lever = _send(twins.lever, call, usage, size, step, chosen, 0 if changed else found_anyway)
        plain_nano, lever_nano = self._bill.price(place, plain), self._bill.price(place, lever)
        found.breakpoints, found.acted = plain_nano - lever_nano, chosen != twins.ttl
        found.plain_nano, found.booked_nano = plain_nano, self._bill.price(place, usage)

    def _choose(self, place: Place, seen: Seen, call: Call, twins: Twins, stand: Standing) -> str:
        """The lifetime that would have been asked for: by the lever's offer and the governor where the body is there,
        else by the lever's rule alone, which needs a client that places breakpoints and leaves their lifetime open."""
        if seen.body and seen.surface == Surface.MESSAGES:
            view = View(now=call.at, allowed=ALLOWED, routes=(place.route,), session=twins.lever)
            offers = _run(self._marks.offer(call, view))
            marks = self._governor.choose(call, view, offers).effect.breakpoints
            return marks[-1][1] if marks else twins.ttl
        if twins.ttl != "5m" or place.rates is None:
            return twins.ttl
        pace = pace_at(twins.lever, call.at, stand.prompt, sub=seen.sub)
        return lifetime(place.rates, stand, pauses.chance(self._sites.table(call.site), pace))

    def _repeat(self, place: Place, seen: Seen, call: Call) -> int | None:
        """The whole call's dollars, when the same deterministic request was answered before."""
        if not wanted(call):
            return None
        try:
            key = key_of(call, View(now=call.at, allowed={}, routes=(place.route,)))
        except CallerError:
            return None
        until = self._answers.get(key, 0.0)
        if until > call.at:
            return self._bill.burned(place, seen) or 0
        self._answers[key] = call.at + ANSWER_LIVES_S
        self._answers.move_to_end(key)
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
        return 0

    def _trimmed(self, place: Place, seen: Seen, call: Call, twins: Twins) -> int | None:
        """The lever's equivalent offer, taken whenever it is made: fewer tokens in a prompt that is not yet cached."""
        if seen.turns and _hidden(seen, twins):
            return None
        self._prompt = _prompt_of(seen)
        if self._prompt is None or len(self._prompt.turns) > MOST_TURNS:
            return None
        view = View(now=call.at, allowed=ALLOWED, routes=(place.route,))
        chosen = tuple(each for each in _run(self._trim.offer(call, view)) if each.risk == Risk.EQUIVALENT)[:1]
        removed = min(chosen[0].effect.removed_tokens, seen.usage.prompt) if chosen else 0
        usage = without(seen.usage, min(twins.trimmed, removed), removed, twins.real)
        twins.trimmed = removed
        self._trim.learn(Outcome(call=call, chosen=chosen, usage=usage, cost_nano=0, notes=view.notes))
        return self._bill.price(place, seen.usage) - self._bill.price(place, usage)

    def _later(self, place: Place, seen: Seen) -> int | None:
        """What a batch saves on a call that nothing is cached for and nothing follows."""
        rates = self._bill.batch(place)
        if rates is None or place.rates is None or seen.tier == "batch" or seen.usage.cached:
            return None
        alone = Waiting(at=place.at, deadline=inf, prompt=seen.usage.prompt, output=seen.usage.output, survives=0)
        return max(0, saving(alone, place.rates, Channel(name="batch", rates=rates)) // 1000)


def without(usage: Usage, old: int, removed: int, before: Session | None) -> Usage:
    """The usage with `removed` prompt tokens fewer, `old` of them in what the last prompt had: those come off what was
    read, in the share of the last prompt that was found again; the others off what was written or sent plainly."""
    found = min(1.0, usage.cached / before.prompt) if before is not None and before.prompt else 0.0
    read = min(usage.cached, round(old * found))
    left, counts = removed - read, {"cached": usage.cached - read}
    for kind in ("cache_write_1h", "cache_write_5m", "input", "cached"):
        size = counts.get(kind, getattr(usage, kind))
        gone = min(left, size)
        counts[kind], left = size - gone, left - gone
    return msgspec.structs.replace(usage, **counts)


def _send(
    session: Session | None, call: Call, usage: Usage, size: int, step: Step, ttl: str, found_anyway: int = 0
) -> tuple[Usage, Session]:
    """What the provider would report for a prompt whose first `size` tokens are cached for a lifetime, and the session
    after it: a token keeps the lifetime that it was written with, an hour over five-minute tokens writes them again.
    `found_anyway`: tokens that another session had put there (a shared system text, the parent's conversation)."""
    _, hour, held = _held(session, call.at, size, step)
    rest = usage.prompt - size
    if ttl:
        read = max(found_anyway, hour if ttl == "1h" else held)
        written = {"cache_write_1h" if ttl == "1h" else "cache_write_5m": size - read}
        sent = Usage(input=rest, cached=read, output=usage.output, **written)
    else:
        sent = Usage(input=usage.prompt, output=usage.output)
    return sent, advance(session, call.at, sent, body_bytes=len(call.body), sub=_sub(call))


def _held(session: Session | None, at: float, size: int, step: Step) -> tuple[int, int, int]:
    found = standing(session, at, size, step.kept)
    return found.prompt, found.hour, found.held


def _sub(call: Call) -> bool:
    return bool(call.task and call.task.parent)


def _run(offers: Generator[Ask, Answer, Sequence[Offer]]) -> Sequence[Offer]:
    """The offers of a lever that asks nothing of the world."""
    try:
        next(offers)
    except StopIteration as done:
        found: Sequence[Offer] = done.value or ()
        return found
    raise RuntimeError("this lever asks nothing of the world")


def _relative_of(lookup: Lookup) -> Callable[[Call, View], Relative]:
    def relative(call: Call, view: View) -> Relative:
        rates = lookup.rates(view.routes[0], "", call.at)
        return Relative.of(rates, SHORT_S) if rates is not None else UNCACHED

    return relative


def _hidden(seen: Seen, twins: Twins) -> bool:
    """Whether the texts that were recorded are no longer what was sent: the prompt has shrunk by a tenth while the
    record went on. A record that begins anew (a summary) is whole again."""
    if len(seen.turns) < twins.turns:
        twins.unknown, twins.trimmed = False, 0
    elif twins.real is not None and seen.usage.prompt * 10 < twins.real.prompt * 9:
        twins.unknown = True
    twins.turns = len(seen.turns)
    return twins.unknown


def _prompt_of(seen: Seen) -> Prompt | None:
    if seen.turns:
        return Prompt(model=seen.model, turns=seen.turns)
    if not seen.body or seen.surface not in EDITABLE:
        return None
    try:
        return dialect(seen.surface.value).read_prompt(seen.body)
    except CallerError:
        return None
