"""Counters and answers over several gateways and a real Valkey, which is killed, stopped and started meanwhile."""

import asyncio
import random
import time

import pytest

from jevons.core.ask import Stored
from jevons.core.errors import OurError
from jevons.plans.budget import Denied, Granted
from jevons.store.counters import Counters
from jevons.store.resp import decode, encode
from jevons.store.shared import PartCounters
from tests.scale.conftest import TIMEOUT_S, claim, gateway, until

LEASE_S = 60.0


def ends() -> float:
    return time.time() + LEASE_S


def stored(body: bytes = b"{}") -> Stored:
    return Stored(status=200, body=body, content_type="application/json", model="m", usage=None, cost_nano=None,
                  operation="op_1", at=1.0)  # fmt: skip


async def standing(shared, counter="c"):
    """(spent, reserved) as Valkey holds them."""
    spent, reserved = await shared.link.ask("HMGET", f"jevons:customer:{counter}|usd|total", "s", "r")
    return int(spent or 0), int(reserved or 0)


def test_one_gateway_counts_as_the_counters_in_memory_do(valkey):
    async def run():
        dice, here = random.Random(1), Counters()
        async with gateway(valkey.url) as shared:
            live = []
            for number in range(400):
                if live and dice.random() < 0.45:
                    operation, claims = live.pop(dice.randrange(len(live)))
                    took = {item.counter: dice.randrange(0, 30) for item in claims}
                    here.settle(operation, took)
                    shared.counters.settle(operation, took)
                    continue
                operation = f"op_{number}"
                claims = [claim(name, dice.randrange(0, 30), cap) for name, cap in (("a", 2000), ("b", 900))]
                expected, found = here.reserve(operation, claims, ends()), None
                found = await shared.counters.reserve(operation, claims, ends())
                assert found == expected
                if isinstance(found, Granted):
                    live.append((operation, claims))
            assert await standing(shared, "b") == here.spent("customer:b|usd|total")

    asyncio.run(run())


def test_concurrent_calls_of_many_gateways_never_pass_a_cap(valkey):
    async def run():
        gateways = [gateway(valkey.url) for _ in range(20)]
        opened = [await item.__aenter__() for item in gateways]
        answers = await asyncio.gather(
            *(shared.counters.reserve(f"op_{index}_{number}", [claim("c", 7, 1000)], ends())
              for index, shared in enumerate(opened) for number in range(20))
        )  # fmt: skip
        assert sum(isinstance(answer, Granted) for answer in answers) == 1000 // 7
        for item in gateways:
            await item.__aexit__(None, None, None)

    asyncio.run(run())


def test_a_settlement_that_is_sent_twice_counts_once(valkey):
    async def run():
        async with gateway(valkey.url) as shared:
            counters = shared.counters
            await counters.reserve("op", [claim("c", 10, 100)], ends())
            counters.settle("op", {"customer:c|usd|total": 12})
            counters._let_go("op", (claim("c", 10, 100),), {"customer:c|usd|total": 12})
            assert await standing(shared) == (12, 0)

    asyncio.run(run())


def test_a_lease_that_ends_gives_back_what_it_held_and_a_renewed_one_does_not(valkey):
    async def run():
        async with gateway(valkey.url) as dead, gateway(valkey.url) as other:
            await dead.counters.reserve("dies", [claim("c", 60, 100)], time.time() + 0.2)
            await dead.counters.reserve("lives", [claim("c", 30, 100)], time.time() + 0.2)
            dead.counters.renew("lives", ends())
            assert isinstance(await other.counters.reserve("early", [claim("c", 50, 100)], ends()), Denied)
            await asyncio.sleep(0.25)
            assert isinstance(await other.counters.reserve("late", [claim("c", 50, 100)], ends()), Granted)
            assert await standing(other) == (0, 80)

    asyncio.run(run())


def test_a_counter_begins_with_what_the_ledger_says(valkey):
    async def run():
        async with gateway(valkey.url, seed=lambda _counter: 95) as shared:
            found = await shared.counters.reserve("op", [claim("c", 10, 100), claim("d", 1, 100)], ends())
            assert found == Denied(claim=claim("c", 10, 100), spent=95, reserved=0)

    asyncio.run(run())


def test_away_a_local_limit_holds_to_a_gateways_part_and_a_closed_one_refuses(valkey):
    async def run():
        async with gateway(valkey.url) as one, gateway(valkey.url) as two:
            await until(lambda: one.counters.gateways == two.counters.gateways == 2)
            for shared in (one, two):
                await shared.counters.reserve(f"first{id(shared)}", [claim("c", 100, 1000)], ends())
            await asyncio.sleep(1.1)  # a heartbeat: both know of both
            valkey.kill()
            taken = 0
            for shared in (one, two):
                for number in range(100):
                    answer = await shared.counters.reserve(f"{id(shared)}{number}", [claim("c", 10, 1000)], ends())
                    taken += isinstance(answer, Granted)
                with pytest.raises(OurError) as refused:
                    await shared.counters.reserve("closed", [claim("x", 1, 1000, away="closed")], ends())
                assert (refused.value.status, refused.value.code) == (503, "budget_store_away")
                assert shared.state.startswith("degraded")
            assert taken * 10 == 800

    asyncio.run(run())


