"""A TOML file of dated prices: the operator's own, and the few that we keep beside the snapshot.

What lives here: reading and refusing. What it must not know: the snapshot, and which price wins (book.py). Prices are
dollars per million tokens, as providers publish them; docs/prices.md explains the fields.

    [[price]]
    provider = "openai"            # the provider's name in jevons.toml, or its price_provider
    model = "gpt-5*"               # exact, or a prefix that ends in *
    tier = "batch"                 # "" is the standard tier
    from = 2026-10-01              # optional, as are until, days, hours; UTC
    input = "1.10"
    output = "8.80"
    source = "our contract of 2026-09"
"""

import difflib
import hashlib
import tomllib
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from jevons.core.errors import SettingsError
from jevons.core.money import rate
from jevons.prices.cost import Rates
from jevons.prices.dated import ALWAYS, NEVER, Entry, unix

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HIGHEST_USD_PER_MTOK = Decimal(1_000_000)
"""Nothing is dearer: more is a slip of the decimal point."""

Price = str | int | float


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prompt: int
    input: Price | None = None
    cached: Price | None = None
    cache_write_5m: Price | None = None
    cache_write_1h: Price | None = None
    output: Price | None = None
    reasoning: Price | None = None


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"since": "from"}):
    provider: str
    model: str
    tier: str = ""
    since: date | None = None
    until: date | None = None
    days: tuple[str, ...] = ()
    hours: tuple[str, str] | None = None
    factor: Price | None = None
    input: Price | None = None
    cached: Price | None = None
    cache_write_5m: Price | None = None
    cache_write_1h: Price | None = None
    output: Price | None = None
    reasoning: Price | None = None
    above: tuple[Step, ...] = ()
    source: str = ""


class Override(msgspec.Struct, frozen=True):
    """One line of the file: for whom, and the dated entry."""

    provider: str
    model: str
    tier: str
    entry: Entry

    def fits(self, provider: str, model: str) -> bool:
        if self.provider != provider:
            return False
        return model.startswith(self.model[:-1]) if self.model.endswith("*") else model == self.model


def parse(text: str, origin: str, source: str = "override") -> tuple[Override, ...]:
    """Read a file's text. Raises SettingsError that names the file, the entry, what is wrong and what to write."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{origin}: not TOML: {error}") from None
    for key in tree:
        if key != "price":
            raise SettingsError(f"{origin}: unknown key {key!r}; a price is a [[price]] table")
    version = f"{source} {hashlib.sha256(text.encode()).hexdigest()[:12]}"
    lines = tree.get("price", [])
    if not isinstance(lines, list):
        raise SettingsError(f"{origin}: [price] must be [[price]]: each price is one entry of a list")
    return tuple(
        _override(line, f"{origin}: price {number}", source, version) for number, line in enumerate(lines, start=1)
    )


def read(path: str) -> tuple[Override, ...]:
    """Read the operator's file, once, at start. Raises SettingsError."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one read at start; this room holds no paths
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"prices.overrides: {path}: {error}") from None
    return parse(text, path)


def _override(raw: Any, where: str, source: str, version: str) -> Override:
    if isinstance(raw, dict):
        known = [field.encode_name for field in msgspec.structs.fields(Line)]
        for key in raw:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
                raise SettingsError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        line = msgspec.convert(raw, Line)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}") from None
    where = f"{where} ({line.provider}/{line.model})"
    since, until = _span(line, where)
    base = _rates(line, where)
    if (line.factor is None) == (base == Rates()):
        raise SettingsError(f"{where}: give rates (input, output, ...), or a factor with a tier; one of the two")
    if line.factor is not None and not line.tier:
        raise SettingsError(f"{where}: a factor is of the standard price, so it needs a tier")
    entry = Entry(
        rates=base,
        above=tuple((step.prompt, _rates(step, where)) for step in sorted(line.above, key=lambda step: step.prompt)),
        factor=None if line.factor is None else _decimal(line.factor, "factor", where),
        since=since,
        until=until,
        days=_days(line.days, where),
        hours=None if line.hours is None else (_second(line.hours[0], where), _second(line.hours[1], where)),
        source=source,
        version=version,
    )
    return Override(line.provider, line.model.lower(), line.tier, entry)


def _span(line: Line, where: str) -> tuple[float, float]:
    since = ALWAYS if line.since is None else unix(line.since)
    until = NEVER if line.until is None else unix(line.until)
    if since >= until:
        raise SettingsError(f"{where}: until ({line.until}) must be after from ({line.since})")
    return since, until


def _rates(line: Line | Step, where: str) -> Rates:
    def one(value: Price | None, name: str) -> int | None:
        return None if value is None else int(rate(_decimal(value, name, where)))

    return Rates(
        input=one(line.input, "input"),
        cached=one(line.cached, "cached"),
        cache_write_5m=one(line.cache_write_5m, "cache_write_5m"),
        cache_write_1h=one(line.cache_write_1h, "cache_write_1h"),
        output=one(line.output, "output"),
        reasoning=one(line.reasoning, "reasoning"),
    )


def _decimal(value: Price, name: str, where: str) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 <= found <= HIGHEST_USD_PER_MTOK:
        raise SettingsError(
            f'{where}: {name} = {value!r} is no price; write dollars per million tokens as "2.50", 0 for free'
        )
    return found


def _days(names: tuple[str, ...], where: str) -> frozenset[int] | None:
    for name in names:
        if name not in WEEKDAYS:
            raise SettingsError(f"{where}: {name!r} is no weekday; use {', '.join(WEEKDAYS)}")
    return frozenset(map(WEEKDAYS.index, names)) if names else None


def _second(text: str, where: str) -> int:
    hour, colon, minute = text.partition(":")
    if colon and hour.isdecimal() and minute.isdecimal() and int(hour) <= 24 and int(minute) < 60:
        return int(hour) * 3600 + int(minute) * 60
    raise SettingsError(f'{where}: {text!r} is no time; write hours = ["16:30", "00:30"], UTC')
