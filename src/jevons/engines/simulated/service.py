"""The simulated provider behind the socket: who asks, what goes wrong, what is answered, what is billed.

It keeps the order of a real provider: key, limits, request, cache, reply, bill. A refused request is not billed;
an accepted one is billed its prompt, and the output that had been produced when its client left or the wire broke.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec

from jevons.engines.simulated import brain, chat, faults, messages, outlet, prices, responses, tokens
from jevons.engines.simulated.books import Books, Received
from jevons.engines.simulated.cache import Caches, Read, size
from jevons.engines.simulated.faults import Dice, Fault, Script
from jevons.engines.simulated.http11 import Peer, Request
from jevons.engines.simulated.prompt import Answer, Ask, Counts, Refused, Reply

Brain = Callable[[Ask], Reply | None]
"""An in-process starter may give the model's answers itself (a recorded workload, say)."""
LIMIT_REQUESTS = 10_000
LIMIT_TOKENS = 30_000_000
STREAMING = {"chat": chat.events, "responses": responses.events, "messages": messages.events}
WHOLE = {"chat": chat.whole, "responses": responses.whole, "messages": messages.whole}
PREFIX = {"chat": "chatcmpl-sim", "responses": "resp_sim", "messages": "msg_sim"}


class Call(msgspec.Struct):
    """One request inside the service."""

    request: Request
    peer: Peer
    received: Received
    provider: str
    org: str
    fault: Fault
    reply: Reply | None
    body: dict[str, Any]


