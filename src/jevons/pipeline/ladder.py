"""Cheaper models before the routes that a call would take untouched: one that is promoted, or a ladder behind gates.

What it decides: whether a rung's answer stands (from the request and the answer alone), whether the next is climbed to,
and when the last climb is left out. A rung that fails in any way is passed by: its attempt is booked, and the call goes
on as if it had never been asked. A judge is never asked here, since the caller waits. What it must not know: which
ladder is worth trying, sockets, prices.

A rung whose answer is checked is held: a stream is collected, and given to the caller as a stream once it stands. The
last rung is not checked, so it is not held; neither is a promoted model.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any

import msgspec

from jevons.core.ask import Answer, Ask, Gone, Send, Sent
from jevons.core.call import Call
from jevons.core.errors import CallerError, UpstreamError
from jevons.core.prompt import Prompt, Text, ToolResult, ToolUse
from jevons.core.reply import Reply
from jevons.core.route import Route
from jevons.levers.lever import Effect, View
from jevons.levers.route.gates import Trail, calm, parses, stands
from jevons.pipeline.course import Course
from jevons.pipeline.shape import Shaped, shape
from jevons.wire.translate import dialect

ASKED = ("schema", "trajectory")
"""The gates that read only what is at hand. A user's tests, generated checks and judges run beside the call."""
UNFINISHED = frozenset({"length", "content_filter", "refusal", "error"})
"""An answer that ended like this is none that may stand."""

Clock = Callable[[], float]


def climb(
    call: Call, view: View, effect: Effect, course: Course, clock: Clock
) -> Generator[Ask, Answer, tuple[Sent, Shaped] | None]:
    """The answer of the first rung that stands. None: none did, and the call goes its untouched way."""
    if not effect.ladder:
        return (yield from _try(call, effect, effect.route, course, clock)) if effect.route else None
    prompt = _prompt(call)
    rejected: tuple[Sent, Shaped] | None = None
    for route in effect.ladder[:-1]:
        found = yield from _try(call, effect, route, course, clock, hold=call.peek.stream)
        if found is not None:
            if stands(verdicts(prompt, found[0], found[1].dialect, course.cost_nano or 0), ASKED)[0]:
                return found
            rejected = found
    if rejected is not None and effect.stop_nano and (course.cost_nano or 0) > effect.stop_nano:
        return rejected
    last = effect.ladder[-1]
    if last.name in {route.name for route in view.routes}:
        return None  # it has its retries and fallbacks there
    return (yield from _try(call, effect, last, course, clock))


def verdicts(prompt: Prompt | None, sent: Sent, source: str, spent_nano: int) -> dict[str, bool | None]:
    """What the gates say of a whole answer in the dialect `source`. None: a gate has nothing to look at."""
    try:
        reply = dialect(source).read_reply(sent.body)
    except (UpstreamError, CallerError):
        return {"schema": False}
    calls = tuple((part.name, part.arguments) for part in reply.parts if isinstance(part, ToolUse))
    return {"schema": _fits(prompt, reply, calls), "trajectory": calm(_trail(prompt, calls, spent_nano))}


def send(
    call: Call, route: Route, shaped: Shaped, tier: str, course: Course, clock: Clock, *, hold: bool = False
) -> Generator[Ask, Answer, Sent]:
    """One attempt. A caller who leaves before its first byte is booked with the prompt that was burned."""
    began = clock()
    try:
        sent: Sent = yield Send(
            route=route, surface=shaped.dialect, body=shaped.body, stream=call.peek.stream, hold=hold, tier=tier
        )
    except Gone:
        course.record_gone(route, clock() - began)
        raise
    return sent


def _try(
    call: Call, effect: Effect, route: Route, course: Course, clock: Clock, *, hold: bool = False
) -> Generator[Ask, Answer, tuple[Sent, Shaped] | None]:
    """One rung, asked once. None where it gave no answer; then nothing of it reaches the caller."""
    try:
        shaped = shape(call, effect, route)
    except CallerError:
        return None  # it can't carry this call; where nobody can, the untouched route says so
    sent = yield from send(call, route, shaped, effect.tier, course, clock, hold=hold)
    if sent.handle is not None:
        return sent, shaped
    if sent.error == "open":
        return None
    course.record(sent)
    if sent.error or sent.status >= 300:
        return None
    return sent, msgspec.structs.replace(shaped, held=hold)


def _prompt(call: Call) -> Prompt | None:
    try:
        return dialect(call.surface.value).read_prompt(call.body)
    except CallerError:
        return None


def _fits(prompt: Prompt | None, reply: Reply, calls: tuple[tuple[str, str], ...]) -> bool | None:
    """The answer ended, its tool calls name known tools with arguments of their schemas, or its text is the JSON that
    was asked for."""
    if reply.stop in UNFINISHED:
        return False
    if calls:
        known: Mapping[str, Any] = {tool.name: tool.schema or {} for tool in prompt.tools} if prompt else {}
        return all(name in known and parses(arguments, known[name]) for name, arguments in calls)
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    if prompt is not None and prompt.schema is not None:
        return parses(text, prompt.schema)
    return None if text.strip() else False


def _trail(prompt: Prompt | None, calls: tuple[tuple[str, str], ...], spent_nano: int) -> Trail:
    """The run so far: the tools that it called and those that failed, with this answer's own."""
    parts = [part for turn in prompt.turns for part in turn.parts] if prompt else []
    before = tuple((part.name, part.arguments) for part in parts if isinstance(part, ToolUse))
    failed = sum(isinstance(part, ToolResult) and part.is_error for part in parts)
    return Trail(spent_nano=spent_nano, usual_nano=0.0, tool_calls=before + calls, failed_tools=failed)