def test_after_a_restart_that_lost_all_the_counters_are_as_if_nothing_had_happened(valkey):
    async def run():
        ledger = {"customer:c|usd|total": 0}
        async with gateway(valkey.url, seed=lambda counter: ledger[counter]) as shared:
            counters = shared.counters
            await counters.reserve("before", [claim("c", 40, 1000)], ends())
            await counters.reserve("running", [claim("c", 30, 1000)], ends())
            valkey.kill()
            await until(lambda: not shared.link.up)
            counters.settle("before", {"customer:c|usd|total": 44})
            ledger["customer:c|usd|total"] += 44  # it is booked
            await counters.reserve("while away", [claim("c", 20, 1000)], ends())
            valkey.start()
            await until(lambda: shared.link.up)
            await counters.reserve("after", [claim("c", 10, 1000)], ends())
            assert await standing(shared) == (44, 60)
            for operation in ("running", "while away", "after"):
                counters.settle(operation, {"customer:c|usd|total": 25})
            assert await standing(shared) == (119, 0)
            assert counters.reservations == 0
            assert not counters._unsent

    asyncio.run(run())


def test_a_server_that_hangs_holds_a_call_no_longer_than_its_timeout(valkey):
    async def run():
        async with gateway(valkey.url) as shared:
            valkey.pause()
            began = time.monotonic()
            assert isinstance(await shared.counters.reserve("op", [claim("c", 1, 10)], ends()), Granted)
            assert time.monotonic() - began < 10 * TIMEOUT_S
            shared.counters.settle("op", {"customer:c|usd|total": 3})
            valkey.go_on()
            await until(lambda: shared.link.up and not shared.counters._unsent)
            assert (await standing(shared))[1] == 0

    asyncio.run(run())


def test_an_answer_is_found_by_another_gateway_and_by_no_other_tenant(valkey):
    async def run():
        async with gateway(valkey.url) as one, gateway(valkey.url) as two:
            assert await one.answers.find("acme", b"k", 1.0, wait=True) is None
            one.answers.keep("acme", b"k", stored(b"{1}"), 1.0)
            await one.link.ask("PING")
            assert await two.answers.find("evil", b"k", 1.0, wait=False) is None
            assert (await two.answers.find("acme", b"k", 1.0, wait=True)).body == b"{1}"
            assert two.answers.hits_there == 1

    asyncio.run(run())


def test_identical_calls_in_flight_wait_over_gateways_and_go_on_when_the_leader_gives_up(valkey):
    async def run():
        async with gateway(valkey.url) as one, gateway(valkey.url) as two:
            assert await one.answers.find("acme", b"k", 1.0, wait=True) is None
            follower = asyncio.create_task(two.answers.find("acme", b"k", 1.0, wait=True))
            await asyncio.sleep(0.1)
            assert not follower.done()
            one.answers.keep("acme", b"k", stored(), 1.0)
            assert (await follower).joined
            assert await one.answers.find("acme", b"j", 1.0, wait=True) is None
            follower = asyncio.create_task(two.answers.find("acme", b"j", 1.0, wait=True))
            await asyncio.sleep(0.1)
            one.answers.keep("acme", b"j", None, 1.0)
            assert await follower is None  # it leads now

    asyncio.run(run())


def test_processes_that_share_nothing_keep_a_cap_together():
    parts = [PartCounters(lambda _counter: 100, 4) for _ in range(4)]
    taken = 0
    for index, counters in enumerate(parts):
        for number in range(50):
            answer = counters.reserve(f"{index}/{number}", [claim("c", 10, 500)], ends())
            taken += 10 * isinstance(answer, Granted)
    assert taken == 400
    assert answer == Denied(claim=claim("c", 10, 500), spent=400, reserved=100)


def test_replies_are_read_however_they_are_cut():
    whole = b"*3\r\n$3\r\na\r\n\r\n:42\r\n*1\r\n$-1\r\n+OK\r\n"
    assert decode(whole, 0) == ([b"a\r\n", 42, [None]], len(whole) - 5)
    assert decode(whole, len(whole) - 5) == (b"OK", len(whole))
    assert all(decode(whole[:cut], 0) is None for cut in range(len(whole) - 5))
    assert encode(("GET", b"\x00", 7)) == b"*3\r\n$3\r\nGET\r\n$1\r\n\x00\r\n$1\r\n7\r\n"
