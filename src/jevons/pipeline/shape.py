"""From a call and a decision to the bytes for one route, and from that route's answer back to the caller's dialect.

What lives here: which dialect a route is spoken to in, and which bytes change on the way. Same-dialect traffic keeps
its bytes but for the model's name. What it must not know: sending, prices, retries.
"""

import msgspec

from jevons.core.call import Call, Surface
from jevons.core.errors import CallerError
from jevons.core.route import Route
from jevons.levers.lever import Effect
from jevons.wire import edits
from jevons.wire.splice import append_field, ask_usage, splice_field, splice_model
from jevons.wire.translate import translate_request

TRANSLATED = ("chat", "messages", "responses")
"""Dialects that carry a conversation and translate into each other."""


class Shaped(msgspec.Struct, frozen=True):
    """A body ready for a route, the dialect it is in, and what could not be carried over."""

    dialect: str
    body: bytes
    warnings: tuple[str, ...] = ()
    strip_usage: bool = False
    """The usage chunk of the stream was asked for by us and is taken out again."""
    held: bool = False
    """The caller asked for a stream, and it was collected so that the answer could be checked."""


def native(call: Call, route: Route) -> str:
    """The dialect that a route answers this call in: the caller's own where it can, else the first that carries it.

    Raises CallerError when the provider cannot serve this surface at all.
    """
    surface = call.surface.value
    surfaces = route.provider.surfaces
    if surface in surfaces:
        return surface
    if surface in TRANSLATED:
        for candidate in surfaces:
            if candidate in TRANSLATED:
                return candidate
    raise CallerError(
        f"{call.peek.model!r} is served by {route.provider.name}, which has no {surface} endpoint; "
        f"it answers {', '.join(surfaces)}",
        code="unsupported_surface",
        param="model",
    )


def shape(call: Call, effect: Effect, route: Route) -> Shaped:
    """The request's bytes for a route. Raises CallerError when it cannot be carried over."""
    source, target = call.surface.value, native(call, route)
    body, peek = call.body, call.peek
    span = peek.model_span
    if effect.edits or effect.breakpoints or effect.tier or effect.stable_tools:
        body = _apply(source, body, effect)
        span = (0, 0)  # offsets have moved
    warnings: tuple[str, ...] = ()
    if target != source:
        body, found = translate_request(source, target, body, route.upstream_model)
        warnings = tuple(found) + _betas(call, target)
    elif peek.model != route.upstream_model:
        if span != (0, 0):
            body = splice_model(body, span, route.upstream_model)
        else:
            body = splice_field(body, "model", msgspec.json.encode(route.upstream_model))
    if effect.cache_key:  # offered only where the caller set none
        body = append_field(body, "prompt_cache_key", msgspec.json.encode(effect.cache_key))
    strip = False
    if target == Surface.CHAT and peek.stream and not (source == target and peek.include_usage):
        body = ask_usage(body, absent=target == source and not peek.has_stream_options)
        strip = source == target
    return Shaped(target, body, warnings, strip)


def _betas(call: Call, target: str) -> tuple[str, ...]:
    """Betas are switches of Anthropic's own format: another one has nothing to carry them in."""
    betas = call.headers.get("anthropic-beta", "")
    return (f"anthropic-beta: {betas} has no meaning in {target} and was left out",) if betas else ()


def _apply(dialect: str, body: bytes, effect: Effect) -> bytes:
    if effect.edits:
        body = edits.apply_edits(dialect, body, effect.edits)
    if effect.stable_tools:
        body = edits.steady_tools(body)
    if effect.breakpoints and dialect == Surface.MESSAGES:
        body = edits.place_breakpoints(body, effect.breakpoints)
    if effect.tier:
        body = splice_field(body, "service_tier", msgspec.json.encode(effect.tier))
    return body
