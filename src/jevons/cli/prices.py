"""`jevons prices`: what a model costs at a moment, and from which source; for checking an overrides file."""

import datetime as dt
import os
import time
from pathlib import Path

import click
import msgspec

from jevons.cli.options import as_json, print_json
from jevons.core.errors import NotFound
from jevons.core.money import show
from jevons.core.usage import Usage
from jevons.prices.book import Book
from jevons.settings import load


@click.command()
@click.argument("provider")
@click.argument("model")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml).")
@click.option("--overrides", type=click.Path(dir_okay=False), help="A prices file instead of the settings' one.")
@click.option("--tier", default="", help="batch, flex, priority, ...")
@click.option("--at", help="Moment, ISO 8601, UTC unless it says otherwise (default: now).")
@click.option("--input", "plain", default=0, type=click.IntRange(min=0), help="Plain input tokens to price.")
@click.option("--cached", default=0, type=click.IntRange(min=0), help="Cached input tokens to price.")
@click.option("--output", default=0, type=click.IntRange(min=0), help="Output tokens to price.")
@as_json
def command(
    provider: str,
    model: str,
    config: Path | None,
    overrides: str | None,
    tier: str,
    at: str | None,
    plain: int,
    cached: int,
    output: int,
    as_json: bool,
) -> None:
    """What MODEL costs at PROVIDER, by prompt length, and the source and version of that price."""
    book = Book.load(overrides or load(config, os.environ).prices.overrides)
    moment = time.time() if at is None else _moment(at)
    card = book.card(provider, model, moment, tier)
    if card is None:
        of = f"{provider}/{model}" + (f" on tier {tier}" if tier else "")
        raise NotFound(f"no price is known for {of}: its calls are booked as unpriced; see docs/prices.md to add one")
    priced = card.price(Usage(input=plain, cached=cached, output=output))
    if as_json:
        steps = [{"above_prompt_tokens": max(0, above), "rates": rates} for above, rates in card.steps]
        print_json({"source": card.source, "version": card.version, "steps": steps, "cost_nanodollars": priced.nano})
        return
    for above, rates in card.steps:
        click.echo(f"prompts above {above:,} tokens" if above >= 0 else "dollars per million tokens")
        for name, rate in msgspec.structs.asdict(rates).items():
            click.echo(f"  {name:<15} " + ("unknown" if rate is None else f"{rate / 1e6:,.6g}"))
    if plain or cached or output:
        click.echo("this usage        " + ("unpriced" if priced.nano is None else show(priced.nano)))
    click.echo(f"from {card.source}: {card.version}")


def _moment(text: str) -> float:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no moment; write 2026-11-24T09:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()
