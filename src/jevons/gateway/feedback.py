"""POST /v1/feedback: how a task went, or what was wrong with one answer.

What it decides: who may say it (a key of the task's tenant), what a statement must hold, and that a task which was
only just booked is waited for. What it must not know: how statements are kept (store/outcomes.py). It also keeps what
jevons itself notices of a task, by the same table.
"""

import asyncio
import math
import threading
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.errors import CallerError, JevonsError, NotFound
from jevons.gateway.asgi import ASGIReceive, ASGISend, read_body, send_error, send_json, wanted
from jevons.gateway.auth import Keys
from jevons.gateway.identify import CUSTOMER, customer_of
from jevons.ledger.stitch import LONGEST_ID
from jevons.store import outcomes
from jevons.store.migrate import open_database
from jevons.store.outcomes import Known, Said
from jevons.store.writer import Writer

PATH = "/v1/feedback"
MAX_BODY_BYTES = 16 * 1024
FLUSH_S = 2.0
"""How long a task that is not in the ledger is waited for: it may have been answered a moment ago."""
MOST_NOTED = 10_000
"""What jevons noticed and has not written yet; more is dropped, since it is advice."""
NOTED = "jevons:"
WRONG = "wrong"
"""The label on an operation that takes its answer out of the semantic cache."""


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body. One of `task` and `operation`, and one of `solved`, `score` and `label` at least."""

    task: str = ""
    operation: str = ""
    solved: bool | None = None
    score: float | None = None
    label: str = ""
    id: str = ""
    at: float | None = None


class FeedbackPage:
    """See the module's first lines. Its own connection, used off the event loop."""

    def __init__(self, url: str, keys: Keys, writer: Writer, clock: Callable[[], float]):
        self._keys = keys
        self._writer = writer
        self._clock = clock
        self._db = open_database(url)
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, str, str], None] = {}
        self.wrong: Callable[[str, str], None] = _nobody
        """Told of (tenant, operation) when its label is WRONG."""

    def close(self) -> None:
        with self._lock:
            self._db.close()

    async def __call__(self, scope: MutableMapping[str, Any], receive: ASGIReceive, send: ASGISend) -> None:
        try:
            if scope["method"] != "POST":
                raise CallerError(f"{PATH} takes POST", code="method_not_allowed", status=405, allow="POST")
            headers = wanted(scope["headers"])
            plain = self._keys.caller(headers)
            caller = customer_of(plain, headers)
            said = statement(await read_body(headers, receive, MAX_BODY_BYTES))
            below = not plain.customer and not headers.get(CUSTOMER)
            known, new = await asyncio.to_thread(self._keep, caller.tenant, said, below=below)
            if said.operation and said.label == WRONG:
                self.wrong(known.tenant, said.operation)
            await send_json(send, {"task": known.task, "recorded": new})
        except JevonsError as error:
            await send_error(send, Surface.CHAT, error)

    def note(self, tenant: str, task: str, label: str) -> None:
        """What jevons noticed of a task: written at the next `settle`, once the task is in the ledger."""
        if len(self._noted) < MOST_NOTED:
            self._noted[(tenant, task, label)] = None

    def settle(self) -> None:
        """Write what was noted. For a thread; called every few seconds. A task that is not booked yet waits."""
        for tenant, task, label in list(self._noted):
            with self._lock:
                known = self._db.retried(partial(outcomes.find, tenant=tenant, task=task, operation=""))
                if known is None:
                    continue
                said = Said(id=f"{NOTED}{label}:{known.row}", label=label)
                outcomes.record(self._db, known, said, self._clock())
            del self._noted[(tenant, task, label)]

    def _keep(self, tenant: str, said: Statement, *, below: bool) -> tuple[Known, bool]:
        known = self._find(tenant, said, below=below)
        if known is None and self._writer.flush(FLUSH_S):
            known = self._find(tenant, said, below=below)
        if known is None:
            what = f"operation {said.operation!r}" if said.operation else f"task {said.task!r}"
            raise NotFound(
                f"no {what} is known to this key: use the x-jevons-task or x-jevons-operation header of an answer, "
                "with the same key (and x-jevons-customer) that made the call",
                code="unknown_operation" if said.operation else "unknown_task",
                param="operation" if said.operation else "task",
            )
        word = Said(
            id=said.id,
            operation=said.operation,
            solved=said.solved,
            score=said.score,
            label=said.label,
            at=said.at,
        )
        with self._lock:
            return known, self._db.retried(lambda db: outcomes.record(db, known, word, self._clock()))

    def _find(self, tenant: str, said: Statement, *, below: bool) -> Known | None:
        with self._lock:
            return self._db.retried(lambda db: outcomes.find(db, tenant, said.task, said.operation, below=below))


def _nobody(_tenant: str, _operation: str) -> None:
    """Where nothing is kept, nothing leaves."""


def statement(body: bytes) -> Statement:
    """The body read and checked. Raises CallerError that names the field."""
    try:
        said = msgspec.json.decode(body, type=Statement)
    except msgspec.ValidationError as error:
        raise CallerError(f"feedback: {error}", code="invalid_feedback") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise CallerError("the body is not valid JSON", code="invalid_json") from None
    if not said.task and not said.operation:
        raise CallerError("name a `task` or an `operation`", code="invalid_feedback", param="task")
    if said.solved is None and said.score is None and not said.label:
        raise CallerError("say `solved`, `score` or `label`", code="invalid_feedback", param="solved")
    if said.score is not None and not 0.0 <= said.score <= 1.0:
        raise CallerError("`score` must be from 0 to 1", code="invalid_value", param="score")
    if said.at is not None and not (math.isfinite(said.at) and said.at >= 0):
        raise CallerError("`at` must be Unix seconds", code="invalid_value", param="at")
    for name in ("task", "operation", "label", "id"):
        if len(getattr(said, name)) > LONGEST_ID:
            raise CallerError(f"`{name}` is longer than {LONGEST_ID}", code="invalid_value", param=name)
    if said.id.startswith(NOTED):
        raise CallerError(f"ids that begin with {NOTED!r} are our own", code="invalid_value", param="id")
    return said
