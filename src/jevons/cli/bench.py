"""`jevons bench`: what this machine makes of a model's files."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from jevons.cli.options import as_json, print_json


@click.group()
def command() -> None:
    """Measurements on this machine."""


@command.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--text", type=click.Path(path_type=Path, exists=True), help="Text like the model's use (UTF-8).")
@click.option("--tasks", type=click.Path(path_type=Path, exists=True), help="Your tasks: JSONL of prompt and answer.")
@click.option("--windows", type=click.IntRange(2, 512), default=6, show_default=True, help="Of 512 tokens each.")
@click.option("--kv", default="f16,q8_0,q4_0", show_default=True, help="KV types to check.")
@click.option("--context", type=int, default=4096, show_default=True, help="Tokens of a sequence, for what fits.")
@click.option("--usd-hour", type=float, default=0.10, show_default=True, help="The machine's price, all its cores.")
@click.option("--reference", default="", help="The best-precision file, by name (default: found).")
@click.option("--threads", type=click.IntRange(1, 512), default=1, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Write divergence against price as an SVG.")
@click.option("--engine-results", multiple=True, metavar="FILE=USD_HOUR", help="vLLM's or SGLang's benchmark JSON.")
@as_json
def local(
    models: Sequence[Path],
    text: Path | None,
    tasks: Path | None,
    windows: int,
    kv: str,
    context: int,
    usd_hour: float,
    reference: str,
    threads: int,
    plot: Path | None,
    engine_results: Sequence[str],
    as_json: bool,
) -> None:
    """Which of these GGUF files to deploy: quality, speed, memory and dollars, and one recommendation."""
    from jevons.engines.local_gguf import KV_BITS
    from jevons.lab import localbench, localbench_choose, localbench_engines, localbench_table, localbench_tasks

    kv_types = tuple(kind.strip() for kind in kv.split(",") if kind.strip())
    for kind in kv_types:
        if kind not in KV_BITS:
            raise click.UsageError(f"--kv {kind}: known are {', '.join(KV_BITS)}")
    imported = []
    for one in engine_results:
        path, _, price = one.rpartition("=")
        try:
            imported += localbench_engines.read_benchmarks(Path(path), float(price))
        except ValueError:
            raise click.UsageError(f"--engine-results {one!r} is not FILE=USD_HOUR") from None
    given, wrong = localbench_tasks.load(tasks) if tasks else ([], [])
    for line in wrong:
        click.echo(line, err=True)
    with tempfile.TemporaryDirectory(prefix="jevons-text-") as scratch:
        setup = localbench.Setup(
            text=text or localbench.default_text(Path(scratch)), windows=windows, kv_types=kv_types,
            context_tokens=context, usd_per_hour=usd_hour, reference=reference, threads=threads, tasks=tuple(given),
        )  # fmt: skip
        found = localbench.bench(models, setup, lambda what: click.echo(what, err=True))
    if plot is not None:
        plot.write_text(localbench_choose.plot(localbench.rungs(found.rows), found.choice), encoding="utf-8")
    if as_json:
        print_json(found)
        for row in imported:
            print_json(row)
    else:
        localbench_table.show(found, imported)