class Service:
    """The state of one simulated provider pair and its answer to each request."""

    def __init__(self, books: Books, script: Script, *, seed: int, mind: Brain | None = None):
        self.books = books
        self.script = script
        self.caches = Caches()
        self.stored: dict[tuple[str, str], dict[str, Any]] = {}
        """Responses kept by `store`, by (organisation, id), with the items that led to them."""
        self.ahead_s = 0.0
        """How far the simulator's clock was moved."""
        self._seed = seed
        self._mind = mind
        self._dice = Dice(script, seed)
        self._minute: dict[tuple[str, int], int] = {}

    def now(self) -> float:
        return time.time() + self.ahead_s

    # --- a request's way

    def open(self, request: Request, peer: Peer) -> Call:
        """Write a request down and find its key, its fault and its scripted reply."""
        bearer = request.header("authorization").removeprefix("Bearer ").strip()
        key = request.header("x-api-key") or bearer
        anthropic = request.path.startswith(("/v1/messages", "/v1/organizations/")) or bool(
            request.header("anthropic-version")
        )
        try:
            body = json.loads(request.body) if request.body.lstrip()[:1] == b"{" else {}
        except ValueError:
            body = {}
        model = str(body.get("model", ""))
        fault, reply = self._dice.roll(request.path, key, model, request.body)
        asked = request.header("x-sim-fault")
        if asked:
            fault = faults.parse(asked)
        now = self.now()
        received = self.books.receive(
            lambda number: Received(
                number=number, at=now, method=request.method, path=request.path, headers=request.headers,
                head=request.head, body=request.body, key=key, request_id=self._request_id(number), fault=fault.kind,
            )
        )  # fmt: skip
        org = self.script.orgs.get(key) or request.header("openai-organization") or key
        return Call(request, peer, received, "anthropic" if anthropic else "openai", org, fault, reply, body)

    def check(self, call: Call) -> None:
        """Key and limits. Raises Refused."""
        known = not self.script.only_keys or call.received.key in self.script.orgs
        if not call.received.key or not known or call.received.key.startswith("sk-invalid"):
            if call.provider == "anthropic":
                raise Refused(401, "authentication_error", "invalid x-api-key")
            message = "Incorrect API key provided: sk-s****. You can find your API key at your account's settings."
            raise Refused(401, "invalid_request_error", message, code="invalid_api_key")
        window = (call.org, int(self.now() // 60))
        if window not in self._minute:
            self._minute = {key: count for key, count in self._minute.items() if key[1] == window[1]}
        self._minute[window] = self._minute.get(window, 0) + 1
        limit = self.script.requests_per_minute
        if limit and self._minute[window] > limit:
            kinds = ("requests", "rate_limit_error")
            code = "rate_limit_exceeded"
            raise Refused(429, kinds[call.provider == "anthropic"], f"Rate limit reached: {limit} RPM.", code=code)
        refused = faults.refusal(call.fault, call.provider)
        if refused is not None:
            raise refused

    async def generate(self, call: Call, surface: str) -> None:
        """Chat, responses or messages."""
        if call.provider == "anthropic" and not call.request.header("anthropic-version"):
            raise Refused(400, "invalid_request_error", "anthropic-version: header is required")
        ask = self.read(surface, self.parsed(call), call.org)
        reply = self.reply(ask, call.reply)
        self.meet(call, reply)
        if call.fault.kind == "interleave":
            reply = msgspec.structs.replace(reply, interleave=True)
        if call.fault.kind == "huge":
            reply = msgspec.structs.replace(reply, text="x" * int(call.fault.mb * 1024 * 1024), per_delta=4096)
        read = self.look_up(ask, call.org)
        answer = self.think(ask, reply, read, f"{PREFIX[surface]}{call.received.number:08d}")
        wait = reply.first_byte_s or self.script.first_byte_s
        if call.fault.kind == "stall_first":  # here, so that a caller who leaves meanwhile is billed the prompt alone
            wait, call.fault = call.fault.s, faults.NONE
        if wait and await call.peer.pause(wait):
            self._bill(call, ask, answer, produced=0, complete=False)
            self._leaving(call, complete=False)
            return
        read.commit()
        if ask.stream:
            await self._stream(call, ask, answer, reply)
        else:
            body = WHOLE[surface](ask, answer)
            self._store(call.org, ask, answer, body)
            self._bill(call, ask, answer, produced=answer.counts.output, complete=True)
            await self.send(call, 200, body)

    async def _stream(self, call: Call, ask: Ask, answer: Answer, reply: Reply) -> None:
        kind = "overloaded_error" if call.provider == "anthropic" else "server_error"
        error = self.error(call, Refused(529, kind, "Overloaded"))
        stream = outlet.Stream(
            call.peer, self.headers(call), call.fault, error, reply.event_s or self.script.event_s
        )  # fmt: skip
        complete = False
        call.received.status = 200
        try:
            complete = await stream.send(STREAMING[ask.surface](ask, answer))
        finally:
            call.received.events_sent = stream.sent
            produced = answer.counts.output if complete else min(stream.tokens, answer.counts.output)
            self._bill(call, ask, answer, produced=produced, complete=complete)
            self._leaving(call, complete=complete)
            if complete:
                self._store(call.org, ask, answer, WHOLE[ask.surface](ask, answer))

    # --- the parts of a generation; batches use them too

    def parsed(self, call: Call) -> dict[str, Any]:
        """The body as a JSON object. Raises Refused."""
        try:
            value = json.loads(call.request.body)
        except (ValueError, RecursionError):
            message = "We could not parse the JSON body of your request."
            raise Refused(400, "invalid_request_error", message) from None
        if not isinstance(value, dict):
            raise Refused(400, "invalid_request_error", "The body is not a JSON object.")
        return value

    def read(self, surface: str, body: dict[str, Any], org: str) -> Ask:
        """A body as an Ask for a model that exists. Raises Refused."""
        model = body.get("model")
        wanted = "anthropic" if surface == "messages" else "openai"
        known = prices.table().get(model) if isinstance(model, str) else None
        if not model:
            raise Refused(400, "invalid_request_error", "you must provide a model parameter")
        if known is None or known.provider != wanted:
            if wanted == "anthropic":
                raise Refused(404, "not_found_error", f"model: {model}")
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise Refused(404, "invalid_request_error", message, code="model_not_found")
        try:
            ask = responses.read(body, self._chain(org, body)) if surface == "responses" else (
                messages.read(body) if surface == "messages" else chat.read(body)
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            message = f"Invalid request: {type(error).__name__} at {error}"
            raise Refused(400, "invalid_request_error", message) from None
        if ask.surface != "messages" and ask.tier and ask.tier not in known.rates:
            message = f"Invalid service_tier argument: {ask.tier} is not available for {model}"
            raise Refused(400, "invalid_request_error", message, param="service_tier")
        return ask

    def reply(self, ask: Ask, scripted: Reply | None) -> Reply:
        """Rule, in-process brain, prompt's own line, or nothing special."""
        if scripted is not None:
            return scripted
        made = self._mind(ask) if self._mind is not None else None
        if made is not None:
            return made
        try:
            return brain.directive(ask.last_user) or Reply()
        except (ValueError, msgspec.ValidationError) as error:
            raise Refused(400, "invalid_request_error", f"SIM line: {error}") from None

    def meet(self, call: Call, reply: Reply) -> None:
        """A reply's own fault counts when no header or rule gave one. Raises Refused."""
        if reply.fault and not call.fault.kind:
            call.fault = faults.parse(reply.fault)
            call.received.fault = call.fault.kind
            refused = faults.refusal(call.fault, call.provider)
            if refused is not None:
                raise refused
            if call.fault.kind in faults.UNBILLED:
                raise ConnectionAbortedError

    def look_up(self, ask: Ask, org: str, *, batch: bool = False) -> Read:
        """The prompt against the caches. OpenAI's batches neither read nor fill one."""
        if ask.surface == "messages":
            minimum = prices.table()[ask.model].minimum
            scope = f"{org}\0{ask.model}"
            return self.caches.anthropic(
                scope, ask.segments, salt=messages.salt(ask.body), minimum=minimum, now=self.now()
            )  # fmt: skip
        if batch:
            return Read(size(ask.segments), 0, 0, 0, lambda: None)
        scope = f"{org}\0{ask.model}\0{ask.cache_key}"
        return self.caches.openai(scope, ask.segments, long=ask.retention == "24h", now=self.now())

    def think(self, ask: Ask, reply: Reply, read: Read, ident: str, tier: str = "") -> Answer:
        """The model's answer with its usage."""
        seed = brain.digest(ask)
        blocks, hidden = brain.blocks(ask, reply, seed)
        if ask.max_tokens is not None:
            hidden = min(hidden, ask.max_tokens)
        kept, stop, matched = brain.cut(blocks, ask, hidden)
        output = sum(tokens.count(block.text) + tokens.count(block.name) for block in kept) * ask.choices + hidden
        counts = Counts(
            uncached=read.uncached, read=read.read, write_5m=read.write_5m, write_1h=read.write_1h,
            output=output, reasoning=hidden,
        )  # fmt: skip
        billed = tier or ("" if ask.surface == "messages" else ask.tier)
        return Answer(
            id=ident, created=int(self.now()), model=ask.model, blocks=tuple(kept), stop=reply.stop or stop,
            stop_sequence=matched, counts=counts, tier=billed, per_delta=reply.per_delta, interleave=reply.interleave,
        )  # fmt: skip

    def _bill(self, call: Call, ask: Ask, answer: Answer, *, produced: int, complete: bool) -> None:
        counts = msgspec.structs.replace(
            answer.counts, output=produced, reasoning=min(answer.counts.reasoning, produced)
        )  # fmt: skip
        self.books.bill(
            call.received, model=answer.model, org=call.org, surface=ask.surface, tier=answer.tier, counts=counts,
            at=self.now(), complete=complete,
        )  # fmt: skip

    def bill_batch(self, org: str, ask: Ask, answer: Answer) -> None:
        """A batch's line; no request of its own stands behind it."""
        key = next((key for key, of in self.script.orgs.items() if of == org), org)
        self.books.bill(
            None, model=answer.model, org=org, key=key, surface=ask.surface, tier="batch", counts=answer.counts,
            at=self.now(), complete=True,
        )  # fmt: skip

    # --- stored responses

    def _store(self, org: str, ask: Ask, answer: Answer, body: dict[str, Any]) -> None:
        if ask.surface == "responses" and ask.body.get("store", True):
            items = self._chain(org, ask.body) + responses.as_items(ask.body["input"])
            self.stored[org, answer.id] = {"body": body, "input": items}

    def _chain(self, org: str, body: dict[str, Any]) -> responses.Items:
        """The items behind `previous_response_id`. Raises Refused."""
        previous = body.get("previous_response_id")
        if not previous:
            return []
        found = self.stored.get((org, previous))
        if found is None:
            message = f"Previous response with id '{previous}' not found."
            code = "previous_response_not_found"
            raise Refused(400, "invalid_request_error", message, param="previous_response_id", code=code)
        return [*found["input"], *found["body"]["output"]]

    # --- sending

    def headers(self, call: Call) -> outlet.Headers:
        """What both providers document: a request id and the limits."""
        used = self._minute.get((call.org, int(self.now() // 60)), 0)
        left = max(0, (self.script.requests_per_minute or LIMIT_REQUESTS) - used)
        reset_s = 60 - int(self.now() % 60)
        if call.provider == "anthropic":
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now() + reset_s))
            return [
                ("request-id", call.received.request_id),
                ("anthropic-organization-id", identity(call.org)),
                ("anthropic-ratelimit-requests-limit", str(self.script.requests_per_minute or LIMIT_REQUESTS)),
                ("anthropic-ratelimit-requests-remaining", str(left)),
                ("anthropic-ratelimit-requests-reset", at),
                ("anthropic-ratelimit-tokens-limit", str(LIMIT_TOKENS)),
                ("anthropic-ratelimit-tokens-remaining", str(LIMIT_TOKENS)),
                ("anthropic-ratelimit-tokens-reset", at),
            ]
        return [
            ("x-request-id", call.received.request_id),
            ("openai-organization", identity(call.org)),
            ("openai-processing-ms", "1"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", str(self.script.requests_per_minute or LIMIT_REQUESTS)),
            ("x-ratelimit-remaining-requests", str(left)),
            ("x-ratelimit-reset-requests", f"{reset_s}s"),
            ("x-ratelimit-limit-tokens", str(LIMIT_TOKENS)),
            ("x-ratelimit-remaining-tokens", str(LIMIT_TOKENS)),
            ("x-ratelimit-reset-tokens", "0s"),
        ]

    async def send(self, call: Call, status: int, body: Any, kind: str = "application/json") -> bool:
        """A whole reply, JSON unless bytes are given."""
        data = body if isinstance(body, bytes) else outlet.dump(outlet.spoiled(body, call.fault))
        call.received.status = status
        headers = [*self.headers(call), ("content-type", kind)]
        complete = await outlet.send_whole(call.peer, status, headers, data, call.fault)
        self._leaving(call, complete=complete)
        return complete

    async def refuse(self, call: Call, refused: Refused) -> None:
        """An error in the provider's own body, with Retry-After where it is one for later."""
        headers = [*self.headers(call), ("content-type", "application/json")]
        if refused.status in (429, 503, 529):
            headers.append(("retry-after", f"{call.fault.retry_after:g}"))
        call.received.status = refused.status
        await outlet.send_whole(
            call.peer, refused.status, headers, outlet.dump(self.error(call, refused)), faults.NONE
        )  # fmt: skip

    def error(self, call: Call, refused: Refused) -> dict[str, Any]:
        if call.provider == "anthropic":
            return messages.error(refused, call.received.request_id)
        return chat.error(refused)

    def _leaving(self, call: Call, *, complete: bool) -> None:
        if not complete and call.peer.gone.is_set() and call.fault.kind not in ("cut", "reset_mid"):
            call.received.client_gone = True
            call.received.gone_after_s = call.peer.gone_at - call.peer.received_at

    def _request_id(self, number: int) -> str:
        return "req_" + hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=12).hexdigest()


def identity(org: str) -> str:
    """An organisation's public id; the key itself is never sent back."""
    return "org-" + hashlib.blake2b(org.encode(), digest_size=8).hexdigest()
