"""Which earlier call does this one continue? Told from the conversation alone, in a bounded memory of fingerprints.

What it decides: whether a call extends an earlier one (same task), repeats it, forks off it, or keeps its end after
what was before it was edited away. What it must not know: ids, headers, time, prices.

Theory of operation. A call is remembered under the prints of its last two pieces: its *end*. The next call of the task
has these two somewhere before its own end, so looking for them from the end backwards finds the newest call that it
extends after a few looks, however long the conversation is. Three things make that safe:
- an end also keeps how far from the start it was, and one print from the middle;
- an end that nobody has extended yet is preferred: of several tasks that began with the same words, each continuation
  takes one;
- an opening (nothing answered yet) that repeats another is a task of its own; later, a repeat is the same task again.
When a task is first extended, the junction of what was asked and what the model answered is remembered too: a client
that rewinds to an early turn is found by that.
"""

from collections.abc import Callable
from itertools import islice

import msgspec

from jevons.ledger.stitch_print import Talk

MOST_ENDS = 320_000
"""Ends remembered: a task keeps its last two and one junction, so this holds 100,000 live tasks."""
_FORGET = 16
"""At the bound the oldest sixteenth goes."""
RARE_BYTES = 240
"""Two last pieces of so many bytes, or with a tool call's id, are no chance: the same in another place is an edit."""
SHIFT_BYTES = 512
"""How far an end may move while all before it stays the same: marks come and go, four at most."""
OTHERS = 64
"""Ends under one key: tasks that began with the same words and wait for their next call."""
WAITING_S = 600.0
"""Of several ends that wait for their next call, the one that began first has the next call first; but one that waited
longer than this has ended, and then it is the newest. Of the gaps within recorded coding sessions 97% are shorter."""
LOOK_ON = 8
"""Places looked at behind a fork or a repeat: a task with the same words so far may be waiting for its next call."""
PROBE_FROM = 1_024
"""Bytes before an end from which on its middle is looked at."""


class Task(msgspec.Struct, gc=False):
    """A live task. Ids are texts of the ledger; `site` is that of its first call."""

    id: str
    root: str
    parent: str = ""
    name: str = ""
    site: str = ""
    tools: bool = False
    """Calls of its site have tools."""
    openings: int = 1
    """Conversations that began under it."""
    forked: bool = False
    """Its first junction is remembered."""
    size: int = 0
    """Bytes of its longest conversation: a repeated call adds none, and no tool call."""
    calls: tuple[int, ...] = ()
    """Prints of its last tool calls."""


class End(msgspec.Struct, gc=False):
    """Where a call of a task ended. `before` and `other` only ever point at older ones."""

    key: int
    task: Task
    offset: int
    probe: int
    rare: bool
    at: float
    """When the call came in, Unix seconds."""
    open: bool = True
    before: "End | None" = None
    """The end that this one extended: kept for a client that rewrites its last turn."""
    other: "End | None" = None
    """Another end under the same key."""


class Found(msgspec.Struct, gc=False):
    """`how`: extends | repeats | forks | edits. `junction`: the place behind the shared end, where there is one."""

    end: End
    how: str
    junction: tuple[int, int, int] | None


class Chains:
    """All ends of all tenants; `scope` is the tenant's keyed hash, and part of every key."""

    def __init__(self, most: int = MOST_ENDS):
        self._most = most
        self._ends: dict[int, End] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def find(
        self, scope: int, talk: Talk, wanted: Callable[[Task], bool] | None, at: float, *, retry: bool
    ) -> Found | None:
        """The earlier call that this one continues, among tasks that are wanted. `retry`: the client says that it
        sends this very call again."""
        second: Found | None = None
        behind: tuple[int, int, int] | None = None
        left = MOST_ENDS
        for place in talk.places():
            head = self._ends.get(talk.key(scope, *place))
            found = None if head is None else _match(head, talk, place, wanted, behind, at - WAITING_S)
            if found is not None:
                if found.how == "extends" and (second is None or found.end.task is not second.end.task):
                    return found
                if behind is None and retry:
                    return found
                if second is None and (behind is not None or talk.answered):
                    second, left = found, LOOK_ON
            behind = place
            left -= 1
            if left < 0:
                break
        return second

    def put(self, scope: int, talk: Talk, task: Task, found: Found | None, at: float) -> None:
        """Remember where this call of a task ended, and that it extended what was found."""
        before = found.end if found is not None and found.end.task is task else None
        if found is not None and before is not None:
            if found.junction is None:
                return
            before.open = False
            if not task.forked:
                task.forked = True
                self._add(scope, talk, task, found.junction, at, is_open=False)
            if before.before is not None:
                self._drop(before.before)
                before.before = None
        self._add(scope, talk, task, next(talk.places()), at, before=before)

    def _add(
        self,
        scope: int,
        talk: Talk,
        task: Task,
        place: tuple[int, int, int],
        at: float,
        *,
        is_open: bool = True,
        before: End | None = None,
    ) -> None:
        end, _, earlier = place
        key, offset = talk.key(scope, *place), talk.offset(end)
        older = self._ends.pop(key, None)  # put again below: what is used stays young
        self._ends[key] = End(
            key,
            task,
            offset,
            talk.probe(_probed(offset), earlier),
            talk.rare(end, earlier, RARE_BYTES),
            at,
            is_open,
            before,
            _newest(older, OTHERS),
        )
        if len(self._ends) > self._most:
            for old in list(islice(self._ends, self._most // _FORGET)):
                del self._ends[old]

    def _drop(self, gone: End) -> None:
        head = self._ends.get(gone.key)
        if head is gone:
            if gone.other is None:
                del self._ends[gone.key]
            else:
                self._ends[gone.key] = gone.other
            return
        while head is not None:
            if head.other is gone:
                head.other = gone.other
                return
            head = head.other


def _match(
    head: End,
    talk: Talk,
    place: tuple[int, int, int],
    wanted: Callable[[Task], bool] | None,
    behind: tuple[int, int, int] | None,
    since: float,
) -> Found | None:
    """The best of the ends under one key, for a call that has it at `place`."""
    waiting: End | None = None
    best: Found | None = None
    end: End | None = head
    offset = talk.offset(place[0])
    while end is not None:  # the newest first
        if wanted is None or wanted(end.task):
            near = abs(end.offset - offset) <= SHIFT_BYTES
            same = near and end.probe == talk.probe(_probed(end.offset), place[2])
            if same and end.open and (waiting is None or end.at >= since):
                waiting = end
            elif best is None and (same or end.rare):
                best = Found(end, "forks" if same else "edits", behind)
        end = end.other
    return best if waiting is None else Found(waiting, "repeats" if behind is None else "extends", behind)


def _probed(offset: int) -> int:
    """Where the middle before an end is looked at; 0: nowhere, it is too short."""
    return offset // 2 if offset >= PROBE_FROM else 0


def _newest(end: End | None, most: int) -> End | None:
    """The chain of ends, cut behind the newest `most`."""
    last = end
    for _ in range(most - 1):
        if last is None:
            return end
        last = last.other
    if last is not None:
        last.other = None
    return end
