"""What gateways share besides the ledger: which form of counters and answers a gateway uses, by its settings.

What lives here: the choice between this process and Valkey, answers over several gateways, and the caps of processes
that share nothing. What it must not know: what an answer or a counter means.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jevons.core.ask import Stored
from jevons.plans.budget import Claim, Denied, Granted
from jevons.store.answers import Answers
from jevons.store.counters import Counters
from jevons.store.resp import Away, Link, Refused, digest
from jevons.store.valkey import PREFIX, SCRIPTS, SharedCounters

log = logging.getLogger("jevons.shared")

LEAD_MS = 15_000
"""How long a gateway leads an identical call before another one leads too: a leader that died holds nobody longer."""
LOOKS_S = (0.02, 0.05, 0.1, 0.2)
"""Pauses of one who waits for another gateway's answer; the last one is repeated."""
WAIT_S = 30.0
"""How long it waits at most; then it burns by itself."""
FIND = """
-- KEYS: answer, lead. ARGV: who, lead ms ('' does not lead). The answer, or 0: you lead, or 1: another one does.
local found = redis.call('GET', KEYS[1])
if found then return found end
if ARGV[2] == '' then return 1 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return 1
"""
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_FIND, _RELEASE = digest(FIND), digest(RELEASE)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


class SharedAnswers:
    """`answers.Answers` before Valkey: found here, else there; identical calls in flight wait over all gateways.

    While Valkey is away it is the cache of one gateway.
    """

    def __init__(self, here: Answers, link: Link, *, max_entry_bytes: int, ttl_s: float):
        self._here = here
        self._link = link
        self._max_entry_bytes = max_entry_bytes
        self._ttl_ms = int(ttl_s * 1000)
        self._name = secrets.token_hex(6)
        self.hits_there = 0

    @property
    def size_bytes(self) -> int:
        return self._here.size_bytes

    def __len__(self) -> int:
        return len(self._here)

    async def find(self, tenant: str, key: bytes, now: float, *, wait: bool) -> Stored | None:
        """As `Answers.find`."""
        found = await self._here.find(tenant, key, now, wait=wait)
        if found is not None or not self._link.up:
            return found
        try:
            found = await self._find_there(_name(tenant, key), wait=wait)
        except (Away, Refused, msgspec.MsgspecError):  # an answer of another version is no answer
            return None
        except asyncio.CancelledError:
            if wait:
                self.keep(tenant, key, None, now)  # this one led, here and perhaps there
            raise
        if found is not None:
            self.hits_there += 1
            if wait:
                self._here.keep(tenant, key, found, now)
        return found

    def keep(self, tenant: str, key: bytes, stored: Stored | None, now: float) -> None:
        """As `Answers.keep`; other gateways find it once Valkey has it."""
        self._here.keep(tenant, key, stored, now)
        if not self._link.up:
            return
        name = _name(tenant, key)
        with contextlib.suppress(Away):
            if stored is not None and len(stored.body) <= self._max_entry_bytes:
                self._tell("SET", f"{PREFIX}answer:{name}", _encode(stored), "PX", self._ttl_ms)
            self._tell("EVALSHA", _RELEASE, 1, f"{PREFIX}lead:{name}", self._name)

    def purge(self, tenant: str) -> int:
        """Forget what is here of a tenant; what Valkey holds ends with its time."""
        return self._here.purge(tenant)

    async def _find_there(self, name: str, *, wait: bool) -> Stored | None:
        keys = (f"{PREFIX}answer:{name}", f"{PREFIX}lead:{name}")
        waited, looks = 0.0, iter(LOOKS_S)
        pause = 0.0
        while True:
            raw: bytes | int = await self._link.ask("EVALSHA", _FIND, 2, *keys, self._name, LEAD_MS if wait else "")
            if isinstance(raw, bytes):
                found = _decode(raw)
                return msgspec.structs.replace(found, joined=True) if waited else found
            if raw == 0 or not wait or waited >= WAIT_S:
                return None
            pause = next(looks, pause)
            await asyncio.sleep(pause)
            waited += pause

    def _tell(self, *parts: Any) -> None:
        self._link.ask(*parts).add_done_callback(_seen)


