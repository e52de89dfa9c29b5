"""Shared processes of the engine tests: one simulator a module, one local model a session."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jevons.engines.local import LocalEngine
from jevons.engines.modelfile import default_path
from jevons.engines.simulated import Simulator, start

ROOT = Path(__file__).parents[2]
MODEL = default_path(ROOT / ".jevons/models")


@pytest.fixture(scope="module")
def shared_simulator() -> Iterator[Simulator]:
    with start() as simulator:
        yield simulator


@pytest.fixture
def simulator(shared_simulator: Simulator) -> Simulator:
    shared_simulator.reset()
    return shared_simulator


class Loop:
    """An event loop in a thread, so that session-scoped engines live through many tests."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def model_path() -> Path:
    if not MODEL.exists():
        pytest.skip(f"NO LOCAL MODEL: {MODEL} is missing; `jevons model fetch` gets it. These tests did not run.")
    return MODEL


@pytest.fixture(scope="session")
def local_engine(loop: Loop, model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    log = tmp_path_factory.mktemp("local") / "local.log"
    engine = LocalEngine(model_path, threads=1, slots=4, ctx=1024, cache_ram_mib=32, log_path=log)
    loop.run(engine.start())
    yield engine
    loop.run(engine.stop())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skipped local model must not go unseen in a quiet run."""
    if not MODEL.exists():
        terminalreporter.write_line(f"NO LOCAL MODEL at {MODEL}: tests marked `local` did not run", red=True, bold=True)
