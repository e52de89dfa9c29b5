"""The small interface that all levers share: look at a call, offer what would change, learn from the outcome.

A lever never acts and never prices. It says what it would do in the governor's terms (an Effect); the governor prices
all combinations with one arithmetic and picks. A lever that has nothing to offer returns at once. This file must
not know any lever.
"""

from collections.abc import Generator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Protocol

import msgspec

from jevons.core.ask import Answer, Ask, Change, Keep, Shadow, Stored
from jevons.core.call import Call
from jevons.core.route import Route
from jevons.core.usage import Usage

MAX_OFFERS_PER_LEVER = 3
"""A bound, so that the governor's combinations stay bounded."""


class Risk(IntEnum):
    """EXACT: the same answer by construction. EQUIVALENT: the same information. LOSSY: may lose quality."""

    EXACT = 0
    EQUIVALENT = 1
    LOSSY = 2


class Edit(msgspec.Struct, frozen=True):
    """Replace the text of one part of one turn (indices into the neutral prompt). None removes the turn."""

    turn: int
    part: int
    text: str | None


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What would change, as data. Fields left at their default are untouched; two offers conflict when both set one."""

    reply: Stored | None = None
    """Nothing is sent: this answer is at hand."""
    edits: tuple[Edit, ...] = ()
    removed_tokens: int = 0
    """Prompt tokens that the edits save on this call and on each later one that resends them."""
    retained_tokens: int = 0
    """Tokens at and behind the first edit that stay: what must be written to the provider's cache again (T)."""
    route: Route | None = None
    """Another model."""
    ladder: tuple[Route, ...] = ()
    """A cascade: try these in order, gate each."""
    reach: tuple[float, ...] = ()
    """For each rung of the ladder, the share of calls that get to it (the first is 1): what it costs on average."""
    stop_nano: int = 0
    """Nano-dollars burned on the rungs above which the last climb is left out; 0: it never is."""
    tier: str = ""
    """batch | flex | priority."""
    defer_until: float = 0.0
    breakpoints: tuple[tuple[int, str], ...] = ()
    """Cache breakpoints to place: (turn index, ttl)."""
    stable_tools: bool = False
    cache_key: str = ""
    regained_tokens: int = 0
    """Prompt tokens that will be read from the provider's cache only because of this."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a lever would do to this call."""

    lever: str
    risk: Risk
    effect: Effect
    loss: float = 0.0
    """Upper bound on the probability that the answer is worse, from a passed gate; 0 for exact levers."""
    delay_s: float = 0.0
    own_nano: int = 0
    """What the lever itself burns on this call: embeddings, gates, judges."""
    saves_output: float = 0.0
    """Expected share of output tokens saved, where a lever changes it."""
    why: str = ""
    """For `jevons explain`: one line, with numbers."""


class View(msgspec.Struct, kw_only=True):
    """What a lever may see. Filled by the driver from memory; a lever that needs more asks."""

    now: float
    allowed: Mapping[str, Risk]
    """The plan's word: lever name -> the riskiest class it may act with."""
    quality_floor: float = 1.0
    prefix: Any = None
    """prices.prefix.State of the session, or None."""
    site: Any = None
    """The call site's statistics, or None."""
    session: Any = None
    routes: Sequence[Route] = ()
    plan: Any = None
    """plans.plan.Plan of the caller; NO_PLAN where there is none."""
    customer: Any = None
    """plans.plan.Customer, or None."""
    baseline: Any = None
    """core.route.Route of the model that the plan declares would have run, or None: the model that was asked for."""
    pressure: float = 0.0
    """The fullest budget's share when it is near its end, else 0: cheaper offers are welcome."""
    memory: dict[str, Any] = msgspec.field(default_factory=dict)
    """What this lever's `learn` stored under this call's site, by lever name."""
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    """What levers write down while they look, by lever name: handed to their `learn`."""
    cache: str = ""
    """What a cache lever found, for the ledger: '' (not asked) | miss | hit | coalesced | semantic."""
    collect: bool = False
    """A lever will keep this answer: a stream is collected while it flows."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known after the reply: the call, what was chosen, what was burned, later feedback."""

    call: Call
    chosen: tuple[Offer, ...]
    usage: Usage | None
    cost_nano: int | None
    solved: bool | None = None
    reply: Stored | None = None
    """The whole answer, when it was good and somebody asked to keep it."""
    seconds: float = 0.0
    notes: dict[str, Any] = msgspec.field(default_factory=dict)


class Lever(Protocol):
    """See the module's first lines."""

    name: str
    risk: Risk

    def offer(self, call: Call, view: View) -> Generator[Ask, Answer, Sequence[Offer]]: ...

    def learn(self, outcome: Outcome) -> Sequence[Keep | Shadow | Change]: ...
