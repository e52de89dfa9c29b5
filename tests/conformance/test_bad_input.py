"""Requests that are no requests: an error in the surface's own dialect, never a 500, a hang, or a lost booking."""

import json
import random
import socket
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jevons.engines.simulated import Simulator
from tests.conformance.conftest import SECRET, Running, gateway, wait_until
from tests.conformance.stub import spoken

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
COUNT, EMBEDDINGS = "/v1/messages/count_tokens", "/v1/embeddings"
SURFACES = (CHAT, RESPONSES, MESSAGES, COUNT, EMBEDDINGS)
TURN = [{"role": "user", "content": "x"}]
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": GPT, "messages": TURN},
    RESPONSES: {"model": GPT, "input": "x"},
    MESSAGES: {"model": CLAUDE, "messages": TURN, "max_tokens": 20},
    COUNT: {"model": CLAUDE, "messages": TURN},
    EMBEDDINGS: {"model": "text-embedding-3-small", "input": "x"},
}


def says(path: str, answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The error, once it is one of the surface's own dialect."""
    assert answer.status_code in statuses, answer.text
    body = answer.json()
    if path.startswith(MESSAGES):
        assert body["type"] == "error"
        assert isinstance(body["error"]["type"], str)
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    assert len(body["error"]["message"]) > 10
    error: dict[str, Any] = body["error"]
    return error


@pytest.fixture
def untouched(running: Running, simulator: Simulator) -> Iterator[Running]:
    """The shared gateway; nothing may reach the provider, and it works afterwards."""
    yield running
    assert not simulator.books.requests
    assert running.post(CHAT, GOOD[CHAT]).status_code == 200


# --- bodies


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"model": 5}',
        b'{"model": ""}',
        b"\xff\xfe{}",
        b'{"model":"a"} x',
        b'{"model":"gpt-4o-mini","model":"gpt-4o","messages":[],"input":"x"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"model":"gpt-4o-mini","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model":"\xed\xa0\x80","messages":[],"input":"x"}',
        b'{"model":"gpt-4o-mini","messages":[{"a":NaN}],"input":NaN}',
        b'{"model":"\\ud800","messages":[],"input":"x"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_request(untouched: Running, path: str, body: bytes) -> None:
    says(path, untouched.post(path, body), 400, 404)


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None),
        ("model", ["x"]),
        ("messages", "x"),
        ("messages", {}),
        ("input", 7),
        ("input", {}),
        ("stream", "yes"),
        ("temperature", "hot"),
        ("max_tokens", -1),
        ("max_tokens", "9"),
        ("n", 0),
        ("metadata", [1]),
        ("previous_response_id", 9),
        ("store", "y"),
        ("stream_options", "x"),
        ("max_output_tokens", 1e99),
    ],
)
def test_a_field_of_a_wrong_kind_is_named_or_left_to_the_provider(
    running: Running, simulator: Simulator, path: str, name: str, value: Any
) -> None:
    answer = running.post(path, {**GOOD[path], name: value})
    if answer.status_code != 200:
        says(path, answer, 400, 404)
        if not simulator.books.requests:
            assert name in answer.text or "output tokens" in answer.text


TRANSLATED = [(CHAT, CLAUDE), (RESPONSES, CLAUDE), (MESSAGES, GPT)]
ODD: list[Any] = [
    None,
    1,
    "x",
    [],
    [None],
    [[]],
    [{}],
    [{"role": 1}],
    [{"role": "user"}],
    [{"role": "user", "content": 5}],
    [{"role": "user", "content": [{"type": "image_url"}]}],
    [{"role": "user", "content": [{"type": 3}]}],
    [{"role": "tool", "content": "x"}],
    [{"role": "assistant", "tool_calls": [{}]}],
    [{"type": "function_call_output"}],
    [{"role": "nobody", "content": "x"}],
]


@pytest.mark.parametrize(("path", "model"), TRANSLATED)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_can_not_be_translated_is_the_caller_s_to_change(
    running: Running, simulator: Simulator, path: str, model: str, value: Any
) -> None:
    field = "input" if path == RESPONSES else "messages"
    answer = running.post(path, {"model": model, "max_tokens": 10, field: value, "tools": value})
    if answer.status_code != 200:
        says(path, answer, 400)
        wait_until(lambda: not running.housekeeping.gateway.active)


@pytest.mark.parametrize("path", SURFACES)
def test_an_unknown_model_is_a_404_that_names_it(untouched: Running, path: str) -> None:
    error = says(path, untouched.post(path, {**GOOD[path], "model": "gpd-4o-mini"}), 404)
    assert "gpd-4o-mini" in error["message"]


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("key", ["", "wrong", "Bearer", "sk-jv-" + "x" * 5000, SECRET[:-1], SECRET + "a"])
def test_an_unknown_key_is_a_401(untouched: Running, path: str, key: str) -> None:
    for headers in (
        {"authorization": f"Bearer {key}".strip()},
        {"x-api-key": key},
        {"authorization": f"Basic {key}".strip()},
    ):
        says(path, untouched.http.post(untouched.url + path, json=GOOD[path], headers=headers), 401)


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_a_405_that_names_the_right_one(untouched: Running, path: str, method: str) -> None:
    answer = untouched.http.request(method, untouched.url + path, headers={"x-api-key": SECRET})
    says(path, answer, 405)
    assert answer.headers["allow"] == "POST"


