"""Where a prompt's cache breakpoints stand and how long they live: exact, since the model sees the same tokens.

What it decides: breakpoints where the client placed none; one hour or five minutes per request, online, from what the
session has shown; a cache key that keeps a task on one machine of an automatic cache, never shared by two tenants or
two arms of an experiment; and, as an equivalent offer, the tools in one order when the client shuffles them. What a
client says itself (a `ttl`, a key) is respected. It must not know how a body is edited, nor what the other levers do.
"""

from collections.abc import Callable, Generator, Sequence
from hashlib import blake2b
from typing import Any
from zlib import crc32

import msgspec

from jevons.core.ask import Answer, Ask, Change
from jevons.core.call import Call, Surface
from jevons.core.route import Route
from jevons.core.usage import Usage
from jevons.levers.cache.pauses import Pace, Table, chance
from jevons.levers.cache.session import Session, Standing, Tools, advance, pace_at, prompt_estimate, standing
from jevons.levers.lever import Effect, Offer, Outcome, Risk, View
from jevons.prices.prefix import Rates, pico_hour_gain
from jevons.prices.terms import Terms

STORE = "sessions"
"""Where the driver keeps `Session` by `session_key`; it comes back as `view.session`."""

MARK, TTL = b'"cache_control"', b'"ttl"'
MAX_MARKS = 4
"""What Anthropic takes; more are refused."""

STRANDED_TURNS = 8
"""Turns after which the last breakpoint may be more than 20 blocks behind the new one (agents send 2 to 3 blocks a
turn): then it is set again, so that it is found."""

WINDOW_PPM = 10_000
"""Share of cached tokens that a sticky key keeps from landing on another machine. Modelled, low: OpenAI names one
customer whose hits went from 60% to 87%; here it only has to be positive for the key to be set."""

FEWEST_BYTES = 3
"""Bytes a token takes at least, in a request's JSON: four is usual."""

MILLION = 1_000_000


See = Callable[[str, str, float | None, Pace, Usage], None]
"""(site, session, seconds since its call before, pace, usage): who counts a site's own pauses."""


class Lookup(msgspec.Struct, frozen=True):
    """What the lever is told of a route: how its provider caches, and what tokens cost there. None: not known."""

    terms: Callable[[Route, float], Terms | None]
    rates: Callable[[Route, str, float], Rates | None]


class _Body(msgspec.Struct):
    """The parts of a request that breakpoints can stand on, unread."""

    messages: list[msgspec.Raw] = []
    system: msgspec.Raw = msgspec.Raw(b"null")
    tools: list[msgspec.Raw] | None = None
    cache_control: msgspec.Raw = msgspec.Raw(b"null")
    """On top: the provider places the breakpoint itself."""

    @property
    def leads(self) -> bool:
        """The system text is a turn of its own, the first."""
        return bytes(self.system) not in {b"null", b'""', b"[]"}

    @property
    def last(self) -> int:
        """The last turn, as the neutral prompt counts."""
        return len(self.messages) - 1 + self.leads

    def content(self, turn: int) -> Any:
        """A turn's content, decoded: a text, or a list of blocks."""
        if self.leads and turn == 0:
            return msgspec.json.decode(self.system)
        message = msgspec.json.decode(self.messages[turn - self.leads])
        return message.get("content") if isinstance(message, dict) else None


