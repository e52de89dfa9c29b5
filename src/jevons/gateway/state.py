"""The state of the Responses API: what a response continues, and the responses that a tenant may ask for again.

What it decides: which ids a tenant may name (those it was given, and no other), whether the provider holds a
response or we do, and what a continued request looks like when nobody but us knows what came before. A provider that
speaks Responses keeps its own state and is asked for it; for every other route input and answer are kept here. What it
must not know: how a request is translated, sent or booked.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError, NotFound, OurError
from jevons.core.route import Route
from jevons.store import responses as rows
from jevons.store.migrate import open_database
from jevons.wire.cacheable import collect_stream
from jevons.wire.peek import peek
from jevons.wire.splice import splice_field
from jevons.wire.toplevel import fields

log = logging.getLogger("jevons.state")

Item = dict[str, Any]
MAX_FIRST_EVENT = 1024 * 1024
"""`response.created` echoes instructions and tools; an id that stands behind more than this is not learned."""
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
"""An id that can stand in a path as it is; one that can't is not kept."""
OURS = frozenset({"id", "status"})
"""Fields of an output item that are dropped when it is sent as input: no provider knows these ids, made here."""
ENDS = (b"response.completed", b"response.incomplete")


class _Identified(msgspec.Struct):
    id: str = ""


class _Created(msgspec.Struct):
    response: _Identified


class _Answer(msgspec.Struct):
    output: list[Item]
    id: str = ""


class Recorder:
    """Follows the answer to one call and keeps what is needed to continue it. Made by `State.open`."""

    def __init__(self, state: "State", call: Call, given: Call, held_by: str):
        self.call = call
        """The call with what it continues put in front of its input, where the content is ours."""
        self.held_by = held_by
        """The provider that holds what it continues; only its routes can serve the call."""
        self._state = state
        self._given = given
        self._keeps = given.peek.store is not False and state.keeps
        self._provider = ""
        self._pieces: list[bytes] | None = None
        self._size = 0

    async def whole(self, route: Route, body: bytes) -> None:
        """A whole answer, before it leaves."""
        if self._keeps:
            self._at(route)
            await self._keep(_ident(body), body)

    def begin(self, route: Route) -> None:
        """A stream is about to flow."""
        if self._keeps:
            self._at(route)
            self._pieces = []

    async def piece(self, out: bytes) -> None:
        """A piece of the stream in the caller's dialect, before it leaves: whoever saw an id may use it at once."""
        if self._pieces is None:
            return
        self._pieces.append(out)
        self._size += len(out)
        if self._provider:
            await self._first()
        elif self._size > self._state.max_bytes:
            self._pieces = None
        elif any(end in out for end in ENDS):
            body = collect_stream(Surface.RESPONSES.value, self._pieces)
            if body:
                self._pieces = None
                await self._keep(_ident(body), body)

    async def _first(self) -> None:
        """The provider's own stream: its id stands in the first event."""
        head = b"".join(self._pieces or ()).replace(b"\r\n", b"\n")
        if b"\n\n" not in head:
            self._pieces = [head] if len(head) <= MAX_FIRST_EVENT else None
            return
        self._pieces = None
        data = b"".join(line[5:] for line in head.partition(b"\n\n")[0].split(b"\n") if line.startswith(b"data:"))
        try:
            ident = msgspec.json.decode(data, type=_Created).response.id
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        await self._keep(ident, b"")

    def _at(self, route: Route) -> None:
        self._provider = route.provider.name if Surface.RESPONSES.value in route.provider.surfaces else ""

    async def _keep(self, ident: str, body: bytes) -> None:
        if not _ID.fullmatch(ident):
            return
        self._state.answered(self._given, ident)
        given = b"" if self._provider else msgspec.json.encode(_items(fields(self._given.body).get("input")))
        kept = rows.Kept(
            tenant=self._given.caller.tenant,
            id=ident,
            provider=self._provider,
            previous=self._given.peek.previous_response_id,
            input=given,
            reply=b"" if self._provider else body,
            at=time.time(),
        )
        if len(kept.input) <= self._state.max_bytes and len(kept.reply) <= self._state.max_bytes:
            await self._state.keep(kept)


