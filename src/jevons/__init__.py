"""jevons: the governor for AI products. One import gives the library; `jevons --help` gives the tools."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jevons.library import Task, current, task, wrap

__version__ = "0.1.0"
__all__ = ["Task", "__version__", "current", "task", "wrap"]

_LIBRARY = frozenset({"Task", "current", "task", "wrap"})


def __getattr__(name: str) -> Any:
    """The library is imported when it is first used: the gateway never pays for it."""
    if name in _LIBRARY:
        return getattr(import_module("jevons.library"), name)
    raise AttributeError(f"module 'jevons' has no attribute {name!r}")