class Breakpoints:
    """See the module's first lines. `table` is asked by the call site's name: its own history, or the shipped one."""

    name = "breakpoints"
    risk = Risk.EXACT

    def __init__(self, lookup: Lookup, table: Callable[[str], Table], see: See | None = None):
        self._lookup = lookup
        self._table = table
        self._see = see

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]:
        yield from ()
        if not view.routes or call.surface in {Surface.EMBEDDINGS, Surface.COUNT_TOKENS, Surface.RAW}:
            return ()
        terms = self._lookup.terms(view.routes[0], view.now)
        if terms is None or (view.session is None and len(call.body) < terms.min_tokens * FEWEST_BYTES):
            return ()  # too short for this provider to cache: there is nothing to place, and nothing to remember
        view.notes[self.name] = Note(view.session, terms)
        found = self._marks(call, view, terms) if terms.marked else _key(call, view, terms)
        return (*found, *_steady(view.session, prompt_estimate(view.session, len(call.body))))

    def learn(self, outcome: Outcome) -> Sequence[Change]:
        call, usage = outcome.call, outcome.usage
        note: Note | None = outcome.notes.get(self.name)
        if call.task is None or usage is None or note is None or usage.prompt < max(1, note.terms.min_tokens):
            return ()
        body = _read(call.body) if note.terms.marked else _read_tools(call.tools)
        if body is None:
            return ()
        key = session_key(call)
        if self._see is not None:
            gap = call.at - note.session.at if note.session is not None else None
            pace = pace_at(note.session, call.at, usage.prompt, sub=bool(call.task.parent))
            self._see(call.site, f"{call.caller.tenant}/{key}", gap, pace, usage)
        now = advance(
            note.session,
            call.at,
            usage,
            body_bytes=len(call.body),
            turn=body.last,
            sub=bool(call.task.parent),
            tools=_tools(body),
            life_s=note.terms.ttl_s[note.terms.default_ttl],
            seconds=outcome.seconds,
            automatic=not note.terms.marked and usage.prompt >= note.terms.min_tokens,
        )
        return (Change(STORE, key, now),)

    def _marks(self, call: Call, view: View, terms: Terms) -> Sequence[Offer]:
        if call.surface != Surface.MESSAGES:  # a translated call: its breakpoints are the translation's to place
            return ()
        session: Session | None = view.session
        rates = self._lookup.rates(view.routes[0], "", view.now)
        prompt = prompt_estimate(session, len(call.body))
        marked = MARK in call.body
        if rates is None or prompt < terms.min_tokens or (marked and TTL in call.body):
            return ()
        stand = standing(session, view.now, prompt)
        pace = pace_at(session, view.now, prompt, sub=bool(call.task and call.task.parent))
        ppm = chance(self._table(call.site), pace)
        ttl = lifetime(rates, stand, ppm)
        if marked and ttl == "5m":
            return ()
        body = _read(call.body)
        if body is None:
            return ()
        marks = _own(body, ttl) if marked else places(body, session, stand, ttl)
        if not marks:
            return ()
        why = f"{ttl} for {stand.fresh} new tokens: {ppm / 10_000:.0f}% are bridged by an hour"
        return (Offer(lever=self.name, risk=self.risk, effect=Effect(breakpoints=marks), why=why),)


class Note(msgspec.Struct, frozen=True):
    """What `offer` saw, for `learn`."""

    session: Session | None
    terms: Terms


def lifetime(rates: Rates, stand: Standing, chance_ppm: int) -> str:
    """`1h` or `5m` for what this request writes. One hour pays when the chance that a pause comes which only it
    outlives, times what the second writing would cost, exceeds the premium on the new tokens and on those before them
    that are held for five minutes and would be written again."""
    return "1h" if pico_hour_gain(rates, stand.fresh, stand.short, chance_ppm) > 0 else "5m"


def places(body: _Body, session: Session | None, stand: Standing, ttl: str) -> tuple[tuple[int, str], ...]:
    """At most four breakpoints, hours before minutes: the end; the turn before it, which is found when a client
    rewrites its last turn (reminders are moved); what is held but out of sight of the end; the system with its tools.
    """
    last = body.last
    hour_turn = session.hour_turn if session is not None and stand.hour else -1
    wanted = [last, last - 1, hour_turn if ttl == "5m" else -1]
    if session is not None and stand.held and last - session.held_turn > STRANDED_TURNS:
        wanted.append(session.held_turn)
    wanted.append(0 if body.leads else -1)
    fitting = dict.fromkeys(turn for turn in wanted if 0 <= turn <= last and _markable(body.content(turn)))
    turns = sorted(list(fitting)[:MAX_MARKS])
    return tuple((turn, "1h" if ttl == "1h" or turn <= hour_turn else "5m") for turn in turns)


