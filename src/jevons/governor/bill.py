"""The expected bill of a call and of its session's further calls, for any combination of offers.

What lives here: the arithmetic. What it must not know: which combinations there are, and which is taken.

In pico-dollars, the bill is

    now    what is still held of the prompt at the read rate, the rest at the write rate of its lifetime (or all of it
           at the plain rate where nothing is cached), the output, at the rates of the chosen model and tier
    - an hour's odds: what one hour is expected to save at the next pause on the tokens it is paid for
    later  each further call reads the prompt again (or writes it anew when it died in between) and adds its own tokens
    + what a deferral that loses the prefix makes the next call pay
    + what the levers themselves burn

A switch of model starts with nothing held; an edit keeps what is held in front of it and writes what stays behind it.
So for one way to send the call (model, tier, lifetime, now or later) the bill is linear in tokens, and that line is
worked out once: this is what keeps 64 combinations near 50 us.
"""

from collections.abc import Callable, Sequence

import msgspec

from jevons.core.route import Route
from jevons.levers.lever import Effect, Offer
from jevons.prices.prefix import Rates

MILLION, MILLI = 1_000_000, 1_000

REPLY, EDITS, MODEL, TIER, LATER, MARKS, TOOLS, KEY = (1 << bit for bit in range(8))
EVERYTHING = 0xFF
SENDING = REPLY | MODEL | TIER | LATER | MARKS
"""Fields that change how a call is sent; the others change its tokens."""

RatesOf = Callable[[Route, str], Rates | None]
"""(route, tier) -> rates; tier "" is the usual one."""


class Facts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A call in numbers, for the route that it would take untouched. Tokens, thousandths of calls, millionths."""

    prompt: int
    hour: int = 0
    """Held for an hour, from the prompt's start."""
    held: int = 0
    """Held at all; at least `hour`."""
    output: int = 0
    growth: int = 0
    further: int = 0
    """Expected calls after this one, in thousandths."""
    survives: int = MILLION
    """Chance that the prefix is still held at the next call, in millionths."""
    bridges: int = 0
    """Chance that an hour outlives the next pause and five minutes do not, in millionths."""
    ttl: str = "5m"
    """The lifetime that the client asks for itself."""
    caches: bool = True
    """Untouched, the prompt is cached: by the client's own breakpoints, or automatically."""


class Option(msgspec.Struct, frozen=True, gc=False):
    """A combination under way: which offers (bits), which effect fields (bits), and what its price depends on."""

    mask: int = 0
    fields: int = 0
    removed: int = 0
    retained: int = 0
    regained: int = 0
    loss: float = 0.0
    own: int = 0
    """Nano-dollars that the levers burn themselves."""
    saves: float = 0.0
    """Share of the output saved."""
    model: int = -1
    """Index of the offer that changes the model; -1: none."""
    tier: str = ""
    ttl: str = ""
    """Lifetime of what is written; empty: as it is untouched."""
    later: bool = False


class _Line(msgspec.Struct, frozen=True, gc=False):
    """The bill of one way to send a call is linear in its tokens. Thousandths of a pico-dollar per token."""

    prompt: int
    """For each prompt token, now and on the further calls."""
    held: int
    """Taken off for each token that is found cached now."""
    output: int
    fixed: int
    hour: bool
    """Only what is held for an hour is found: an hour over five-minute tokens writes them again."""


