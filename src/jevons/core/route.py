"""Where a call can go: a provider, the model's name there, and what it can do."""

import msgspec


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream. The key itself is never here: only where to find it."""

    name: str
    dialect: str
    """openai | anthropic: the wire formats it speaks."""
    base_url: str
    key_env: str = ""
    key_file: str = ""
    surfaces: tuple[str, ...] = ("chat",)
    """What it answers natively; other surfaces are translated to the first of these that can carry them."""
    price_provider: str = ""
    """Which provider's prices apply (`openai`, `anthropic`, ...); empty: taken from `name`."""
    local: bool = False
    private: bool = False
    """The operator named a private or loopback address, and may."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve a public model name."""

    provider: Provider
    upstream_model: str
    weight: int = 1
    order: int = 0
    """Routes of the same order share by weight; the next order is the fallback."""

    @property
    def name(self) -> str:
        return f"{self.provider.name}/{self.upstream_model}"
