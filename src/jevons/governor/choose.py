"""Every lever offers; the governor prices the combinations with one arithmetic and takes the cheapest that is allowed.

What it decides: which offers of a call are taken, and why. Untouched is always an option and wins ties, so the expected
bill is never above the untouched one. What it must not know: any lever's inside, what an edit says, who sends.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jevons.core.call import Call
from jevons.core.route import Route
from jevons.governor.bill import MILLION, SENDING, Facts, Option, RatesOf, Sums, fields_of, nano, ways
from jevons.levers.batch.decide import Waiting
from jevons.levers.cache.breakpoints import MARK, Lookup
from jevons.levers.cache.pauses import Table, chance, survival
from jevons.levers.cache.session import Session, pace_at, prompt_estimate, standing
from jevons.levers.lever import MAX_OFFERS_PER_LEVER, Effect, Offer, View
from jevons.prices.horizon import Horizon
from jevons.prices.prefix import Rates

MAX_COMBINATIONS = 64
"""Beyond this many the governor adds offers greedily, best first, and says so. 64 are priced in about 50 us."""

MAX_EXPLAINED = 10
"""Options kept for `jevons explain`: the cheapest, with untouched always among them."""

TYPICAL_OUTPUT = 220
"""Output tokens of a session's first call before anything is known: the median of 33,365 calls of coding agents."""

USUAL_S = 9.0
"""Seconds that a session's first call is taken to last: 33,365 recorded ones took 8.8 on average."""

TINY = 1e-12
"""Room for the rounding of a sum of probabilities."""

HOLD_OUT = "hold-out"
HOUR_MARK = b'"1h"'
"""How a client that wants an hour says so, beside its `cache_control`."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen. Bills are expected nano-dollars over this call and the further ones; None: unpriced."""

    effect: Effect = Effect()
    chosen: tuple[Offer, ...] = ()
    bill_nano: int | None = None
    untouched_nano: int | None = None
    explained: dict[str, Any] | None = None
    arm: str = ""


class Governor:
    """`choose` as the pipeline calls it: gathers the facts of a call, then weighs."""

    def __init__(
        self,
        lookup: Lookup,
        table: Callable[[str], Table],
        horizon: Callable[[str], Horizon],
        arm: Callable[[Call, View], str] = lambda _call, _view: "",
        max_delay_s: float = float("inf"),
    ):
        self._lookup, self._table, self._horizon, self._arm = lookup, table, horizon, arm
        self._max_delay_s = max_delay_s

    def choose(self, call: Call, view: View, offers: Sequence[Offer]) -> Decision:
        """The cheapest allowed combination. In the hold-out arm nothing is chosen, whatever is offered."""
        arm = self._arm(call, view)
        if arm == HOLD_OUT or not offers or not view.routes:
            return Decision(arm=arm)
        route = view.routes[0]
        rates = RatesByRoute(self._lookup, view.now)
        usual = rates(route, "")
        found = weigh(self.facts(call, view), offers, view, route, rates) if usual is not None else _unpriced(offers)
        return msgspec.structs.replace(found, arm=arm)

    def facts(self, call: Call, view: View) -> Facts:
        """What the arithmetic needs of a call, from what its session has shown and its site's history."""
        session: Session | None = view.session
        prompt = prompt_estimate(session, len(call.body))
        stand = standing(session, view.now, prompt)
        pace = pace_at(session, view.now, prompt, sub=bool(call.task and call.task.parent))
        table, terms = self._table(call.site), self._lookup.terms(view.routes[0], view.now)
        marked = terms is not None and terms.marked and MARK in call.body  # a look through 100 KB takes 25 us
        caches = terms is not None and prompt >= terms.min_tokens and (marked or not terms.marked)
        found = session.luck if session is not None else 1.0
        return Facts(
            prompt=prompt,
            hour=int(stand.hour * found),
            held=int(stand.held * found),
            output=session.output
            if session is not None
            else min(TYPICAL_OUTPUT, call.peek.max_tokens or TYPICAL_OUTPUT),
            growth=session.growth if session is not None else 0,
            further=self._horizon(call.site).after(pace.calls + 1),
            survives=survival(table, pace),
            bridges=chance(table, pace),
            ttl="1h" if marked and HOUR_MARK in call.body else "5m",
            caches=caches,
        )

    def waiting(self, call: Call, view: View, deadline: float) -> Waiting:
        """The call as the deferring lever looks at it: `levers.batch.lever.Deferral` is given this."""
        session: Session | None = view.session
        facts = self.facts(call, view)
        return Waiting(
            at=call.at,
            deadline=deadline,
            prompt=facts.prompt,
            held=facts.held,
            held_until=session.at + session.life_s if session is not None else 0.0,
            output=session.least if session is not None else 0,
            lasts_s=session.lasts_s if session is not None else USUAL_S,
            survives=0 if facts.further == 0 else MILLION,
        )


