"""What was sent and billed, day by day: read from attempts, for an invoice's comparison and for exports.

What lives here: the sums over attempts, and where a span of time begins in the ledger. What it must not know: an
invoice's or an export's format. Unlike reports these take time in proportion to the calls (about a second a million).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from jevons.core.usage import Usage
from jevons.ledger.focus import Spent
from jevons.ledger.reconcile import Booked
from jevons.store.db import Database, Row
from jevons.store.measures import DAY

SUMS = (
    "count(*), sum(a.input), sum(a.cached), sum(a.cache_write_5m), sum(a.cache_write_1h), sum(a.output), "
    "sum(a.reasoning)"
)


def booked(db: Database, providers: Sequence[str], since: float, until: float) -> list[Booked]:
    """What was sent to some providers, by day, model, tier and tariff: what an invoice is compared with."""
    day = _day(db)
    marks = ", ".join("?" for _ in providers)
    rows = db.rows(
        f"SELECT {day}, t.model, t.tier, t.usage_source, t.cost_source, t.rates, {SUMS} "  # noqa: S608
        f"FROM attempts a JOIN tariffs t ON t.id = a.tariff WHERE t.provider IN ({marks}) "
        "AND t.usage_source <> 'none' AND a.started >= ? AND a.started < ? "
        f"GROUP BY {day}, t.model, t.tier, t.usage_source, t.cost_source, t.rates",
        (*providers, since, until),
    )
    return [_booked(row) for row in rows]


def _booked(row: Row) -> Booked:
    number, model, tier, usage_source, cost_source, rates, calls = row[:7]
    counts = row[7:]
    return Booked(
        day=_iso(number),
        model=model,
        tier=tier,
        calls=int(calls),
        usage=_usage(counts),
        estimated=usage_source == "estimated",
        priced=cost_source != "unpriced",
        rates=msgspec.json.decode(rates) if rates else None,
    )


def spent(db: Database, since: float, until: float) -> list[Spent]:
    """What was burned, by day, series and tariff: what an export's rows are made of. Served answers are not in it."""
    day = _day(db)
    names = (
        "t.provider, t.model, t.tier, t.usage_source, t.cost_source, t.price_version, t.rates, s.tenant, s.customer, "
    )
    names += "s.plan, s.key_id, s.site"
    rows = db.rows(
        f"SELECT {day}, {names}, {SUMS}, sum(a.cost_nano), count(a.cost_nano) "  # noqa: S608
        "FROM attempts a JOIN tariffs t ON t.id = a.tariff JOIN operations o ON o.seq = a.operation "
        "JOIN series s ON s.id = o.series WHERE a.started >= ? AND a.started < ? AND t.cost_source <> 'cache' "
        f"GROUP BY {day}, {names} ORDER BY {day}, {names}",
        (since, until),
    )
    return [_spent(row) for row in rows]


def _spent(row: Row) -> Spent:
    number, provider, model, tier, usage_source, cost_source, version, rates, tenant, customer, plan, key, site = row[
        :13
    ]
    calls, *counts, cost, priced = row[13:]
    return Spent(
        day=_iso(number),
        provider=provider,
        model=model,
        tier=tier,
        estimated=usage_source == "estimated",
        cost_source=cost_source,
        price_version=version,
        rates=msgspec.json.decode(rates) if rates else None,
        tenant=tenant,
        customer=customer,
        plan=plan,
        key_id=key,
        site=site,
        calls=int(calls),
        usage=_usage(counts),
        cost_nano=int(cost) if priced == calls else None,
    )


def _iso(number: float) -> str:
    """The date of a day's number since 1970."""
    return datetime.fromtimestamp(int(number) * DAY, UTC).date().isoformat()


def _usage(counts: Sequence[int]) -> Usage:
    plain, cached, write_5m, write_1h, output, reasoning = map(int, counts)
    return Usage(
        input=plain,
        cached=cached,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output,
        reasoning=reasoning,
    )


def _day(db: Database) -> str:
    """A moment's day as a number since 1970, in either dialect: a cast rounds on Postgres and cuts on SQLite."""
    return "floor(a.started / 86400)" if db.postgres else "CAST(a.started / 86400 AS INTEGER)"


def before(db: Database, since: float) -> int:
    """The number after which operations come that began at `since` or later; later numbers may still be older."""
    row = db.row("SELECT min(seq) FROM operations WHERE started >= ?", (since,))
    return int(row[0]) - 1 if row and row[0] is not None else 1 << 62
