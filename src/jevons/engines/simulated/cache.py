"""The simulated providers' prefix caches: what of a prompt is read, what is written, for how long.

OpenAI (prompt caching guide): automatic from 1,024 tokens in steps of 128, free to write, kept for 5 to 10 minutes
of idleness (24 h with `prompt_cache_retention: "24h"`), found through the organisation, the model and
`prompt_cache_key`. Anthropic (prompt caching guide): written only at breakpoints, at most four, not below the model's
minimum; each breakpoint looks back over 20 blocks for an entry; 5 minutes or an hour, renewed by a read; the highest
hit is read, what lies behind it up to the last breakpoint is written. An hour's breakpoint is not content with a
five-minute entry: that part is written again at the hour's price.

An entry exists once the reply has begun (`commit`). This file must not know prices or HTTP.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from jevons.engines.simulated import tokens
from jevons.engines.simulated.prompt import Refused, Segment

OPENAI_MINIMUM = 1024
OPENAI_STEP = 128
OPENAI_IDLE_S = (300.0, 600.0)
"""Each prefix is dropped after an idle time in this range, fixed by its hash."""
OPENAI_LONG_S = 24 * 3600.0
ANTHROPIC_BREAKPOINTS = 4
ANTHROPIC_LOOKBACK = 20
TTL_S = {"5m": 300.0, "1h": 3600.0}
MAX_ENTRIES = 500_000
"""Beyond this the oldest entries go, as in a real cache under pressure."""


class Read(msgspec.Struct, frozen=True):
    """How a prompt's tokens split; `commit()` makes what was written visible to later requests."""

    uncached: int
    read: int
    write_5m: int
    write_1h: int
    commit: Callable[[], None]


def size(segments: Sequence[Segment]) -> int:
    """Tokens of a whole prompt."""
    return sum(segment.framing + tokens.count(segment.text) for segment in segments) + tokens.PER_REPLY


class Caches:
    """All organisations' caches of one simulator; `now` is always an argument."""

    def __init__(self) -> None:
        self._openai: OrderedDict[bytes, float] = OrderedDict()
        self._anthropic: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def clear(self) -> None:
        self._openai.clear()
        self._anthropic.clear()

    def openai(self, scope: str, segments: Sequence[Segment], *, long: bool, now: float) -> Read:
        """`scope` names organisation, model and prompt_cache_key: nothing is shared across it."""
        total = size(segments)
        chain = blocks(scope, segments)
        held = 0
        for digest in chain:
            if self._openai.get(digest, 0.0) <= now:
                break
            held += 1
        read = held * OPENAI_STEP if held * OPENAI_STEP >= OPENAI_MINIMUM else 0

        def commit() -> None:
            if len(chain) * OPENAI_STEP < OPENAI_MINIMUM:
                return
            low, high = OPENAI_IDLE_S
            idle = OPENAI_LONG_S if long else low + (high - low) * chain[0][0] / 256
            for digest in chain:
                self._openai[digest] = max(self._openai.get(digest, 0.0), now + idle)
                self._openai.move_to_end(digest)
            while len(self._openai) > MAX_ENTRIES:
                self._openai.popitem(last=False)

        return Read(total - read, read, 0, 0, commit)

    def anthropic(self, scope: str, segments: Sequence[Segment], *, salt: str, minimum: int, now: float) -> Read:
        """`salt` is what else makes the messages' part of a prefix another one: tool choice and thinking.

        Raises Refused for too many breakpoints or an hour's behind a five-minute one.
        """
        marks = [index for index, segment in enumerate(segments) if segment.ttl]
        check(segments, marks)
        total = size(segments)
        chain = levels(scope, salt, segments)
        marks = [index for index in marks if chain[index][1] >= minimum]
        hit = {"5m": 0, "1h": 0}
        used: list[bytes] = []
        for index in marks:
            found = self._look_back(chain, index, segments[index].ttl, now)
            if found is not None:
                digest, at, kind = found
                used.append(digest)
                hit["5m"] = max(hit["5m"], at)
                hit["1h"] = max(hit["1h"], at if kind == "1h" else 0)
        end = max((chain[index][1] for index in marks), default=0)
        hour = max((chain[index][1] for index in marks if segments[index].ttl == "1h"), default=0)
        held, held_1h = hit["5m"], hit["1h"]
        write_1h = max(0, hour - held_1h)
        read = held if write_1h == 0 else held_1h + max(0, held - hour)
        write_5m = max(0, end - max(held, hour))

        def commit() -> None:
            for digest in used:
                kind = self._anthropic[digest][1] if digest in self._anthropic else "5m"
                self._store(digest, kind, now)
            for index in marks:
                digest, at = chain[index]
                if at > (held_1h if segments[index].ttl == "1h" else held):
                    self._store(digest, segments[index].ttl, now)

        return Read(total - read - write_5m - write_1h, read, write_5m, write_1h, commit)

    def _look_back(
        self, chain: list[tuple[bytes, int]], index: int, ttl: str, now: float
    ) -> tuple[bytes, int, str] | None:
        for back in range(index, max(-1, index - ANTHROPIC_LOOKBACK), -1):
            digest, at = chain[back]
            expires, kind = self._anthropic.get(digest, (0.0, ""))
            if expires > now and (ttl == "5m" or kind == "1h"):
                return digest, at, kind
        return None

    def _store(self, digest: bytes, ttl: str, now: float) -> None:
        self._anthropic[digest] = (now + TTL_S[ttl], ttl)
        self._anthropic.move_to_end(digest)
        while len(self._anthropic) > MAX_ENTRIES:
            self._anthropic.popitem(last=False)


def check(segments: Sequence[Segment], marks: list[int]) -> None:
    """The rules on breakpoints. Raises Refused."""
    if len(marks) > ANTHROPIC_BREAKPOINTS:
        message = f"A maximum of {ANTHROPIC_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
        raise Refused(400, "invalid_request_error", message)
    kinds = [segments[index].ttl for index in marks]
    if kinds != sorted(kinds):  # "1h" sorts before "5m"
        message = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
        raise Refused(400, "invalid_request_error", message)


def blocks(scope: str, segments: Sequence[Segment]) -> list[bytes]:
    """A chained digest for each full 128-token block of the prompt."""
    state = hashlib.blake2b(scope.encode(), digest_size=16)
    out: list[bytes] = []
    position = 0
    for segment in segments:
        marks = tokens.ends(segment.text)
        length = segment.framing + len(marks)
        start = 0
        for boundary in range((position // OPENAI_STEP + 1) * OPENAI_STEP, position + length + 1, OPENAI_STEP):
            inside = boundary - position - segment.framing
            end = marks[inside - 1] if inside > 0 else 0
            state.update(segment.text[start:end].encode("utf-8", "surrogatepass"))
            out.append(state.digest())
            start = end
        state.update(segment.text[start:].encode("utf-8", "surrogatepass") + b"\0")
        position += length
    return out


def levels(scope: str, salt: str, segments: Sequence[Segment]) -> list[tuple[bytes, int]]:
    """For each block: (chained digest, tokens up to its end)."""
    state = hashlib.blake2b(scope.encode(), digest_size=16)
    out: list[tuple[bytes, int]] = []
    position, salted = 0, False
    for segment in segments:
        if segment.level == "messages" and not salted:
            state.update(salt.encode())
            salted = True
        state.update(segment.level.encode() + b"\0" + segment.text.encode("utf-8", "surrogatepass") + b"\0")
        position += segment.framing + tokens.count(segment.text)
        out.append((state.digest(), position))
    return out