class RatesByRoute:
    """Rates by (route, tier), looked up once a call."""

    __slots__ = ("_at", "_known", "_lookup")

    def __init__(self, lookup: Lookup, at: float):
        self._lookup, self._at = lookup, at
        self._known: dict[tuple[int, str], Rates | None] = {}

    def __call__(self, route: Route, tier: str) -> Rates | None:
        key = (id(route), tier)  # routes outlive the call, and their names are made anew each time
        if key not in self._known:
            self._known[key] = self._lookup.rates(route, tier, self._at)
        return self._known[key]


def weigh(facts: Facts, offers: Sequence[Offer], view: View, route: Route, rates: RatesOf) -> Decision:
    """Prices the combinations of the offers that the plan allows. `rates(route, "")` must be known."""
    allowed, blocked = _admit(offers, view, route, rates)
    at_hand = [index for index in allowed if offers[index].effect.reply is not None]
    if at_hand:  # whatever else pays can be done at the session's next call
        allowed = at_hand
    sums = Sums(facts, offers, route, rates)
    options, greedy = _combine(allowed, offers, 1.0 - view.quality_floor, sums)
    untouched = options[0]
    best = min(options)  # of equal bills the smallest mask: untouched is 0 and wins ties
    chosen = tuple(offer for index, offer in enumerate(offers) if best[1] >> index & 1)
    bill, base = nano(best[0]), nano(untouched[0])
    return Decision(
        effect=_merge(chosen),
        chosen=chosen,
        bill_nano=bill,
        untouched_nano=base,
        explained=_explain(offers, options, best, blocked, greedy),
    )


def _admit(
    offers: Sequence[Offer], view: View, route: Route, rates: RatesOf
) -> tuple[list[int], list[tuple[int, str]]]:
    """Indices of offers that the plan allows and a price is known for; and the others, each with the reason."""
    kept: list[int] = []
    blocked: list[tuple[int, str]] = []
    per_lever: dict[str, int] = {}
    room = 1.0 - view.quality_floor
    for index, offer in enumerate(offers):
        count = per_lever[offer.lever] = per_lever.get(offer.lever, 0) + 1
        limit = view.allowed.get(offer.lever)
        effect = offer.effect
        if limit is None or offer.risk > limit:
            blocked.append((index, "the plan does not allow it"))
        elif offer.loss > room:
            blocked.append((index, f"may lose {offer.loss:.3f} of quality, the plan allows {room:.3f}"))
        elif count > MAX_OFFERS_PER_LEVER:
            blocked.append((index, f"more than {MAX_OFFERS_PER_LEVER} offers of one lever"))
        elif (effect.route or effect.tier or effect.ladder) and not _priced(effect, route, rates):
            blocked.append((index, "no price is known"))
        else:
            kept.append(index)
    return kept, blocked


def _priced(effect: Effect, route: Route, rates: RatesOf) -> bool:
    return all(rates(way, effect.tier) is not None and rates(way, "") is not None for way in ways(effect, route))


def _combine(
    allowed: Sequence[int], offers: Sequence[Offer], room: float, sums: Sums
) -> tuple[list[tuple[int, int]], bool]:
    """(bill, mask) of the combinations, untouched first; and whether they were too many and were picked greedily.

    Offers that change how the call is sent are combined apart from those that change its tokens, and then each with
    each: the first kind needs a new line of the bill, the second only other numbers on it.
    """
    bits = {index: fields_of(offers[index].effect) for index in allowed}
    ways_ = _grow([index for index in allowed if bits[index] & SENDING], bits, offers, room, sums)
    texts = _grow([index for index in allowed if not bits[index] & SENDING], bits, offers, room, sums)
    if len(ways_) * len(texts) > MAX_COMBINATIONS:
        return _greedy(allowed, offers, room, sums), True
    tokens = [(text.mask, sums.tokens(text)) for text in texts]
    roomy = sum(offers[index].loss for index in allowed) <= room
    found: list[tuple[int, int]] = []
    for way in ways_:
        if roomy and not way.fields & ~SENDING:
            found += sums.bills(way, tokens)
            continue
        for text in texts:  # the way itself touches tokens, or quality is scarce: look at each pair
            if not way.fields & text.fields and way.loss + text.loss <= room + TINY:
                found.append(_join(way, text, bits, sums))
    return found, False


