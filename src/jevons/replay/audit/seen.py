"""One recorded call as every reader gives it, and what could not be read.

What lives here: the values that readers and the audit share. What it must not know: any format, any price.
"""

from collections import Counter
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from jevons.core.call import Surface
from jevons.core.prompt import Turn
from jevons.core.usage import Usage

EXAMPLES = 5
"""Places named for each kind of fault; the rest are only counted."""

MOST_IDS = 2_000_000
"""Calls told apart by their ids, about 150 MB at the bound; later ones are taken as new."""

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""2000 and 2100: a time outside of these is a mistake of units."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A call with its reply's counts. `body`: the request's bytes where they were recorded; `turns`: the conversation
    where only its texts were."""

    at: float
    """When it was sent, Unix seconds; 0: not known."""
    model: str
    usage: Usage
    session: str = ""
    """The recorder's own name; empty: found from the conversation."""
    id: str = ""
    provider: str = ""
    """As the recorder names it; empty: told from the model."""
    cost_usd: float | None = None
    tier: str = ""
    surface: Surface = Surface.RAW
    body: bytes = b""
    turns: tuple[Turn, ...] = ()
    sub: bool = False
    where: str = ""


class Malformed(ValueError):
    """A record that cannot be read; the text says why, in a few words that are the same for the same fault."""


class Faults:
    """Counts by kind of what was left out, with the first places of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[str]] = {}

    def add(self, kind: str, where: str) -> None:
        self.counts[kind] += 1
        places = self.places.setdefault(kind, [])
        if len(places) < EXAMPLES:
            places.append(where)


class Once:
    """Whether an id comes for the first time. Bounded; an empty id is always new."""

    def __init__(self, most: int = MOST_IDS) -> None:
        self._known: set[int] = set()
        self._most = most
        self.repeats = 0

    def __call__(self, name: str) -> bool:
        if not name:
            return True
        digest = int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")
        if digest in self._known:
            self.repeats += 1
            return False
        if len(self._known) < self._most:
            self._known.add(digest)
        return True


def moment(found: Any) -> float:
    """Unix seconds of an ISO text or a number (seconds, milliseconds or microseconds); 0 where it is none."""
    if isinstance(found, bool) or found is None:
        return 0.0
    if isinstance(found, str):
        text = found.strip()
        try:
            when = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" UTC", "+00:00"))
            found = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            try:
                found = float(text)
            except ValueError:
                return 0.0
    if not isinstance(found, int | float):
        return 0.0
    for unit in (1, 1_000, 1_000_000):
        if EARLIEST <= found / unit <= LATEST:
            return float(found / unit)
    return 0.0


def text(found: Any) -> str:
    """A string, or ''."""
    return found if isinstance(found, str) else ""


def count(found: Any) -> int:
    """Tokens: a whole number, or one written as a text; 0 for anything else."""
    value = amount(found)
    return int(value) if value is not None else 0


def amount(found: Any) -> float | None:
    """A number that is not negative and not absurd, or None."""
    if isinstance(found, bool):
        return None
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            return None
    if isinstance(found, int | float) and 0 <= found < 2**53:
        return float(found)
    return None


def inner(found: Any) -> dict[str, Any]:
    """An object, also one that was written as a text; {} for anything else."""
    if isinstance(found, str) and found.lstrip().startswith("{"):
        try:
            found = msgspec.json.decode(found)
        except (msgspec.DecodeError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}
