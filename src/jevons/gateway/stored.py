"""GET and DELETE /v1/responses/ID, and POST .../cancel, GET .../input_items: a response that was kept.

What it decides: who answers, the provider that holds the response or we, for a tenant that was given its id. What it
must not know: how responses are stored. Nothing here burns tokens, so nothing is booked.
"""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from jevons.core.call import Surface
from jevons.core.errors import CallerError, JevonsError, NotFound, UpstreamError, UpstreamTimeout
from jevons.engines.http import Exchange, ExchangeFailed, Limits
from jevons.engines.upstream import Upstream
from jevons.gateway.asgi import ASGIReceive, ASGISend, read_body, send_error, send_json, send_whole, wanted
from jevons.gateway.auth import Keys
from jevons.gateway.binding import take_key
from jevons.gateway.identify import customer_of
from jevons.gateway.passthrough import query_of
from jevons.gateway.state import State, listed
from jevons.pipeline.run import PASSED_ON, PASSED_PREFIXES
from jevons.settings import Access
from jevons.store.responses import Kept

PATH = "/v1/responses/"
VERBS = {"": ("GET", "DELETE"), "cancel": ("POST",), "input_items": ("GET",)}
FOREGROUND = "not_background"
MAX_BODY_BYTES = 64 * 1024
"""A cancel has no body; whatever comes is read up to this and dropped."""


class StoredPage:
    """See the module's first lines."""

    def __init__(self, state: State, keys: Keys, access: Access, upstreams: dict[str, Upstream], limits: Limits):
        self._state = state
        self._keys = keys
        self._access = access
        self._upstreams = upstreams
        self._limits = limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        try:
            await self._answer(scope, receive, send)
        except JevonsError as error:
            await send_error(send, Surface.RESPONSES, error)

    async def _answer(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        headers = wanted(scope["headers"])
        tenant = customer_of(self._keys.caller(headers), headers).tenant
        key = take_key(headers, allowed=self._access.client_provider_keys)
        ident, _, what = scope["path"].removeprefix(PATH).partition("/")
        method: str = scope["method"]
        verbs = VERBS.get(what)
        if verbs is None or not ident:
            raise NotFound(f"there is nothing at {scope['path']}; below a response are cancel and input_items")
        if method not in verbs:
            raise CallerError(
                f"{scope['path']} takes {' and '.join(verbs)}",
                code="method_not_allowed",
                status=405,
                allow=", ".join(verbs),
            )
        await read_body(headers, receive, MAX_BODY_BYTES)
        kept = await self._state.find(tenant, ident)
        query = query_of(scope)
        if kept.provider:
            path = PATH.removeprefix("/v1") + kept.id + (f"/{what}" if what else "") + (f"?{query}" if query else "")
            await self._from_provider(kept, method, path, headers, key, send)
        else:
            await self._ours(kept, method, what, dict(parse_qsl(query)), send)

    async def _ours(self, kept: Kept, method: str, what: str, query: dict[str, str], send: ASGISend) -> None:
        if method == "DELETE":
            await self._state.remove(kept.tenant, kept.id)
            await send_json(send, {"id": kept.id, "object": "response", "deleted": True})
        elif what == "cancel":
            raise CallerError("only a background response can be cancelled, and this one was none", code=FOREGROUND)
        elif what == "input_items":
            await send_json(send, listed(kept, query))
        elif query.get("stream") == "true":
            raise CallerError("only a background response can be streamed again", code=FOREGROUND, param="stream")
        else:
            await send_whole(send, 200, kept.reply, [])

    async def _from_provider(
        self, kept: Kept, method: str, path: str, headers: dict[str, str], key: str, send: ASGISend
    ) -> None:
        upstream = self._upstreams.get(kept.provider)
        if upstream is None:
            raise NotFound(f"{kept.provider}, which holds this response, is not configured any more")
        started = False
        try:
            exchange = await upstream.raw(method, path, b"", self._limits, headers=headers, key=key, stream=True)
            if 300 <= exchange.status < 400:
                exchange.abort()
                raise UpstreamError(f"{kept.provider} answered with a redirect, and none is followed")
            if method == "DELETE" and exchange.status in {200, 204, 404}:
                await self._state.remove(kept.tenant, kept.id)
            started = True
            await _relay(exchange, send)
        except ExchangeFailed as failure:
            if started:
                return  # the connection ends without its end: what came is not whole
            cause = UpstreamTimeout if failure.kind == "timeout" else UpstreamError
            raise cause(f"{kept.provider} did not answer: {failure.kind}") from None


async def _relay(exchange: Exchange, send: ASGISend) -> None:
    """The provider's answer as it comes. Raises ExchangeFailed."""
    passed = [(n, v) for n, v in exchange.headers if _passed(n.decode("latin-1"))]
    kind = (b"content-type", exchange.header(b"content-type") or b"application/json")
    await send({"type": "http.response.start", "status": exchange.status, "headers": [kind, *passed]})
    try:
        async for piece in exchange.pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        exchange.abort()
    await send({"type": "http.response.body", "body": b""})


def _passed(name: str) -> bool:
    return name in PASSED_ON or name.startswith(PASSED_PREFIXES)
