"""`jevons report`: what tasks, customers, plans, features and call sites cost and earn, and what the levers save."""

from collections.abc import Sequence
from typing import Any

import click

from jevons.cli import experiment as experiments
from jevons.cli.options import database
from jevons.cli.rows import Column, Row, days, forms, print_rows, span
from jevons.core.money import show
from jevons.ledger.margin import Margin
from jevons.ledger.waterfall import DECLARED, OWN, REST
from jevons.store import reports
from jevons.store.db import Database
from jevons.store.experiments import outcomes
from jevons.store.migrate import open_reader
from jevons.store.reports import Waterfall
from jevons.store.rollups import TaskSums

MEASURED, MODELLED = "measured", "modelled"
KINDS = ("tasks", "customers", "plans", "features", "sites", "levers", "experiment")


def margin_columns(heading: str, revenue: str) -> tuple[Column, ...]:
    """Revenue is measured where a plan's prices say it, modelled where it is shared out."""
    return (
        Column("name", heading),
        Column("plan", "plan"),
        Column("state", "state"),
        Column("calls", "calls", "count", MEASURED),
        Column("tasks", "tasks", "count", MEASURED),
        Column("tokens", "tokens", "count", MEASURED),
        Column("revenue", "revenue", "usd", revenue),
        Column("cost", "cost", "usd", MEASURED),
        Column("margin", "margin", "usd", revenue),
        Column("share", "of revenue", "share", revenue),
        Column("saved", "saved", "usd", MODELLED),
        Column("unpriced", "unpriced", "count", MEASURED),
    )


TASKS = (
    Column("task", "task"),
    Column("name", "name"),
    Column("customer", "customer"),
    Column("arm", "arm"),
    Column("solved", "solved"),
    Column("calls", "calls", "count", MEASURED),
    Column("input", "input", "count", MEASURED),
    Column("cached", "cached", "count", MEASURED),
    Column("written", "written", "count", MEASURED),
    Column("output", "output", "count", MEASURED),
    Column("mix", "cached share", "share", MEASURED),
    Column("resent", "sent each", "ratio", MODELLED),
    Column("seconds", "wall", "seconds", MEASURED),
    Column("cost", "cost", "usd", MEASURED),
    Column("saved", "saved", "usd", MODELLED),
    Column("unpriced", "unpriced", "count", MEASURED),
)
LEVERS = (
    Column("line", "line"),
    Column("calls", "calls", "count", MEASURED),
    Column("amount", "amount", "usd", MODELLED),
    Column("share", "of baseline", "share", MODELLED),
)
EXPLAINED = {
    DECLARED: "the callers' own choice of another model than the declared baseline",
    REST: "not explained by a lever: rounding, steps without a price",
}
NO_CREDIT = (
    "breakpoints and cache keys are credited nothing here, since the baseline has the provider's cache on: "
    "`jevons report experiment` measures them"
)


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@span()
@click.option("--last", "limit", default=50, show_default=True, type=click.IntRange(min=1), help="Tasks to show.")
@click.option("--customer", default="", help="Levers: only this customer's calls.")
@database
@forms
def command(kind: str, since: float, until: float, limit: int, customer: str, database: str, form: str | None) -> None:
    """Report on KIND, over whole days (UTC). Margins show who loses most first.

    tasks: the dearest tasks; customers, plans: revenue beside cost; features (task names), sites: a customer's revenue
    shared out by use; levers: from what would have run to what was paid; experiment: what a hold-out has shown.
    """
    with open_reader(database) as db:
        if kind == "experiment":
            experiments.report(db, form, plan="")
        elif kind == "tasks":
            _tasks(db, since, until, limit, form)
        elif kind == "levers":
            _levers(db, since, until, customer, form)
        else:
            _margins(db, kind, since, until, form)


