"""`jevons models`: the names that calls may use here, where they lead, and what they cost."""

import os
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, print_json
from jevons.core.errors import NotFound
from jevons.engines.catalogue import Catalogue, build
from jevons.prices.book import Book, Listed
from jevons.prices.cost import Rates
from jevons.settings import load


class Line(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    routes: tuple[str, ...]
    context_tokens: int
    deprecated: bool
    priced: bool
    rates: Rates | None
    """Pico-dollars per token, standard tier, shortest prompts, now."""
    tiers: tuple[str, ...]


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml).")
@click.option("--search", default="", help="Only names that contain this.")
@click.option("--all", "everything", is_flag=True, help="The whole price book, also what no route serves here.")
@as_json
def command(config: Path | None, search: str, everything: bool, as_json: bool) -> None:
    """Models that calls may name, their routes and prices (dollars per million tokens)."""
    settings = load(config, os.environ)
    book = Book.load(settings.prices.overrides)
    catalogue, now = build(settings, os.environ), time.time()
    lines = _priced(book, now) if everything else _served(catalogue, book, now)
    lines = [line for line in lines if search.lower() in line.model.lower()]
    if as_json:
        for line in lines:
            print_json(line)
        return
    if not lines:
        click.echo(
            "nothing found: no provider is configured (set OPENAI_API_KEY or ANTHROPIC_API_KEY, or write jevons.toml); "
            "the local model joins when the gateway runs; `jevons models --all` shows the price book"
        )
        return
    table = Table("model", "routes", "context", "input", "cached", "write 5m", "write 1h", "output", "tiers", box=None)
    for line in lines:
        rates = line.rates or Rates()
        table.add_row(
            line.model + (" (deprecated)" if line.deprecated else ""),
            ", ".join(line.routes),
            f"{line.context_tokens:,}" if line.context_tokens else "",
            *(_dollars(rate) for rate in msgspec.structs.astuple(rates)[:5]),
            ", ".join(line.tiers) if line.priced else "unpriced",
        )
    Console().print(table)


def _served(catalogue: Catalogue, book: Book, now: float) -> list[Line]:
    """The names that lead somewhere: those of the settings, then what the book knows of the providers that are here."""
    names: dict[str, Listed | None] = dict.fromkeys(catalogue.names())
    for provider in catalogue.providers.values():
        for listed in book.models(now, provider.price_provider or provider.name):
            try:
                leads_here = catalogue.routes(listed.model)[0].provider is provider
            except NotFound:
                continue
            if leads_here:
                names[listed.model] = listed
    return [_line(name, catalogue, book, listed, now) for name, listed in names.items()]


def _line(name: str, catalogue: Catalogue, book: Book, listed: Listed | None, now: float) -> Line:
    routes = catalogue.routes(name)
    first = routes[0]
    card = book.card(first.provider.price_provider or first.provider.name, first.upstream_model, now)
    return Line(
        model=name,
        routes=tuple(route.name for route in routes),
        context_tokens=listed.context_tokens if listed else 0,
        deprecated=bool(listed and listed.deprecated),
        priced=card is not None,
        rates=card.steps[0][1] if card else None,
        tiers=listed.tiers if listed else (),
    )


def _priced(book: Book, now: float) -> list[Line]:
    return [
        Line(
            model=f"{listed.provider}/{listed.model}",
            routes=(),
            context_tokens=listed.context_tokens,
            deprecated=listed.deprecated,
            priced=listed.rates is not None,
            rates=listed.rates,
            tiers=listed.tiers,
        )
        for listed in book.models(now)
    ]


def _dollars(rate: int | None) -> str:
    return "" if rate is None else f"{rate / 1e6:,.6g}"
