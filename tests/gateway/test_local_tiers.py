"""Local models as tiers: a file is followed, one engine takes another's place, and no call is dropped for it."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from jevons.core.errors import NotFound
from jevons.core.route import Route
from jevons.core.usage import Usage
from jevons.engines import served
from jevons.engines.catalogue import Catalogue
from jevons.engines.http import Limits
from jevons.engines.served import Served
from jevons.gateway.local import LocalPart
from jevons.prices.book import Book
from jevons.settings import Local

MODEL = Path(__file__).parents[2] / ".jevons/models/SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not MODEL.exists(), reason=f"NO LOCAL MODEL: {MODEL} is missing"),
]


@pytest.fixture
def part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # logs and the default model are looked for here: there is none
    upstreams, book = {}, Book.load()
    made = LocalPart(Local(threads=1, cache_ram_mib=0), Catalogue(), upstreams, book.quote, tmp_path / "models.toml")
    made.book, made.upstreams = book, upstreams
    return made


def serve(part, tmp_path, **more):
    served.write({"small": Served(path=str(MODEL), slots=1, context_tokens=256, **more)}, tmp_path / "models.toml")


async def ask(part, name, tokens):
    route = part._catalogue.routes(name)[0]
    body = {"model": route.upstream_model, "messages": [{"role": "user", "content": "Count."}], "max_tokens": tokens}
    upstream = part.upstreams[route.provider.name]
    return await upstream.send(
        "chat", json.dumps(body | {"ignore_eos": True}).encode(), Limits(), stream=False, headers={}
    )


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def test_a_swap_drops_no_call_and_ends_the_old_engine(part, tmp_path):
    async def life():
        serve(part, tmp_path)
        await part.follow()
        old = part.tiers["small"].engine.pid
        running = asyncio.create_task(ask(part, "small", 120))
        await asyncio.sleep(0.2)
        serve(part, tmp_path, kv_type="q8_0")
        await part.follow()
        new = part.tiers["small"].engine.pid
        reply = json.loads(await (await ask(part, "small", 4)).whole())
        assert reply["usage"]["completion_tokens"] == 4
        finished = json.loads(await (await running).whole())
        assert finished["usage"]["completion_tokens"] == 120
        assert new != old
        deadline = time.monotonic() + 20
        while alive(old) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)
        assert not alive(old)
        await part.stop()
        assert not alive(new)

    asyncio.run(life())


def test_a_file_that_cannot_be_served_leaves_what_is_served(part, tmp_path):
    async def life():
        serve(part, tmp_path)
        await part.follow()
        engine = part.tiers["small"].engine
        (tmp_path / "short.gguf").write_bytes(MODEL.read_bytes()[:9_000_000])
        served.write({"small": Served(path=str(tmp_path / "short.gguf"))}, tmp_path / "models.toml")
        await part.follow()
        assert "truncated" in part.state
        assert part.tiers["small"].engine is engine
        (tmp_path / "models.toml").write_text("not toml [")
        await part.follow()
        assert part.tiers["small"].engine is engine
        served.write({}, tmp_path / "models.toml")
        await part.follow()
        with pytest.raises(NotFound):
            part._catalogue.routes("small")
        assert part.state == "ok"
        await part.stop()

    asyncio.run(life())


def test_a_measured_price_is_what_the_book_says_and_a_new_one_starts_no_engine(part, tmp_path):
    async def life():
        serve(part, tmp_path, usd_per_mtok_in=0.05, usd_per_mtok_out=0.10, priced_by="bench")
        await part.follow()
        engine, route = part.tiers["small"].engine, part._catalogue.routes("small")[0]
        assert isinstance(route, Route)
        priced = part.book.price_route(route, Usage(input=1000, output=1000), "", None, 0.0, 99.0)
        assert (priced.nano, priced.source) == (150_000, "machine")
        serve(part, tmp_path, usd_per_mtok_in=0.10, usd_per_mtok_out=0.10, priced_by="bench")
        await part.follow()
        assert part.tiers["small"].engine is engine
        assert part.book.price_route(route, Usage(input=1000), "", None, 0.0, 99.0).nano == 100_000
        await part.stop()

    asyncio.run(life())
