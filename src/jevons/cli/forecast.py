"""`jevons forecast`: the bill and the margin to come, by plan, under a scenario, with the error of past forecasts."""

import datetime as dt
import json
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.core.errors import JevonsError
from jevons.core.money import NANO_PER_DOLLAR, nano, show
from jevons.rebound import Period, say, split
from jevons.rebound.elasticity import Elasticity
from jevons.rebound.forecast import Forecast, Scenario, forecast
from jevons.rebound.walk import Quantiles
from jevons.store.db import DEFAULT_URL, Database

MAX_MONTHS = 120
BAR = 60
MONTH = (
    "SELECT plan, COUNT(DISTINCT customer), COUNT(*), SUM(calls), "
    "SUM(input + cached + cache_write_5m + cache_write_1h), SUM(cached), SUM(cost_nano), SUM(unpriced) "
    "FROM tasks WHERE started >= ? AND started < ? GROUP BY plan ORDER BY plan"
)


@click.command()
@click.option(
    "--database", default=DEFAULT_URL, show_default=True, help="The ledger: sqlite:///PATH or postgresql://..."
)
@click.option(
    "--rows", "rows_file", type=click.Path(path_type=Path, exists=True), help="JSON lines of periods instead."
)
@click.option("--revenue", "revenues", multiple=True, help="PLAN=USD earned per customer and month; repeat per plan.")
@click.option("--horizon", type=int, default=3, show_default=True, help="Periods ahead.")
@click.option(
    "--factor", "factors", multiple=True, help="price=0.5, context=2, steps=3, tasks=, customers=, uncached=."
)
@click.option("--elasticity", help="Measured answer to price: POINT,LOW,HIGH of its 95% interval.")
@click.option("--cap", type=float, help="A plan limit: USD that one customer may cost per period.")
@click.option("--lever", help="A lever on or off: ratio of the bill, LOW,MID,HIGH.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    database: str,
    rows_file: Path | None,
    revenues: Sequence[str],
    horizon: int,
    factors: Sequence[str],
    elasticity: str | None,
    cap: float | None,
    lever: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """P10, P50 and P90 of the bill and the margin by plan, as now and under a scenario.

    Whole past months of the ledger's tasks are the history; calls outside of any task are not in it. The error printed
    is that of the same method at earlier origins of the same history.
    """
    try:
        if rows_file:
            rows = list(_read(rows_file))
        else:
            with Database(database, read_only=True) as ledger:
                rows = monthly(ledger, time.time())
        rows = _with_revenue(rows, dict(_pairs(revenues, "--revenue")))
        scenario = _scenario(dict(_pairs(factors, "--factor")), elasticity, cap, lever)
        now = forecast(rows, horizon, random.Random(seed))
        then = forecast(rows, horizon, random.Random(seed), scenario) if scenario else None
        last = _last_change(rows)
    except JevonsError as error:
        raise click.ClickException(error.message) from None
    if as_json:
        click.echo(
            json.dumps({"now": msgspec.to_builtins(now), "scenario": msgspec.to_builtins(then), "last_change": last})
        )
        return
    console = Console()
    console.print(last["words"])
    for outlook in (now, then):
        if outlook:
            _print(console, outlook)


def monthly(ledger: Database, now: float) -> list[Period]:
    """Whole months before `now` (UTC) from the ledger's tasks, by plan; at most the last ten years."""
    first = ledger.row("SELECT MIN(started) FROM tasks")
    if first is None or first[0] is None:
        return []
    rows = []
    for label, start, end in _months(float(first[0]), now):
        for plan, *counts in ledger.rows(MONTH, (start, end)):
            customers, tasks, calls, prompt, cached, cost, unpriced = (int(count or 0) for count in counts)
            rows.append(
                Period(
                    period=label,
                    group=plan,
                    customers=customers,
                    tasks=tasks,
                    steps=calls,
                    prompt_tokens=prompt,
                    cached_tokens=cached,
                    bill_nano=cost,
                    unpriced=unpriced,
                )
            )
    return rows


def _months(first: float, now: float) -> list[tuple[str, float, float]]:
    """(label, start, end) of every whole month between two moments, UTC."""
    begin = dt.datetime.fromtimestamp(first, dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    months: list[tuple[str, float, float]] = []
    while True:
        after = (begin + dt.timedelta(days=32)).replace(day=1)
        if after.timestamp() > now:
            return months[-MAX_MONTHS:]
        months.append((f"{begin:%Y-%m}", begin.timestamp(), after.timestamp()))
        begin = after


def _read(path: Path) -> Iterable[Period]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=Period)
            except msgspec.DecodeError as error:
                raise click.ClickException(f"{path}, line {number}: {error}") from None


def _pairs(texts: Sequence[str], option: str) -> Iterable[tuple[str, float]]:
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            yield name, float(value)
        except ValueError:
            raise click.UsageError(f"{option} {text!r} is not NAME=NUMBER") from None


def _three(text: str, option: str) -> tuple[float, float, float]:
    try:
        low, mid, high = (float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"{option} {text!r} is not three numbers with commas between") from None
    return low, mid, high


def _with_revenue(rows: Sequence[Period], per_customer: dict[str, float]) -> list[Period]:
    unknown = per_customer.keys() - {row.group for row in rows}
    if unknown:
        raise click.UsageError(f"--revenue names plans without history: {', '.join(sorted(unknown))}")
    return [
        msgspec.structs.replace(row, revenue_nano=row.customers * nano(per_customer[row.group]))
        if row.group in per_customer
        else row
        for row in rows
    ]


def _scenario(
    factors: dict[str, float], elasticity: str | None, cap: float | None, lever: str | None
) -> Scenario | None:
    if not factors and cap is None and lever is None:
        return None
    known = None
    if elasticity:
        point, low, high = _three(elasticity, "--elasticity")
        if not low <= point <= high:
            raise click.UsageError("--elasticity is POINT,LOW,HIGH with the point inside")
        known = Elasticity(point=point, low=low, high=high, level=0.95, method="given", source="given by the user")
    words = [f"{name} x {ratio:g}" for name, ratio in factors.items()]
    words += [f"cap ${cap:g} per customer"] if cap is not None else []
    words += [f"lever {lever}"] if lever else []
    return Scenario(
        name=", ".join(words),
        factors=factors,
        elasticity=known,
        cap_nano=None if cap is None else nano(cap),
        lever=_three(lever, "--lever") if lever else None,
    )


def _last_change(rows: Sequence[Period]) -> dict[str, Any]:
    """The newest period against the one before, split into factors."""
    labels = sorted({row.period for row in rows})
    if len(labels) < 2:
        return {"words": "one period or none: no change to split", "split": None}
    before, after = ([row for row in rows if row.period == label] for label in labels[-2:])
    change = split(before, after)
    return {"words": f"{labels[-2]} to {labels[-1]}: {say(change)}", "split": msgspec.to_builtins(change)}


def _print(console: Console, outlook: Forecast) -> None:
    table = Table("plan", "ahead", "bill P50 (P10 to P90)", "margin P50 (P10 to P90)", title=outlook.scenario)
    for row in outlook.outlooks:
        table.add_row(row.plan or "all", str(row.ahead), _ends(row.bill), _ends(row.margin))
    console.print(table)
    top = max(row.bill.p90 for row in outlook.outlooks) or 1
    width = max(len(row.plan or "all") for row in outlook.outlooks)
    for row in outlook.outlooks:
        console.print(
            f"{row.plan or 'all':{width}} +{row.ahead:<2} {_bar(row.bill, top)}", highlight=False, markup=False
        )
    for plan, test in outlook.backtests.items():
        if test.median_error is None or test.naive_error is None or test.coverage_80 is None:
            console.print(f"{plan or 'all'}: too short a history for a backtest; bands widened by {test.spread:g}")
        else:
            console.print(
                f"{plan or 'all'}: {test.forecasts} past forecasts missed by {test.median_error:.0%} in the median "
                f"(`as last period`: {test.naive_error:.0%}); P10 to P90 held {test.coverage_80:.0%}, so they were "
                f"widened by {test.spread:.2f}"
            )
    for plan, why in outlook.refused.items():
        console.print(f"{plan or 'all'}: not forecast: {why}")
    for note in outlook.notes:
        console.print(f"[dim]{note}[/dim]")


def _ends(part: Quantiles) -> str:
    return f"{_dollars(part.p50)} ({_dollars(part.p10)} to {_dollars(part.p90)})"


def _dollars(amount: int) -> str:
    """Cents only below a hundred dollars: a forecast does not know them."""
    return show(amount) if abs(amount) < 100 * NANO_PER_DOLLAR else show(amount)[:-3]


def _bar(bill: Quantiles, top: int) -> str:
    """`   ----|-----` on a scale common to all rows, P10 to P90 with P50 marked."""
    low, mid, high = (min(BAR - 1, max(0, round(value / top * (BAR - 1)))) for value in (bill.p10, bill.p50, bill.p90))
    cells = ["-" if low <= i <= high else " " for i in range(high + 1)]
    cells[mid] = "|"
    return "".join(cells)
