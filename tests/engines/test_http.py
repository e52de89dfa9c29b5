"""The pooled client against real sockets: a scripted server says exactly which bytes come when."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from jevons.core.errors import SettingsError
from jevons.engines.http import ExchangeFailed, Limits, Pool

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n"
QUICK = Limits(connect_s=1.0, first_byte_s=0.3, idle_s=0.3, total_s=5.0)
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Pool]:
    """A server that runs `script` for each connection, a pool to it, and its sweeper."""
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = Pool(f"http://127.0.0.1:{port}/v1", max_connections=2)

    async def sweep() -> None:
        while True:
            await asyncio.sleep(0.05)
            pool.sweep()

    sweeper = asyncio.create_task(sweep())
    try:
        yield pool
    finally:
        sweeper.cancel()
        pool.close()
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


async def request(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(2)


def whole(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), extra, body)


def run(coroutine: Awaitable[None]) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_a_connection_is_used_again_for_the_next_call() -> None:
    seen = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append("connection")
        while True:
            assert await request(reader) == b"{}"
            writer.write(whole(b"answer"))

    async def main() -> None:
        async with serving(script) as pool:
            for _ in range(3):
                exchange = await pool.send(HEAD, b"{}", QUICK)
                assert await exchange.whole() == b"answer"
                assert exchange.status == 200

    run(main())
    assert seen == ["connection"]


def test_a_chunked_answer_arrives_in_pieces_and_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(b"2\r\nde\r\n0\r\n\r\n")

    async def main() -> None:
        async with serving(script) as pool:
            exchange = await pool.send(HEAD, b"{}", QUICK, stream=True)
            pieces = [piece async for piece in exchange.pieces()]
            assert pieces == [b"abc", b"de"]
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"abcde"

    run(main())


def test_a_kept_connection_that_was_closed_is_replaced_once_and_unnoticed() -> None:
    connections = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await request(reader)
        writer.write(whole(b"one"))
        if len(connections) == 1:
            await request(reader)  # read the second call, then drop it without a byte
            writer.transport.abort()
        else:
            await reader.read()

    async def main() -> None:
        async with serving(script) as pool:
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"one"
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"one"

    run(main())
    assert len(connections) == 2


@pytest.mark.parametrize(
    ("said", "kind", "started"),
    [
        (b"", "reset", False),
        (b"SSH-2.0-OpenSSH\r\n", "rubbish", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "reset", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "rubbish", True),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", "rubbish", False),
    ],
)
def test_an_answer_that_is_none_fails_with_its_kind(said: bytes, kind: str, started: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        await writer.drain()

    async def main() -> None:
        async with serving(script) as pool:
            with pytest.raises(ExchangeFailed) as failure:
                await (await pool.send(HEAD, b"{}", QUICK)).whole()
            assert (failure.value.kind, failure.value.started) == (kind, started)
            assert pool.open_connections == 0

    run(main())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"])
def test_silence_before_and_inside_an_answer_times_out(said: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        await reader.read()

    async def main() -> None:
        async with serving(script) as pool:
            with pytest.raises(ExchangeFailed) as failure:
                await (await pool.send(HEAD, b"{}", QUICK)).whole()
            assert failure.value.kind == "timeout"
            assert failure.value.started is bool(said)

    run(main())


def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            assert await reader.read() == b""
            gone.set()

        async with serving(script) as pool:
            task = asyncio.create_task(pool.send(HEAD, b"{}", QUICK))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(gone.wait(), 1.0)
            assert pool.open_connections == 0

    run(main())


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it")

    async def main() -> None:
        async with serving(script) as pool:
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"all of it"

    run(main())


def test_interim_answers_are_passed_over() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + whole(b"final", b"a: b\r\n"))
        await reader.read()

    async def main() -> None:
        async with serving(script) as pool:
            exchange = await pool.send(HEAD, b"{}", QUICK)
            assert await exchange.whole() == b"final"
            assert exchange.header(b"a") == b"b"
            assert exchange.header(b"link") == b""

    run(main())


def test_a_second_answer_to_one_request_poisons_the_connection_and_nothing_else() -> None:
    connections = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await request(reader)
        writer.write(whole(b"mine") + (whole(b"not mine") if len(connections) == 1 else b""))
        await reader.read()

    async def main() -> None:
        async with serving(script) as pool:
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"mine"
            await asyncio.sleep(0.05)
            assert await (await pool.send(HEAD, b"{}", QUICK)).whole() == b"mine"

    run(main())
    assert len(connections) == 2


def test_calls_beyond_the_pool_wait_for_a_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            await asyncio.sleep(0.02)
            writer.write(whole(b"x"))

    async def main() -> None:
        async with serving(script) as pool:

            async def one() -> bytes:
                return await (await pool.send(HEAD, b"{}", QUICK)).whole()

            assert await asyncio.gather(*(one() for _ in range(8))) == [b"x"] * 8
            assert pool.open_connections <= 2

    run(main())


def test_no_connection_says_so() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(ExchangeFailed, match="cannot connect"):
            await Pool(f"http://127.0.0.1:{port}").send(HEAD, b"{}", QUICK)

    run(main())


@pytest.mark.parametrize("address", ["ftp://x", "localhost:80", "http://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="base_url"):
        Pool(address)
