"""A seeded ledger behind a real gateway, looked at through its front door; and a Chromium where there is one."""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from jevons.engines.pages import Options, ShownProvider
from jevons.web.app import application
from tests.setup import browser as chromium
from tests.web.seed import ADMIN, seed

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--no-first-run", "--disable-sync", "--disable-default-apps")  # fmt: skip
PATIENCE_S = 20.0
PROVIDERS = (ShownProvider(name="anthropic", dialect="anthropic", base_url="https://api.example", key_from="A_KEY"),)
_names = itertools.count()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with a small ledger, to be copied. Its last calls are a minute old."""
    file = tmp_path_factory.mktemp("seed") / "ledger.db"
    seed(f"sqlite:///{file}")
    return file


@pytest.fixture
def database(seeded: Path, tmp_path: Path) -> str:
    """A ledger of one's own."""
    return f"sqlite:///{shutil.copy(seeded, tmp_path / 'ledger.db')}"


@pytest.fixture
def client(database: str) -> httpx.AsyncClient:
    """The pages without a gateway or sockets; not signed in."""
    app = application(Options(database=database, providers=PROVIDERS))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://jevons.test")


async def sign_in(client: httpx.AsyncClient, key: str = ADMIN, where: str = "/") -> httpx.Response:
    """Through the form, as a browser would."""
    form = await client.get("/ui/sign-in")
    return await client.post("/ui/sign-in", data={"key": key, "csrf": csrf(form.text), "next": where})


def csrf(page: str) -> str:
    """The token of a page's first form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None, "no form on this page"
    return found[1]


class Dashboard:
    """A running `jevons serve` and its ledger."""

    def __init__(self, url: str, database: str):
        self.url, self.database = url, database


@pytest.fixture(scope="session")
def dashboard(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The whole house in a process of its own: the pages process is its child."""
    place = tmp_path_factory.mktemp("house")
    database = f"sqlite:///{shutil.copy(seeded, place / 'ledger.db')}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jevons.cli", "serve", "--no-local", "--port", str(port), "--database", database]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=place, stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1"})
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", process, place / "log")
        yield Dashboard(f"http://127.0.0.1:{port}", database)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"jevons serve did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    """A headless Chromium; the test skips where there is none. Of one module: playwright holds an event loop."""
    if not chromium():
        pytest.skip("no Chromium: see `python -m tests.setup`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield running
        running.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped browser tests must not go unseen in a quiet run."""
    if not chromium():
        terminalreporter.write_line("NO CHROMIUM: tests marked `browser` did not run", red=True, bold=True)
