"""Answers in memory: bounded, per tenant, and identical calls in flight burn once."""

import asyncio

import msgspec
import pytest

from jevons.core.ask import Stored
from jevons.store.answers import Answers


def stored(body: bytes = b"{}", operation: str = "op") -> Stored:
    return Stored(
        status=200,
        body=body,
        content_type="application/json",
        model="m",
        usage=None,
        cost_nano=1,
        operation=operation,
        at=0.0,
    )


def answers(**bounds: float) -> Answers:
    return Answers(**{"max_bytes": 10_000, "max_entry_bytes": 5_000, "ttl_s": 60.0, **bounds})  # type: ignore[arg-type]


def test_an_answer_is_found_until_its_time_is_over() -> None:
    async def main() -> None:
        store = answers()
        store.keep("t", b"k", stored(), now=0.0)
        assert await store.find("t", b"k", 59.0, wait=True) == stored()
        assert await store.find("t", b"k", 61.0, wait=False) is None
        assert store.size_bytes == 0

    asyncio.run(main())


def test_no_answer_crosses_tenants() -> None:
    async def main() -> None:
        store = answers()
        store.keep("one", b"k", stored(), now=0.0)
        assert await store.find("two", b"k", 0.0, wait=False) is None
        assert store.purge("one") == 1
        assert await store.find("one", b"k", 0.0, wait=False) is None

    asyncio.run(main())


def test_the_oldest_unused_answer_makes_room() -> None:
    async def main() -> None:
        store = answers()
        for name in (b"a", b"b", b"c"):
            store.keep("t", name, stored(b"x" * 2500), now=0.0)
            await store.find("t", b"a", 0.0, wait=False)
        store.keep("t", b"d", stored(b"x" * 2500), now=0.0)
        kept = [name for name in (b"a", b"b", b"c", b"d") if await store.find("t", name, 0.0, wait=False)]
        assert kept == [b"a", b"c", b"d"]
        assert store.size_bytes <= 10_000

    asyncio.run(main())


def test_an_answer_too_large_is_handed_on_but_not_kept() -> None:
    async def main() -> None:
        store = answers()
        assert await store.find("t", b"k", 0.0, wait=True) is None
        follower = asyncio.create_task(store.find("t", b"k", 0.0, wait=True))
        await asyncio.sleep(0)
        store.keep("t", b"k", stored(b"x" * 9000), now=0.0)
        assert await follower is not None
        assert len(store) == 0

    asyncio.run(main())


def test_identical_calls_in_flight_wait_for_one_answer() -> None:
    async def main() -> None:
        store = answers()
        assert await store.find("t", b"k", 0.0, wait=True) is None
        followers = [asyncio.create_task(store.find("t", b"k", 0.0, wait=True)) for _ in range(5)]
        await asyncio.sleep(0)
        store.keep("t", b"k", stored(), now=0.0)
        joined = msgspec.structs.replace(stored(), joined=True)
        assert await asyncio.gather(*followers) == [joined] * 5

    asyncio.run(main())


def test_a_failed_leader_hands_the_lead_to_one_follower_and_the_others_wait_for_it() -> None:
    async def main() -> None:
        store = answers()
        await store.find("t", b"k", 0.0, wait=True)
        followers = [asyncio.create_task(store.find("t", b"k", 0.0, wait=True)) for _ in range(3)]
        await asyncio.sleep(0)
        store.keep("t", b"k", None, now=0.0)
        done, waiting = await asyncio.wait(followers, timeout=0.01)
        assert [task.result() for task in done] == [None]
        assert len(waiting) == 2
        store.keep("t", b"k", stored(), now=0.0)
        assert all(await asyncio.gather(*waiting))

    asyncio.run(main())


def test_a_follower_that_leaves_with_the_lead_in_hand_passes_it_on() -> None:
    async def main() -> None:
        store = answers()
        await store.find("t", b"k", 0.0, wait=True)
        first = asyncio.create_task(store.find("t", b"k", 0.0, wait=True))
        second = asyncio.create_task(store.find("t", b"k", 0.0, wait=True))
        await asyncio.sleep(0)
        store.keep("t", b"k", None, now=0.0)  # the lead goes to `first` ...
        first.cancel()  # ... who leaves before it wakes
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await asyncio.wait_for(second, 1.0) is None

    asyncio.run(main())


def test_with_no_one_waiting_the_lead_ends() -> None:
    async def main() -> None:
        store = answers()
        assert await store.find("t", b"k", 0.0, wait=True) is None
        store.keep("t", b"k", None, now=0.0)
        assert await asyncio.wait_for(store.find("t", b"k", 0.0, wait=True), 1.0) is None

    asyncio.run(main())