def _own(body: _Body, ttl: str) -> tuple[tuple[int, str], ...]:
    """The client's own breakpoints, at their places, with our lifetime. Empty when one stands where it cannot be
    changed without the others (on tools, inside a turn, on top): an hour behind five minutes would be refused."""
    if bytes(body.cache_control) != b"null" or any(MARK in bytes(tool) for tool in body.tools or ()):
        return ()
    marks = []
    for turn in range(body.last + 1):
        raw = body.system if body.leads and turn == 0 else body.messages[turn - body.leads]
        found = bytes(raw).count(MARK)
        if found == 0:
            continue
        if found > 1 or not _ends_marked(body.content(turn)):
            return ()
        marks.append((turn, ttl))
    return tuple(marks)


def _ends_marked(content: Any) -> bool:
    """The last block itself carries the mark: not a text or an argument that only spells it."""
    return (
        isinstance(content, list) and bool(content) and isinstance(content[-1], dict) and "cache_control" in content[-1]
    )


def _markable(content: Any) -> bool:
    """Whether the provider takes a breakpoint at the end of this content: not on thinking, not on an empty text."""
    if isinstance(content, str):
        return bool(content.strip())
    if not isinstance(content, list) or not content or not isinstance(content[-1], dict):
        return False
    block = content[-1]
    return "thinking" not in str(block.get("type")) and (
        block.get("type") != "text" or bool(str(block.get("text", "")).strip())
    )


def _key(call: Call, view: View, terms: Terms) -> Sequence[Offer]:
    """A cache key for OpenAI's routing: one a task, so that about 15 requests a minute land on one machine."""
    if terms.provider != "openai" or call.peek.prompt_cache_key or call.task is None:
        return ()
    prompt = prompt_estimate(view.session, len(call.body))
    if prompt < terms.min_tokens:
        return ()
    gained = prompt * WINDOW_PPM // MILLION
    arm = str(view.memory.get("arm", ""))
    effect = Effect(cache_key=cache_key(call.caller.tenant, call.task.task, arm), regained_tokens=gained)
    why = f"one cache key a task; about {gained} tokens more are found cached (modelled)"
    return (Offer(lever=Breakpoints.name, risk=Risk.EXACT, effect=effect, why=why),)


def _tools(body: _Body) -> Tools | None:
    if not body.tools:
        return None
    sums = [crc32(tool) for tool in body.tools]
    ordered = 0
    for each in sums:
        ordered = (ordered * 31 + each) & 0xFFFF_FFFF_FFFF
    return Tools(ordered, sum(sums))


def _steady(session: Session | None, prompt: int) -> Sequence[Offer]:
    """The tools in one order, where the client has been seen to shuffle them: the same tools, other bytes."""
    if session is None or session.reorders == 0:
        return ()
    regained = int(min(prompt, session.prompt) * session.unsteady)
    why = f"the tools came in another order {session.reorders} times; about {regained} tokens a call stay cached"
    effect = Effect(stable_tools=True, regained_tokens=regained)
    return (Offer(lever=Breakpoints.name, risk=Risk.EQUIVALENT, effect=effect, why=why),)


def _read(body: bytes) -> _Body | None:
    """None: not a request as we know it. It is the provider's to refuse, and not ours to touch."""
    try:
        return msgspec.json.decode(body, type=_Body)
    except msgspec.DecodeError:
        return None


def _read_tools(tools: bytes) -> _Body | None:
    """The tools alone: where a provider caches by itself no turn needs to be told apart."""
    try:
        return _Body(tools=msgspec.json.decode(tools, type=list[msgspec.Raw] | None) if tools else None)
    except msgspec.DecodeError:
        return None


def cache_key(tenant: str, task: str, arm: str) -> str:
    """Sticky for a task, and unlike for two tenants or two arms. 32 hex digits tell a provider nothing."""
    digest = blake2b(digest_size=16, person=b"jevons.cachekey")
    for part in (tenant, task, arm):
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    return digest.hexdigest()


def session_key(call: Call) -> str:
    """Task, site and model: two prompts of one task never take each other's cache for their own."""
    task = call.task.task if call.task is not None else call.operation
    return f"{task}/{call.site}/{call.peek.model}"


def pace_of(call: Call, view: View) -> Pace:
    """The pace of a call as the table reads it; the governor prices with the same one."""
    prompt = prompt_estimate(view.session, len(call.body))
    return pace_at(view.session, view.now, prompt, sub=bool(call.task and call.task.parent))
