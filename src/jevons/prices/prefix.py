"""What a provider holds cached for a session, what the next call will read and write there, and when a change pays.

Everything here is pure arithmetic on tokens, seconds and rates. A State is what we believe the provider holds; every
reply corrects it. This file must not know a wire format, a lever, a price book (rates are arguments) or a clock.

How it works. A request is a Layout: blocks in the provider's order (tools, system, messages), each with the identity
of everything up to its end, so that equal identities mean equal prefixes. A *marked* cache (Anthropic) writes an entry
at each breakpoint and looks for one at the breakpoint and up to `lookback_blocks` before it; an entry keeps the TTL
that it was written with, is renewed by use, and longer-lived ones precede shorter ones, so asking for one hour over
tokens held for five minutes writes all of them again. An *automatic* cache (OpenAI, Gemini, DeepSeek, a llama.cpp
slot) reads the longest common prefix in whole steps and bills writes as plain input.
"""

from collections.abc import Sequence
from math import inf

import msgspec

from jevons.core.usage import Usage
from jevons.prices.terms import Terms

MAX_ENTRIES = 512
"""Prefix ends remembered for a session. Breakpoints leave 4 a request; an automatic cache one a block, newest kept."""

TOLERANCE = 50
"""A reported count within 1/50 of a predicted position confirms it: tokens are estimated before they are reported."""

MILLION = 1_000_000