def test_pages_take_get_only(untouched: Running) -> None:
    for path in ("/v1/models", "/healthz", "/readyz", "/metrics", "/openapi.json"):
        answer = untouched.http.post(untouched.url + path, headers={"x-api-key": SECRET})
        says(CHAT, answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"
    says(CHAT, untouched.http.get(untouched.url + "/v1/nowhere"), 404)


def test_a_compressed_body_is_refused(untouched: Running) -> None:
    says(MESSAGES, untouched.post(MESSAGES, b"\x1f\x8b\x08", **{"content-encoding": "gzip"}), 415)


# --- sizes


def test_a_body_up_to_32_mib_is_taken_and_a_larger_one_is_a_413(running: Running, simulator: Simulator) -> None:
    def body(size: int) -> bytes:
        start = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"'
        return start + b"x " * ((size - len(start) - 4) // 2) + b'"}]}'

    limit = 32 * 1024 * 1024
    answer = running.post(CHAT, body(limit + 1024))
    assert says(CHAT, answer, 413)["code"] == "request_too_large"
    assert not simulator.books.requests
    answer = running.post(MESSAGES, body(limit + 1024).replace(b"gpt-4o-mini", b"claude-opus"))
    assert says(MESSAGES, answer, 413)["type"] == "request_too_large"
    with pytest.raises(openai.APIStatusError) as refused:
        running.openai().chat.completions.create(model=GPT, messages=[{"role": "user", "content": "y" * (limit + 9)}])
    assert refused.value.status_code == 413


def test_a_length_beyond_all_bounds_is_answered_at_once(running: Running, simulator: Simulator) -> None:
    status, answer = spoken(running.url, head(CHAT, "content-length: 99999999999\r\n") + b"{")
    assert status == 413
    assert b"connection: close" in answer


def test_a_chunked_body_without_end_is_cut(tmp_path: Path, simulator: Simulator) -> None:
    with gateway(tmp_path, simulator, "[server]\nmax_body_bytes = 100000\n") as running:
        chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
        sent = 0
        with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=5) as connection:
            try:
                connection.sendall(head(CHAT, "transfer-encoding: chunked\r\n"))
                while sent < 200_000_000:
                    connection.sendall(chunk)
                    sent += len(chunk)
            except ConnectionError:
                pass
        assert sent < 100_000_000
        assert running.post(CHAT, GOOD[CHAT]).status_code == 200


# --- HTTP itself


def head(path: str, more: str, method: str = "POST") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nconnection: close\r\n{more}\r\n"
    ).encode("latin-1")


BODY = json.dumps(GOOD[CHAT]).encode()
SIZE = len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)
TE = "transfer-encoding: chunked\r\n"
TWO_REQUESTS = BODY + b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
SMUGGLED = {
    "two lengths": (f"content-length: {SIZE}\r\ncontent-length: 3\r\n", BODY),
    "the same length twice": (f"content-length: {SIZE}\r\ncontent-length: {SIZE}\r\n", BODY),
    "a list of lengths": (f"content-length: {SIZE}, {SIZE}\r\n", BODY),
    "a negative length": ("content-length: -1\r\n", BODY),
    "a signed length": (f"content-length: +{SIZE}\r\n", BODY),
    "a hexadecimal length": (f"content-length: 0x{SIZE:x}\r\n", BODY),
    "an overflowing length": (f"content-length: {2**64 + SIZE}\r\n", BODY),
    "length and chunks": (f"content-length: {SIZE}\r\n{TE}", CHUNKED),
    "chunks and length": (f"{TE}content-length: 3\r\n", CHUNKED),
    "an unknown coding": ("transfer-encoding: xchunked\r\n", CHUNKED),
    "another coding before chunked": ("transfer-encoding: gzip, chunked\r\n", CHUNKED),
    "identity before chunked": ("transfer-encoding: identity, chunked\r\n", CHUNKED),
    "chunked not last": ("transfer-encoding: chunked, identity\r\n", CHUNKED),
    "two codings in two headers": (f"transfer-encoding: identity\r\n{TE}", CHUNKED),
    "a space before the colon": ("transfer-encoding : chunked\r\n", CHUNKED),
    "a folded header": (f"x-a: b\r\n c: d\r\ncontent-length: {SIZE}\r\n", BODY),
    "a zero byte in a header": (f"x-a: b\0c\r\ncontent-length: {SIZE}\r\n", BODY),
    "a chunk size that is no number": (TE, b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk longer than its size": (TE, b"5\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a negative chunk": (TE, b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "an overflowing chunk": (TE, b"fffffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk that ends in a bare line feed": (TE, b"%x\n%b\n0\n\n" % (SIZE, BODY)),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("case", SMUGGLED)
def test_what_two_readers_could_take_for_two_requests_is_refused(untouched: Running, path: str, case: str) -> None:
    more, body = SMUGGLED[case]
    status, answer = spoken(untouched.url, head(path, more) + body)
    assert status == 400, answer
    assert answer.count(b"HTTP/1.1 ") == 1
    error = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (error.get("type") == "error") == (path == MESSAGES)
    assert len(error["error"]["message"]) > 10


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n",
        b"GET /v1/\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\nhost: x\n\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 200_000 + b"\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 40_000 + b"\r\n",
    ],
    ids=lambda found: repr(found[:20]),
)
def test_bytes_that_are_no_request_are_a_400_or_431(untouched: Running, request_bytes: bytes) -> None:
    status, answer = spoken(untouched.url, request_bytes)
    assert status in {400, 431}, answer[:200]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_what_follows_a_body_is_another_request(running: Running, simulator: Simulator) -> None:
    start = head(CHAT, f"content-length: {SIZE}\r\n").replace(b"connection: close\r\n", b"")
    follower = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    status, answer = spoken(running.url, start + BODY + follower)
    assert status == 200
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.endswith(b'{"status":"ok"}')


