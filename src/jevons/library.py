"""Say in a program which task a call belongs to, and how the task went.

    client = jevons.wrap(openai.OpenAI(base_url="http://127.0.0.1:8787/v1", api_key=KEY))
    with jevons.task(customer="acme", name="refund") as t:
        client.chat.completions.create(...)
        t.outcome(solved=True)

What it decides: which task is the current one (a context variable: every asyncio task and every thread has its own),
and which headers a request carries. What it must not know: the gateway's insides; it speaks HTTP like any client. It
imports no SDK: `wrap` adds a request hook to the HTTP client that the official SDKs hold.
"""

import asyncio
import contextvars
import inspect
import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from jevons.core.errors import JevonsError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

LONGEST = 200
"""Characters of a task's id, its name and its customer, as the gateway takes them."""
TIMEOUT_S = 10.0
URL, KEY = "JEVONS_URL", "JEVONS_API_KEY"
"""Environment variables for an outcome of a task that made no call of its own."""

_current: contextvars.ContextVar["Task | None"] = contextvars.ContextVar("jevons_task", default=None)


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it would carry the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_Stay)


class Task:
    """One task. A context manager, for `with` and `async with`; one entered inside another is its sub-agent."""

    def __init__(self, *, name: str, customer: str, id: str):  # noqa: A002 - the word that users write
        self.name = name
        self.id = id or f"{_slug(name)}{uuid.uuid4().hex[:16]}"
        self._customer = customer
        self._parent: Task | None = None
        self._token: contextvars.Token[Task | None] | None = None
        self._seen: tuple[str, str] | None = None
        for what, value in (("id", self.id), ("customer", customer)):
            if len(value) > LONGEST or not value.isascii() or (value and not value.isprintable()):
                raise ValueError(f"a task's {what} must be at most {LONGEST} printable ASCII characters")

    @property
    def customer(self) -> str:
        """Its own, else that of the task around it."""
        return self._customer or (self._parent.customer if self._parent else "")

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this task carries: for clients that `wrap` does not know."""
        said = {
            "x-jevons-task": self.id,
            "x-jevons-parent": self._parent.id if self._parent else "",
            "x-jevons-name": quote(self.name[:LONGEST], safe=" !#$&'()*+,/:;=?@[]"),
            "x-jevons-customer": self.customer,
        }
        return {name: value for name, value in said.items() if value}

    def __enter__(self) -> "Task":
        if self._token is not None:
            raise RuntimeError("this task is entered already: make a new one for each run")
        self._parent = _current.get()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
            self._token = None

    async def __aenter__(self) -> "Task":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def bind(self, work: Callable[P, R]) -> Callable[P, R]:
        """The same function, run within this task wherever it is called: for a thread or an executor, which begin
        without a context (`asyncio.to_thread` and tasks of asyncio carry theirs along by themselves)."""

        def bound(*arguments: P.args, **named: P.kwargs) -> R:
            token = _current.set(self)
            try:
                return work(*arguments, **named)
            finally:
                _current.reset(token)

        return bound

    def outcome(self, solved: bool | None = None, *, score: float | None = None, label: str = "") -> None:
        """Tell the gateway how the task went. The latest word counts; the same word twice is one.

        It is sent where the task's last call went, with the same key; else to JEVONS_URL with JEVONS_API_KEY. Raises
        JevonsError with the gateway's message when it is not taken. Blocks for one request: in asyncio use `aoutcome`.
        """
        said = {"task": self.id, "solved": solved, "score": score, "label": label}
        base, key = self._gateway()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if self.customer:
            headers["x-jevons-customer"] = self.customer
        body = json.dumps({name: value for name, value in said.items() if value not in (None, "")}).encode()
        request = urllib.request.Request(f"{base}/v1/feedback", body, headers, method="POST")  # noqa: S310
        try:
            with _opener.open(request, timeout=TIMEOUT_S) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise JevonsError(_message(error.read()), code="feedback_refused", status=error.code) from None
        except OSError as error:
            raise JevonsError(f"{base} could not be reached: {error}", code="unreachable", status=502) from None

    async def aoutcome(self, solved: bool | None = None, *, score: float | None = None, label: str = "") -> None:
        """`outcome` for asyncio."""
        await asyncio.to_thread(self.outcome, solved, score=score, label=label)

    def _gateway(self) -> tuple[str, str]:
        base, key = self._seen or (os.environ.get(URL, "").rstrip("/").removesuffix("/v1"), os.environ.get(KEY, ""))
        if not base.startswith(("http://", "https://")) or not key:
            raise JevonsError(
                f"no call of this task went through a wrapped client: wrap it, or set {URL} and {KEY}",
                code="no_gateway",
                status=400,
            )
        return base, key

    def _mark(self, request: Any) -> None:
        """Put the headers on a request, and remember where it goes."""
        for name, value in self.headers.items():
            request.headers.setdefault(name, value)
        url = request.url
        path: str = url.path
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        at = path.find("/v1/")
        self._seen = (f"{url.scheme}://{url.netloc.decode()}{path[:at] if at > 0 else ''}", key)


def task(*, name: str = "", customer: str = "", id: str = "") -> Task:  # noqa: A002 - the word that users write
    """A new task: `with jevons.task(customer="acme", name="refund") as t: ...`.

    `id`: your own, unique among your tasks, when you want to say the outcome later and elsewhere; one is made if empty.
    `customer` counts where the key has no customer of its own. Raises ValueError for what cannot stand in a header.
    """
    return Task(name=name, customer=customer, id=id)


def current() -> Task | None:
    """The task that runs here."""
    return _current.get()


def wrap(client: C) -> C:
    """The same client, whose requests from now on carry the current task's headers. Once per client; twice is once.

    Takes the official clients (openai.OpenAI, anthropic.Anthropic and their Async forms; copies that `with_options`
    makes share it) and bare httpx clients. Raises TypeError for anything else.
    """
    http: Any = getattr(client, "_client", client)
    hooks = getattr(http, "event_hooks", None)
    if not isinstance(hooks, dict) or not hasattr(http, "send"):
        raise TypeError(f"{type(client).__name__} is no client that jevons.wrap knows: send Task.headers yourself")
    mark = _mark_async if inspect.iscoroutinefunction(http.send) else _mark_sync
    requests = list(hooks.get("request", ()))
    if mark not in requests:
        http.event_hooks = {**hooks, "request": [*requests, mark]}
    return client


def _mark_sync(request: Any) -> None:
    running = _current.get()
    if running is not None:
        running._mark(request)  # noqa: SLF001 - the hooks are the task's own


async def _mark_async(request: Any) -> None:
    _mark_sync(request)


def _slug(name: str) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower())[:40].strip("-")
    return f"{kept}-" if kept else "task-"


def _message(body: bytes) -> str:
    try:
        found: Any = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return "the gateway refused the feedback"
    return str(found)
