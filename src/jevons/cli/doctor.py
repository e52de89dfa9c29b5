"""`jevons doctor`: checks what a gateway needs and says what to do. Exits 1 when something keeps it from serving."""

import importlib.util
import os
import platform
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import click
import msgspec
from rich.console import Console

from jevons.cli.options import as_json, print_json
from jevons.core.errors import JevonsError
from jevons.engines import worker_link
from jevons.engines.catalogue import build
from jevons.engines.modelfile import DEFAULT_SHA256, default_path, sha256
from jevons.prices.book import Book
from jevons.settings import Settings, load
from jevons.store import keys
from jevons.store.db import Database
from jevons.store.migrate import known, open_database, version

OLDEST_PYTHON = (3, 11)
MARKS = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}


class Finding(msgspec.Struct, frozen=True):
    """One check: `note` is worth knowing, `bad` keeps the gateway from serving."""

    what: str
    state: Literal["ok", "note", "bad"]
    says: str
    do: str = ""


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (default: ./jevons.toml).")
@click.option("--database", help="Another database than the settings'.")
@as_json
def command(config: Path | None, database: str | None, as_json: bool) -> None:
    """Check python, settings, providers, the local model, prices, the database and the port."""
    findings = list(examine(config, os.environ, database))
    for finding in findings:
        if as_json:
            print_json(finding)
        else:
            Console(soft_wrap=True, highlight=False).print(f"{MARKS[finding.state]} {finding.what}: {finding.says}")
            if finding.do:
                click.echo(f"     -> {finding.do}")
    sys.exit(1 if any(finding.state == "bad" for finding in findings) else 0)


def examine(config: Path | None, environ: Mapping[str, str], database: str | None = None) -> Iterator[Finding]:
    """Every check in order. Without settings the others have nothing to look at."""
    yield _python()
    try:
        settings = load(config, environ, {"database.url": database})
    except JevonsError as error:
        yield Finding("settings", "bad", error.message, "correct the file or the variable that the message names")
        return
    file = config or Path("jevons.toml")
    yield Finding("settings", "ok", str(file) if file.exists() else "no jevons.toml: defaults and the environment")
    checks: tuple[Callable[[Settings, Mapping[str, str]], Iterator[Finding]], ...] = (
        _providers,
        _model,
        _semantic,
        _prices,
        _database,
        _port,
    )
    for check in checks:
        try:
            yield from check(settings, environ)
        except JevonsError as error:
            yield Finding(check.__name__.strip("_"), "bad", error.message)


def _python() -> Finding:
    says = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "bad", says, "jevons needs Python 3.11 or newer")
    return Finding("python", "ok", says)


def _providers(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    catalogue = build(settings, environ)
    for provider in catalogue.providers.values():
        says = f"{provider.dialect} at {provider.base_url}"
        what = f"provider {provider.name}"
        if provider.key_env and not environ.get(provider.key_env):
            yield Finding(what, "bad", f"{says}; {provider.key_env} is not set", f"export {provider.key_env}=...")
        elif provider.key_file and not Path(provider.key_file).is_file():
            yield Finding(what, "bad", f"{says}; no file at {provider.key_file}", "write the key into that file")
        else:
            key = provider.key_env or provider.key_file or "none"
            yield Finding(what, "ok", f"{says}, key from {key}")
    if not catalogue.providers:
        yield Finding(
            "providers",
            "note",
            "none is configured: only the local model answers",
            "export OPENAI_API_KEY or ANTHROPIC_API_KEY, or write [providers.NAME] into jevons.toml",
        )


def _model(settings: Settings, _environ: Mapping[str, str]) -> Iterator[Finding]:
    if not settings.local.enabled:
        yield Finding("local model", "ok", "switched off by local.enabled")
        return
    if importlib.util.find_spec("xllamacpp") is None:
        yield Finding("local engine", "note", "xllamacpp is not installed", "pip install 'jevons[local]'")
    path = Path(settings.local.model) if settings.local.model else default_path()
    if not path.is_file():
        state: Literal["bad", "note"] = "bad" if settings.local.model else "note"
        do = "correct local.model" if settings.local.model else "jevons model fetch"
        yield Finding("local model", state, f"no file at {path}", do)
        return
    size = f"{path} ({path.stat().st_size / 1e6:.0f} MB)"
    if settings.local.model:
        yield Finding("local model", "ok", size)
    elif sha256(path) == DEFAULT_SHA256:
        yield Finding("local model", "ok", f"{size}, sha256 as expected")
    else:
        yield Finding("local model", "bad", f"{size}: its sha256 is not the expected one", "jevons model fetch")


def _semantic(settings: Settings, _environ: Mapping[str, str]) -> Iterator[Finding]:
    if not settings.semantic.enabled:
        yield Finding("semantic cache", "ok", "switched off by semantic.enabled")
    elif worker_link.installed():
        yield Finding("semantic cache", "ok", "its worker starts with the first call of a plan that allows it")
    else:
        says = "the extra `embed` is not installed: the lever is not offered"
        yield Finding("semantic cache", "note", says, "pip install 'jevons[embed]'")


def _prices(settings: Settings, _environ: Mapping[str, str]) -> Iterator[Finding]:
    book = Book.load(settings.prices.overrides)
    says = book.version + (f" with {settings.prices.overrides}" if settings.prices.overrides else "")
    yield Finding("prices", "ok", says)
    for public, model in settings.models.items():
        for route in model.routes:
            configured = settings.providers.get(route.provider)
            price_provider = configured.price_provider if configured else ""
            if book.card(price_provider or route.provider, route.model, time.time()) is None:
                yield Finding(
                    f"price of {public}",
                    "note",
                    f"none is known for {route.provider}/{route.model}: its calls are booked as unpriced",
                    "add it to the prices.overrides file, or set the provider's price_provider",
                )


def _database(settings: Settings, _environ: Mapping[str, str]) -> Iterator[Finding]:
    url = settings.database.url
    path = Database.path_of(url)
    if path is not None and not path.exists():
        parent = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        if os.access(parent, os.W_OK):
            yield Finding("database", "ok", f"{path} will be made at the first start")
        else:
            yield Finding("database", "bad", f"{parent} is not writable", "name another place with --database")
        return
    with open_database(url) as db:
        try:
            with db.transaction():
                db.run("UPDATE counters SET next = next WHERE name = 'key'")
        except db.transient as error:
            yield Finding(
                "database", "bad", f"not writable: {error}", "free the disk, or end the process that locks it"
            )
            return
        rejected = int(db.rows("SELECT count(*) FROM rejected")[0][0])
        live = sum(key.revoked is None for key in keys.every(db))
        yield Finding("database", "ok", f"writable, schema {version(db)} of {known()[-1].number}, {live} live keys")
    if rejected:
        says = f"{rejected} operations could not be booked as rows and are kept whole in the table `rejected`"
        yield Finding(
            "ledger", "note", says, "look at their reason and report it: SELECT operation, reason FROM rejected"
        )
    if not live:
        yield Finding("keys", "note", "there is no live key", "jevons keys create --name me")


def _port(settings: Settings, _environ: Mapping[str, str]) -> Iterator[Finding]:
    host, port = settings.server.host, settings.server.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            yield Finding(
                "port",
                "note",
                f"{host}:{port}: {error.strerror}",
                "a gateway may be running already; another port: jevons serve --port N",
            )
            return
    yield Finding("port", "ok", f"{host}:{port} is free")
