"""`jevons serve`: the gateway in the foreground."""

import os
from pathlib import Path

import click

from jevons.core.errors import SettingsError
from jevons.settings import load


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml when it exists)."
)
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default 8787).")
@click.option("--database", help="sqlite:///PATH or postgresql://... (default sqlite:///.jevons/jevons.db).")
@click.option("--durability", type=click.Choice(["batched", "strict"]), help="When an answered call is on disk.")
@click.option("--workers", type=int, help="Processes that share the port (needs Postgres).")
@click.option("--local/--no-local", default=None, help="Run the local model beside the gateway.")
@click.option("--pages/--no-pages", default=None, help="Serve the dashboard.")
def command(
    config: Path | None,
    host: str | None,
    port: int | None,
    database: str | None,
    durability: str | None,
    workers: int | None,
    local: bool | None,
    pages: bool | None,
) -> None:
    """Serve the gateway: OpenAI- and Anthropic-compatible, on one port.

    Providers are found in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, ... with an optional ..._BASE_URL) or
    named in jevons.toml. The first start makes a key and prints it once.
    """
    try:
        settings = load(
            config,
            os.environ,
            {
                "server.host": host,
                "server.port": port,
                "server.workers": workers,
                "database.url": database,
                "database.durability": durability,
                "local.enabled": local,
                "pages.enabled": pages,
            },
        )
        if settings.server.workers > 1:
            from jevons.gateway.workers import supervise

            status = supervise(settings, os.environ)
        else:
            from jevons.gateway.serve import serve

            status = serve(settings, os.environ)
    except SettingsError as error:
        raise click.ClickException(error.message) from None
    raise SystemExit(status)
