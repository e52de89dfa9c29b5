"""May a cheap answer stand? Gates in order of price; the first that says no sends the call up the ladder.

What it decides: the verdict from the evidence at hand, and which gates of a list are worth asking at all. What it must
not know: how a command, a webhook or a judge is run: their verdicts come in. None means that a gate could not tell; an
answer that no gate could judge does not stand, since nothing proved it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jevons.levers.route.cascade import GATES

COSTLY = 3.0
"""A run that spent this many times its site's mean is in trouble: on MBPP wrong answers that passed the visible tests
cost 1.6x the mean, on SWE-bench Verified failed runs of one agent 1.5x."""
LOOPS = 3
"""The same tool call with the same arguments this often is a loop."""
MAX_DEPTH = 32
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """A run's own signals."""

    spent_nano: int
    usual_nano: float
    """Mean of the site's solved tasks."""
    tool_calls: tuple[tuple[str, str], ...] = ()
    failed_tools: int = 0


def stands(verdicts: Mapping[str, bool | None], gates: Sequence[str] = GATES) -> tuple[bool, str]:
    """Whether the answer stands, and the gate that decided. `verdicts`: by gate name, those that were asked."""
    told = ""
    for gate in gates:
        verdict = verdicts.get(gate)
        if verdict is False:
            return False, gate
        if verdict:
            told = gate
    return bool(told), told or "no gate could tell"


def calm(trail: Trail) -> bool:
    """The trajectory gate: not far dearer than usual, no loop, not mostly failed tools."""
    repeats = max((trail.tool_calls.count(call) for call in set(trail.tool_calls)), default=0)
    mostly_failed = trail.failed_tools * 2 > len(trail.tool_calls)
    dear = trail.usual_nano > 0 and trail.spent_nano > COSTLY * trail.usual_nano
    return not (dear or repeats >= LOOPS or (trail.tool_calls and mostly_failed))


def parses(text: str, schema: Mapping[str, Any] | None) -> bool:
    """The schema gate: JSON, and of the schema's types, required fields and enumerations (other keywords are not read).

    An empty schema asks for any object.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return _fits(value, schema or {"type": "object"}, MAX_DEPTH)


def _fits(value: Any, schema: Any, depth: int) -> bool:
    if not isinstance(schema, Mapping) or not depth:
        return True
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, dict):
        fields = schema.get("properties") or {}
        if any(name not in value for name in schema.get("required") or ()):
            return False
        return all(_fits(value[name], fields[name], depth - 1) for name in value if name in fields)
    if isinstance(value, list):
        return all(_fits(each, schema.get("items"), depth - 1) for each in value)
    return True


def _is(value: Any, kind: str) -> bool:
    if kind in {"integer", "number"} and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES.get(kind, (object,)))
