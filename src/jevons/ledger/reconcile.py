"""The provider's bill against the ledger: line by line what is left over, and why.

What it decides: which lines of the two belong together (day, model, tier, and for costs the kind of token), the
residual of each (billed minus booked), and its likely reason. What it must not know: files, rows, the clock.

A ledger knows three kinds of usage: what the provider reported, what was estimated because a stream was cut before it
said (a caller who left, a fault), and none. Reported usage has to agree to the token. What is estimated is named: the
provider's own count for it is what it billed beyond the reported.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

import msgspec

from jevons.core.usage import NOTHING, Usage
from jevons.ledger.invoice import KINDS, Billed, Invoice

STANDARD = frozenset({"", "default", "standard", "auto", "on_demand", "scale", "standard_only"})
SNAPSHOT = re.compile(r"(-\d{4}-\d\d-\d\d|-\d{8}|@\d{8}|-latest)\Z")
TOLERANCE_PICO = 1_000
"""A nano-dollar a line: exports round amounts, and costs are booked in whole nano-dollars."""

Key = tuple[str, str, str, str]
"""(day, model, tier, kind of token; '' for usage)."""


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of the ledger of one day, model, tier and tariff, summed."""

    day: str
    model: str
    tier: str = ""
    calls: int = 0
    usage: Usage = NOTHING
    estimated: bool = False
    priced: bool = True
    rates: Mapping[str, int] | None = None
    """Pico-dollars per token by the fields of Usage."""


