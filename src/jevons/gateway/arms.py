"""Which arm of the experiment a call's task is in, told before any lever is asked.

What it decides: the arm of a task under its plan (ledger/experiment.py draws it), and which levers are left to it. The
unit is the whole tree of a task and its sub-agents. In the hold-out no lever is asked at all: such a task neither reads
nor fills a shared cache. What it must not know: how a lever works, what the arms have shown, the database.
"""

from collections.abc import Mapping

import msgspec

from jevons.core.call import Call
from jevons.core.errors import NotFound
from jevons.core.route import Provider, Route
from jevons.engines.catalogue import Catalogue
from jevons.ledger.experiment import Arm, Design, assign, permitted
from jevons.levers.lever import Risk, View
from jevons.plans.plan import Plan

MOST_TASKS = 65_536
"""Arms remembered: a draw hashes once a lever (about 1.5 us each), and a task has many calls. Some 10 MB at most."""
MEMORY = "arm"
"""Where the view says the arm's name: the governor reads it there, and so does what keeps provider caches apart."""


class Placed(msgspec.Struct, frozen=True):
    """A task's arm and the levers that it may be touched by."""

    arm: Arm
    levers: Mapping[str, Risk]


class Arms:
    """Draws arms and remembers them. A new salt is a new experiment, and so is a plan that changed."""

    def __init__(self, salt: str = ""):
        self._salt = salt
        self._placed: dict[tuple[str, str], tuple[Plan, Placed]] = {}

    def begin(self, salt: str) -> None:
        """The draw of this salt holds from now on."""
        if salt != self._salt:
            self._salt = salt
            self._placed.clear()

    def forget(self) -> None:
        """What a plan allows has changed: the arms stay as they were drawn, their levers are looked up again."""
        self._placed.clear()

    def place(self, call: Call, plan: Plan, allowed: Mapping[str, Risk]) -> Placed | None:
        """The arm of a call's task; None where nothing is held out, or nobody knows whose task the call is."""
        if not plan.hold_out or call.task is None or not call.task.task or not self._salt:
            return None
        key = (call.caller.tenant, call.task.root or call.task.task)
        found = self._placed.get(key)
        if found is not None and found[0] is plan:
            return found[1]
        placed = self._draw(key, plan, allowed)
        if len(self._placed) >= MOST_TASKS:
            self._placed.clear()
        self._placed[key] = (plan, placed)
        return placed

    def _draw(self, key: tuple[str, str], plan: Plan, allowed: Mapping[str, Risk]) -> Placed:
        arm = assign(design(plan, allowed, tenant=key[0], salt=self._salt), key[1])
        return Placed(arm, permitted(arm, allowed))


def design(plan: Plan, levers: Mapping[str, Risk], *, tenant: str, salt: str) -> Design:
    """A plan's experiment: the share that is held out is also the share of the others that goes without a lever."""
    return Design(
        tenant=tenant, salt=salt, levers=tuple(sorted(levers)), holdout=plan.hold_out, lever_off=plan.hold_out
    )


def arm_of(_call: Call, view: View) -> str:
    """The arm as the governor asks for it; empty outside an experiment."""
    name: str = view.memory.get(MEMORY, "")
    return name


def declared(catalogue: Catalogue, plan: Plan) -> Route | None:
    """Where the plan's baseline model would have gone; None: the plan declares none. One that no route serves has no
    price, and so its plan's calls have no baseline: better none than another one than was declared."""
    if not plan.baseline_model:
        return None
    try:
        return catalogue.routes(plan.baseline_model)[0]
    except NotFound:
        return Route(provider=Provider(name="", dialect="", base_url=""), upstream_model=plan.baseline_model)
