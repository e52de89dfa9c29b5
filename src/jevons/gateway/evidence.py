"""What a shadow proves: two answers to one call, compared by what is at hand, as a promotion's pair.

What it decides: how both are read, and what counts while nobody judges. The schema that the request asks for comes
first, then equality (of values where both are JSON). Two answers that differ count against the candidate: counting only
pairs that happen to agree would promote whoever agrees now and then. What it must not know: stages, stores, sockets.
"""

from typing import Any

import msgspec

from jevons.core.errors import CallerError, UpstreamError
from jevons.core.prompt import Refusal, Text, ToolUse
from jevons.gateway.shadows import Done
from jevons.levers.route.gates import parses
from jevons.levers.route.pairing import Known, pair
from jevons.levers.route.promotion import Pair
from jevons.levers.route.promotion_lever import Check
from jevons.wire.translate import dialect

DIFFERS = (0.0, 0.0)
"""What is said in a judge's place, for both orders: an answer that differs is taken for worse."""


def weigh(done: Done, evidence: str) -> Pair:
    """The pair of a finished shadow or audit; `evidence` as in plans.plan.Trials. A failed incumbent proves nothing."""
    check: Check = done.ask.about
    schema = _schema(done)
    served = known(done.call.surface.value, check.reply.body)
    beside = known(done.source, done.sent.body) if _came(done) else Known(error=done.sent.error or "refused")
    new, old = (served, beside) if check.serving else (beside, served)
    cost = done.attempt.cost_nano or 0
    if old.error:
        return Pair(new=None, old=None, cost_nano=cost)
    if schema is not None and not new.tools and not new.error:
        fits = [parses(each.text, schema) for each in (new, old)]
        if fits[0] != fits[1] or (fits[0] and evidence == "schema"):
            new, old = (
                msgspec.structs.replace(each, checks=(fit,)) for each, fit in zip((new, old), fits, strict=True)
            )
    return pair(_plain(new), _plain(old), DIFFERS, cost)


def known(source: str, body: bytes) -> Known:
    """An answer in a dialect, as pairs see it. What is no answer is an error."""
    try:
        reply = dialect(source).read_reply(body)
    except (UpstreamError, CallerError):
        return Known(error="rubbish")
    words = [part.text for part in reply.parts if isinstance(part, Text)]
    refused = any(isinstance(part, Refusal) for part in reply.parts)
    return Known(
        text="".join(words),
        tools=tuple((part.name, part.arguments) for part in reply.parts if isinstance(part, ToolUse)),
        stop="refusal" if refused else reply.stop,
    )


def _came(done: Done) -> bool:
    return not done.sent.error and done.sent.status < 300


def _schema(done: Done) -> dict[str, Any] | None:
    try:
        return dialect(done.call.surface.value).read_prompt(done.call.body).schema
    except CallerError:
        return None


def _plain(each: Known) -> Known:
    """A text that is JSON without its spacing and its order of keys."""
    if not each.text.lstrip().startswith(("{", "[")):
        return each
    try:
        value = msgspec.json.decode(each.text)
    except (msgspec.DecodeError, RecursionError):
        return each
    return msgspec.structs.replace(each, text=msgspec.json.encode(value, order="sorted").decode())
