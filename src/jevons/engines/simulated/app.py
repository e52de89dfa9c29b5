"""The simulator's paths: each goes to the surface that answers it. Nothing is decided here but where."""

import base64
import hashlib
import struct
from typing import Any

from jevons.engines.simulated import faults, invoice, prices, tokens
from jevons.engines.simulated.batches import Batches
from jevons.engines.simulated.books import Received
from jevons.engines.simulated.cache import size
from jevons.engines.simulated.http11 import Peer, Request
from jevons.engines.simulated.prompt import Counts, Refused
from jevons.engines.simulated.service import Call, Service

GENERATE = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
MODELS_DATED = 1_700_000_000


class App:
    """Handles one request after another for all connections."""

    def __init__(self, service: Service):
        self.service = service
        self.batches = Batches(service)

    async def __call__(self, request: Request, peer: Peer) -> None:
        if request.path.startswith("/sim/"):
            await self._own(request, peer)
            return
        call = self.service.open(request, peer)
        try:
            if call.fault.kind in faults.UNBILLED:
                raise ConnectionAbortedError  # noqa: TRY301 - one way out for a fault of a header and of a prompt
            self.service.check(call)
            await self._answer(call)
        except ConnectionAbortedError:
            call.peer.reset() if call.fault.kind == "reset" else call.peer.close()
        except Refused as refused:
            await self.service.refuse(call, refused)
        finally:
            call.received.finished = True

    async def _answer(self, call: Call) -> None:
        path, method = call.request.path, call.request.method
        if method == "POST" and path in GENERATE:
            await self.service.generate(call, GENERATE[path])
        elif method == "POST" and path == "/v1/messages/count_tokens":
            await self.service.send(call, 200, self._count(call))
        elif method == "POST" and path == "/v1/embeddings":
            await self.service.send(call, 200, self._embed(call))
        elif method == "GET" and path.startswith("/v1/models"):
            await self.service.send(call, 200, models(call, path.removeprefix("/v1/models").strip("/")))
        elif path.startswith("/v1/responses/"):
            await self.service.send(call, 200, self._stored(call))
        elif path.startswith(("/v1/organization/", "/v1/organizations/")) and method == "GET":
            await self.service.send(call, 200, invoice.export(path, call.request.query, self.service.books.lines))
        else:
            found = self.batches.answer(call)
            if found is None:
                raise Refused(404, "not_found_error", f"Invalid URL ({method} {path})")
            await self.service.send(call, *found)

    def _count(self, call: Call) -> dict[str, Any]:
        body = {"max_tokens": 1, **self.service.parsed(call)}
        body.pop("thinking", None)
        return {"input_tokens": size(self.service.read("messages", body, call.org).segments)}

    def _embed(self, call: Call) -> dict[str, Any]:
        body = self.service.parsed(call)
        model = body.get("model", "")
        if model not in DIMENSIONS:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise Refused(404, "invalid_request_error", message, code="model_not_found")
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts or not all(texts):
            raise Refused(400, "invalid_request_error", "'$.input' is invalid.", param="input")
        if isinstance(texts[0], int):
            texts = [texts]
        width = body.get("dimensions") or DIMENSIONS[model]
        plain = body.get("encoding_format") != "base64"
        used = sum(len(text) if isinstance(text, list) else tokens.count(text) for text in texts)
        self.service.books.bill(
            call.received, model=model, org=call.org, surface="embeddings", tier="", counts=Counts(uncached=used),
            at=self.service.now(), complete=True,
        )  # fmt: skip
        rows = [vector(str(text), width) for text in texts]
        data = [
            {"object": "embedding", "index": index, "embedding": list(struct.unpack(f"<{width}f", row)) if plain
             else base64.b64encode(row).decode()}
            for index, row in enumerate(rows)
        ]  # fmt: skip
        return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": used, "total_tokens": used}}

    def _stored(self, call: Call) -> dict[str, Any]:
        ident, _, rest = call.request.path.removeprefix("/v1/responses/").partition("/")
        found = self.service.stored.get((call.org, ident))
        if found is None:
            raise Refused(404, "invalid_request_error", f"Response with id '{ident}' not found.")
        if call.request.method == "DELETE" and not rest:
            del self.service.stored[call.org, ident]
            return {"id": ident, "object": "response", "deleted": True}
        if rest == "input_items":
            return {"object": "list", "data": found["input"], "has_more": False}
        if rest == "cancel":
            message = "Cannot cancel a synchronous response."
            raise Refused(400, "invalid_request_error", message)
        body: dict[str, Any] = found["body"]
        return body

    # --- the simulator's own paths

    async def _own(self, request: Request, peer: Peer) -> None:
        """/sim/invoice, /sim/requests, /sim/advance?s=N, /sim/reset: no key, no fault, never in the books."""
        service, query = self.service, request.query
        kind, body = "application/json", b"{}"
        if request.path == "/sim/invoice":
            kind, body = invoice.simulated(query, service.books.lines)
        elif request.path == "/sim/requests":
            last = int(query.get("last", "100"))
            body = invoice.dump({"requests": [shown(item) for item in service.books.requests[-last:]]})
        elif request.path == "/sim/advance" and request.method == "POST":
            service.ahead_s += float(query.get("s", "0"))
        elif request.path == "/sim/reset" and request.method == "POST":
            service.books.clear()
            service.caches.clear()
        else:
            peer.head(404, [], 0)
            return
        peer.head(200, [("content-type", kind)], len(body))
        peer.write(body)


def vector(text: str, width: int) -> bytes:
    """A unit vector from a hash, as little-endian float32."""
    raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(width)
    values = [byte - 127.5 for byte in raw]
    length = sum(value * value for value in values) ** 0.5
    return struct.pack(f"<{width}f", *(value / length for value in values))


def models(call: Call, wanted: str) -> dict[str, Any]:
    """The models list, or one model. Raises Refused."""
    rows = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
        if call.provider == "anthropic"
        else {"id": name, "object": "model", "created": MODELS_DATED, "owned_by": "system"}
        for name, model in prices.table().items()
        if model.provider == call.provider
    ]
    if wanted:
        found = next((row for row in rows if row["id"] == wanted), None)
        if found is None:
            raise Refused(404, "not_found_error", f"model: {wanted}", code="model_not_found")
        return found
    if call.provider == "anthropic":
        return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
    return {"object": "list", "data": rows}


def shown(item: Received) -> dict[str, Any]:
    """A received request for /sim/requests: its bytes in base64."""
    return {
        "number": item.number, "at": item.at, "method": item.method, "path": item.path, "headers": list(item.headers),
        "head_base64": base64.b64encode(item.head).decode(), "body_base64": base64.b64encode(item.body).decode(),
        "key": item.key, "request_id": item.request_id, "status": item.status, "fault": item.fault,
        "billed": item.billed, "finished": item.finished, "client_gone": item.client_gone,
        "gone_after_s": item.gone_after_s, "events_sent": item.events_sent,
    }  # fmt: skip
