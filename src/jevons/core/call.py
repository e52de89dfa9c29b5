"""One call as it came in: who asks, on which surface, with which bytes. Nothing here reads a socket or a clock."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class Surface(StrEnum):
    """The endpoint that the caller spoke to; its value is what the ledger stores."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    COUNT_TOKENS = "count_tokens"
    RAW = "raw"


class Peek(msgspec.Struct, frozen=True, kw_only=True):
    """The few fields that every call is looked up by, read without decoding the conversation."""

    model: str
    stream: bool = False
    temperature: float | None = None
    seed: int | None = None
    n: int | None = None
    max_tokens: int | None = None
    service_tier: str = ""
    prompt_cache_key: str = ""
    user: str = ""
    include_usage: bool = False
    """The client itself asked for the usage chunk of a chat stream."""
    has_stream_options: bool = False
    """`stream_options` stands in the body, whatever it says."""
    has_tools: bool = False
    metadata: dict[str, Any] | None = None
    previous_response_id: str = ""
    store: bool | None = None
    model_span: tuple[int, int] = (0, 0)
    """Byte offsets of the model's JSON string in the body (quotes included): what a splice replaces."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking: the key, and what hangs on it."""

    key_id: str
    name: str = ""
    tenant: str = ""
    """The wall: nothing cached, stored or timed crosses it. By default the customer, else the key."""
    customer: str = ""
    plan: str = ""


class TaskRef(msgspec.Struct, frozen=True, kw_only=True):
    """The agent run that a call belongs to, and how we know."""

    task: str
    parent: str = ""
    root: str = ""
    """The task at the top of the tree of sub-agents; empty: this one."""
    name: str = ""
    source: str = "none"
    """header | metadata | session | conversation | traceparent | prompt_cache_key | chain | new"""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request inside the house. `body` is never changed in place: a lever that changes it makes a new Call."""

    operation: str
    surface: Surface
    caller: Caller
    peek: Peek
    body: bytes
    headers: Mapping[str, str]
    """Lower-case names; only those that may matter (no authorization)."""
    at: float
    """Unix seconds, from the driver's clock."""
    tools: bytes = b""
    """The body's tools as they came, a JSON list; empty where there are none, or nobody looked."""
    task: TaskRef | None = None
    site: str = ""
    """The call site: a hash of the system template, the tools and the key."""
    query: str = ""
    path: str = ""
    """Below the provider's base address, for a raw call; `query` and `method` are its own too."""
    method: str = "POST"
