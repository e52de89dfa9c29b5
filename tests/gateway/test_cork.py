"""A head leaves with its body, or by itself when nothing follows at once; never late, never twice."""

import asyncio
from typing import Any

from jevons.gateway.cork import Corked


class Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def close(self) -> None:
        self.said.append("closed")

    def abort(self) -> None:
        self.said.append("aborted")

    def is_closing(self) -> bool:
        return False


def play(*steps: str | bytes) -> list[Any]:
    """Writes, and `turn` of the loop, `close` or `abort` in between."""

    async def main() -> list[Any]:
        wire = Wire()
        cork = Corked(wire, asyncio.get_running_loop())  # type: ignore[arg-type]
        for step in steps:
            if isinstance(step, bytes):
                cork.write(step)
            elif step == "turn":
                await asyncio.sleep(0)
            else:
                getattr(cork, step)()
        await asyncio.sleep(0)
        assert cork.is_closing() is False
        return wire.said

    return asyncio.run(main())


HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"body"


def test_a_head_leaves_with_its_body() -> None:
    assert play(HEAD, BODY) == [HEAD + BODY]


def test_a_head_that_waits_for_its_stream_leaves_by_itself() -> None:
    assert play(HEAD, "turn", BODY, BODY) == [HEAD, BODY, BODY]


def test_nothing_is_lost_at_a_close_and_nothing_sent_at_an_abort() -> None:
    assert play(HEAD, "close") == [HEAD, "closed"]
    assert play(HEAD, "abort") == ["aborted"]


def test_answers_one_after_another_keep_their_order() -> None:
    assert play(HEAD, BODY, HEAD, "turn", BODY) == [HEAD + BODY, HEAD, BODY]
