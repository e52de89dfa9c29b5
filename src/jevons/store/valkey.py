"""Counters that all gateways share: reserve and settle in Valkey, and what holds while Valkey is away.

What lives here: the scripts, the memory of what this gateway holds, and the policy of an outage. What it must not know:
what a counter means, or where a cap comes from. The semantics are those of `counters.Counters`; here every step is one
script, so it is atomic over all gateways, and it may be sent again: a member of a counter's lease set is counted once,
and a settled operation leaves a mark. Leases run on the server's clock. Sums are exact up to 2^53 nano-dollars ($9M).

While Valkey is away, each limit says what holds (`away` of a plan's limit):
  local    this gateway may take its share of what was left at the last contact: left / gateways seen alive
  closed   calls under the limit are refused with 503 `budget_store_away`
Contact is renewed each second, so all gateways together pass a cap by at most what is taken in the second before an
outage, and one call's estimate error each. What is settled meanwhile is sent on return; if Valkey lost its memory, the
counters are seeded from the ledger again and calls in flight are put back.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from jevons.core.errors import OurError
from jevons.plans.budget import Claim, Denied, Granted
from jevons.store.counters import Counters
from jevons.store.resp import Away, Link, Refused, digest

log = logging.getLogger("jevons.valkey")

PREFIX = "jevons:"
HEARTBEAT_S = 1.0
GATEWAY_LIVES_S = 10.0
"""A gateway that was not heard of for so long counts no more."""
SETTLED_S = 300
"""How long an operation's mark says that it was settled already."""
KEEP_S = 86_400
"""How long a counter outlives its window; one without an end is kept 40 times as long, then seeded again."""
MAX_UNSENT = 100_000
"""Settlements that wait for Valkey to come back; at the bound calls under a limit are refused. About 60 MB."""
MAX_KNOWN = 50_000
"""Counters whose last state is remembered for an outage; past it the oldest go."""
REFRESHED = 500
"""Counters, the last used, whose state is asked for with each heartbeat."""

_TAKE_BACK = """
local function take_back(key, amount)
  if amount ~= '0' then redis.call('HINCRBY', key, 'r', '-' .. amount) end  -- '-0' is no number there
end
"""
_LEASES = """
local function now_ms() local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000) end
local function drop_late(key, now)
  for _, m in ipairs(redis.call('ZRANGEBYSCORE', key .. ':l', '-inf', '(' .. now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', key .. ':l', m)
    take_back(key, string.match(m, '|(%d+)$'))
  end
end
local function hold(key, member, amount, ends, keep)
  if redis.call('ZADD', key .. ':l', ends, member) == 1 then redis.call('HINCRBY', key, 'r', amount) end
  redis.call('EXPIRE', key, keep); redis.call('EXPIRE', key .. ':l', keep)
end
"""
RESERVE = (
    _TAKE_BACK
    + _LEASES
    + """
-- KEYS: counters. ARGV: operation, lease ms, then for each: amount, cap, keep s, seed ('' when not known)
local now, state = now_ms(), {}
for i, key in ipairs(KEYS) do
  local at = 4 * i - 1
  local spent = redis.call('HGET', key, 's')
  if not spent then
    if ARGV[at + 3] == '' then return {'seed', i} end
    spent = ARGV[at + 3]
    redis.call('HSET', key, 's', spent)
    redis.call('EXPIRE', key, ARGV[at + 2])
  end
  drop_late(key, now)
  local reserved = redis.call('HGET', key, 'r') or '0'
  if tonumber(spent) + tonumber(reserved) + tonumber(ARGV[at]) > tonumber(ARGV[at + 1]) then
    return {'denied', i, spent, reserved}
  end
  state[2 * i - 1], state[2 * i] = spent, reserved
end
for i, key in ipairs(KEYS) do
  local at = 4 * i - 1
  hold(key, ARGV[1] .. '|' .. ARGV[at], ARGV[at], now + ARGV[2], ARGV[at + 2])
end
return {'granted', unpack(state)}
"""
)
SETTLE = (
    _TAKE_BACK
    + """
-- KEYS: mark, counters. ARGV: mark s, then for each counter: member, claimed, took. Sent twice it changes nothing.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return 0 end
for i = 2, #KEYS do
  local key, at = KEYS[i], 3 * i - 4
  if redis.call('ZREM', key .. ':l', ARGV[at]) == 1 then take_back(key, ARGV[at + 1]) end
  if redis.call('HEXISTS', key, 's') == 1 then redis.call('HINCRBY', key, 's', ARGV[at + 2]) end
end
return 1
"""
)
HOLD = (
    _TAKE_BACK
    + _LEASES
    + """
-- KEYS: mark, counters. ARGV: lease ms, then for each counter: member, amount, keep s. Renews, or puts back.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local ends = now_ms() + ARGV[1]
for i = 2, #KEYS do
  local at = 3 * i - 4
  hold(KEYS[i], ARGV[at], ARGV[at + 1], ends, ARGV[at + 2])
end
return 1
"""
)
SCRIPTS = (RESERVE, SETTLE, HOLD)
_RESERVE, _SETTLE, _HOLD = map(digest, SCRIPTS)


