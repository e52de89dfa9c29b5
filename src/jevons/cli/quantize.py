"""`jevons quantize`: smaller files of a model, made by libllama's own quantizer."""

import os
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from jevons.cli.options import as_json, print_json
from jevons.engines import library
from jevons.engines.library import LibraryError
from jevons.lab import quantize
from jevons.lab.quantize import KINDS


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--to", "kinds", default="q8_0,q6_k,q4_k_m", show_default=True, help=f"Of {', '.join(KINDS)}.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Directory (default: the model's own).")
@click.option("--matrix-text", type=click.Path(path_type=Path, exists=True), help="Text to weigh the columns by.")
@click.option("--matrix", type=click.Path(path_type=Path, exists=True), help="An importance matrix (GGUF) there is.")
@click.option("--allow-requantize", is_flag=True, help="Take a source that is quantized already; its loss stays.")
@click.option("--threads", type=int, default=0, help="0: every core that the process may use.")
@click.option("--get-library", is_flag=True, help="Fetch the pinned libllama with npm first (no script is run).")
@as_json
def command(
    model: Path | None,
    kinds: str,
    out: Path | None,
    matrix_text: Path | None,
    matrix: Path | None,
    allow_requantize: bool,
    threads: int,
    get_library: bool,
    as_json: bool,
) -> None:
    """Make the ladder of MODEL.gguf: a file for each kind. What is there and whole is kept; the source is only read."""
    if get_library:
        click.echo(library.fetch().path, err=True)
    if model is None:
        if get_library:
            return
        raise click.UsageError("name a MODEL.gguf")
    threads = threads or len(os.sched_getaffinity(0))
    found = library.quantizer()
    with _progress() as progress:
        bars: dict[str, TaskID] = {}

        def report(file: str, at: int, of: int, _what: str) -> None:
            if file not in bars:
                bars[file] = progress.add_task(file, total=of)
            progress.update(bars[file], completed=at)

        if matrix_text is not None:
            place = (out or model.parent) / f"{model.name.removesuffix('.gguf')}.{matrix_text.stem}.imatrix.gguf"
            matrix = quantize.make_matrix(model, matrix_text, _reader(found), place, threads=threads, report=report)
        wanted = list(dict.fromkeys(kind.strip().lower() for kind in kinds.split(",") if kind.strip()))
        made = quantize.ladder(
            model, wanted, library=found, directory=out, matrix=matrix, requantize=allow_requantize, threads=threads,
            report=report,
        )  # fmt: skip
    if as_json:
        for one in made:
            print_json(one)
        return
    table = Table(Column("file", overflow="fold"), "MiB", "bits/weight", "mostly stored as", "", box=None)
    for one in made:
        row = (f"{one.size_bytes / 2**20:,.1f}", f"{one.bits_per_weight:.3f}", one.stored)
        table.add_row(one.path, *row, "made" if one.fresh else "was here")
    Console().print(table)
    click.echo("which one to deploy: jevons bench local " + " ".join([str(model), *(one.path for one in made)]))


def _reader(found: library.Found) -> library.Found:
    """The library that runs the model over the text: the serving engine's, else the quantizer's own."""
    try:
        return library.engine()
    except LibraryError:
        return found


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
