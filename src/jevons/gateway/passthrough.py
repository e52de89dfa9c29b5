"""Raw passthrough: /providers/NAME/PATH to any other path of a configured provider, its bytes untouched.

What it decides: which paths a caller may reach with the operator's key, what a path may look like, and what is read of
a reply on its way (its usage, within bounds). The provider is one that the operator configured: a caller names it and
never an address. What it must not know: budgets, prices, sockets.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from jevons.core.ask import Relayed
from jevons.core.call import Peek, Surface
from jevons.core.errors import CallerError, Forbidden, NotFound
from jevons.core.route import Provider, Route
from jevons.engines.catalogue import Catalogue
from jevons.engines.http import ExchangeFailed
from jevons.engines.upstream import PATHS
from jevons.wire.facts import facts
from jevons.wire.follow import Follower

PREFIX = "/providers/"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
LONGEST_PATH = 2_048
MAX_READ_BYTES = 1024 * 1024
"""A JSON reply up to this is read for its usage; a larger one counts as unreported, so as unpriced."""
MAX_REPLY_BYTES = 512 * 1024 * 1024
"""A reply is cut beyond this: generated video and long speech are far below."""
OWN = frozenset(path.strip("/") for path in PATHS.values())
OWN_BELOW = ("responses/", "chat/completions/")
"""Paths that are surfaces here, and those of their state: they are asked for as such."""

_PATH = re.compile(r"[A-Za-z0-9._~:@!$&'()*+,;=-]+(/[A-Za-z0-9._~:@!$&'()*+,;=-]+)*")
_QUERY = re.compile(r"[!\"$-~]*")
_OTHER_TOKENS = re.compile(rb'"(?:image|audio)_tokens"\s*:\s*[1-9]')
"""Tokens that no text rate prices."""


class Target(msgspec.Struct, frozen=True):
    """Where a raw call goes."""

    provider: Provider
    method: str
    path: str
    """Below the provider's base address, from its `/` on, with the query."""


def target(catalogue: Catalogue, open_paths: Sequence[str], scope: Mapping[str, object], *, own_key: bool) -> Target:
    """Read and judge a raw request's line. Raises CallerError, Forbidden, NotFound.

    `open_paths` are what the operator's key may be used for; a caller with its own key may reach any other path, too.
    """
    raw_path, method = scope["raw_path"], str(scope["method"])
    path = raw_path.decode("latin-1") if isinstance(raw_path, bytes) else ""
    name, _, rest = path.removeprefix(PREFIX).partition("/")
    provider = catalogue.providers.get(name)
    if provider is None or provider.local:
        known = ", ".join(sorted(p.name for p in catalogue.providers.values() if not p.local)) or "none"
        raise NotFound(f"no provider is called {name!r}; known here: {known}", code="unknown_provider")
    if method not in METHODS:
        allow = ", ".join(sorted(METHODS))
        raise CallerError(f"{method} is not passed on", code="method_not_allowed", status=405, allow=allow)
    rest = rest.removeprefix("v1/")
    if len(path) > LONGEST_PATH or not _PATH.fullmatch(rest) or any(set(part) == {"."} for part in rest.split("/")):
        raise CallerError("the path must be plain segments: no `%`, no `..`, no empty one", code="invalid_path")
    asked = query_of(scope)
    if rest in OWN or rest.startswith(OWN_BELOW):
        raise Forbidden(
            f"`{rest}` is a surface here: ask for it at /v1/{rest} with the model {name + '/MODEL'!r}",
            code="path_not_allowed",
        )
    if not own_key and not covered(rest, open_paths):
        raise Forbidden(
            f"`{rest}` of {name} is not open to callers; open here: {', '.join(open_paths) or 'none'} "
            "(the operator's setting access.passthrough)",
            code="path_not_allowed",
        )
    return Target(provider, method, f"/{rest}" + (f"?{asked}" if asked else ""))


def query_of(scope: Mapping[str, object]) -> str:
    """The query as it came. Raises CallerError when no provider should be given it."""
    raw = scope["query_string"]
    query = raw.decode("latin-1") if isinstance(raw, bytes) else ""
    if len(query) > LONGEST_PATH or not _QUERY.fullmatch(query):
        raise CallerError("the query holds characters that no query may carry, or is too long", code="invalid_path")
    return query


def covered(path: str, open_paths: Sequence[str]) -> bool:
    """Whether one of the open paths is this one, or a folder above it."""
    return any(each in {"*", path} or path.startswith(f"{each.rstrip('/')}/") for each in open_paths)


def route(target: Target, peek: Peek) -> Route:
    """The route in the ledger's terms: the model that the body names, else the path."""
    return Route(provider=target.provider, upstream_model=peek.model or target.path.partition("?")[0].strip("/"))


class _Asks(msgspec.Struct):
    model: str = ""
    stream: bool | None = None
    max_tokens: int | None = None


def look(body: bytes) -> Peek:
    """What a raw body says of itself, when it is JSON that says it. Never raises: the provider judges the body."""
    try:
        found = msgspec.json.decode(body, type=_Asks) if body[:1] == b"{" else _Asks()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Asks()
    tokens = found.max_tokens if found.max_tokens is not None and found.max_tokens >= 0 else None
    return Peek(model=found.model, stream=bool(found.stream), max_tokens=tokens)


class Tap:
    """Looks at a raw reply while it flows. `feed` every piece, then `finish` once; bytes are never changed."""

    __slots__ = ("_follower", "_kept", "_size", "first_byte_s")

    def __init__(self, dialect: str, content_type: str):
        self._follower: Follower | None = None
        self._kept: list[bytes] | None = None
        if content_type.startswith("text/event-stream"):
            self._follower = Follower("messages" if dialect == "anthropic" else "chat")
        elif content_type.startswith("application/json"):
            self._kept = []
        self._size = 0
        self.first_byte_s: float | None = None

    def feed(self, piece: bytes) -> bytes:
        """The piece. Raises ExchangeFailed when the reply is larger than any may be."""
        self._size += len(piece)
        if self._size > MAX_REPLY_BYTES:
            raise ExchangeFailed("rubbish", "the upstream's answer is too large to pass on", started=True)
        if self._follower is not None:
            self._follower.feed(piece)
        elif self._kept is not None:
            self._kept.append(piece)
            if self._size > MAX_READ_BYTES:
                self._kept = None
        return piece

    def finish(self, error: str, seconds: float) -> tuple[bytes, Relayed]:
        """Nothing to add, and what the reply said of itself."""
        return b"", self.relayed(error, seconds)

    def relayed(self, error: str, seconds: float) -> Relayed:
        """What is known so far."""
        usage, tier, cost = None, "", None
        if self._follower is not None:
            seen = self._follower.finish()
            usage, tier, cost = seen.usage, seen.tier, seen.cost_usd
        elif self._kept and not error:
            body = b"".join(self._kept)
            found = facts(Surface.RAW.value, body)
            usage, tier, cost = found.usage, found.tier, found.cost_usd
            if _OTHER_TOKENS.search(body):
                usage = None
        return Relayed(
            usage=usage, tier=tier, cost_usd=cost, done=not error, error=error, output_chars=self._size,
            first_byte_s=self.first_byte_s, duration_s=seconds,
        )  # fmt: skip
