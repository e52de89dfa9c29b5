"""What binds a call to one provider: a key of the caller's own, or state that only that provider holds.

What it decides: whether a caller may bring its key, what a key may look like, and which routes and levers such a call
keeps. A key goes to the provider that the model's name leads to first and to no other; it is in no log, no row and no
message. What it must not know: how a call is sent.
"""

from jevons.core.errors import CallerError, Forbidden
from jevons.levers.lever import View

HEADER = "x-jevons-provider-key"
CREDENTIALS = ("authorization", "x-api-key", HEADER)
LONGEST_KEY = 1_024
MOVERS = frozenset({"route", "cascade", "small", "batch"})
"""Levers that send a call elsewhere, or later with the operator's key."""


def take_key(headers: dict[str, str], *, allowed: bool) -> str:
    """The caller's own provider key or ''; every credential leaves `headers`. Raises Forbidden, CallerError."""
    key = headers.get(HEADER, "")
    for name in CREDENTIALS:
        headers.pop(name, None)
    if not key:
        return ""
    if not allowed:
        raise Forbidden(
            f"{HEADER} is not taken here: the operator would set access.client_provider_keys",
            code="provider_key_not_allowed",
        )
    if len(key) > LONGEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise CallerError(f"{HEADER} holds what no key may hold", code="invalid_provider_key")
    return key


def bind(view: View, *, held_by: str, own_key: bool) -> None:
    """Leave the call only the routes and levers that it may have. Raises CallerError when no route is left."""
    if held_by:
        routes = [route for route in view.routes if route.provider.name == held_by]
        if not routes:
            raise CallerError(
                f"`previous_response_id` names a response that only {held_by} holds, and this model is served "
                f"elsewhere: ask a model of {held_by}, or send the whole input",
                code="unsupported_state",
                param="previous_response_id",
            )
        view.routes, view.allowed = routes, {}  # a lever would judge the call without what came before
    if own_key:
        provider = view.routes[0].provider
        if provider.local:
            raise CallerError(f"this model is served here, where {HEADER} opens nothing", code="invalid_provider_key")
        view.routes = [route for route in view.routes if route.provider.name == provider.name]
        view.allowed = {name: risk for name, risk in view.allowed.items() if name not in MOVERS}
