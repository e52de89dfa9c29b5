"""A stream that is collected before anything of it flows: for an answer that must be looked at, or is nobody's to read.

What lives here: a finished exchange as one whole `Sent`. What it must not know: who waits for it, and why.
"""

from jevons.core.ask import Sent
from jevons.core.route import Route
from jevons.engines.http import Exchange
from jevons.wire.cacheable import collect_stream
from jevons.wire.follow import Follower


async def whole(exchange: Exchange, dialect: str, route: Route, most_bytes: int) -> Sent:
    """The answer that the stream brought, in its dialect. A stream that broke off, failed, or is larger than
    `most_bytes` has the error `rubbish`, with the usage that is known. Raises ExchangeFailed when it is cut."""
    follower, kept, size = Follower(dialect), [], 0
    async for piece in exchange.pieces():
        follower.feed(piece)
        kept.append(piece)
        size += len(piece)
        if size > most_bytes:
            exchange.abort()
            break
    facts = follower.finish()
    body = collect_stream(dialect, kept) if facts.done and not facts.failed else b""
    return Sent(
        route=route,
        status=exchange.status,
        body=body,
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.headers),
        usage=facts.usage,
        tier=facts.tier,
        cost_usd=facts.cost_usd,
        error="" if body else "rubbish",
    )
