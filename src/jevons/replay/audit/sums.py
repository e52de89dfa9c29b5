"""What an audit adds up, per session and in all.

What lives here: the sums and their names. Money is nano-dollars. `burned` is what calls cost at the price book (or as
the recorder reports it); everything under `saved` is modelled, each lever by itself. What it must not know: how any of
it was found.
"""

from typing import Any

import msgspec

from jevons.core.usage import Usage

KINDS = ("input", "cached", "cache_write_5m", "cache_write_1h", "output")
KIND_WORDS = {
    "input": "plain input",
    "cached": "cache reads",
    "cache_write_5m": "cache writes, 5 min",
    "cache_write_1h": "cache writes, 1 h",
    "output": "output",
}
LEVERS = ("breakpoints", "trim", "exact", "batch")
LEVER_WORDS = {
    "breakpoints": "lifetimes and breakpoints",
    "trim": "trimming, equivalent part",
    "exact": "exact cache",
    "batch": "batch of lone calls",
}


class Loss(msgspec.Struct):
    """Tokens that were held, or would have been, and had to be paid for again, for one reason."""

    times: int = 0
    tokens: int = 0
    nano: int = 0
    fix: str = ""

    def add(self, tokens: int, nano: int, fix: str = "") -> None:
        self.times, self.tokens, self.nano, self.fix = self.times + 1, self.tokens + tokens, self.nano + nano, fix


class Saving(msgspec.Struct):
    """What a lever would have saved. `calls`: those that it would have touched; `seen`: those it could look at."""

    calls: int = 0
    seen: int = 0
    nano: int = 0

    def add(self, nano: int, *, acts: bool = True) -> None:
        self.seen, self.calls, self.nano = self.seen + 1, self.calls + acts, self.nano + nano


class Tally(msgspec.Struct):
    """Sums of one session, or of all."""

    name: str = ""
    calls: int = 0
    unpriced: int = 0
    nano: int = 0
    tokens: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    repeated: int = 0
    """Prompt tokens that the call before had sent already."""
    first: float = 0.0
    last: float = 0.0
    lost: dict[str, Loss] = msgspec.field(default_factory=dict)
    saved: dict[str, Saving] = msgspec.field(default_factory=dict)

    @property
    def prompt(self) -> int:
        return sum(self.tokens.values()) - self.tokens["output"]

    @property
    def sent_times(self) -> float | None:
        """How often each token of context was sent on average: all prompt tokens over those that were new."""
        fresh = self.prompt - self.repeated
        return self.prompt / fresh if fresh > 0 else None

    @property
    def read_share(self) -> float | None:
        """Share of prompt tokens that were read from a cache."""
        return self.tokens["cached"] / self.prompt if self.prompt else None

    @property
    def expired_nano(self) -> int:
        return sum(loss.nano for reason, loss in self.lost.items() if reason == "expired")

    @property
    def broken_nano(self) -> int:
        return sum(loss.nano for reason, loss in self.lost.items() if reason != "expired")

    def burn(self, usage: Usage, nano: int | None, at: float) -> None:
        """Book a call; `nano` None: no price is known."""
        self.calls += 1
        self.unpriced += nano is None
        self.nano += nano or 0
        for kind in KINDS:
            self.tokens[kind] += getattr(usage, kind)
        if at:
            self.first = min(self.first, at) if self.first else at
            self.last = max(self.last, at)

    def lose(self, reason: str, tokens: int, nano: int, fix: str) -> None:
        self.lost.setdefault(reason, Loss()).add(tokens, nano, fix)

    def save(self, lever: str, nano: int, *, acts: bool = True) -> None:
        self.saved.setdefault(lever, Saving()).add(nano, acts=acts)

    def saved_nano(self, lever: str) -> int | None:
        """None: the lever had nothing to look at."""
        found = self.saved.get(lever)
        return found.nano if found is not None else None


class Report(msgspec.Struct):
    """An audit's result. `sessions` by dollars, dearest first."""

    total: Tally
    sessions: list[Tally]
    formats: dict[str, int]
    """Files by the format that was found."""
    faults: dict[str, int] = {}
    places: dict[str, list[str]] = {}
    repeats: int = 0
    """Calls that stood in the files more than once."""
    unpriced: dict[str, int] = {}
    """Calls by model without a price."""
    notes: list[str] = []
    price_book: str = ""
    modelled_untouched_nano: int = 0
    """What the cache replay makes of the same calls untouched, input side: beside `booked_nano`, how well it fits."""
    booked_nano: int = 0


def as_object(report: Report) -> dict[str, Any]:
    """The whole report for programs: nano-dollars, tokens, counts, and which figures are modelled."""
    return {
        "formats": report.formats,
        "malformed": report.faults,
        "malformed_places": report.places,
        "repeated_calls_dropped": report.repeats,
        "unpriced_models": report.unpriced,
        "price_book": report.price_book,
        "cache_replay": {
            "untouched_nanodollars": report.modelled_untouched_nano,
            "booked_nanodollars": report.booked_nano,
        },
        "basis": {"burned": "priced from recorded usage", "wasted": "estimated from usage", "saved": "modelled"},
        "notes": report.notes,
        "total": _object(report.total),
        "sessions": [_object(tally) for tally in report.sessions],
    }


def _object(tally: Tally) -> dict[str, Any]:
    return {
        "session": tally.name,
        "calls": tally.calls,
        "unpriced_calls": tally.unpriced,
        "burned_nanodollars": tally.nano,
        "tokens": tally.tokens,
        "prompt_tokens": tally.prompt,
        "resent_tokens": tally.repeated,
        "sent_times": tally.sent_times,
        "cache_read_share": tally.read_share,
        "first": tally.first or None,
        "last": tally.last or None,
        "wasted": {reason: msgspec.to_builtins(loss) for reason, loss in sorted(tally.lost.items())},
        "wasted_by_breaks_nanodollars": tally.broken_nano,
        "wasted_by_expiry_nanodollars": tally.expired_nano,
        "saved": {name: msgspec.to_builtins(found) for name, found in sorted(tally.saved.items())},
    }
