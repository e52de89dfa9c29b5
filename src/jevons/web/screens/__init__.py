"""The screens: their addresses, names and order. Each module builds one from an Ask; none knows HTML or sessions."""

from collections.abc import Callable, Mapping

import msgspec

from jevons.web.ask import Ask
from jevons.web.figure import Page
from jevons.web.screens import (
    bill,
    burn_now,
    cache,
    customers,
    engines,
    rebound,
    routes,
    savings,
    settings,
    task,
    tasks,
)
from jevons.web.screens.refused import Refused

__all__ = ["CHANGES", "GROUPS", "SCREENS", "Refused", "Screen", "burn_now"]

GROUPS = ("What it costs", "What saves", "What burns", "House")


class Screen(msgspec.Struct, frozen=True):
    """One address. A screen without a group is reached from another one."""

    path: str
    nav: str
    group: str
    build: Callable[[Ask], Page]
    span: str = "30d"
    """The span that is shown unless another is asked for."""
    spans: bool = True


SCREENS = (
    Screen("/", "Bill", GROUPS[0], bill.build),
    Screen("/ui/burn", "Burn now", GROUPS[0], burn_now.build, "1h", spans=False),
    Screen("/ui/tasks", "Tasks", GROUPS[0], tasks.build, "7d"),
    Screen("/ui/customers", "Customers and plans", GROUPS[0], customers.build),
    Screen("/ui/savings", "Savings", GROUPS[1], savings.build),
    Screen("/ui/cache", "Cache and trim", GROUPS[1], cache.build),
    Screen("/ui/routes", "Routes", GROUPS[1], routes.build),
    Screen("/ui/engines", "Batch and local", GROUPS[2], engines.build),
    Screen("/ui/rebound", "Burn and rebound", GROUPS[2], rebound.build),
    Screen("/ui/settings", "Settings", GROUPS[3], settings.build, spans=False),
    Screen("/ui/task", "Tasks", "", task.build, spans=False),
    Screen("/ui/call", "Tasks", "", task.call, spans=False),
)
CHANGES: Mapping[str, Callable[[Ask, Mapping[str, str]], Page | str]] = {
    "/ui/settings/keys": settings.make_key,
    "/ui/settings/keys/revoke": settings.revoke_key,
    "/ui/settings/plans": settings.change_plans,
}
"""Forms: each gives the page that shows what was done, or the address to go on to."""