class State:
    """The kept responses of all tenants, on a connection of its own, off the event loop."""

    def __init__(self, url: str, *, keep_days: float, max_bytes: int, conversations: bool = False):
        self.keeps = keep_days > 0
        self.max_bytes = max_bytes
        self.answered: Callable[[Call, str], None] = lambda _call, _ident: None
        """Told of every id that a later call may go on from: whoever looks for its task."""
        self._conversations = conversations
        self._db = open_database(url)
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    async def open(self, call: Call, *, own_key: bool = False) -> Recorder:
        """What this Responses call continues, resolved. Raises NotFound for an id that the tenant was not given.

        own_key: the caller's own key of the provider decides what it may name there.
        """
        if not (own_key or self._conversations) and b'"conversation"' in call.body:
            self._refuse_conversation(call)
        previous = call.peek.previous_response_id
        if not previous:
            return Recorder(self, call, call, "")
        links = await self._look(rows.chain, call.caller.tenant, previous)
        if not links:
            raise NotFound(
                f"no response {previous!r} is known here: it was never made with this key's tenant, it was not stored, "
                "or it (or one that it continues) was deleted or is too old; send the whole input instead",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        if links[-1].provider:
            return Recorder(self, call, call, links[-1].provider)
        held_by = links[0].provider
        if held_by:  # a chain that began at a provider and went on elsewhere: its beginning is not ours to read
            raise CallerError(
                f"{previous!r} goes back to a response that only {held_by} holds; send the whole input instead",
                code="unsupported_state",
                param="previous_response_id",
            )
        return Recorder(self, _continued(call, links), call, "")

    async def find(self, tenant: str, ident: str) -> rows.Kept:
        """Raises NotFound, for another tenant's response too."""
        kept = await self._look(rows.find, tenant, ident) if _ID.fullmatch(ident) else None
        if kept is None:
            raise NotFound(f"no response {ident!r} is known here", code="response_not_found")
        found: rows.Kept = kept
        return found

    async def remove(self, tenant: str, ident: str) -> None:
        await self._look(rows.remove, tenant, ident)

    async def keep(self, kept: rows.Kept) -> None:
        """Write it. A database that is away costs the state, not the call."""
        try:
            await self._run(rows.keep, kept)
        except self._db.away as error:
            log.warning("a response could not be kept, it can't be continued: %s", error)

    async def _look(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Raises OurError while the database is away: nobody is told that a response is not there when it may be."""
        try:
            return await self._run(work, *arguments)
        except self._db.away as error:
            log.warning("kept responses can't be read: %s", error)
            raise OurError("kept responses can't be read now; try again", code="state_away", status=503) from None

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        def locked() -> Any:
            with self._lock:
                return self._db.retried(lambda db: work(db, *arguments))

        return await asyncio.to_thread(locked)

    def _refuse_conversation(self, call: Call) -> None:
        raw = fields(call.body).get("conversation")
        if raw is not None and bytes(raw) != b"null":
            raise CallerError(
                "`conversation` names state at the provider that other tenants of its key could name too: continue "
                "with `previous_response_id`, or send the whole input",
                code="unsupported_state",
                param="conversation",
            )


def listed(kept: rows.Kept, query: dict[str, str]) -> dict[str, Any]:
    """GET .../input_items of a response that is ours: `limit` 1 to 100, `order` asc or desc, `after` an item's id.

    Raises CallerError.
    """
    limit, order, after = query.get("limit", "20"), query.get("order", "desc"), query.get("after", "")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise CallerError("`limit` must be a number from 1 to 100", code="invalid_value", param="limit")
    if order not in {"asc", "desc"}:
        raise CallerError("`order` must be asc or desc", code="invalid_value", param="order")
    items = [
        {"id": f"in_{kept.id}_{number}", "type": "message", **item} for number, item in enumerate(_decoded(kept.input))
    ]
    if order == "desc":
        items.reverse()
    names = [item["id"] for item in items]
    start = names.index(after) + 1 if after in names else 0
    page = items[start : start + int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + len(page) < len(items),
    }


def _continued(call: Call, links: Sequence[rows.Kept]) -> Call:
    """The call with all that it continues in front of its own input, and no `previous_response_id`."""
    items: list[Item] = []
    for link in links:
        items += _decoded(link.input)
        output = msgspec.json.decode(link.reply, type=_Answer).output
        items += [{name: value for name, value in item.items() if name not in OURS} for item in output]
    own = fields(call.body).get("input")
    body = splice_field(call.body, "input", msgspec.json.encode(items + _items(own)))
    body = splice_field(body, "previous_response_id", b"null")
    return msgspec.structs.replace(call, body=body, peek=peek(call.surface, body))


def _items(raw: msgspec.Raw | None) -> list[Item]:
    """An `input` as items. Raises CallerError when it is neither a text nor a list of objects."""
    if raw is None:
        return []
    try:
        found = msgspec.json.decode(raw, type=str | list[Item] | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CallerError("`input` must be a string or an array", code="invalid_type", param="input") from None
    if isinstance(found, str):
        content = [{"type": "input_text", "text": found}]
        return [{"type": "message", "role": "user", "content": content}]
    return found or []


def _decoded(items: bytes) -> list[Item]:
    return msgspec.json.decode(items, type=list[Item]) if items else []


def _ident(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