class Sums(msgspec.Struct, kw_only=True):
    """What one line adds up to. Tokens for usage, pico-dollars for costs."""

    billed: dict[str, int] = msgspec.field(default_factory=dict)
    reported: dict[str, int] = msgspec.field(default_factory=dict)
    estimated: dict[str, int] = msgspec.field(default_factory=dict)
    requests: int | None = None
    calls: int = 0
    estimated_calls: int = 0
    unpriced_calls: int = 0
    tokens: int = 0
    """Of a cost: the tokens of this kind that were booked."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One matched line. `unit`: tokens | pico-dollars."""

    day: str
    model: str
    tier: str
    kind: str
    unit: str
    billed: int
    reported: int
    estimated: int
    residual: int
    """Billed minus booked (reported and estimated)."""
    by_kind: dict[str, int]
    """The residual's parts, by kind of token; empty where there is none."""
    calls: int
    requests: int | None
    state: str
    """agrees | estimated (the residual is within calls that nobody reported) | differs"""
    why: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All lines, those that differ first, and the sums."""

    provider: str
    what: str
    lines: tuple[Line, ...]
    keys: tuple[str, ...]
    """Keys that the export names."""

    @property
    def residual(self) -> int:
        return sum(line.residual for line in self.lines)

    @property
    def differing(self) -> int:
        return sum(line.state == "differs" for line in self.lines)


def reconcile(invoice: Invoice, booked: Iterable[Booked], keys: Sequence[str] = ()) -> Result:
    """Match an export with the ledger. `keys`: only these of the provider's keys are jevons's; empty: all are."""
    lines = [line for line in invoice.lines if not keys or line.key in keys]
    names = _names({line.model for line in lines})
    cost = invoice.what == "cost"
    sums: dict[Key, Sums] = defaultdict(Sums)
    for line in lines:
        _bill(sums[line.day, line.model, _tier(line.tier), line.kind if cost else ""], line, cost=cost)
    for entry in booked:
        model = names.get(entry.model) or names.get(_base(entry.model)) or entry.model
        for kind in KINDS if cost else ("",):
            if not cost or getattr(entry.usage, kind):
                _book(sums[entry.day, model, _tier(entry.tier), kind], entry, kind)
    found = [_line(key, sums, cost=cost) for key in sorted(sums)]
    order = {"differs": 0, "estimated": 1, "agrees": 2}
    return Result(
        provider=invoice.provider,
        what=invoice.what,
        lines=tuple(sorted(found, key=lambda line: (order[line.state], line.day, line.model))),
        keys=tuple(sorted({line.key for line in invoice.lines} - {""})),
    )


def _bill(sums: Sums, line: Billed, *, cost: bool) -> None:
    if cost:
        _add(sums.billed, line.kind, line.pico)
        return
    for kind in KINDS:
        _add(sums.billed, kind, getattr(line.usage, kind))
    if line.requests is not None:
        sums.requests = (sums.requests or 0) + line.requests


def _book(sums: Sums, entry: Booked, only: str) -> None:
    """Tokens of an entry, or with `only` a kind the pico-dollars of that kind."""
    into = sums.estimated if entry.estimated else sums.reported
    sums.calls += entry.calls
    sums.estimated_calls += entry.calls if entry.estimated else 0
    sums.unpriced_calls += 0 if entry.priced else entry.calls
    for kind in (only,) if only else KINDS:
        tokens = getattr(entry.usage, kind)
        if not only:
            _add(into, kind, tokens)
            continue
        sums.tokens += tokens
        _add(into, kind, _pico(entry, kind, tokens))


def _pico(entry: Booked, kind: str, tokens: int) -> int:
    """Hidden reasoning is output, at a rate of its own where there is one."""
    rates = entry.rates or {}
    if kind != "output":
        return tokens * rates.get(kind, 0)
    reasoning = entry.usage.reasoning
    rate = rates.get("output", 0)
    return (tokens - reasoning) * rate + reasoning * rates.get("reasoning", rate)


def _line(key: Key, sums: Mapping[Key, Sums], *, cost: bool) -> Line:
    mine = sums[key]
    kinds = sorted({*mine.billed, *mine.reported, *mine.estimated})
    parts = {kind: _left(mine, kind) for kind in kinds}
    slack = TOLERANCE_PICO if cost else 0
    parts = {kind: left for kind, left in parts.items() if abs(left) > slack}
    why = _why(key, sums, parts, cost=cost) if parts or _requests_differ(mine) else ""
    named = mine.estimated_calls and bool(mine.billed) and not _requests_differ(mine)
    return Line(
        day=key[0],
        model=key[1],
        tier=key[2],
        kind=key[3],
        unit="pico-dollars" if cost else "tokens",
        billed=sum(mine.billed.values()),
        reported=sum(mine.reported.values()),
        estimated=sum(mine.estimated.values()),
        residual=sum(parts.values()),
        by_kind=parts,
        calls=mine.calls,
        requests=mine.requests,
        state="agrees" if not why else "estimated" if named else "differs",
        why=why,
    )


def _why(key: Key, sums: Mapping[Key, Sums], parts: Mapping[str, int], *, cost: bool) -> str:
    """The likeliest reason, in words."""
    mine = sums[key]
    moved = _elsewhere(key, sums, parts)
    if moved:
        return moved
    if not mine.calls:
        return "nothing was booked: traffic that did not pass jevons, another key of the account, or another ledger"
    if not mine.billed:
        if mine.estimated_calls == mine.calls:
            return f"{mine.calls} calls were booked by estimate and not billed: they failed before the provider began"
        return "nothing was billed: the export is not complete yet (they lag by hours), or it is of other keys"
    if mine.unpriced_calls:
        return f"{mine.unpriced_calls} calls are unpriced here: add the price, and the next calls are booked with it"
    if mine.estimated_calls:
        beyond = sum(mine.billed.values()) - sum(mine.reported.values())
        unit = "pico-dollars" if cost else "tokens"
        return (
            f"{mine.estimated_calls} of {mine.calls} calls ended before the provider reported their usage: "
            f"{sum(mine.estimated.values()):,} {unit} are booked by estimate, {beyond:,} were billed"
        )
    if _requests_differ(mine):
        return f"{mine.requests} requests were billed and {mine.calls} booked: some did not pass jevons, or not all did"
    if cost and mine.tokens:
        billed, booked = sum(mine.billed.values()) / mine.tokens, sum(mine.reported.values()) / mine.tokens
        return (
            f"another price: ${billed / 1e6:.4f} a million tokens were billed, ${booked / 1e6:.4f} booked; "
            "`jevons prices` shows the book, an override corrects it"
        )
    return "the counts differ and no estimate is among them: compare the day's calls in `jevons log` with the export"


def _elsewhere(key: Key, sums: Mapping[Key, Sums], parts: Mapping[str, int]) -> str:
    """The same residual with the other sign in a neighbouring line: the day's edge, or another tier."""
    day, model, tier, kind = key
    wanted = {name: -left for name, left in parts.items()}
    if not wanted:
        return ""
    today = date.fromisoformat(day)
    for other in (today - timedelta(days=1), today + timedelta(days=1)):
        near = sums.get((other.isoformat(), model, tier, kind))
        if near is not None and _residual(near) == wanted:
            return f"it is booked on {other}: a call at midnight is booked when it began and billed when it ended"
    for there, near in sums.items():
        if there[:2] == (day, model) and there[2] != tier and there[3] == kind and _residual(near) == wanted:
            return f"it is booked under the tier {there[2]!r}: the provider's reply named another tier than its bill"
    return ""


def _residual(sums: Sums) -> dict[str, int]:
    kinds = {*sums.billed, *sums.reported, *sums.estimated}
    return {kind: left for kind in kinds if (left := _left(sums, kind))}


def _left(sums: Sums, kind: str) -> int:
    return sums.billed.get(kind, 0) - sums.reported.get(kind, 0) - sums.estimated.get(kind, 0)


def _requests_differ(sums: Sums) -> bool:
    return sums.requests is not None and sums.requests != sums.calls


def _names(billed: set[str]) -> dict[str, str]:
    """How the export writes a model that is asked for by its exact name or by its name without a snapshot's date."""
    by_base: dict[str, list[str]] = defaultdict(list)
    for name in billed:
        by_base[_base(name)].append(name)
    alone = {base: names[0] for base, names in by_base.items() if len(names) == 1}
    return {**alone, **{name: name for name in billed}}


def _base(model: str) -> str:
    return SNAPSHOT.sub("", model)


def _tier(tier: str) -> str:
    return "standard" if tier in STANDARD else tier


def _add(into: dict[str, int], kind: str, amount: int) -> None:
    if amount:
        into[kind] = into.get(kind, 0) + amount
