"""The OpenAPI document of the gateway's surfaces.

The providers' own references define the bodies in full and grow by the month; this page states what the gateway itself
looks at, and that everything else travels on unchanged. It must not know how anything is answered.
"""

from typing import Any

from jevons import __version__

JSON = "application/json"


def _body(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": True}
    return {"required": True, "content": {JSON: {"schema": schema}}}


ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {"message": {"type": "string"}, "type": {"type": "string"}},
        }
    },
}
"""What OpenAI's and Anthropic's errors have in common; each surface answers in its provider's own form."""
OTHER = {"default": {"description": "What the provider itself answered"}}


def _errors(*codes: str) -> dict[str, Any]:
    said = {
        "400": "The request is malformed, or this model cannot carry it",
        "401": "No key, or one that is not known",
        "403": "The key's plan or the operator's settings do not include this",
        "404": "No route serves this model, or this tenant has nothing of that name",
        "405": "Another method belongs here; `allow` names it",
        "408": "The body did not come in time",
        "413": "The body is larger than server.max_body_bytes",
        "415": "The body is compressed",
        "429": "A limit or a budget; `code` says which",
        "502": "The provider failed and no fallback was left",
        "503": "The provider keeps failing and rests",
        "504": "The provider did not answer in time",
    }
    return {code: {"description": said[code], "content": {JSON: {"schema": ERROR}}} for code in codes or said}


SECURED: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
MODEL = {"type": "string", "minLength": 1, "description": "A name that GET /v1/models lists, or a provider's own"}
MESSAGES = {"type": "array", "items": {"type": "object"}, "minItems": 1}
STREAM = {"type": "boolean"}
NAMED = {"type": "string", "maxLength": 200}
FEEDBACK = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "task": NAMED,
        "operation": NAMED,
        "solved": {"type": ["boolean", "null"]},
        "score": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "label": NAMED,
        "id": NAMED,
        "at": {"type": ["number", "null"], "minimum": 0},
    },
}
ANSWER = {"200": {"description": "The provider's answer", "content": {JSON: {"schema": {"type": "object"}}}}}
STREAMED = {
    "200": {
        "description": "The provider's answer, whole or as server-sent events",
        "content": {JSON: {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}},
    }
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    posts = {
        "/v1/chat/completions": (
            "OpenAI chat completions",
            _body(["model", "messages"], {"model": MODEL, "messages": MESSAGES, "stream": STREAM}),
            STREAMED,
        ),
        "/v1/responses": (
            "OpenAI responses",
            _body(["model", "input"], {"model": MODEL, "input": {"type": ["string", "array"]}, "stream": STREAM}),
            STREAMED,
        ),
        "/v1/messages": (
            "Anthropic messages",
            _body(
                ["model", "messages", "max_tokens"],
                {"model": MODEL, "messages": MESSAGES, "max_tokens": {"type": "integer", "minimum": 1}},
            ),
            STREAMED,
        ),
        "/v1/messages/count_tokens": (
            "Anthropic token count",
            _body(["model", "messages"], {"model": MODEL, "messages": MESSAGES}),
            ANSWER,
        ),
        "/v1/embeddings": (
            "OpenAI embeddings",
            _body(["model", "input"], {"model": MODEL, "input": {"type": ["string", "array"]}}),
            ANSWER,
        ),
    }
    paths: dict[str, Any] = {
        path: {
            "post": {
                "summary": text,
                "operationId": path.strip("/").replace("/", "_"),
                "requestBody": body,
                "security": SECURED,
                "responses": {**answer, **_errors(), **OTHER},
            }
        }
        for path, (text, body, answer) in posts.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "jevons", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths | _stored() | _raw() | _read(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
    }


def _read() -> dict[str, Any]:
    """What is read without a body."""
    paths: dict[str, Any] = {}
    for path, text in (
        ("/healthz", "The process is up"),
        ("/readyz", "The process can serve; says what is wrong when it can't"),
    ):
        paths[path] = {"get": {"summary": text, "responses": {**ANSWER, **_errors("503")}}}
    paths["/readyz"]["get"]["responses"]["503"] = {
        "description": "A part can't serve",
        "content": {JSON: {"schema": {"type": "object", "required": ["status", "parts"]}}},
    }
    answers = {**ANSWER, **_errors("401", "404")}
    models = {"summary": "The models that can be asked for", "security": SECURED, "responses": answers}
    paths["/v1/models"] = {"get": models}
    one = {**models, "summary": "One model", "parameters": [_path("model", "A model's name")]}
    paths["/v1/models/{model}"] = {"get": one}
    exposition = {"200": {"description": "Text exposition", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    paths["/v1/feedback"] = {
        "post": {
            "summary": "How a task went, or what was wrong with one answer",
            "operationId": "v1_feedback",
            "requestBody": {"required": True, "content": {JSON: {"schema": FEEDBACK}}},
            "security": [{"bearer": []}, {"apiKey": []}],
            "responses": {
                "200": {"description": "Recorded, or known already", "content": {JSON: {"schema": {"type": "object"}}}},
                "409": {
                    "description": "The id was used for something else",
                    "content": {JSON: {"schema": {"type": "object"}}},
                },
                **_errors("400", "401", "404", "413", "415", "429"),
            },
        }
    }
    paths["/metrics"] = {"get": {"summary": "Prometheus metrics", "responses": exposition}}
    return paths


def _stored() -> dict[str, Any]:
    """Responses that were kept."""
    ident = [_path("response_id", "The id of a response that this key's tenant was given")]
    answers = {**ANSWER, **_errors("400", "401", "403", "404", "502", "504"), **OTHER}

    def verb(text: str, **more: Any) -> dict[str, Any]:
        return {"summary": text, "security": SECURED, "parameters": ident, "responses": answers, **more}

    page = [
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
        {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"]}},
        {"name": "after", "in": "query", "schema": {"type": "string"}},
    ]
    return {
        "/v1/responses/{response_id}": {"get": verb("A kept response"), "delete": verb("Forget a response")},
        "/v1/responses/{response_id}/cancel": {"post": verb("Cancel a background response")},
        "/v1/responses/{response_id}/input_items": {
            "get": verb("What a kept response was made from", parameters=[*ident, *page])
        },
    }


def _raw() -> dict[str, Any]:
    """Other paths of a provider."""
    parameters = [_path("provider", "A configured provider's name"), _path("path", "A path below its base address")]
    answers = {"200": {"description": "The provider's answer, as it came"}, **_errors(), **OTHER}
    verbs = {}
    for method in ("get", "post", "put", "patch", "delete"):
        text = "A provider's other path, governed and booked"
        verbs[method] = {"summary": text, "security": SECURED, "parameters": parameters, "responses": answers}
    return {"/providers/{provider}/{path}": verbs}


def _path(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
