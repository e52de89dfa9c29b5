"""Offers the classifier head's answer where the promise allows it to be served.

What it decides: whether this call may be answered by the site's head, and the offer. What it must not know: how the
head was fitted, how an answer is put on the wire (`reply` does that), prices. Its memory under a site is a Serving.
Calls with tools are left alone: an answer of a closed set is text.
"""

from array import array
from collections.abc import Callable, Generator, Sequence

import msgspec

from jevons.core.ask import Answer, Ask, Embed, Stored
from jevons.core.call import Call
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.levers.small.head import Head, answer

NAME = "small"


class Serving(msgspec.Struct, frozen=True):
    """A site's head, and whether promotion lets it answer yet."""

    head: Head
    live: bool


class SmallLever:
    """See the module's first lines. `text(call)`: the prompt's words, None when it has none; `reply(call, text)`: a
    whole answer in the caller's dialect."""

    name = NAME
    risk = Risk.LOSSY

    def __init__(self, text: Callable[[Call], str | None], reply: Callable[[Call, str], Stored]):
        self._text, self._reply = text, reply

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        serving = view.memory.get(NAME)
        if not isinstance(serving, Serving) or not serving.live or call.peek.has_tools:
            return ()
        text = self._text(call) if view.allowed.get(NAME, Risk.EXACT) >= Risk.LOSSY else None
        if text is None:
            return ()
        vectors = yield Embed((text,))
        if not vectors:
            return ()
        head = serving.head
        said = answer(head, array("f", vectors[0]))
        if not said.served:
            return ()
        why = f"classifier: p {said.probability:.3f} >= {head.threshold:.3f}, {head.promise:.0%} agreement promised"
        effect = Effect(reply=self._reply(call, said.text))
        return (Offer(lever=NAME, risk=self.risk, effect=effect, loss=1.0 - head.promise, why=why),)

    def learn(self, outcome: Outcome) -> Sequence[Ask]:  # noqa: ARG002 - heads are fitted by the worker
        return ()