NOTHING: Mapping[str, int] = {}


class Held(msgspec.Struct):
    """What a call of this gateway holds."""

    claims: tuple[Claim, ...]
    lease_ends: float


class SharedCounters:
    """The counters of one gateway among many. `seed` may block (it asks the ledger) and runs in a thread."""

    def __init__(self, link: Link, seed: Callable[[str], int] = lambda _counter: 0):
        self._link = link
        self._seed = seed
        self._seeding = asyncio.Lock()
        self._held: dict[str, Held] = {}
        self._unsent: dict[str, tuple[tuple[Claim, ...], Mapping[str, int]]] = {}
        self._known: dict[str, tuple[int, int]] = {}
        self._here = Counters()
        self._shares: dict[str, int] = {}
        self._name = secrets.token_hex(6)
        self.gateways = 1
        self.local_grants = self.closed_refusals = 0
        link.on_up = self._back

    @property
    def reservations(self) -> int:
        return len(self._held)

    @property
    def state(self) -> str:
        """For /readyz."""
        return (
            "ok"
            if self._link.up
            else f"degraded: limits hold by their `away` policy, {len(self._unsent)} settlements wait"
        )

    async def reserve(self, operation: str, claims: Sequence[Claim], lease_ends: float) -> Granted | Denied:
        """All claims or none, over all gateways; while Valkey is away, by each limit's policy. Raises OurError."""
        claims = _each_once(claims)
        if self._link.up:
            try:
                answer = await self._reserve_there(operation, claims, lease_ends)
            except asyncio.CancelledError:
                self._let_go(operation, claims)
                raise
            except (Away, Refused) as error:
                log.debug("no reservation in valkey: %r", error)
                self._let_go(operation, claims)  # it may hold it all the same
                answer = await self._reserve_here(operation, claims, lease_ends)
                if isinstance(answer, Granted):
                    self._unsent.pop(operation, None)  # the call's own end will be sent
        else:
            answer = await self._reserve_here(operation, claims, lease_ends)
        if isinstance(answer, Granted):
            self._held[operation] = Held(claims, lease_ends)
        return answer

    def settle(self, operation: str, took: Mapping[str, int]) -> None:
        """Replace a reservation by what was taken: sent now, and again after an outage."""
        held = self._held.pop(operation, None)
        if held is None:
            return
        self._here.settle(operation, took)
        self._let_go(operation, held.claims, took)

    def renew(self, operation: str, lease_ends: float) -> None:
        held = self._held.get(operation)
        if held is not None:
            held.lease_ends = lease_ends
            self._here.renew(operation, lease_ends)
            if self._link.up:
                self._send_hold(operation, held)

    def expire(self, now: float) -> int:
        """Let go of what this gateway forgot to settle; Valkey's own leases end there."""
        late = [operation for operation, held in self._held.items() if held.lease_ends < now]
        for operation in late:
            self.settle(operation, {})
        self._here.expire(now)
        return len(late)

    async def run(self) -> None:
        """The heartbeat: how many gateways live, and what the counters last used stand at. Until cancelled."""
        while True:
            if self._link.up:
                try:
                    await self._beat()
                except (Away, Refused) as error:
                    log.debug("no heartbeat: %r", error)
            await asyncio.sleep(HEARTBEAT_S)

    # --- with Valkey

    async def _reserve_there(self, operation: str, claims: tuple[Claim, ...], lease_ends: float) -> Granted | Denied:
        seeds: dict[str, int] = {}
        for _ in range(len(claims) + 1):  # each round seeds one counter at most
            now = time.time()
            parts: list[Any] = [operation, _ms(lease_ends - now)]
            for claim in claims:
                parts += [claim.amount, claim.cap, _keep_s(claim, now), seeds.get(claim.counter, "")]
            keys = [PREFIX + claim.counter for claim in claims]
            word, *rest = await self._link.ask("EVALSHA", _RESERVE, len(keys), *keys, *parts)
            if word == b"seed":
                counter = claims[rest[0] - 1].counter
                async with self._seeding:
                    seeds[counter] = await asyncio.to_thread(self._seed, counter)
                continue
            if word == b"denied":
                claim = claims[rest[0] - 1]
                spent, reserved = int(rest[1]), int(rest[2])
                self._know(claim.counter, spent, reserved)
                return Denied(claim=claim, spent=spent, reserved=reserved)
            return self._granted(claims, [int(value) for value in rest])
        raise Away

    def _granted(self, claims: tuple[Claim, ...], state: list[int]) -> Granted:
        fullest, whose = 0.0, None
        for claim, spent, reserved in zip(claims, state[::2], state[1::2], strict=True):
            reserved_now = reserved + claim.amount
            self._know(claim.counter, spent, reserved_now)
            share = (spent + reserved_now) / claim.cap if claim.cap else 1.0
            if share >= claim.limit.warn_at and share > fullest:
                fullest, whose = share, claim
        return Granted(fullest=fullest, claim=whose)

    def _let_go(self, operation: str, claims: tuple[Claim, ...], took: Mapping[str, int] = NOTHING) -> None:
        self._unsent[operation] = (claims, took)
        if self._link.up:
            self._send_settlement(operation)

    def _send_settlement(self, operation: str) -> None:
        claims, took = self._unsent[operation]
        keys = [f"{PREFIX}done:{operation}"]
        parts: list[str | int] = []
        for claim in claims:
            keys.append(PREFIX + claim.counter)
            parts += [f"{operation}|{claim.amount}", claim.amount, took.get(claim.counter, 0)]
        try:
            future = self._link.ask("EVALSHA", _SETTLE, len(keys), *keys, SETTLED_S, *parts)
        except Away:
            return
        future.add_done_callback(lambda done: self._settled(operation, done))

    def _settled(self, operation: str, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and done.exception() is None:
            self._unsent.pop(operation, None)

    def _send_hold(self, operation: str, held: Held) -> None:
        now = time.time()
        keys = [f"{PREFIX}done:{operation}"]
        parts: list[str | int] = []
        for claim in held.claims:
            keys.append(PREFIX + claim.counter)
            parts += [f"{operation}|{claim.amount}", claim.amount, _keep_s(claim, now)]
        try:
            self._link.ask("EVALSHA", _HOLD, len(keys), *keys, _ms(held.lease_ends - now), *parts).add_done_callback(
                _seen
            )
        except Away:
            return

    async def _beat(self) -> None:
        now = time.time()
        key = f"{PREFIX}gateways"
        recent = list(self._known)[-REFRESHED:]
        asked = [self._link.ask("HMGET", PREFIX + counter, "s", "r") for counter in recent]
        last = [
            self._link.ask("ZADD", key, int(now), self._name),
            self._link.ask("ZREMRANGEBYSCORE", key, "-inf", int(now - GATEWAY_LIVES_S)),
            self._link.ask("ZCARD", key),
        ]
        *states, _, _, alive = await asyncio.gather(*asked, *last)
        self.gateways = max(1, alive)
        for counter, (spent, reserved) in zip(recent, states, strict=True):
            if counter in self._known and spent is not None:
                self._known[counter] = (int(spent), int(reserved or 0))

    def _know(self, counter: str, spent: int, reserved: int) -> None:
        self._known.pop(counter, None)
        self._known[counter] = (spent, reserved)
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    # --- without it

    async def _reserve_here(self, operation: str, claims: tuple[Claim, ...], lease_ends: float) -> Granted | Denied:
        if any(claim.limit.away == "closed" for claim in claims) or len(self._unsent) >= MAX_UNSENT:
            self.closed_refusals += 1
            raise OurError(
                "the store of budgets does not answer, and a limit of this call is closed meanwhile",
                code="budget_store_away",
                status=503,
                retry_after_s=1.0,
            )
        for claim in claims:
            if claim.counter not in self._shares:
                self._shares[claim.counter] = await self._share(claim)
        mine = tuple(msgspec.structs.replace(claim, cap=self._shares[claim.counter]) for claim in claims)
        answer = self._here.reserve(operation, mine, lease_ends)
        if isinstance(answer, Granted):
            self.local_grants += 1
            return answer
        claim = next(claim for claim in claims if claim.counter == answer.claim.counter)
        others = claim.cap - answer.claim.cap  # what is spent or is another gateway's share
        return Denied(claim=claim, spent=others + answer.spent, reserved=answer.reserved)

    async def _share(self, claim: Claim) -> int:
        """This gateway's part of what was left of a counter when it was last seen."""
        known = self._known.get(claim.counter)
        if known is None:
            async with self._seeding:
                known = (await asyncio.to_thread(self._seed, claim.counter), 0)
        left = max(0, claim.cap - known[0] - known[1])
        return left // self.gateways or min(left, 1)

    def _back(self) -> None:
        """Valkey is there again: what was settled goes first, then what is held is put back."""
        for operation in list(self._unsent):
            self._send_settlement(operation)
        for operation, held in self._held.items():
            self._send_hold(operation, held)
        self._here, self._shares = Counters(), {}


def _each_once(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Two limits on one counter are one claim, up to the lower cap."""
    found: dict[str, Claim] = {}
    for claim in claims:
        before = found.get(claim.counter)
        if before is None or claim.cap < before.cap:
            found[claim.counter] = claim
    return tuple(found.values())


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _keep_s(claim: Claim, now: float) -> int:
    return max(1, int(claim.ends - now)) + KEEP_S if claim.ends else 40 * KEEP_S


def _seen(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
