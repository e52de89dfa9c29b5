"""Which of two answers to the same call is better: the cheapest evidence that can tell, the judging model last.

What it decides: a promotion's Pair from what is known of both answers. What it must not know: how a check was run, how
a judge was asked, money beyond what it is told.

In order: the task's own outcome (feedback), the user's checks and the schema, equality, then a judge. A judge is asked
in both orders; one that contradicts itself has said nothing, and the pair stays unjudged.
"""

import re
import unicodedata
from collections.abc import Sequence

import msgspec

from jevons.levers.route.promotion import Pair

_SPACES = re.compile(r"\s+")
REFUSALS = frozenset({"refusal", "content_filter"})


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one answer. None: nobody said."""

    text: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    """Tool calls: (name, arguments as JSON text)."""
    stop: str = ""
    error: str = ""
    """It never came: connect, timeout, rubbish, ... ."""
    outcome: float | None = None
    """The task's feedback, in [0, 1]."""
    checks: tuple[bool, ...] = ()
    """The user's checks and the schema, one verdict each."""


def pair(new: Known, old: Known, verdicts: Sequence[float | None] = (), cost_nano: int = 0) -> Pair:
    """The pair of outcomes. `verdicts`: the judge's word in both orders: 1 new is at least as good, 0 it is worse."""
    if unusable(new, old):
        return Pair(new=0.0, old=_own(old, default=1.0), failed=True, cost_nano=cost_nano)
    if new.outcome is not None and old.outcome is not None:
        return Pair(new=new.outcome, old=old.outcome, cost_nano=cost_nano)
    if new.checks and len(new.checks) == len(old.checks):
        return Pair(new=_share(new.checks), old=_share(old.checks), cost_nano=cost_nano)
    if same(new, old):
        return Pair(new=1.0, old=1.0, cost_nano=cost_nano)
    said = {verdict for verdict in verdicts if verdict is not None}
    if len(verdicts) == 2 and len(said) == 1 and None not in verdicts:
        return Pair(new=said.pop(), old=1.0, cost_nano=cost_nano)
    return Pair(new=None, old=None, cost_nano=cost_nano)


def unusable(new: Known, old: Known) -> bool:
    """The candidate gave nothing to use, or another kind of answer: words where the incumbent called a tool."""
    if new.error or (new.stop in REFUSALS and old.stop not in REFUSALS):
        return True
    return bool(old.tools) != bool(new.tools) or (not new.tools and not new.text.strip() and bool(old.text.strip()))


def same(new: Known, old: Known) -> bool:
    """Equal tool calls, or equal words after normalising case, width, spaces and a final stop."""
    if new.tools or old.tools:
        return [_call(call) for call in new.tools] == [_call(call) for call in old.tools]
    return normal(new.text) == normal(old.text)


def normal(text: str) -> str:
    """Compatibility forms, one case, single spaces, no quotes or full stop around it."""
    flat = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()
    return flat.strip("\"'`").rstrip(".")


def _call(call: tuple[str, str]) -> tuple[str, object]:
    name, arguments = call
    try:
        return name, msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return name, arguments


def _own(known: Known, default: float) -> float:
    if known.outcome is not None:
        return known.outcome
    return _share(known.checks) if known.checks else default


def _share(checks: tuple[bool, ...]) -> float:
    return sum(checks) / len(checks)
