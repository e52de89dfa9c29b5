"""What the worker keeps is tested on both databases, as all of the store is."""

from tests.store.conftest import postgres, url

__all__ = ["postgres", "url"]
