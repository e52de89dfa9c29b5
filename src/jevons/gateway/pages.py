"""The answers that need no pipeline: models, health, readiness, metrics, the OpenAPI document.

What lives here: what they say. What it must not know: sockets beyond the ASGI messages.
"""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from jevons.core.call import Surface
from jevons.core.errors import CallerError, JevonsError, NotFound
from jevons.engines.catalogue import Catalogue
from jevons.gateway.asgi import ASGIReceive, ASGISend, send_error, send_json, send_whole, wanted
from jevons.gateway.auth import Keys
from jevons.gateway.metrics import Metrics
from jevons.gateway.openapi import document

Page = Callable[[MutableMapping[str, Any], ASGIReceive, ASGISend], Any]
State = Callable[[], Mapping[str, Any]]
"""What /readyz says: a part of the house -> `ok`, or what is wrong with it."""


def pages(catalogue: Catalogue, keys: Keys, metrics: Metrics, ready: State) -> dict[str, Page]:
    """Path -> page. A path that ends with a slash serves all below it."""

    async def models(scope: MutableMapping[str, Any], _receive: ASGIReceive, send: ASGISend) -> None:
        headers = wanted(scope["headers"])
        anthropic = "anthropic-version" in headers
        try:
            keys.caller(headers)
            await send_json(send, _models(catalogue, scope["path"], anthropic=anthropic))
        except JevonsError as error:
            await send_error(send, Surface.MESSAGES if anthropic else Surface.CHAT, error)

    async def healthz(_scope: MutableMapping[str, Any], _receive: ASGIReceive, send: ASGISend) -> None:
        await send_json(send, {"status": "ok"})

    async def readyz(_scope: MutableMapping[str, Any], _receive: ASGIReceive, send: ASGISend) -> None:
        parts = ready()
        good = all(state.startswith(("ok", "starting", "degraded")) for state in parts.values())
        await send_json(send, {"status": "ok" if good else "not ready", "parts": parts}, 200 if good else 503)

    async def metric(_scope: MutableMapping[str, Any], _receive: ASGIReceive, send: ASGISend) -> None:
        await send_whole(send, 200, metrics.text(), [], b"text/plain; version=0.0.4; charset=utf-8")

    async def openapi(_scope: MutableMapping[str, Any], _receive: ASGIReceive, send: ASGISend) -> None:
        await send_json(send, document())

    return {
        "/v1/models": _read_only(models),
        "/v1/models/": _read_only(models),
        "/healthz": _read_only(healthz),
        "/readyz": _read_only(readyz),
        "/metrics": _read_only(metric),
        "/openapi.json": _read_only(openapi),
    }


def _read_only(page: Page) -> Page:
    """The page for GET and HEAD; another method is refused."""

    async def checked(scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        if scope["method"] in {"GET", "HEAD"}:
            await page(scope, receive, send)
            return
        error = CallerError(f"{scope['path']} takes GET", code="method_not_allowed", status=405, allow="GET, HEAD")
        await send_error(send, Surface.CHAT, error)

    return checked


def _models(catalogue: Catalogue, path: str, *, anthropic: bool) -> dict[str, Any]:
    """The list, or one model, in OpenAI's or Anthropic's form."""
    one = path.removeprefix("/v1/models").strip("/")
    names = [one] if one else catalogue.names()
    found = [_model(catalogue, name, anthropic=anthropic) for name in names]
    if one:
        return found[0]
    if anthropic:
        first, last = (names[0], names[-1]) if names else (None, None)
        return {"data": found, "has_more": False, "first_id": first, "last_id": last}
    return {"object": "list", "data": found}


def _model(catalogue: Catalogue, name: str, *, anthropic: bool) -> dict[str, Any]:
    routes = catalogue.routes(name)
    if not routes:
        raise NotFound(f"no route serves the model {name!r}", code="model_not_found", param="model")
    if anthropic:
        return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": name, "object": "model", "created": 0, "owned_by": routes[0].provider.name}