class PartCounters(Counters):
    """Counters of one of `parts` processes that share no store: each takes its part of what is left at first sight.

    The sum over all of them never passes a cap; a cap that one process has used up is refused there, though another
    one may have some left.
    """

    def __init__(self, seed: Callable[[str], int], parts: int):
        self._floors: dict[str, int] = {}

        def noted(counter: str) -> int:
            self._floors[counter] = seed(counter)
            return self._floors[counter]

        super().__init__(noted)
        self._parts = parts

    def reserve(self, operation: str, claims: Sequence[Claim], lease_ends: float) -> Granted | Denied:
        mine = tuple(msgspec.structs.replace(claim, cap=self._part(claim)) for claim in claims)
        answer = super().reserve(operation, mine, lease_ends)
        if isinstance(answer, Granted):
            return answer
        claim = next(claim for claim in claims if claim.counter == answer.claim.counter)
        return Denied(claim=claim, spent=claim.cap - answer.claim.cap + answer.spent, reserved=answer.reserved)

    def expire(self, now: float) -> int:
        ended = super().expire(now)
        if len(self._floors) > 2 * len(self):
            self._floors = {name: floor for name, floor in self._floors.items() if name in self._counters}
        return ended

    def _part(self, claim: Claim) -> int:
        self._counter(claim)
        floor = self._floors[claim.counter]
        left = max(0, claim.cap - floor)
        return floor + (left // self._parts or min(left, 1))


class Shared(msgspec.Struct):
    """The counters and answers of a gateway, and the work that keeps them in touch with the others."""

    counters: Counters | SharedCounters
    answers: Answers | SharedAnswers
    link: Link | None = None
    parts: int = 1

    async def start(self) -> list["asyncio.Task[None]"]:
        """Connect; returns once it is known whether the store is there. The tasks run until they are cancelled."""
        if self.link is None or not isinstance(self.counters, SharedCounters):
            return []
        tasks = [asyncio.create_task(self.link.run())]
        await self.link.tried.wait()
        return [*tasks, asyncio.create_task(self.counters.run())]

    @property
    def up(self) -> int:
        return int(self.link is None or self.link.up)

    @property
    def losses(self) -> int:
        return self.link.losses if self.link is not None else 0

    @property
    def grants(self) -> int:
        return self.counters.local_grants if isinstance(self.counters, SharedCounters) else 0

    @property
    def refusals(self) -> int:
        return self.counters.closed_refusals if isinstance(self.counters, SharedCounters) else 0

    @property
    def state(self) -> str:
        """For /readyz: `ok`, or what holds instead."""
        if isinstance(self.counters, SharedCounters):
            return self.counters.state
        if self.parts > 1:
            return f"ok: without shared.url each of {self.parts} workers holds its part of every limit"
        return "ok"


def share(
    url: str,
    timeout_s: float,
    *,
    here: Answers,
    max_entry_bytes: int,
    ttl_s: float,
    seed: Callable[[str], int],
    parts: int,
) -> Shared:
    """What the settings ask for: Valkey by URL; without it this process, or its part where there are several."""
    if not url:
        return Shared(counters=PartCounters(seed, parts) if parts > 1 else Counters(seed), answers=here, parts=parts)
    link = Link(url, timeout_s, (*SCRIPTS, FIND, RELEASE))
    answers = SharedAnswers(here, link, max_entry_bytes=max_entry_bytes, ttl_s=ttl_s)
    return Shared(counters=SharedCounters(link, seed), answers=answers, link=link, parts=parts)


def _name(tenant: str, key: bytes) -> str:
    """One name for a tenant's key; no tenant can name another one's."""
    who = tenant.encode("utf-8", "surrogatepass")
    return hashlib.sha256(b"%d:%b%b" % (len(who), who, key)).hexdigest()


def _seen(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
