"""What a call says of its task, its customer and its place in a program: headers, metadata and ids, read into `Ids`.

What lives here: where clients put such ids, and which of them counts first. What it must not know: how a task is found
(ledger/stitch.py). A header of a wrong kind is refused; an id in a provider's field of another kind is ignored, since
that field is not ours.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.errors import CallerError
from jevons.ledger.site import Sites
from jevons.ledger.stitch import LONGEST_ID, Ids, Stitcher
from jevons.wire.parts import Parts, parts
from jevons.wire.toplevel import Fields

TASK, PARENT, NAME = "x-jevons-task", "x-jevons-parent", "x-jevons-name"
CUSTOMER, SITE = "x-jevons-customer", "x-jevons-site"
_RETRY = "x-stainless-retry-count"
"""Sent by the official SDKs; not 0: the client sends a call again."""

SESSION_HEADERS = (
    ("x-claude-code-session-id", "session"),
    ("x-session-id", "session"),
    ("session-id", "session"),
    ("session_id", "session"),
    ("x-conversation-id", "conversation"),
    ("conversation_id", "conversation"),
)
_TASK_KEYS = ("jevons_task", "task_id")
_SESSION_KEYS = ("session_id", "conversation_id", "thread_id", "run_id", "chat_id")
_LOOSE_KEYS = ("task", "session", "conversation", "thread", "run")
"""May hold an id, or a word that all of a program's calls share: taken as an id until it is seen to be shared."""
_CLAUDE_SESSION = re.compile(r"_session_([0-9a-fA-F-]{16,})\Z")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-")
_NO_TRACE = "0" * 32
_ID = re.compile(r"[!-~](?:[ -~]*[!-~])?")
"""Printable ASCII: an id is shown in terminals and stands in headers."""
_TALKLESS = {Surface.EMBEDDINGS, Surface.RAW}
_NO_TALK = Parts(b"", empty=True)


class Identifier:
    """Finds the task and the site of calls. One per gateway."""

    def __init__(self) -> None:
        self.stitcher = Stitcher()
        self.sites = Sites()

    def identify(self, call: Call, found: Fields) -> Call:
        """The call with its task and its site. Raises CallerError for a bad header of ours."""
        read = _NO_TALK if call.surface in _TALKLESS else parts(call.surface, call.body, found)
        site = self.sites.name(call.caller.key_id, read.system, read.tools, call.headers.get(SITE, ""))
        task = self.stitcher.identify(
            call.caller.tenant,
            ids_of(call.headers, call.peek, found),
            read,
            site,
            call.operation,
            call.at,
            counting=call.surface == Surface.COUNT_TOKENS,
        )
        return msgspec.structs.replace(call, task=task, site=site, tools=read.tools)

    def answered(self, call: Call, reply: str) -> None:
        """A reply that can be gone on from by its id."""
        if call.task is not None:
            self.stitcher.answered(call.caller.tenant, call.task, reply)


def customer_of(caller: Caller, headers: Mapping[str, str]) -> Caller:
    """The caller, with the customer that it names where its key has none of its own. Such a customer is walled off
    inside the key: it shares nothing with a tenant of that name, nor with the key's other customers."""
    named = headers.get(CUSTOMER, "")
    if not named or caller.customer:
        return caller
    return Caller(
        key_id=caller.key_id,
        name=caller.name,
        tenant=f"{caller.tenant}/{checked(CUSTOMER, named)}",
        customer=named,
        plan=caller.plan,
    )


def ids_of(headers: Mapping[str, str], peek: Peek, found: Fields) -> Ids:
    """Explicit ids in order: our headers, metadata, session headers, conversation, cache key, trace."""
    task = headers.get(TASK, "")
    retry = headers.get(_RETRY, "0") != "0"
    parent, name = headers.get(PARENT, ""), unquote(headers.get(NAME, ""))[:LONGEST_ID]
    if parent:
        checked(PARENT, parent)
    if task:
        return Ids(task=checked(TASK, task), parent=parent, name=name, source="header", retry=retry)
    if peek.metadata:
        task = _first(peek.metadata, _TASK_KEYS)
        if task:
            return Ids(task=task, parent=parent, name=name, source="metadata", retry=retry)
    root, source = _root(headers, peek, found)
    return Ids(parent=parent, name=name, source=source, root=root, previous=peek.previous_response_id, retry=retry)


def _root(headers: Mapping[str, str], peek: Peek, found: Fields) -> tuple[str, str]:
    if peek.metadata:
        session = _first(peek.metadata, _SESSION_KEYS) or _claude_session(peek.metadata.get("user_id"))
        if session:
            return session, "session"
        if loose := _first(peek.metadata, _LOOSE_KEYS):
            return loose, "metadata"
    for header, source in SESSION_HEADERS:
        value = headers.get(header, "")
        if _usable(value):
            return value, source
    conversation = found.get("conversation")
    if conversation is not None:
        value = _conversation(conversation)
        if _usable(value):
            return value, "conversation"
    if _usable(peek.prompt_cache_key):
        return peek.prompt_cache_key, "prompt_cache_key"
    trace = _TRACE.match(headers.get("traceparent", ""))
    if trace and trace[1] != _NO_TRACE and not peek.previous_response_id:
        return trace[1], "traceparent"
    return "", ""


def checked(header: str, value: str) -> str:
    """An id of ours that a caller sent. Raises CallerError."""
    if not _usable(value):
        raise CallerError(
            f"`{header}` must be 1 to {LONGEST_ID} printable ASCII characters without spaces at its ends",
            code="invalid_header",
            param=header,
        )
    return value


def _usable(value: str) -> bool:
    return 0 < len(value) <= LONGEST_ID and _ID.fullmatch(value) is not None


def _first(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        value = metadata.get(key)
        if isinstance(value, str) and _usable(value):
            return value
    return ""


def _claude_session(user_id: Any) -> str:
    """The session in Claude Code's `metadata.user_id`: `user_..._account_..._session_UUID`, or a JSON object with
    `session_id`. Another program's `user_id` is a person and names no task."""
    if not isinstance(user_id, str):
        return ""
    match = _CLAUDE_SESSION.search(user_id)
    if match:
        return match[1]
    if user_id.startswith("{"):
        try:
            value = msgspec.json.decode(user_id)
        except (msgspec.DecodeError, RecursionError):
            return ""
        if isinstance(value, dict):
            return _first(value, ("session_id",))
    return ""


def _conversation(raw: msgspec.Raw) -> str:
    """Responses' `conversation`: an id, or an object that holds one."""
    value = msgspec.json.decode(raw)
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else ""
