"""Which task does a call belong to? Explicit ids first, else the conversation that it continues.

What it decides: the TaskRef of a call. A task named by the caller is taken at its word. A session (or conversation,
trace, cache key) is a root: calls of its main call site are the task itself, calls of other sites within it are
sub-agents with the root as parent, each conversation one. Without ids the chain of messages decides (stitch_chain.py).
What it must not know: headers, wire formats, clocks, stores; fresh names are given.

Everything is within a tenant: the same id of two tenants is two tasks. A client's trace or session id is never the
ledger's key: a digest of it with the tenant is. Names that the caller chose for a task are kept as they are.
"""

from collections.abc import Callable
from hashlib import blake2b
from itertools import islice

import msgspec

from jevons.core.call import TaskRef
from jevons.ledger.stitch_chain import Chains, Found, Task
from jevons.ledger.stitch_print import Talk
from jevons.wire.parts import Parts

MOST_ROOTS = 100_000
"""Sessions, traces, replies and named parents remembered; about 35 MB at the bound."""
_FORGET = 16
SHARED_OPENINGS = 8
"""A cache key (or a word in metadata) under which so many conversations began is shared: it names no task."""
SHARED = frozenset({"prompt_cache_key", "metadata"})
"""Sources of a root that may hold a word instead of an id."""
LONGEST_ID = 200
LOOP_OF, LOOP_TIMES = 8, 3
"""A tool call that is made so many times among a task's last eight, with the same arguments, is a loop."""
EMPTY_LIST = 4
"""Bytes of `null` and of an empty list."""


