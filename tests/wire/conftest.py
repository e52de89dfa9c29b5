"""Samples in the providers' documented forms, and the official SDKs as readers of what we write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent.parent / "data" / "wire"


def sse(events: list[list[Any]], newline: str = "\n") -> bytes:
    """Events as a provider sends them."""
    out = []
    for name, data in events:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        lines = ([f"event: {name}"] if name else []) + [f"data: {text}", "", ""]
        out.append(newline.join(lines))
    return "".join(out).encode()


@pytest.fixture(scope="session")
def streams() -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = json.loads((DATA / "streams.json").read_text())
    return found


@pytest.fixture(scope="session")
def requests_() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((DATA / "requests.json").read_text())
    return found


@pytest.fixture(scope="session")
def as_sse() -> Callable[..., bytes]:
    return sse


def _openai(body: bytes, content_type: str, status: int = 200) -> Any:
    import httpx2
    import openai

    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(status, headers={"content-type": content_type}, content=body)
    )
    return openai.OpenAI(
        api_key="k", base_url="http://test/v1", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def _anthropic(body: bytes, content_type: str, status: int = 200) -> Any:
    import anthropic
    import httpx2

    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(status, headers={"content-type": content_type}, content=body)
    )
    return anthropic.Anthropic(
        api_key="k", base_url="http://test", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


class Sdk:
    """What the official clients make of our bytes."""

    def chat_stream(self, body: bytes) -> list[Any]:
        with _openai(body, "text/event-stream") as client:
            return list(client.chat.completions.create(model="m", messages=[], stream=True))

    def responses_stream(self, body: bytes) -> list[Any]:
        with _openai(body, "text/event-stream") as client:
            return list(client.responses.create(model="m", input="", stream=True))

    def messages_stream(self, body: bytes) -> tuple[list[Any], Any]:
        with (
            _anthropic(body, "text/event-stream") as client,
            client.messages.stream(model="m", max_tokens=1, messages=[]) as stream,
        ):
            events = list(stream)
            return events, stream.get_final_message()

    def raw_messages_stream(self, body: bytes) -> list[Any]:
        with _anthropic(body, "text/event-stream") as client:
            return list(client.messages.create(model="m", max_tokens=1, messages=[], stream=True))

    def chat(self, body: bytes, status: int = 200) -> Any:
        with _openai(body, "application/json", status) as client:
            return client.chat.completions.create(model="m", messages=[])

    def messages(self, body: bytes, status: int = 200) -> Any:
        with _anthropic(body, "application/json", status) as client:
            return client.messages.create(model="m", max_tokens=1, messages=[])


@pytest.fixture(scope="session")
def sdk() -> Sdk:
    return Sdk()
