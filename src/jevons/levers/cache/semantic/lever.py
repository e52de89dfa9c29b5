"""The semantic cache as a lever: offers the answer to the same question in other words, where the plan allows it.

What it decides: which calls ask the worker, and what an answer must be to be kept. It runs in the gateway's process and
loads no numpy: the engine (index.py) sits in the worker behind a Find with a deadline, and one that comes late is a
miss. Lossy, off unless the plan allows it and names a floor: the offer's loss is the plan's own level, which the
worker's gate keeps. What it must not know: vectors, risks, or how the bound is kept.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final, Literal

from jevons.core.ask import Answer, Ask, Find, Keep, Stored
from jevons.core.call import Call
from jevons.levers.cache.semantic.question import Question, ask
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.wire.facts import facts

STORE: Final = "semantic"
WISH: Final = "x-jevons-cache"
"""Request header: `off` keeps a call out of every cache."""
WHOLE = frozenset({"stop", "end_turn", "stop_sequence"})
"""Ends of an answer that is text and finished; `tool_calls`, `length` and refusals are not kept."""
MAX_LEVEL: Final = 0.2
"""A plan that allows more wrong answers than this says nothing about a cache."""
DELAY_S: Final = 0.015
"""What a look-up may cost a call that then misses: its 95th percentile with 20,000 entries, on one core."""


class SemanticCache:
    """See the module's first lines. The plan's quality floor gives the level: .99 allows one wrong answer per 100."""

    name = "semantic"
    risk = Risk.LOSSY

    def __init__(self, unit: Literal["request", "hit"] = "request"):
        self._unit: Literal["request", "hit"] = unit

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        level = round(1.0 - view.quality_floor, 4)
        if call.headers.get(WISH, "") == "off" or view.allowed.get(self.name, Risk.EXACT) < Risk.LOSSY:
            return ()
        if not 0.0 < level < MAX_LEVEL:
            return ()
        question = ask(call, [route.name for route in view.routes], level, self._unit)
        if question is None:
            return ()
        stored: Stored | None = yield Find(STORE, call.caller.tenant, question.key())
        view.notes[self.name], view.collect = question, True
        if stored is None:
            view.cache = view.cache or "miss"
            return ()
        view.cache = "semantic"
        why = f"{stored.operation} answered this in other words; at most {level:.1%} wrong per {self._unit}"
        return (
            Offer(
                lever=self.name,
                risk=self.risk,
                effect=Effect(reply=stored),
                loss=min(level, 1.0 - view.quality_floor),  # 1 - .9 is a little less than .1
                delay_s=DELAY_S,
                why=why,
            ),
        )

    def learn(self, outcome: Outcome) -> Sequence[Keep]:
        """A fresh answer labels its candidates in the worker. Without one the look-up is given up (a Keep of None)."""
        question: Any = outcome.notes.get(self.name)
        if not isinstance(question, Question) or any(
            offer.lever == self.name and offer.effect.reply is not None for offer in outcome.chosen
        ):
            return ()
        return (Keep(STORE, outcome.call.caller.tenant, question.key(), keepable(outcome.reply)),)


def keepable(reply: Stored | None) -> Stored | None:
    """The answer if it is whole, good and plain text: an answer that calls a tool is never given to another call."""
    if reply is None or reply.status != 200:
        return None
    known = facts(reply.dialect, reply.body)
    return reply if known.ok and known.stop in WHOLE else None