def test_an_upgrade_is_not_taken_and_the_connection_goes_on(running: Running, simulator: Simulator) -> None:
    start = head(CHAT, f"upgrade: h2c\r\ncontent-length: {SIZE}\r\n").replace(b"close", b"upgrade")
    follower = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    status, answer = spoken(running.url, start + BODY + follower)
    assert status == 200
    assert answer.endswith(b'{"status":"ok"}')


def test_an_absolute_address_in_the_request_line_chooses_nothing(running: Running, simulator: Simulator) -> None:
    line = f"http://evil.example{CHAT}"
    assert spoken(running.url, head(line, f"content-length: {SIZE}\r\n") + BODY)[0] == 200
    assert len(simulator.books.requests) == 1


@pytest.mark.parametrize("part", [10, SIZE - 1])
def test_a_caller_who_leaves_inside_its_request_leaves_nothing_behind(untouched: Running, part: int) -> None:
    port = int(untouched.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head(CHAT, f"content-length: {SIZE}\r\n") + BODY[:part])
    wait_until(lambda: not untouched.housekeeping.gateway.active)
    assert not untouched.booked


def test_a_body_that_stalls_is_given_up(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jevons.gateway.app.BODY_S", 0.3)
    with gateway(tmp_path, simulator) as running:
        began = time.monotonic()
        status, answer = spoken(running.url, head(MESSAGES, f"content-length: {SIZE}\r\n") + BODY[:10])
        assert status == 408
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "error"
        assert time.monotonic() - began < 3


def test_a_head_that_stalls_is_given_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jevons.gateway.protocol.HEAD_S", 0.2)
    assert spoken(running.url, b"POST /v1/chat/completions HTTP/1.1\r\nhost:") == (0, b"")


# --- whole requests, at random

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "model",
    "messages",
    "input",
    "stream",
    "tools",
    "tool_choice",
    "system",
    "instructions",
    "temperature",
    "metadata",
    "max_tokens",
    "stop",
    "response_format",
    "text",
    "thinking",
    "reasoning",
    "previous_response_id",
    "store",
    "stream_options",
    "n",
    "user",
    "conversation",
)
MODELS = st.sampled_from([GPT, CLAUDE, "nobody", ""])
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "x"])},
        optional={"content": JUNK | st.text(max_size=9), "tool_calls": JUNK, "type": JUNK, "tool_call_id": JUNK},
    ),
    max_size=3,
)
BODIES = st.builds(
    lambda model, turns, more: {"model": model, "messages": turns, "input": turns, "max_tokens": 9, **more},
    MODELS,
    TURNS,
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4),
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(SURFACES), body=BODIES.map(encoded) | st.binary(max_size=200) | JUNK.map(encoded))
def test_no_request_makes_the_gateway_fail(shared_gateway: Running, path: str, body: bytes) -> None:
    answer = shared_gateway.post(path, body)
    assert answer.status_code < 500, (answer.status_code, answer.text, body)
    if answer.status_code >= 400:
        says(path, answer, answer.status_code)
    else:
        operation = answer.headers["x-jevons-operation"]
        wait_until(lambda: any(booked.operation == operation for booked in shared_gateway.booked))


def test_no_bytes_make_the_server_fail(running: Running) -> None:
    dice = random.Random(7)
    whole = head(CHAT, f"content-length: {SIZE}\r\n") + BODY
    for _ in range(80):
        broken = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(broken))
            broken[at : at + dice.randint(0, 3)] = dice.choice(string.printable).encode() * dice.randint(0, 3)
        try:
            status, answer = spoken(running.url, bytes(broken), timeout_s=0.1)
        except TimeoutError:
            continue  # a length that promises more than came: the server waits for the rest, as it must
        assert status < 500, (answer, broken)
    assert running.post(CHAT, GOOD[CHAT]).status_code == 200