class Sums:
    """Prices options of one call. A way to send it (model, tier, lifetime, later) is a line, worked out once."""

    __slots__ = ("_facts", "_lines", "_offers", "_rates", "_route")

    def __init__(self, facts: Facts, offers: Sequence[Offer], route: Route, rates: RatesOf):
        self._facts, self._offers, self._route, self._rates = facts, offers, route, rates
        self._lines: dict[tuple[int, str, str, bool], _Line] = {}

    def add(self, option: Option, index: int, bits: int) -> Option:
        """The option with one offer more."""
        offer = self._offers[index]
        effect = offer.effect
        return Option(
            option.mask | 1 << index,
            option.fields | bits,
            option.removed + effect.removed_tokens,
            option.retained + effect.retained_tokens,
            option.regained + effect.regained_tokens,
            option.loss + offer.loss,
            option.own + offer.own_nano,
            option.saves + offer.saves_output * (1.0 - option.saves),
            index if bits & (MODEL | REPLY) else option.model,
            effect.tier or option.tier,
            effect.breakpoints[-1][1] if effect.breakpoints else option.ttl,
            option.later or effect.defer_until > 0,
        )

    def bill(self, option: Option) -> int:
        """Thousandths of a pico-dollar."""
        line = self._line_of(option)
        prompt, hour, held, output, own = self.tokens(option)
        return (
            line.prompt * prompt - line.held * (hour if line.hour else held) + line.output * output + line.fixed + own
        )

    def bills(self, way: Option, tokens: Sequence[tuple[int, tuple[int, int, int, int, int]]]) -> list[tuple[int, int]]:
        """(bill, mask) of one way to send, which itself touches no tokens, with each of several (mask, `tokens`)."""
        line = self._line_of(way)
        per_prompt, per_held, per_output, mask = line.prompt, line.held, line.output, way.mask
        fixed = line.fixed + way.own * MILLION
        if line.hour:
            return [
                (per_prompt * prompt - per_held * hour + per_output * output + fixed + own, mask | more)
                for more, (prompt, hour, _, output, own) in tokens
            ]
        return [
            (per_prompt * prompt - per_held * held + per_output * output + fixed + own, mask | more)
            for more, (prompt, _, held, output, own) in tokens
        ]

    def tokens(self, option: Option) -> tuple[int, int, int, int, int]:
        """(prompt, held for an hour, held, output, what the levers burn in thousandths of a pico-dollar)."""
        facts = self._facts
        prompt, hour, held = facts.prompt - option.removed, facts.hour, facts.held
        prompt = max(prompt, 0)
        if option.removed or option.retained:
            front = max(0, prompt - option.retained)
            hour, held = min(hour, front), min(held, front)
        if option.regained:
            hour, held = min(prompt, hour + option.regained), min(prompt, held + option.regained)
        output = int(facts.output * (1.0 - option.saves)) if option.saves else facts.output
        return prompt, hour, held, output, option.own * MILLION

    def _line_of(self, option: Option) -> _Line:
        key = (option.model, option.tier, option.ttl, option.later)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = self._line(*key)
        return line

    def _line(self, model: int, tier: str, ttl: str, later: bool) -> _Line:
        effect = self._offers[model].effect if model >= 0 else None
        if effect is not None and effect.reply is not None:
            return self._served()
        rungs = ways(effect, self._route) if effect is not None else (self._route,)
        if len(rungs) == 1:
            return self._way(rungs[0], tier, ttl, later)
        reach = effect.reach if effect is not None and effect.reach else (1.0,) * len(rungs)
        prompt = held = output = fixed = 0
        hour = (ttl or self._facts.ttl) == "1h"
        for way, share in zip(rungs, reach, strict=True):
            line = self._way(way, tier, ttl, later)
            millionths = round(share * MILLION)
            prompt += line.prompt * millionths // MILLION
            held += line.held * millionths // MILLION
            output += line.output * millionths // MILLION
            fixed += line.fixed * millionths // MILLION
        return _Line(prompt, held, output, fixed, hour)

    def _way(self, way: Route, tier: str, ttl: str, later: bool) -> _Line:
        """One model at one tier. Further calls go to the same model at its usual tier."""
        facts = self._facts
        usual = self._rates(way, "")
        now = self._rates(way, tier) if tier else usual
        assert usual is not None, "offers without a price were not admitted"  # noqa: S101
        assert now is not None, "offers without a price were not admitted"  # noqa: S101
        further, alive = facts.further, facts.survives
        output = now.output * MILLI + usual.output * further
        if not (facts.caches or ttl):
            prompt = now.input * MILLI + usual.input * further
            return _Line(prompt, 0, output, usual.input * facts.growth * further, False)
        lost = later or tier == "batch"
        stays = not lost and (way is self._route or way.name == self._route.name)
        again = usual.cache_write_5m - usual.cached
        carry = usual.cached + again * (MILLION - alive) // MILLION
        fixed = usual.cache_write_5m * facts.growth * further
        after = carry * further
        if lost:  # the next call finds nothing held, where it would have found the prompt
            after += again * alive // MILLION * min(further, MILLI)
            return _Line(now.input * MILLI + after, 0, output, fixed, False)
        hour = (ttl or facts.ttl) == "1h"
        write = now.cache_write_1h if hour else now.cache_write_5m
        gain = write - now.cached
        bridged = gain * facts.bridges // MILLI if hour else 0
        return _Line(write * MILLI - bridged + after, (gain * MILLI - bridged) if stays else 0, output, fixed, hour)

    def _served(self) -> _Line:
        """Nothing is sent now; the further calls are as they would be untouched."""
        whole = self._way(self._route, "", "", later=False)
        now = self._rates(self._route, "")
        assert now is not None, "the untouched route has a price"  # noqa: S101
        facts = self._facts
        write = now.cache_write_5m if facts.caches else now.input
        return _Line(whole.prompt - write * MILLI, 0, whole.output - now.output * MILLI, whole.fixed, False)


def ways(effect: Effect, route: Route) -> tuple[Route, ...]:
    return effect.ladder or (effect.route or route,)


def fields_of(effect: Effect) -> int:
    """Which fields an effect sets: two offers that share one conflict. An answer at hand leaves nothing to change, and
    what loses the prefix leaves no breakpoints to place."""
    if effect.reply is not None:
        return EVERYTHING
    return (
        (EDITS if effect.edits or effect.removed_tokens else 0)
        | (MODEL if effect.route is not None or effect.ladder else 0)
        | (TIER if effect.tier else 0)
        | (LATER if effect.defer_until else 0)
        | (MARKS if effect.tier == "batch" or effect.defer_until else 0)
        | (MARKS if effect.breakpoints else 0)
        | (TOOLS if effect.stable_tools else 0)
        | (KEY if effect.cache_key else 0)
    )


def nano(milli_pico: int) -> int:
    """Thousandths of a pico-dollar to nano-dollars, half up."""
    return (milli_pico + MILLION // 2) // MILLION
