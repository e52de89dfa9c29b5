"""Exact cache and coalescing: the same deterministic request of the same tenant burns once.

What it decides: which calls are deterministic, and what makes two of them the same. An answer's identity is the whole
canonical request, the tenant, and the models that may answer it. A seed alone is not deterministic: providers say
"best effort". What it must not know: where answers are kept, for how long, and how a stream is replayed.
"""

from collections.abc import Generator, Sequence

from jevons.core.ask import Answer, Ask, Find, Keep, Stored
from jevons.core.call import Call, Surface
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.wire.cacheable import identity

STORE = "exact"
WISH = "x-jevons-cache"
"""Request header: `on` caches a call that is not deterministic, `off` keeps a call out."""


class ExactCache:
    """See the module's first lines."""

    name = "exact"
    risk = Risk.EXACT

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        if not wanted(call):
            return ()
        key = key_of(call, view)
        stored: Stored | None = yield Find(STORE, call.caller.tenant, key, wait=True)
        if stored is None:  # we lead: identical calls wait for our answer, so `learn` must keep it or let go
            view.notes[self.name], view.cache, view.collect = key, "miss", True
            return ()
        view.cache = "coalesced" if stored.joined else "hit"
        why = f"the answer of {stored.operation} is at hand"
        return (Offer(lever=self.name, risk=self.risk, effect=Effect(reply=stored), why=why),)

    def learn(self, outcome: Outcome) -> Sequence[Keep]:
        key = outcome.notes.get(self.name)
        if not key:
            return ()
        moved = any(offer.effect.route or offer.effect.ladder for offer in outcome.chosen)
        reply = None if moved else outcome.reply  # another model's answer is none of the models' that the key names
        return (Keep(STORE, outcome.call.caller.tenant, key, reply),)


def wanted(call: Call) -> bool:
    """Temperature 0 and one choice, or an embedding, or a call that asks; never one that stores state elsewhere."""
    wish = call.headers.get(WISH, "")
    if wish == "off" or call.surface in {Surface.RESPONSES, Surface.COUNT_TOKENS, Surface.RAW}:
        return False
    peek = call.peek
    return wish == "on" or call.surface == Surface.EMBEDDINGS or (peek.temperature == 0 and peek.n in {None, 1})


def key_of(call: Call, view: View) -> bytes:
    """The canonical request, and the models that may answer it: a changed route is another identity."""
    routes = "|".join(route.name for route in view.routes)
    return identity(call.surface, call.body) + routes.encode()
