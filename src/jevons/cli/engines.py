"""`jevons engines`: launch lines for GPU engines."""

import click

from jevons.cli.options import as_json, print_json
from jevons.lab import localbench_engines as engines


@click.group()
def command() -> None:
    """Engines of your own beside the local one."""


@command.command()
@click.option("--engine", type=click.Choice(list(engines.CHECKED)), required=True)
@click.option("--model", required=True, help="A checkpoint's name or directory, as the engine takes it.")
@click.option("--gpu", default="h100", show_default=True)
@click.option("--devices", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--weights", type=click.Choice(engines.WEIGHTS), default="fp8", show_default=True)
@click.option("--kv", type=click.Choice(engines.KV), default="fp8", show_default=True)
@click.option("--context", type=click.IntRange(0), default=0, help="Longest sequence (0: the model's).")
@click.option("--sequences", type=click.IntRange(0), default=0, help="Most at once (0: the engine's choice).")
@click.option("--prefix-caching/--no-prefix-caching", default=True, show_default=True)
@as_json
def launch(
    engine: str,
    model: str,
    gpu: str,
    devices: int,
    weights: str,
    kv: str,
    context: int,
    sequences: int,
    prefix_caching: bool,
    as_json: bool,
) -> None:
    """Print the line that starts a server. What it should hold and cost: `jevons capacity`."""
    made = engines.launch(
        engine, model, gpu=gpu, devices=devices, weights=weights, kv=kv, context_tokens=context, sequences=sequences,
        prefix_caching=prefix_caching,
    )  # fmt: skip
    if as_json:
        print_json(made)
        return
    click.echo(made.line)
    for note in made.notes:
        click.echo(f"# {note}", err=True)
