"""`jevons up`: fetch the local model if needed, serve, make one real call, and say how to use it."""

import os
from pathlib import Path

import click
from rich.progress import Progress

from jevons.core.errors import JevonsError, SettingsError
from jevons.settings import load


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml when it exists)."
)
@click.option("--port", type=int, help="Port to listen on (default 8787).")
def command(config: Path | None, port: int | None) -> None:
    """Serve with the local model and show that it works: what `make run` does. Ctrl-C ends it."""
    from jevons.gateway.serve import serve

    try:
        settings = load(config, os.environ, {"server.port": port})
        if settings.local.enabled and not settings.local.model:
            fetch_model()
        status = serve(settings, os.environ, with_trial=True)
    except SettingsError as error:
        raise click.ClickException(error.message) from None
    raise SystemExit(status)


def fetch_model() -> None:
    """The default model into .jevons/models, with a bar. Without it the gateway still serves: the reason is printed."""
    from jevons.engines.modelfile import default_path, fetch

    if default_path().exists():
        return
    with Progress(transient=True) as progress:
        bars = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total or None)
            progress.update(bars[stage], completed=done)

        try:
            fetch(report=report)
        except JevonsError as error:
            click.echo(f"the local model could not be fetched: {error.message}", err=True)
