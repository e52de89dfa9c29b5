"""Which providers there are, and which routes a model's name leads to.

What lives here: the providers of the settings and of the environment, and the rule from a public name to routes. What
it must not know: sockets, keys' values, prices.
"""

import difflib
import re
from collections.abc import Mapping, Sequence

import msgspec

from jevons.core.errors import NotFound, SettingsError
from jevons.core.route import Provider, Route
from jevons.settings import ProviderSettings, RouteSettings, Settings

SURFACES = {
    "openai": ("chat", "responses", "embeddings"),
    "anthropic": ("messages", "count_tokens"),
}
"""What a dialect's own provider answers; a compatible one says in its settings what it has."""


class Known(msgspec.Struct, frozen=True):
    """A provider that is found by its variable: `KEY` and, where a base URL variable is set, that address."""

    name: str
    dialect: str
    key_env: str
    base_env: str
    base_url: str
    models: str
    surfaces: tuple[str, ...]


KNOWN = (
    Known(
        "openai",
        "openai",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "https://api.openai.com/v1",
        r"(gpt-|chatgpt-|codex-|o\d|text-embedding-|ft:gpt-)",
        SURFACES["openai"],
    ),
    Known(
        "anthropic",
        "anthropic",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        r"claude-",
        SURFACES["anthropic"],
    ),
    Known(
        "gemini",
        "openai",
        "GEMINI_API_KEY",
        "GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        r"gemini-",
        ("chat", "embeddings"),
    ),
    Known(
        "deepseek",
        "openai",
        "DEEPSEEK_API_KEY",
        "DEEPSEEK_BASE_URL",
        "https://api.deepseek.com/v1",
        r"deepseek-",
        ("chat",),
    ),
)
"""Sources: each provider's API reference, 2026-11. Gemini is spoken to through its OpenAI-compatible endpoint."""


class Catalogue:
    """Names to routes. `add` and `remove` serve engines that come and go; everything else is fixed at start."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self._named: dict[str, tuple[Route, ...]] = {}
        self._patterns: list[tuple[re.Pattern[str], Provider]] = []
        self._found: dict[str, tuple[Route, ...]] = {}

    def add(self, provider: Provider, *, pattern: str = "", models: Sequence[str] = ()) -> None:
        """A provider, with the names that lead to it: a pattern of its own models, or a list."""
        self.providers[provider.name] = provider
        if pattern:
            self._patterns.append((re.compile(pattern), provider))
        for model in models:
            self.name(model, (Route(provider=provider, upstream_model=model),))

    def name(self, public: str, routes: tuple[Route, ...]) -> None:
        """A public name for routes; an earlier meaning is replaced."""
        self._named[public] = routes
        self._found.clear()

    def unname(self, public: str) -> None:
        self._named.pop(public, None)
        self._found.clear()

    def routes(self, model: str) -> tuple[Route, ...]:
        """Where a call for this name may go. Raises NotFound with the nearest names."""
        found = self._found.get(model)
        if found is None:
            found = self._look_up(model)
            if len(self._found) < MAX_REMEMBERED_NAMES:
                self._found[model] = found
        return found

    def names(self) -> list[str]:
        """The names that can be listed; patterns match more."""
        return sorted(self._named)

    def _look_up(self, model: str) -> tuple[Route, ...]:
        if model in self._named:
            return self._named[model]
        head, _, tail = model.partition("/")
        if tail and head in self.providers:
            return (Route(provider=self.providers[head], upstream_model=tail),)
        for pattern, provider in self._patterns:
            if pattern.match(model):
                return (Route(provider=provider, upstream_model=model),)
        near = difflib.get_close_matches(model, self._named, n=3, cutoff=0.5)
        known = f"did you mean {', '.join(near)}?" if near else f"known here: {', '.join(self.names()[:8]) or 'none'}"
        families = ", ".join(provider.name for _, provider in self._patterns)
        raise NotFound(
            f"no route serves the model {model!r}; {known}" + (f" (and the models of {families})" if families else ""),
            code="model_not_found",
            param="model",
        )


MAX_REMEMBERED_NAMES = 10_000
"""Distinct names whose routes are remembered; further ones are looked up anew."""


def build(settings: Settings, environ: Mapping[str, str]) -> Catalogue:
    """The catalogue of the settings' providers and of those found in the environment. Raises SettingsError."""
    catalogue = Catalogue()
    for known in KNOWN:
        if known.name not in settings.providers and environ.get(known.key_env):
            provider = Provider(
                name=known.name,
                dialect=known.dialect,
                base_url=environ.get(known.base_env) or known.base_url,
                key_env=known.key_env,
                surfaces=known.surfaces,
                price_provider=known.name,
            )
            catalogue.add(provider, pattern=known.models)
    for name, configured in settings.providers.items():
        pattern = next((known.models for known in KNOWN if known.name == name), "")
        catalogue.add(_provider(name, configured), pattern=pattern, models=configured.models)
    for public, model in settings.models.items():
        catalogue.name(public, tuple(_route(catalogue, public, route) for route in model.routes))
    return catalogue


def _provider(name: str, configured: ProviderSettings) -> Provider:
    if configured.dialect not in SURFACES:
        raise SettingsError(f"providers.{name}.dialect is {configured.dialect!r}; use openai or anthropic")
    return Provider(
        name=name,
        dialect=configured.dialect,
        base_url=configured.base_url,
        key_env=configured.key_env,
        key_file=configured.key_file,
        surfaces=configured.surfaces or SURFACES[configured.dialect],
        price_provider=configured.price_provider or name,
    )


def _route(catalogue: Catalogue, public: str, route: RouteSettings) -> Route:
    provider = catalogue.providers.get(route.provider)
    if provider is None:
        known = ", ".join(catalogue.providers) or "none"
        raise SettingsError(f"models.{public}: no provider is called {route.provider!r}; known: {known}")
    return Route(provider=provider, upstream_model=route.model, weight=route.weight, order=route.order)
