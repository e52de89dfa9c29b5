"""The dashboard's door in the gateway: the pages process starts at the first visit, is replaced, and ends with it."""

import asyncio
import os
import signal
from pathlib import Path

import httpx2 as httpx
import pytest

from jevons.core.errors import Unauthorized
from jevons.engines.catalogue import build
from jevons.gateway.auth import Keys
from jevons.gateway.front import Front, shown
from jevons.plans import key as keys
from jevons.settings import Settings, parse
from tests.web.seed import VIEWER

PATIENCE_S = 15.0


def alive(pid: int) -> bool:
    return pid > 0 and Path(f"/proc/{pid}").exists()


@pytest.fixture
def front(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its log goes beside the database
    return Front(database, build(Settings(), {}))


def visit(front):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=front), base_url="http://jevons.test")


def test_it_starts_at_the_first_visit_and_ends_with_the_gateway(front):
    async def look():
        assert front._child is None
        answers = await asyncio.gather(*(visit(front).get("/ui/sign-in") for _ in range(4)))
        assert [answer.status_code for answer in answers] == [200] * 4
        pid = front._child.pid
        assert alive(pid)
        await front.stop()
        assert not alive(pid)

    asyncio.run(look())


def test_one_that_died_is_replaced_and_the_visitor_is_told_meanwhile(front):
    async def look():
        browser = visit(front)
        await browser.get("/ui/sign-in")
        first = front._child.pid
        os.kill(first, signal.SIGKILL)
        told = await browser.get("/ui/sign-in")
        assert told.status_code in {200, 500, 502, 503}
        for _ in range(int(PATIENCE_S / 0.1)):
            if (await browser.get("/ui/sign-in")).status_code == 200:
                break
            await asyncio.sleep(0.1)
        assert front._child.pid not in {0, first}
        await front.stop()

    asyncio.run(look())


def test_what_a_browser_claims_of_itself_is_not_believed(front):
    async def look():
        plain = await visit(front).get("/ui/sign-in", headers={"x-jevons-scheme": "https", "x-jevons-client": "me"})
        assert "; Secure" not in plain.headers["set-cookie"]
        proxied = await visit(front).get("/ui/sign-in", headers={"x-forwarded-proto": "https"})
        assert "; Secure" in proxied.headers["set-cookie"]
        await front.stop()

    asyncio.run(look())


def test_only_what_a_page_takes_is_passed_on(front):
    async def look():
        assert (await visit(front).put("/ui/sign-in")).status_code == 405
        assert (await visit(front).post("/ui/sign-in", content=b"x" * 300_000)).status_code == 413
        assert (await visit(front).head("/ui/sign-in")).status_code == 200
        await front.stop()

    asyncio.run(look())


def test_a_viewers_key_calls_nothing():
    known = Keys()
    known.change(keys.make(VIEWER, name="vic", role="viewer"))
    with pytest.raises(Unauthorized):
        known.caller({"x-api-key": VIEWER})


def test_providers_are_shown_without_their_keys():
    tree = {"providers": {"own": {"base_url": "https://api.example/v1", "key_env": "OWN_KEY", "models": ["m"]}}}
    found = shown(build(parse(tree, "test"), {"OWN_KEY": "secret-value"}))
    assert [(each.name, each.key_from, each.models) for each in found if each.name == "own"] == [
        ("own", "OWN_KEY", ("m",))
    ]
    assert "secret-value" not in repr(found)
