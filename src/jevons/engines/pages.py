"""What the pages process is started with, by the gateway or by hand.

What must not be in it: a secret. Providers are shown by where their keys are found.
"""

import msgspec


class ShownProvider(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream as the settings page shows it."""

    name: str
    dialect: str
    base_url: str
    key_from: str = ""
    """The variable or file that holds its key."""
    local: bool = False
    models: tuple[str, ...] = ()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A `socket` path takes the port's place."""

    database: str
    port: int = 0
    socket: str = ""
    providers: tuple[ShownProvider, ...] = ()