def _join(way: Option, text: Option, bits: dict[int, int], sums: Sums) -> tuple[int, int]:
    for index, fields in bits.items():
        if text.mask >> index & 1:
            way = sums.add(way, index, fields)
    return sums.bill(way), way.mask


def _grow(
    indices: Sequence[int], bits: dict[int, int], offers: Sequence[Offer], room: float, sums: Sums
) -> list[Option]:
    """Every compatible subset, the empty one first; cut off just past the bound."""
    grown = [Option()]
    for index in indices:
        grown += [
            sums.add(option, index, bits[index])
            for option in grown
            if not option.fields & bits[index] and option.loss + offers[index].loss <= room + TINY
        ]
        if len(grown) > MAX_COMBINATIONS:
            break
    return grown


def _greedy(allowed: Sequence[int], offers: Sequence[Offer], room: float, sums: Sums) -> list[tuple[int, int]]:
    """Untouched, each offer alone, then the best one with the next best added as long as the bill falls."""
    start = Option()
    floor = sums.bill(start)
    singles = []
    for index in allowed:
        option = sums.add(start, index, fields_of(offers[index].effect))
        singles.append((sums.bill(option), index, option))
    found = [(floor, 0), *((bill, option.mask) for bill, _, option in singles)]
    taken, least = start, floor
    for _, index, _ in sorted(singles):
        bits = fields_of(offers[index].effect)
        if taken.fields & bits or taken.loss + offers[index].loss > room + TINY:
            continue
        option = sums.add(taken, index, bits)
        bill = sums.bill(option)
        if bill < least:
            taken, least = option, bill
            found.append((bill, option.mask))
    return found


def _merge(chosen: Sequence[Offer]) -> Effect:
    """One effect from several that set different fields; token counts add up."""
    if not chosen:
        return Effect()
    merged = chosen[0].effect
    for offer in chosen[1:]:
        effect = offer.effect
        changes = {
            name: value if name not in COUNTS else value + getattr(merged, name)
            for name in NAMES
            if (value := getattr(effect, name))
        }
        merged = msgspec.structs.replace(merged, **changes)
    return merged


NAMES = Effect.__struct_fields__
COUNTS = frozenset(name for name in NAMES if name.endswith("_tokens"))
"""Token counts of an effect add up; every other field is set by one offer at most."""


def _explain(
    offers: Sequence[Offer],
    options: Sequence[tuple[int, int]],
    best: tuple[int, int],
    blocked: Sequence[tuple[int, str]],
    greedy: bool,
) -> dict[str, Any]:
    """Plain values for the ledger: `render` makes them readable again."""
    cheapest = sorted(options)[:MAX_EXPLAINED]
    if options[0] not in cheapest:
        cheapest[-1] = options[0]
    credit: dict[str, int] = {}
    if best[1]:
        bills = {mask: bill for bill, mask in options}
        for index, offer in enumerate(offers):
            without = bills.get(best[1] & ~(1 << index)) if best[1] >> index & 1 else None
            if without is not None:
                credit[offer.lever] = credit.get(offer.lever, 0) + nano(without) - nano(best[0])
    return {
        "untouched": nano(options[0][0]),
        "bill": nano(best[0]),
        "chosen": best[1],
        "credit": credit,
        "offers": [[offer.lever, offer.why] for offer in offers],
        "options": [[mask, nano(bill)] for bill, mask in cheapest],
        "blocked": [[index, why] for index, why in blocked],
        "combinations": len(options),
        "greedy": greedy,
    }


def _unpriced(offers: Sequence[Offer]) -> Decision:
    """Without a price for the model as it is, nothing can be weighed; only an answer at hand is surely no dearer."""
    chosen = tuple(offer for offer in offers if offer.effect.reply is not None and offer.own_nano == 0)[:1]
    explained = {"unpriced": True, "offers": [[offer.lever, offer.why] for offer in offers]}
    return Decision(effect=_merge(chosen), chosen=chosen, explained=explained)


def render(explained: dict[str, Any]) -> list[tuple[str, int | None, str]]:
    """What `jevons explain` prints, cheapest first: (the levers of an option, its expected nano-dollars or None when it
    was not priced, why)."""
    offers = explained["offers"]
    rows: list[tuple[str, int | None, str]] = []
    for mask, bill in explained.get("options", ()):
        taken = [offer for index, offer in enumerate(offers) if mask >> index & 1]
        names = " + ".join(lever for lever, _ in taken) or "untouched"
        why = "; ".join(why for _, why in taken)
        rows.append((names, bill, f"chosen: {why}".rstrip(": ") if mask == explained["chosen"] else why))
    rows += [(offers[index][0], None, why) for index, why in explained.get("blocked", ())]
    return rows