class Rates(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Pico-dollars per token, by the fields of Usage, at one model and tier. What a provider does not bill apart (cache
    writes at OpenAI) carries the plain input rate."""

    input: int
    cached: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    storage_hour: int = 0
    """Per token and hour, where an explicit cache is rented (Gemini)."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """One block of a prompt. `identity` is a digest of the whole prompt up to and including it."""

    identity: bytes
    tokens: int


class Layout(msgspec.Struct, frozen=True):
    """A prompt as a cache sees it. `marks` are (index of the block that a breakpoint ends, TTL's name), ascending."""

    blocks: tuple[Block, ...]
    marks: tuple[tuple[int, str], ...] = ()
    retention: str = ""
    """The TTL's name that the request asked of an automatic cache; empty: the provider's default."""

    def ends(self) -> list[int]:
        """Cumulative tokens at the end of each block."""
        total, ends = 0, []
        for block in self.blocks:
            total += block.tokens
            ends.append(total)
        return ends


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A prefix that the provider is believed to hold: its identity, its length, its life."""

    identity: bytes
    tokens: int
    ttl_s: int
    expires: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What one session has cached at one model of one provider, and how good our predictions have been."""

    entries: tuple[Entry, ...] = ()
    """Ascending by length."""
    at: float = 0.0
    """When the last request was sent."""
    scale: int = MILLION
    """Reported prompt tokens per million of our estimate: learned from each reply."""
    calls: int = 0
    predicted_tokens: int = 0
    """Sum of predicted cached tokens, beside `error_tokens`: the sum of |predicted - reported|."""
    error_tokens: int = 0
    odd: int = 0
    """Replies whose counts could not be (more cached than sent, below zero): clamped and counted."""

    @property
    def error(self) -> float:
        """Mean absolute error of the prediction, as a share of the tokens predicted to be read."""
        return self.error_tokens / max(1, self.predicted_tokens)


EMPTY = State()


def predict(terms: Terms | None, state: State, layout: Layout, at: float) -> Usage:
    """The input side of the usage that this request will report if it is sent at `at` (Unix seconds)."""
    ends = layout.ends()
    scale = state.scale
    total = _scaled(ends[-1], scale) if ends else 0
    if terms is None or not ends:
        return Usage(input=total)
    if not terms.marked:
        read = _longest(terms, state, layout, ends, at)
        return Usage(input=total - read, cached=read)
    marks = _effective(terms, layout, ends, scale)
    if not marks:
        return Usage(input=total)
    hour = max((_scaled(ends[index], scale) for index, ttl in marks if terms.ttl_s[ttl] > 300), default=0)
    last = max(hour, _scaled(ends[marks[-1][0]], scale))
    read, read_hour = _hits(terms, state, layout, marks, at)
    read, read_hour = min(read, last), min(read_hour, last)
    if read < hour or read_hour < hour:  # five-minute tokens under a one-hour mark are written again
        return Usage(input=total - last, cached=read_hour, cache_write_1h=hour - read_hour, cache_write_5m=last - hour)
    return Usage(input=total - last, cached=read, cache_write_5m=last - read)


def after(terms: Terms | None, state: State, layout: Layout, reported: Usage, at: float) -> State:
    """The state once a reply has said what was read and written: the report wins over what we believed."""
    odd = min(reported.input, reported.cached, reported.cache_write_5m, reported.cache_write_1h) < 0
    cached = max(0, min(reported.cached, reported.prompt))
    expected = predict(terms, state, layout, at)
    ends = layout.ends()
    estimate = ends[-1] if ends else 0
    scale = state.scale
    if estimate and reported.prompt > 0:
        scale = max(1, reported.prompt * MILLION // estimate)
    entries = _renewed(terms, state, layout, ends, reported, scale, at) if terms is not None else ()
    return State(
        entries=entries,
        at=at,
        scale=scale,
        calls=state.calls + 1,
        predicted_tokens=state.predicted_tokens + expected.cached,
        error_tokens=state.error_tokens + abs(expected.cached - cached),
        odd=state.odd + odd,
    )


def alive(state: State, at: float) -> tuple[int, int]:
    """(tokens held for longer than five minutes, all tokens held) at a time, if the next prompt extends the last."""
    hour = held = 0
    for entry in state.entries:
        if entry.expires >= at:
            held = max(held, entry.tokens)
            if entry.ttl_s > 300:
                hour = max(hour, entry.tokens)
    return hour, held


def _effective(terms: Terms, layout: Layout, ends: Sequence[int], scale: int) -> list[tuple[int, str]]:
    """Breakpoints that do something: the last four, beyond the minimum length, with a TTL that exists."""
    kept = [
        mark for mark in layout.marks if mark[1] in terms.ttl_s and _scaled(ends[mark[0]], scale) >= terms.min_tokens
    ]
    return kept[-terms.max_breakpoints :]


def _hits(terms: Terms, state: State, layout: Layout, marks: Sequence[tuple[int, str]], at: float) -> tuple[int, int]:
    """Tokens of the longest live entry that a look-up finds, of any life and of the long life."""
    live = {entry.identity: entry for entry in state.entries if entry.expires >= at}
    read = read_hour = 0
    for index, _ in marks:
        for back in range(index, max(-1, index - terms.lookback_blocks), -1):
            entry = live.get(layout.blocks[back].identity)
            if entry is not None:
                read = max(read, entry.tokens)
                if entry.ttl_s > 300:
                    read_hour = max(read_hour, entry.tokens)
    return read, read_hour


def _longest(terms: Terms, state: State, layout: Layout, ends: Sequence[int], at: float) -> int:
    """Tokens of the longest common prefix that an automatic cache holds, in whole steps."""
    live = {entry.identity for entry in state.entries if entry.expires >= at}
    for index in range(len(ends) - 1, -1, -1):
        if layout.blocks[index].identity in live:
            tokens = _scaled(ends[index], state.scale) // terms.step_tokens * terms.step_tokens
            return tokens if tokens >= terms.min_tokens else 0
    return 0


def _renewed(
    terms: Terms, state: State, layout: Layout, ends: Sequence[int], reported: Usage, scale: int, at: float
) -> tuple[Entry, ...]:
    """Entries after a reply: those on the path that the report confirms are renewed, marks that it covers are added."""
    path = {block.identity: index for index, block in enumerate(layout.blocks)}
    kept: dict[bytes, Entry] = {}
    for entry in state.entries:
        if entry.expires < at:
            continue
        index = path.get(entry.identity)
        if index is None:
            kept[entry.identity] = entry  # another branch: neither used nor disproved
        elif _within(_scaled(ends[index], scale), reported.cached):
            tokens = _scaled(ends[index], scale)
            kept[entry.identity] = Entry(entry.identity, tokens, entry.ttl_s, at + entry.ttl_s)
    if terms.marked:
        covered = reported.cached + reported.cache_write_5m + reported.cache_write_1h
        places = [
            (index, ttl)
            for index, ttl in _effective(terms, layout, ends, scale)
            if _within(_scaled(ends[index], scale), covered)
        ]
    else:
        retention = layout.retention if layout.retention in terms.ttl_s else terms.default_ttl
        places = [(index, retention) for index in range(len(ends)) if _scaled(ends[index], scale) >= terms.min_tokens]
    for index, ttl in places:
        identity, life = layout.blocks[index].identity, terms.ttl_s[ttl]
        old = kept.get(identity)
        life = max(life, old.ttl_s) if old is not None else life
        kept[identity] = Entry(identity, _scaled(ends[index], scale), life, at + life)
    return tuple(sorted(kept.values(), key=lambda entry: entry.tokens)[-MAX_ENTRIES:])


def _within(position: int, reported: int) -> bool:
    return position <= reported + max(1, reported // TOLERANCE)


def _scaled(tokens: int, scale: int) -> int:
    return tokens * scale // MILLION


# --- When does a change pay? Rates are pico-dollars per token; answers are calls, chances or nano-dollars.


def pico(rates: Rates, usage: Usage) -> int:
    """What a usage costs, in pico-dollars."""
    return (
        usage.input * rates.input
        + usage.cached * rates.cached
        + usage.cache_write_5m * rates.cache_write_5m
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
    )


def calls_to_pay_edit(rates: Rates, removed: int, retained: int, *, hour: bool = False) -> float:
    """n* = (w - r) T / (r M): later calls after which removing `removed` tokens (M) has paid for writing again the
    `retained` tokens behind the first edit (T). 0 where nothing is cached or the prefix has expired (T = 0)."""
    write = rates.cache_write_1h if hour else rates.cache_write_5m
    cost = max(0, write - rates.cached) * retained
    saved = rates.cached * removed
    if cost == 0:
        return 0.0
    return cost / saved if saved else inf


def calls_to_pay_switch(old: Rates, new: Rates, warm: int, growth: int = 0, output: int = 0) -> float:
    """Calls, this one included, after which moving a session of `warm` cached tokens to another model has paid for
    reading them in anew. Each call adds `growth` prompt tokens and makes `output` tokens."""
    cost = (new.cache_write_5m - new.cached) * warm
    stay = old.cached * warm + old.cache_write_5m * growth + old.output * output
    move = new.cached * warm + new.cache_write_5m * growth + new.output * output
    if cost <= 0 and move <= stay:
        return 0.0
    return cost / (stay - move) if stay > move else inf


def chance_to_pay_hour(rates: Rates) -> float:
    """The chance of a pause that one hour outlives and five minutes do not, above which writing for one hour pays.

    Five minutes now and one hour after the pause costs w5 + p w1 per token; one hour at once costs w1 + p r.
    """
    premium = rates.cache_write_1h - rates.cache_write_5m
    gain = rates.cache_write_1h - rates.cached
    return premium / gain if gain > 0 else inf


def pico_hour_gain(rates: Rates, fresh: int, short: int, chance_ppm: int) -> int:
    """Expected pico-dollars that one hour saves over five minutes for `fresh` new tokens, where `short` tokens before
    them are held for five minutes and would have to be written again. Never positive for `short` alone."""
    gain = rates.cache_write_1h - rates.cached
    premium = rates.cache_write_1h - rates.cache_write_5m
    return chance_ppm * gain * (fresh + short) // MILLION - premium * fresh - gain * short


def chance_to_pay_write(rates: Rates, *, hour: bool = False) -> float:
    """The chance that a token is read again in time, above which writing it to the cache pays at all."""
    write = rates.cache_write_1h if hour else rates.cache_write_5m
    gain = write - rates.cached
    return (write - rates.input) / gain if gain > 0 else inf


def pico_later(now: Rates, later: Rates, warm: int, fresh: int, output: int, keeps_prefix: bool) -> tuple[int, int]:
    """(sent now, sent later) for one call with `warm` cached and `fresh` new prompt tokens. A batch that does not keep
    the prefix reads everything at its plain rate, and the session pays for its prefix again on its next call."""
    at_once = warm * now.cached + fresh * now.cache_write_5m + output * now.output
    if keeps_prefix:
        return at_once, warm * later.cached + fresh * later.cache_write_5m + output * later.output
    return at_once, (warm + fresh) * later.input + output * later.output + warm * (now.cache_write_5m - now.cached)


def reads_to_pay_storage(rates: Rates, hours: float) -> float:
    """Reads of a rented prefix in `hours` after which renting it has paid (explicit Gemini cache, any length)."""
    saved = rates.input - rates.cached
    return rates.storage_hour * hours / saved if saved > 0 else inf
