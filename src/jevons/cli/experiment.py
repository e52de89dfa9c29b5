"""`jevons experiment`: what jevons saves, measured on randomised tasks; or how many more tasks that takes."""

import getpass
import secrets
import time
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from jevons.cli.options import as_json, database, print_json
from jevons.cli.rows import clean
from jevons.judge.mismatch import log_bayes_factor
from jevons.judge.sequence import Interval
from jevons.ledger.experiment import lever_saving
from jevons.store import experiments
from jevons.store.db import Database
from jevons.store.experiments import Measured
from jevons.store.migrate import open_database, open_reader
from jevons.store.plans import load

NONE_YET = (
    "no plan holds tasks out, so nothing can be measured: set `hold_out = 0.1` in a plan (docs/plans.md) and "
    "`jevons plans apply`"
)

NO_DRAW = "no draw has begun: it begins when `jevons serve` first starts on this database"


@click.command()
@click.option("--plan", default="", help="Only this plan.")
@click.option("--restart", is_flag=True, help="Begin a new draw: tasks from now on, each arm empty.")
@click.option("--enforce", is_flag=True, help="Switch levers off that are proven to cost more than they save.")
@database
@as_json
def command(plan: str, restart: bool, enforce: bool, database: str, as_json: bool) -> None:
    """What the hold-out has shown: dollars per task with and without jevons, success, and the arms' sizes.

    All intervals hold at every look together (95% confidence sequences). A plan's `hold_out` is the share of tasks that
    no lever touches. A saving is named once its interval excludes zero, and never before.
    """
    if restart:
        with open_database(database) as db:
            begun = experiments.begin(db, secrets.token_hex(16), time.time(), f"{getpass.getuser()} (cli)")
        click.echo(f"draw {begun.number} has begun; gateways follow within a second")
        return
    if enforce:
        with open_database(database) as db:
            for name, lever in experiments.enforce(db, time.time()):
                click.echo(f"plan {name}: {lever} is switched off; gateways follow within a second", err=True)
    with open_reader(database) as db:
        report(db, "json" if as_json else None, plan)


def report(db: Database, form: str | None, plan: str) -> None:
    """Print what is known of each plan that holds tasks out."""
    experiment = experiments.current(db)
    plans = [one for one in load(db).plans.values() if 0 < one.hold_out < 1 and plan in ("", one.name)]
    if form == "csv":
        raise click.UsageError("an experiment has no CSV: use --json")
    if experiment is None or not plans:
        if form is None:
            click.echo(NONE_YET if experiment is not None or not plans else NO_DRAW)
        return
    off = experiments.switched_off(db)
    for one in plans:
        measured = experiments.measure(db, one, experiment, time.time())
        if form == "json":
            print_json(
                {**as_object(measured), "switched_off": sorted(lever for name, lever in off if name == one.name)}
            )
        else:
            _show(measured)
            for lever in sorted(lever for name, lever in off if name == one.name):
                click.echo(f"  {lever} is switched off in this plan until another draw begins (--restart)")


def as_object(measured: Measured) -> dict[str, Any]:
    """The look as plain values; every figure in it is measured."""
    head, design = measured.headline, measured.design
    held, treated = head.tasks
    return {
        "plan": measured.plan,
        "since": measured.since,
        "basis": "measured",
        "shown": head.shown,
        "why": head.why,
        "more_tasks": head.more_tasks,
        "tasks": {"hold_out": held, "treated": treated, "with_outcome": measured.told, "unpriced": measured.unpriced},
        "hold_out_share": design.holdout,
        "srm": {
            "ok": not measured.evidence.broken,
            "log_bayes_factor": log_bayes_factor(head.tasks, (design.holdout, 1.0 - design.holdout)),
        },
        "saved_dollars_per_task": _interval(head.saved_per_task if head.shown else None),
        "saved_share": _interval(head.saved_share if head.shown else None),
        "interval_now": _interval(head.saved_per_task),
        "dollars_per_task": _pair(head.per_task),
        "dollars_per_solved_task": _pair(head.per_solved),
        "success_kept": head.success_kept,
        "success_p": head.success_p,
        "levers": {name: _lever(measured, name) for name in measured.evidence.levers},
        "truncated": measured.full,
    }


def _lever(measured: Measured, lever: str) -> dict[str, Any]:
    without, with_ = measured.evidence.levers[lever]
    return {
        "tasks_without": without.n,
        "tasks_with": with_.n,
        "saved_dollars_per_task": _interval(lever_saving(measured.evidence, measured.design, lever)),
        "costs_more_than_it_saves": lever in measured.headline.switch_off,
    }


def _interval(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.low, found.value, found.high]


def _pair(found: tuple[Interval, Interval] | None) -> dict[str, Any] | None:
    return None if found is None else {"hold_out": _interval(found[0]), "treated": _interval(found[1])}


def _show(measured: Measured) -> None:
    head, console = measured.headline, Console()
    held, treated = head.tasks
    console.print(
        Text(f"plan {clean(measured.plan)}: {measured.design.holdout:.0%} of tasks are held out", style="bold")
    )
    console.print(
        f"  {held:,} tasks held out, {treated:,} treated (measured); the sizes "
        + ("[red]do not fit the draw[/]" if measured.evidence.broken else "fit the draw")
    )
    if head.shown and head.saved_per_task is not None and head.saved_share is not None:
        console.print(
            f"  [bold]saved per task: {_money(head.saved_per_task)}, {_percent(head.saved_share)}[/] (measured)"
        )
    else:
        more = "" if head.more_tasks is None else f": about {head.more_tasks:,} more tasks"
        console.print(Text(f"  no headline yet{more} ({head.why})"))
    for words, found in (("dollars per task", head.per_task), ("dollars per solved task", head.per_solved)):
        if found is not None:
            console.print(f"  {words}: held out {_money(found[0])}, treated {_money(found[1])} (measured)")
    kept = "proven not worse by 5 points" if head.success_kept else f"not yet proven equal (p = {head.success_p:.2f})"
    console.print(f"  success: {kept}; outcomes of {measured.told:,} tasks are known (measured)")
    for name, (without, with_) in measured.evidence.levers.items():
        saving = lever_saving(measured.evidence, measured.design, name)
        verdict = "" if saving is None else f"; saves {_money(saving)} a task (measured)"
        verdict += (
            "; [red]proven to cost more than it saves (--enforce switches it off)[/]" if name in head.switch_off else ""
        )
        console.print(f"  {name}: {without.n:,} tasks without, {with_.n:,} with{verdict}")
    if measured.unpriced:
        console.print(f"  {measured.unpriced:,} tasks are left out: a call of theirs has no known price")
    if measured.full:
        console.print(f"  only the first {experiments.MOST_TASKS:,} tasks are read; --restart begins a new draw")


def _money(found: Interval) -> str:
    return f"${found.value:.4f} ({found.low:.4f} to {found.high:.4f})"


def _percent(found: Interval) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
