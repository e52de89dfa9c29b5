"""What the pure pipeline asks of the world, and what it is told.

The pipeline and the levers are generators: they yield an ask and are sent the answer. Two drivers answer: the
gateway (sockets, stores, the wall clock) and replay (recorded answers, its own clock). An ask holds only values.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from jevons.core.call import Call
from jevons.core.reply import Event
from jevons.core.route import Route
from jevons.core.usage import Usage


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer as a cache keeps it: the caller's dialect, not streamed, with who answered and what it burned."""

    status: int
    body: bytes
    content_type: str
    model: str
    usage: Usage | None
    cost_nano: int | None
    operation: str
    at: float
    dialect: str = ""
    joined: bool = False
    """It answered an identical call in flight that was waited for."""


class Find(msgspec.Struct, frozen=True):
    """Look a key up in a store of the tenant. Answer: Stored | None. `wait` joins an identical call in flight."""

    store: str
    tenant: str
    key: bytes
    wait: bool = False


class Keep(msgspec.Struct, frozen=True):
    """Put an answer under a key. Answer: None. With `stored` None a leader gives its key up and wakes its followers."""

    store: str
    tenant: str
    key: bytes
    stored: Stored | None
    ttl_s: float = 3600.0


class Embed(msgspec.Struct, frozen=True):
    """Vectors for texts, from the worker, by a deadline. Answer: list of float32 bytes | None when late or away."""

    texts: tuple[str, ...]
    deadline_s: float = 0.05


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Burn tokens: send these bytes on this route. Answer: Sent."""

    route: Route
    surface: str
    body: bytes
    stream: bool
    hold: bool = False
    """The lever must see the whole answer: the stream is collected before anything flows."""
    tier: str = ""
    role: str = "answer"
    """answer | gate | judge | shadow | audit: only an answer may reach the caller."""
    warnings: tuple[str, ...] = ()


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from one attempt. A stream is a `handle` that only the driver understands."""

    route: Route
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    handle: Any = None
    usage: Usage | None = None
    tier: str = ""
    cost_usd: float | None = None
    error: str = ""
    """connect | timeout | reset | rubbish | open (its breaker) | '' when the upstream answered."""
    retry_after_s: float | None = None
    duration_s: float = 0.0
    events: tuple[Event, ...] = ()


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """Give the caller its answer. A whole one leaves at once; a stream flows now, and its end mark waits for Book.

    Answer: Relayed.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    sent: Sent | None = None
    """A stream: its handle, and the route whose dialect it speaks."""
    source: str = ""
    """The dialect of the stream; it is translated when the caller speaks another."""
    strip_usage: bool = False
    include_usage: bool = True
    """A translated chat stream carries usage only for a client that asked."""
    collect: bool = False
    """Also keep the whole stream, for a cache."""
    public_model: str = ""
    created: float = 0.0
    """Unix seconds that a translated answer gives as its time, where the provider's says none."""


class Relayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished relay knows. For a whole answer all of it was known before."""

    usage: Usage | None = None
    tier: str = ""
    cost_usd: float | None = None
    done: bool = True
    """The upstream's own end mark was seen."""
    error: str = ""
    output_chars: int = 0
    whole: bytes = b""
    """The collected answer as one body in the caller's dialect."""
    first_byte_s: float | None = None
    duration_s: float = 0.0


class Book(msgspec.Struct, frozen=True):
    """Write the operation to the ledger. Answer: None, once it is as durable as the settings promise.

    `operation` is a ledger.operation.Operation; the ledger is above this room, so the type is not named here.
    """

    operation: Any


class Reserve(msgspec.Struct, frozen=True):
    """Take claims (plans.budget.Claim) from their counters, all or none. Answer: plans.budget.Granted | Denied."""

    operation: str
    claims: tuple[Any, ...]


class Settle(msgspec.Struct, frozen=True):
    """Replace an operation's reservation by what it took, by counter. Answer: None."""

    operation: str
    took: Mapping[str, int]


class Pause(msgspec.Struct, frozen=True):
    """Wait before a retry. Answer: None."""

    seconds: float


class Defer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer later: by batch or an off-peak window. Answer: Sent, or a receipt to poll."""

    call: Call
    route: Route
    until: float
    channel: str


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """Ask another model beside the call, off the caller's path. Answer: None at once; the outcome goes to `learn`."""

    lever: str
    route: Route
    surface: str
    body: bytes
    role: str = "shadow"
    """shadow | audit: what the ledger says of the attempt."""
    about: Any = None
    """The lever's own: what its answer is to be compared with."""


class Gone(Exception):
    """The caller left. The driver throws this into the pipeline with what was burned so far; booking goes on."""

    def __init__(self, so_far: Relayed):
        super().__init__("the caller went away")
        self.so_far = so_far


class Change(msgspec.Struct, frozen=True):
    """A lever's memory to write: (store, key) -> value. Answer: None."""

    store: str
    key: str
    value: Any


Ask = Find | Keep | Change | Embed | Reserve | Settle | Send | Relay | Book | Pause | Defer | Shadow
Answer = Any
"""Each ask names its answer's type in its docstring."""
