"""`jevons models`: the names that calls may use here, where they lead, and what they cost."""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from jevons.cli.options import as_json, print_json
from jevons.core.errors import NotFound
from jevons.engines import local_gguf, served
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


@click.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml).")
@click.option("--search", default="", help="Only names that contain this.")
@click.option("--all", "everything", is_flag=True, help="The whole price book, also what no route serves here.")
@as_json
@click.pass_context
def command(ctx: click.Context, config: Path | None, search: str, everything: bool, as_json: bool) -> None:
    """Models that calls may name, their routes and prices (dollars per million tokens)."""
    if ctx.invoked_subcommand is not None:
        return
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


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="The name that calls use; one there already is moved to this file.")
@click.option("--slots", type=int, default=4, show_default=True, help="Calls at once.")
@click.option("--context", type=int, default=4096, show_default=True, help="Tokens of each: prompt and answer.")
@click.option("--kv-type", type=click.Choice(list(local_gguf.KV_BITS)), default="f16", show_default=True)
@click.option("--bench", type=click.Path(path_type=Path, exists=True), help="Output of `jevons bench local --json`.")
def add(path: Path, name: str, slots: int, context: int, kv_type: str, bench: Path | None) -> None:
    """Serve the GGUF at PATH under a name. A running gateway takes it in within seconds and drops no call.

    With --bench its measured price a token is what the governor and the ledger use; without, the machine's price by
    the seconds of a call. A KV type below q8_0 needs a --bench that it passed.
    """
    model = local_gguf.read(path)
    measured = _measured(bench, path) if bench else {}
    weak = local_gguf.KV_BITS[kv_type] < local_gguf.KV_BITS["q8_0"]
    if weak and not any(one["kv_type"] == kv_type and one["usable"] for one in measured.get("kv", ())):
        raise click.UsageError(
            f"--kv-type {kv_type} needs a quality check that it passed: "
            f"jevons bench local {path} --kv f16,{kv_type} --json > bench.json, then --bench bench.json"
        )
    row = measured.get("row", {})
    date = time.strftime("%Y-%m-%d", time.gmtime(bench.stat().st_mtime)) if bench else ""
    models = served.read()
    models[name] = served.Served(
        path=str(path.resolve()), slots=slots, context_tokens=context, kv_type=kv_type,
        usd_per_mtok_in=row.get("usd_per_mtok_in", 0.0), usd_per_mtok_out=row.get("usd_per_mtok_out", 0.0),
        priced_by=f"jevons bench local, {date}" if bench else "",
    )  # fmt: skip
    served.write(models)
    price = (
        f"${row['usd_per_mtok_in']:.4f} in, ${row['usd_per_mtok_out']:.4f} out a million tokens" if row else "by time"
    )
    click.echo(f"{name}: {path} ({model.quantization}, {model.bits_per_weight} bits per weight), priced {price}")


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Serve NAME no longer. Calls under way end well; the file stays."""
    models = served.read()
    if name not in models:
        raise click.UsageError(f"{name!r} is not served; served: {', '.join(models) or 'none'}")
    del models[name]
    served.write(models)


def _measured(bench: Path, path: Path) -> dict[str, Any]:
    """The bench's row of this file, and its KV types."""
    try:
        found = json.loads(bench.read_text(encoding="utf-8").splitlines()[0])
        rows = [row for row in found["rows"] if row["name"] == path.name]
        kv = [{"kv_type": str(one["kv_type"]), "usable": bool(one["usable"])} for one in found["kv"]]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise click.UsageError(f"{bench}: is no output of `jevons bench local --json`: {error!r}") from None
    if not rows:
        raise click.UsageError(f"{bench}: measured no file called {path.name}")
    return {"row": rows[0], "kv": kv}


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