class Ids(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a call says of its task. Empty: nothing."""

    task: str = ""
    """The caller's own name for it."""
    parent: str = ""
    name: str = ""
    source: str = ""
    """Where `task`, or else `root`, was found: header | metadata | session | conversation | prompt_cache_key |
    traceparent."""
    root: str = ""
    """A session's, conversation's or trace's id."""
    previous: str = ""
    """The reply that this call goes on from (Responses state)."""
    retry: bool = False
    """The client says that it sends a call again."""


class Stitcher:
    """The memory of live tasks. One per gateway process; one thread."""

    def __init__(self) -> None:
        self.noticed: Callable[[str, str, str], None] = lambda _tenant, _task, _label: None
        """Told of (tenant, task, label) when a task goes in circles: label `loop`."""
        self.chains = Chains()
        self._roots: dict[int, Task] = {}

    def sizes(self) -> dict[str, int]:
        return {"ends": len(self.chains), "roots": len(self._roots)}

    def identify(
        self, tenant: str, ids: Ids, parts: Parts, site: str, fresh: str, at: float, *, counting: bool = False
    ) -> TaskRef | None:
        """The task of a call. `fresh`: a new unique name, used when it begins a task. `at`: Unix
        seconds. `counting`: the call burns nothing, so it begins no task; None when it belongs to none."""
        if ids.task:
            return self._named(tenant, ids, parts)
        if parts.empty and not ids.root and not ids.previous:
            return None
        scope = hash(tenant)
        talk = Talk(parts.body, *parts.talk, seed=hash((scope, site)))
        has_tools = len(parts.tools) > EMPTY_LIST
        root = self._roots.get(hash((scope, ids.source, ids.root))) if ids.root else None
        if root is not None and ids.source in SHARED and root.openings > SHARED_OPENINGS:
            return self._chained(tenant, scope, ids, talk, site, fresh, at, counting=counting, has_tools=has_tools)
        if ids.root:
            return self._rooted(tenant, scope, ids, talk, site, root, fresh, at, counting=counting, has_tools=has_tools)
        if ids.previous:
            task = self._roots.get(hash((scope, "reply", ids.previous)))
            if task is not None:
                return _ref(task, "conversation", ids)
        return self._chained(tenant, scope, ids, talk, site, fresh, at, counting=counting, has_tools=has_tools)

    def answered(self, tenant: str, task: TaskRef, reply: str) -> None:
        """A reply that the provider keeps: a later call may go on from it by its id."""
        if reply:
            kept = Task(id=task.task, root=task.root or task.task, parent=task.parent, name=task.name)
            self._root(hash((hash(tenant), "reply", reply)), kept)

    def _named(self, tenant: str, ids: Ids, parts: Parts) -> TaskRef:
        """The root of a named tree is its topmost named parent, where that was seen."""
        scope = hash(tenant)
        key = hash((scope, "named", ids.task))
        task = self._roots.get(key)
        if task is None or (ids.parent and task.parent != ids.parent):
            root = self._root_of(scope, ids.parent) if ids.parent else ids.task
            task = Task(id=ids.task, root=root, parent=ids.parent, name=ids.name)
            self._root(key, task)
        if len(parts.tools) > EMPTY_LIST and not parts.empty:
            self._watch(tenant, task, Talk(parts.body, *parts.talk, seed=0))
        return _ref(task, ids.source, ids)

    def _watch(self, tenant: str, task: Task, talk: Talk) -> None:
        """Notice the same tool call again and again."""
        if talk.size <= task.size:
            return
        task.size = talk.size
        call = talk.last_call()
        if call:
            task.calls = (*task.calls[1 - LOOP_OF :], call)
            if task.calls.count(call) == LOOP_TIMES:
                self.noticed(tenant, task.id, "loop")

    def _rooted(
        self,
        tenant: str,
        scope: int,
        ids: Ids,
        talk: Talk,
        site: str,
        root: Task | None,
        fresh: str,
        at: float,
        *,
        counting: bool,
        has_tools: bool,
    ) -> TaskRef:
        if root is None and ids.source == "traceparent" and talk.size:
            found = self.chains.find(scope, talk, None, at, retry=ids.retry)
            if found is not None:  # tracers that begin a trace per request: the conversation says more
                root = found.end.task
                self._root(hash((scope, ids.source, ids.root)), root)
        if root is None:
            name = derived(tenant, ids.source, ids.root)
            root = Task(id=name, root=name, name=ids.name, site=site if talk.size else "", tools=has_tools)
            self._root(hash((scope, ids.source, ids.root)), root)
        top = root.root
        found = self.chains.find(scope, talk, lambda task: task.root == top, at, retry=ids.retry) if talk.size else None
        if found is not None:
            task = found.end.task
        else:
            if has_tools and not root.tools:  # what came before the first call with tools were side questions
                root.site, root.tools = site, True
            root.site = root.site or site
            if site == root.site or not talk.size:
                task = root
                root.openings += not talk.answered
            else:
                task = Task(id=f"{top}.{_short(fresh)}", root=top, parent=top, site=site)
        if talk.size and not counting:
            self.chains.put(scope, talk, task, found, at)
            if has_tools:
                self._watch(tenant, task, talk)
        return _ref(task, ids.source, ids)

    def _chained(
        self,
        tenant: str,
        scope: int,
        ids: Ids,
        talk: Talk,
        site: str,
        fresh: str,
        at: float,
        *,
        counting: bool,
        has_tools: bool,
    ) -> TaskRef | None:
        found: Found | None = self.chains.find(scope, talk, None, at, retry=ids.retry)
        if counting:
            return None if found is None else _ref(found.end.task, "chain", ids)
        if found is not None:
            task, source = found.end.task, "chain"
        else:
            name = f"t_{_short(fresh)}"
            root = self._root_of(scope, ids.parent) if ids.parent else name
            task, source = Task(id=name, root=root, parent=ids.parent, name=ids.name, site=site), "new"
        self.chains.put(scope, talk, task, found, at)
        if has_tools:
            self._watch(tenant, task, talk)
        return _ref(task, source, ids)

    def _root_of(self, scope: int, parent: str) -> str:
        """The top of the tree that a named parent is in: itself, where nothing is known of it."""
        above = self._roots.get(hash((scope, "named", parent)))
        return parent if above is None else above.root

    def _root(self, key: int, task: Task) -> None:
        self._roots.pop(key, None)
        self._roots[key] = task
        if len(self._roots) > MOST_ROOTS:
            for old in list(islice(self._roots, MOST_ROOTS // _FORGET)):
                del self._roots[old]


def derived(tenant: str, source: str, value: str) -> str:
    """The ledger's name for a task that a client's session, conversation or trace id stands for; the same on every
    worker and after a restart."""
    digest = blake2b(digest_size=10, person=b"jevons.task")
    for part in (tenant, source, value):
        text = part.encode("utf-8", "replace")
        digest.update(len(text).to_bytes(4, "big") + text)
    return f"t_{digest.hexdigest()}"


def _ref(task: Task, source: str, ids: Ids) -> TaskRef:
    return TaskRef(
        task=task.id, parent=task.parent or ids.parent, root=task.root, name=task.name or ids.name, source=source
    )


def _short(fresh: str) -> str:
    return blake2b(fresh.encode(), digest_size=10).hexdigest()