def _margins(db: Database, kind: str, since: float, until: float, form: str | None) -> None:
    find = {
        "customers": reports.customers,
        "plans": reports.plans,
        "features": reports.features,
        "sites": reports.sites,
    }
    lines = find[kind](db, since, until)
    revenue = MEASURED if kind in {"customers", "plans"} else MODELLED
    columns = margin_columns(kind.removesuffix("s"), revenue)
    if kind != "customers":
        columns = tuple(column for column in columns if column.key != "plan")
    if kind == "sites":
        columns = tuple(column for column in columns if column.key != "tasks")
    start, end = reports.whole_days(since, until)
    print_rows(columns, [margin_row(line) for line in lines], form, f"{kind}, {days(start, end)}", _totals(lines))


def margin_row(line: Margin) -> Row:
    used = line.used
    return {
        "name": line.name,
        "plan": line.plan,
        "state": line.state,
        "calls": used.calls,
        "tasks": used.tasks,
        "tokens": used.tokens,
        "revenue": line.revenue_nano,
        "cost": used.cost_nano,
        "margin": line.margin_nano,
        "share": line.share,
        "saved": used.saved_nano,
        "unpriced": used.unpriced,
        "style": {"losing": "red", "below target": "yellow", "unknown": "yellow"}.get(line.state, ""),
    }


def _totals(lines: Sequence[Margin]) -> list[str]:
    revenue = sum(line.revenue_nano for line in lines)
    cost = sum(line.used.cost_nano for line in lines)
    dark = sum(line.used.unpriced for line in lines)
    notes = [f"revenue {show(revenue)}, cost {show(cost)}, margin {show(revenue - cost)}"]
    if dark:
        notes.append(f"{dark} calls have no known price: the cost is at least what is shown (`jevons prices` adds one)")
    return notes


def _tasks(db: Database, since: float, until: float, limit: int, form: str | None) -> None:
    start, end = reports.whole_days(since, until)
    told = outcomes(db, start)
    found = reports.tasks(db, start, end, limit)
    rows = [_task_row(task, told.get((task.tenant, task.task))) for task in found]
    print_rows(TASKS, rows, form, f"the dearest tasks that began {days(start, end)}")


def _task_row(task: TaskSums, solved: bool | None) -> dict[str, Any]:
    sums = task.sums
    written = sums.cache_write_5m + sums.cache_write_1h
    fresh = sums.input + written
    prompt = fresh + sums.cached
    return {
        "task": task.task,
        "name": task.name,
        "customer": task.customer,
        "arm": task.arm,
        "solved": "" if solved is None else "yes" if solved else "no",
        "calls": sums.calls,
        "input": sums.input,
        "cached": sums.cached,
        "written": written,
        "output": sums.output,
        "mix": sums.cached / prompt if prompt else None,
        "resent": prompt / fresh if fresh else None,
        "seconds": task.ended - task.started,
        "cost": None if sums.unpriced == sums.calls else sums.cost_nano,
        "saved": sums.baseline_nano - sums.compared_cost_nano if sums.compared else None,
        "unpriced": sums.unpriced,
    }


def _levers(db: Database, since: float, until: float, customer: str, form: str | None) -> None:
    start, end = reports.whole_days(since, until)
    found = reports.waterfall(db, start, end, column="customer" if customer else "", value=customer)
    notes = (f"{found.compared} of {found.calls} calls have both a cost and a baseline", NO_CREDIT)
    print_rows(LEVERS, waterfall_rows(found), form, f"from baseline to cost, {days(start, end)}", notes)


def waterfall_rows(found: Waterfall) -> list[Row]:
    """The baseline, each line, and the cost: each line is what it took off."""
    whole = found.baseline_nano
    rows: list[Row] = [{"line": "what would have run", "calls": found.compared, "amount": whole}]
    for line, calls, nano in found.lines:
        words = EXPLAINED.get(line) or (f"{line.removeprefix(OWN)} (our own cost)" if line.startswith(OWN) else line)
        rows.append({"line": words, "calls": calls, "amount": -nano, "share": -nano / whole if whole else None})
    saved = found.saved_nano
    rows.append(
        {
            "line": "what was paid (measured)",
            "calls": found.compared,
            "amount": found.cost_nano,
            "basis": {"amount_nanodollars": MEASURED},
        }
    )
    rows.append({"line": "saved", "calls": found.compared, "amount": saved, "share": saved / whole if whole else None})
    return rows
