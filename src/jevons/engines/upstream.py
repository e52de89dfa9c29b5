"""One upstream: its address, its key, the heads of its requests, and its breaker.

What lives here: how a provider is spoken to over HTTP. What it must not know: which call, which retry, what it costs.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from jevons.core.errors import SettingsError
from jevons.core.route import Provider
from jevons.engines.http import Exchange, Limits, Pool

PATHS = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "messages": "/messages",
    "count_tokens": "/messages/count_tokens",
}
"""Below `/v1`, which OpenAI's base URLs hold and Anthropic's do not."""
FORWARDED = {
    "openai": ("openai-organization", "openai-project", "openai-beta", "idempotency-key", "x-session-id"),
    "anthropic": ("anthropic-beta", "idempotency-key", "x-session-id"),
}
"""Request headers of the client that reach a provider, by its dialect. All others stay here."""
ANTHROPIC_VERSION = "2023-06-01"
USER_AGENT = "jevons/0.1"


class BreakerPolicy(msgspec.Struct, frozen=True):
    """After `failures` in a row a route rests for `open_s`; then one call tries it."""

    failures: int = 5
    open_s: float = 10.0


class Breaker:
    """Closed, open, or trying: a route's health. An answer of the upstream below 500 is health, whatever it says."""

    __slots__ = ("_failures", "_policy", "_trying", "open_until")

    def __init__(self, policy: BreakerPolicy):
        self._policy = policy
        self._failures = 0
        self._trying = False
        self.open_until = 0.0

    def admits(self, now: float) -> bool:
        if not self.open_until:
            return True
        if now < self.open_until or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        self._failures, self._trying, self.open_until = 0, False, 0.0

    def failed(self, now: float) -> None:
        self._failures += 1
        if self._trying or self._failures >= self._policy.failures:
            self._trying, self.open_until = False, now + self._policy.open_s

    def forgot(self) -> None:
        """A trial that ended without a verdict (the caller left) leaves the door as it was."""
        self._trying = False


class Upstream:
    """A provider with its pool and key. Raises SettingsError when its key can't be found."""

    def __init__(
        self,
        provider: Provider,
        environ: Mapping[str, str],
        *,
        max_connections: int = 512,
        breaker: BreakerPolicy | None = None,
    ):
        self.provider = provider
        self.pool = Pool(provider.base_url, max_connections=max_connections)
        self._key = _key(provider, environ)
        self._heads: dict[str, bytes] = {}
        self._policy = breaker or BreakerPolicy()
        self._breakers: dict[str, Breaker] = {}

    def breaker(self, model: str) -> Breaker:
        """Each model of a provider rests alone: one model's outage takes no other out."""
        found = self._breakers.get(model)
        if found is None:
            found = self._breakers[model] = Breaker(self._policy)
        return found

    def open_breakers(self, now: float) -> list[str]:
        return [model for model, breaker in self._breakers.items() if breaker.open_until > now]

    async def send(
        self,
        surface: str,
        body: bytes,
        limits: Limits,
        *,
        stream: bool,
        headers: Mapping[str, str],
        key: str = "",
    ) -> Exchange:
        """POST a body to a surface. `key` replaces the operator's own key. Raises ExchangeFailed."""
        head = self._head(surface) if not key else self._build(self._path(surface), key)
        extra = self._passed(headers)
        return await self.pool.send(
            b"%bcontent-length: %d\r\n%b\r\n" % (head, len(body), extra.encode("latin-1")), body, limits, stream=stream
        )

    async def raw(
        self,
        method: str,
        path: str,
        body: bytes,
        limits: Limits,
        *,
        headers: Mapping[str, str],
        stream: bool = False,
        key: str = "",
    ) -> Exchange:
        """Any path below the provider's base, as it is: for passthrough and for stored responses. Starts with `/`.

        `key` replaces the operator's own. Raises ExchangeFailed.
        """
        kind = headers.get("content-type", "application/json")
        head = self._build(self._base() + path, key or self._key, method, kind)
        extra = self._passed(headers)
        return await self.pool.send(
            b"%bcontent-length: %d\r\n%b\r\n" % (head, len(body), extra.encode("latin-1")), body, limits, stream=stream
        )

    def use_key(self, key: str) -> None:
        """Another key from now on: an engine of ours that was started anew has a new one."""
        self._key = key
        self._heads.clear()

    def sweep(self) -> None:
        self.pool.sweep()

    def _head(self, surface: str) -> bytes:
        head = self._heads.get(surface)
        if head is None:
            head = self._heads[surface] = self._build(self._path(surface), self._key)
        return head

    def _path(self, surface: str) -> str:
        return self._base() + PATHS[surface]

    def _base(self) -> str:
        base = self.pool.path
        return base + "/v1" if self.provider.dialect == "anthropic" and not base.endswith("/v1") else base

    def _passed(self, headers: Mapping[str, str]) -> str:
        names = FORWARDED[self.provider.dialect]
        return "".join(f"{name}: {headers[name]}\r\n" for name in names if name in headers)

    def _build(self, path: str, key: str, method: str = "POST", content_type: str = "application/json") -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"host: {self.pool.authority}",
            f"user-agent: {USER_AGENT}",
            "accept: */*",
            f"content-type: {content_type}",
        ]
        if self.provider.dialect == "anthropic":
            lines += [f"x-api-key: {key}"] if key else []
            lines.append(f"anthropic-version: {ANTHROPIC_VERSION}")
        elif key:
            lines.append(f"authorization: Bearer {key}")
        return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def _key(provider: Provider, environ: Mapping[str, str]) -> str:
    """The provider's key, from where the settings say it is. A local or key-less engine has none."""
    if provider.key_file:
        try:
            key = Path(provider.key_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"providers.{provider.name}.key_file {provider.key_file}: {error.strerror}") from None
    elif provider.key_env:
        if provider.key_env not in environ:
            raise SettingsError(f"providers.{provider.name}.key_env: the variable {provider.key_env} is not set")
        key = environ[provider.key_env].strip()
    else:
        return ""
    if not key or not key.isascii() or not key.isprintable():
        raise SettingsError(f"providers.{provider.name}: the key is empty or holds characters that no header may carry")
    return key
