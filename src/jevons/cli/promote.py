"""`jevons promote`: which cheaper models are tried where, how far they are, and the operator's word on them."""

import getpass
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, database, print_json
from jevons.core.errors import CallerError
from jevons.core.money import show
from jevons.judge.betting import non_inferiority
from jevons.judge.drift import watch
from jevons.levers.route.promotion import Candidate, Pin, Stage, move, pin
from jevons.store import promotions as rows
from jevons.store.migrate import open_database, open_reader
from jevons.store.promotions import Key

OVER = (Stage.STOPPED, Stage.DEMOTED)
incumbent_option = click.option(
    "--incumbent", default="", help="The model that it would replace, where it is a candidate for several."
)


@click.group()
def command() -> None:
    """Cheaper models by call site: list, start, stop, pin. Gateways follow within a second."""


@command.command(name="list")
@click.option("--site", default="", help="Only this call site.")
@database
@as_json
def show_promotions(site: str, database: str, as_json: bool) -> None:
    """Every candidate: its stage, its evidence, what its trial has burned, and why it stands where it does."""
    with open_reader(database) as db:
        found = rows.every(db, site)
    if as_json:
        for held in found:
            print_json(_public(held.key, held.candidate))
        return
    if not found:
        click.echo("no candidates yet: a plan names them (docs/routing.md), and with their first pair they stand here")
        return
    table = Table("site", "model", "for", "stage", "pairs", "e-value", "trial", "spent", "why", box=None)
    for held in found:
        seen, key = rows.evidence(held.candidate), held.key
        table.add_row(
            key.site,
            key.model,
            key.incumbent,
            seen.stage + (f", pinned to {seen.pinned}" if seen.pinned else ""),
            str(seen.pairs),
            f"{seen.e_value:.3g}",
            str(seen.trial + 1),
            show(seen.spent_nano),
            seen.reason,
        )
    Console().print(table)


@command.command()
@click.argument("site")
@click.argument("model")
@incumbent_option
@database
@as_json
def start(site: str, model: str, incumbent: str, database: str, as_json: bool) -> None:
    """Try MODEL at SITE again, where it was stopped or demoted. It must pass at half the level of its last trial."""
    _order(database, site, model, incumbent, _again, as_json=as_json)


@command.command()
@click.argument("site")
@click.argument("model")
@incumbent_option
@database
@as_json
def stop(site: str, model: str, incumbent: str, database: str, as_json: bool) -> None:
    """Take MODEL away from SITE: it serves nothing and is tried no more, until it is started."""

    def stopped(candidate: Candidate, now: float) -> Candidate:
        return move(candidate, Stage.STOPPED, f"stopped by {_who()}", now)

    _order(database, site, model, incumbent, stopped, as_json=as_json)


@command.command(name="pin")
@click.argument("site")
@click.argument("model")
@click.option("--to", type=click.Choice(["candidate", "incumbent", "none"]), required=True, help="Who serves.")
@incumbent_option
@database
@as_json
def fix(site: str, model: str, to: str, incumbent: str, database: str, as_json: bool) -> None:
    """Fix who serves SITE, whatever the evidence says; it goes on being collected. `none` lets evidence decide."""
    where = Pin.NONE if to == "none" else Pin(to)
    _order(database, site, model, incumbent, lambda candidate, now: pin(candidate, where, now), as_json=as_json)


def _order(
    database: str,
    site: str,
    model: str,
    incumbent: str,
    step: Callable[[Candidate, float], Candidate],
    *,
    as_json: bool,
) -> None:
    with open_database(database) as db:
        key, now = rows.find(db, site, model, incumbent), time.time()
        after = rows.change(db, key, lambda held: step(held, now) if held else None, who=f"{_who()} (cli)", at=now)
    if after is None:
        return
    if as_json:
        print_json(_public(key, after))
    else:
        click.echo(f"{model} for {key.incumbent} at {site}: {after.stage.value}, {after.reason}")


def _again(candidate: Candidate, now: float) -> Candidate:
    """A new trial, with nothing of the old evidence and a level of its own."""
    if candidate.stage not in OVER:
        raise CallerError(f"{candidate.model!r} is being tried already: it is {candidate.stage.value}")
    margin = -candidate.wealth.null
    fresh = msgspec.structs.replace(
        candidate,
        wealth=non_inferiority(margin),
        guard=watch(floor=-margin / 2, high=1.0, patience=candidate.guard.patience),
        trial=candidate.trial + 1,
        spent_nano=0,
    )
    return move(fresh, Stage.SHADOW, f"started by {_who()}", now)


def _public(key: Key, candidate: Candidate) -> dict[str, Any]:
    seen = msgspec.structs.asdict(rows.evidence(candidate))
    seen["spent_nanodollars"] = seen.pop("spent_nano")
    return msgspec.structs.asdict(key) | seen | {"since": candidate.since}


def _who() -> str:
    return getpass.getuser()
