"""Counting tokens for a model whose provider has no counter: an estimate, and it says so."""

from collections.abc import Generator

import msgspec

from jevons.core.ask import Answer, Ask, Relay
from jevons.core.call import Call, Surface
from jevons.core.route import Route
from jevons.pipeline.course import BYTES_PER_TOKEN

WARNING = f"input_tokens is an estimate: this model's provider counts no tokens ahead ({BYTES_PER_TOKEN} bytes a token)"


def uncounted(call: Call, route: Route) -> bool:
    """Whether this call asks for a count that nobody but us can give."""
    return call.surface == Surface.COUNT_TOKENS and call.surface not in route.provider.surfaces


def estimate(call: Call, ours: tuple[tuple[str, str], ...]) -> Generator[Ask, Answer, None]:
    body = msgspec.json.encode({"input_tokens": -(-len(call.body) // BYTES_PER_TOKEN)})
    yield Relay(status=200, body=body, headers=(*ours, ("x-jevons-warnings", WARNING)))
