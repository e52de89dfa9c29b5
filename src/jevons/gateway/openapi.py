"""The OpenAPI document of the gateway's surfaces.

The providers' own references define the bodies in full and grow by the month; this page states what the gateway itself
looks at, and that everything else travels on unchanged.
"""

from typing import Any

from jevons import __version__

JSON = "application/json"


def _body(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": True}
    return {"required": True, "content": {JSON: {"schema": schema}}}


def _errors(*codes: str) -> dict[str, Any]:
    said = {
        "400": "The request is malformed, or this model cannot carry it",
        "401": "No key, or one that is not known",
        "404": "No route serves this model",
        "413": "The body is larger than server.max_body_bytes",
        "415": "The body is compressed",
        "429": "A limit or a budget; `code` says which",
        "502": "The provider failed and no fallback was left",
        "503": "The provider keeps failing and rests",
        "504": "The provider did not answer in time",
    }
    return {
        code: {"description": said[code], "content": {JSON: {"schema": {"type": "object"}}}} for code in codes or said
    }


MODEL = {"type": "string", "minLength": 1, "description": "A name that GET /v1/models lists, or a provider's own"}
MESSAGES = {"type": "array", "items": {"type": "object"}, "minItems": 1}
STREAM = {"type": "boolean"}
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
                "security": [{"bearer": []}, {"apiKey": []}],
                "responses": {**answer, **_errors()},
            }
        }
        for path, (text, body, answer) in posts.items()
    }
    for path, text in (
        ("/v1/models", "The models that can be asked for"),
        ("/healthz", "The process is up"),
        ("/readyz", "The process can serve; says what is wrong when it can't"),
    ):
        answers = {**ANSWER, **_errors("401")} if path == "/v1/models" else {**ANSWER, **_errors("503")}
        paths[path] = {"get": {"summary": text, "responses": answers}}
    paths["/metrics"] = {
        "get": {
            "summary": "Prometheus metrics",
            "responses": {
                "200": {"description": "Text exposition", "content": {"text/plain": {"schema": {"type": "string"}}}}
            },
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "jevons", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
    }
