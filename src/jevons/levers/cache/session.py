"""What is remembered of a session between two calls, in numbers: its pace, its prompt, what the provider holds of it.

What lives here: one small frozen value, how a reply moves it on, what is left of it after a while. It is kept by
(task, site, model), because a provider's cache knows no tasks, only prompts of one model. What it must not know:
text, prices, and who stores it.
"""

import msgspec

from jevons.core.usage import Usage
from jevons.levers.cache.pauses import LONG_S, SHORT_S, Pace, step

BYTES_PER_TOKEN = 4
"""For a prompt that no reply has measured yet."""


class Session(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """After the last reply. Positions are tokens from the prompt's start."""

    pace: Pace = Pace()
    """As it was for the last call."""
    at: float = 0.0
    """When the last call was sent."""
    prompt: int = 0
    body_bytes: int = 0
    output: int = 0
    """Mean output tokens of a call."""
    least: int = 0
    """The least output that a call has made: what is sure enough to count on."""
    lasts_s: float = 10.0
    """Mean seconds of a call."""
    growth: int = 0
    """Mean prompt tokens that a call adds."""
    hour: int = 0
    """Up to here the provider holds the prompt for an hour after its last use."""
    held: int = 0
    """Up to here it holds the prompt for five minutes at least. Never below `hour`."""
    hour_turn: int = -1
    held_turn: int = -1
    """The turns that those two positions end; -1: none."""
    tools: "Tools | None" = None
    """The tools as the client sent them last."""
    reorders: int = 0
    """Times that the same tools came in another order."""
    life_s: float = SHORT_S
    """How long what is held for short lives after its last use, at this provider."""
    predicted: int = 0
    """Tokens that were believed to be held, summed over the calls; beside them what was read, and by how much the
    belief was wrong."""
    read: int = 0
    missed: int = 0

    @property
    def error(self) -> float:
        """Mean absolute error of the belief, as a share of the tokens believed held: a metric."""
        return self.missed / max(1, self.predicted)

    @property
    def luck(self) -> float:
        """Share of what is believed held that is found, after one prompt's worth of faith: not every cache promises."""
        return min(1.0, (self.read + self.prompt) / max(1, self.predicted + self.prompt))

    @property
    def unsteady(self) -> float:
        """Share of calls that come with the tools in another order: the prefix is lost from its start."""
        return self.reorders / (self.pace.calls + 2)


class Tools(msgspec.Struct, frozen=True, gc=False):
    """Digests of a call's tools: in their order, and in any order."""

    ordered: int
    unordered: int


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What of the prompt the provider still holds when a call comes in, and what the call adds. Tokens."""

    prompt: int
    hour: int
    held: int

    @property
    def fresh(self) -> int:
        """Tokens that nobody holds."""
        return self.prompt - self.held

    @property
    def short(self) -> int:
        """Tokens held for five minutes only."""
        return self.held - self.hour


def standing(session: Session | None, at: float, prompt: int, kept: int | None = None) -> Standing:
    """What is left at a time. `kept`: tokens of the last prompt that this one repeats, where that is known."""
    if session is None:
        return Standing(prompt, 0, 0)
    gap = at - session.at
    hour = session.hour if gap <= LONG_S else 0
    held = session.held if gap <= session.life_s else hour
    limit = prompt if kept is None else min(kept, prompt)
    return Standing(prompt, min(hour, limit), min(held, limit))


def pace_at(session: Session | None, at: float, prompt: int, *, sub: bool = False) -> Pace:
    """The pace that a call at this time has."""
    if session is None:
        return step(Pace(), None, prompt, sub=sub)
    return step(session.pace, at - session.at, prompt)


def prompt_estimate(session: Session | None, body_bytes: int) -> int:
    """Prompt tokens of a body: the last reply's count, moved by the bytes since; a quarter of its bytes at first."""
    if session is None or session.prompt == 0:
        return body_bytes // BYTES_PER_TOKEN
    if body_bytes < session.body_bytes:
        return session.prompt * body_bytes // max(1, session.body_bytes)
    return session.prompt + (body_bytes - session.body_bytes) // BYTES_PER_TOKEN


def advance(
    session: Session | None,
    at: float,
    usage: Usage,
    *,
    body_bytes: int = 0,
    turn: int = -1,
    sub: bool = False,
    tools: Tools | None = None,
    life_s: float = SHORT_S,
    automatic: bool = False,
    seconds: float = 10.0,
) -> Session:
    """The session after a reply to a call sent at `at`, whose last breakpoint ended `turn`. What the provider reports
    wins: one-hour tokens precede five-minute ones, so the positions follow from the four counts. An `automatic` cache
    reports no writes: it is believed to hold the whole prompt, and its `luck` says how often that is so."""
    prompt = usage.prompt
    pace = pace_at(session, at, prompt, sub=sub)
    old = session if session is not None else Session(output=usage.output, least=usage.output, lasts_s=seconds)
    held = prompt if automatic else usage.cached + usage.cache_write_1h + usage.cache_write_5m
    believed = standing(session, at, prompt).held
    hour = min(old.hour, usage.cached) if at - old.at <= LONG_S else 0
    hour_turn = old.hour_turn if hour else -1
    if usage.cache_write_1h:
        hour, hour_turn = usage.cached + usage.cache_write_1h, turn
    return msgspec.structs.replace(
        old,
        pace=pace,
        at=at,
        prompt=prompt,
        body_bytes=body_bytes,
        output=(3 * old.output + usage.output) // 4,
        least=min(old.least, usage.output),
        lasts_s=(3 * old.lasts_s + seconds) / 4,
        growth=(3 * old.growth + max(0, prompt - old.prompt)) // 4 if session is not None else 0,
        hour=hour,
        held=max(hour, held),
        hour_turn=hour_turn,
        held_turn=turn if held else -1,
        tools=tools,
        reorders=old.reorders + shuffled(old.tools, tools),
        life_s=life_s,
        predicted=old.predicted + believed,
        read=old.read + min(believed, usage.cached),
        missed=old.missed + abs(believed - usage.cached),
    )


def shuffled(before: Tools | None, now: Tools | None) -> bool:
    """The same tools in another order."""
    return before is not None and now is not None and before.unordered == now.unordered and before != now
