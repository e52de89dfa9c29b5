"""The simulator misbehaves as scripted, and its books say what it produced."""

import json
import socket
import time
import urllib.request
from http.client import HTTPConnection, IncompleteRead
from urllib.parse import urlsplit

import openai
import pytest

from jevons.engines.simulated import FAULTS, Fault
from jevons.engines.simulated.faults import parse


@pytest.fixture
def client(simulator):
    with openai.OpenAI(api_key="sk-test", base_url=simulator.openai_url, max_retries=0) as made:
        yield made


def stream(client, fault="", text='SIM {"output_tokens":60}'):
    chunks = client.chat.completions.create(
        model="gpt-4o", stream=True, messages=[{"role": "user", "content": text}], extra_headers={"x-sim-fault": fault}
    )
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def raw(simulator, fault, *, streams=True):
    """The reply's bytes as they left, however it ended."""
    body = json.dumps({"model": "gpt-4o", "stream": streams, "messages": [{"role": "user", "content": "naïve 炭"}]})
    head = {"authorization": "Bearer sk-1", "content-type": "application/json", "x-sim-fault": fault}
    connection = HTTPConnection(urlsplit(simulator.url).netloc, timeout=5)
    try:
        connection.request("POST", "/v1/chat/completions", body, head)
        reply = connection.getresponse()
        try:
            return reply.status, reply.read()
        except IncompleteRead as cut:
            return None, cut.partial
        except ConnectionResetError:
            return None, b""
    finally:
        connection.close()


@pytest.mark.parametrize(
    "fault", ["", "crlf", "split_utf8", "drip", "comments", "stall_first;s=0.05", "stall_mid;s=0.05"]
)
def test_a_harmless_fault_leaves_the_answer_whole(client, fault):
    assert "".join(stream(client, fault)) == "".join(stream(client))


def test_a_refusal_comes_with_its_status_and_retry_after_and_is_not_billed(client, simulator):
    for fault, status in (("429;retry_after=7", 429), ("500", 500), ("503", 503), ("401", 401)):
        with pytest.raises(openai.APIStatusError) as refused:
            stream(client, fault)
        assert refused.value.status_code == status
    with pytest.raises(openai.RateLimitError) as limited:
        stream(client, "429;retry_after=7")
    assert limited.value.response.headers["retry-after"] == "7"
    assert simulator.books.lines == []


@pytest.mark.parametrize("fault", ["reset", "hang_up"])
def test_a_connection_that_dies_before_the_reply_is_not_billed(client, simulator, fault):
    with pytest.raises(openai.APIConnectionError):
        stream(client, fault)
    assert simulator.books.lines == []


@pytest.mark.parametrize("fault", ["cut", "reset_mid"])
def test_a_cut_stream_is_billed_for_what_was_produced(client, simulator, fault):
    with pytest.raises(openai.APIConnectionError):
        stream(client, f"{fault};after=5")
    (line,) = simulator.books.lines
    assert (line.complete, line.counts.output) == (False, 12)  # the first event is the role, then 3 tokens each


def test_a_stream_without_its_end_mark_ends_cleanly_and_says_nothing(simulator):
    status, body = raw(simulator, "no_done")
    assert status == 200
    assert b"[DONE]" not in body


def test_an_error_event_ends_the_stream(client):
    with pytest.raises(openai.APIError, match="Overloaded"):
        stream(client, "error_event")


def test_crlf_and_rubbish_are_on_the_wire(simulator):
    assert b"\r\n\r\ndata: [DONE]\r\n\r\n" in raw(simulator, "crlf")[1]
    assert b"data: <html>" in raw(simulator, "rubbish")[1]
    assert raw(simulator, "rubbish", streams=False)[1].startswith(b"<html>")
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw(simulator, "truncated_json", streams=False)[1])


def test_usage_can_be_missing_or_odd(simulator):
    assert "usage" not in json.loads(raw(simulator, "no_usage", streams=False)[1])
    usage = json.loads(raw(simulator, "odd_cached", streams=False)[1])["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"]


def test_a_huge_reply_is_as_large_as_asked(simulator):
    assert len(raw(simulator, "huge;mb=2", streams=False)[1]) > 2 * 1024 * 1024


def test_a_fault_can_stand_in_the_prompt(client):
    with pytest.raises(openai.InternalServerError):
        stream(client, text='SIM {"fault":"503"}')


def test_a_client_that_leaves_is_noticed_and_billed_for_what_was_produced(client, simulator):
    text = 'SIM {"output_tokens":900,"event_s":0.01}'
    chunks = client.chat.completions.create(model="gpt-4o", stream=True, messages=[{"role": "user", "content": text}])
    for _ in range(3):
        next(chunks)
    chunks.close()
    deadline = time.monotonic() + 5
    while not simulator.books.requests[-1].finished and time.monotonic() < deadline:
        time.sleep(0.01)
    received = simulator.books.requests[-1]
    line = simulator.books.lines[received.billed]
    assert received.client_gone
    assert 0 < line.counts.output < 900
    assert not line.complete


@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_leaves_before_the_first_byte_is_billed_its_prompt_alone(simulator, streams):
    body = json.dumps({"model": "gpt-4o", "stream": streams, "messages": [{"role": "user", "content": "hi"}]})
    connection = HTTPConnection(urlsplit(simulator.url).netloc, timeout=0.2)
    head = {"authorization": "Bearer sk-1", "content-type": "application/json", "x-sim-fault": "stall_first;s=20"}
    connection.request("POST", "/v1/chat/completions", body, head)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    deadline = time.monotonic() + 5
    while not simulator.books.lines and time.monotonic() < deadline:
        time.sleep(0.01)
    (line,) = simulator.books.lines
    assert (line.counts.output, line.complete) == (0, False)
    assert line.counts.prompt > 0
    assert simulator.books.requests[-1].client_gone


def test_every_fault_is_parsed_and_an_unknown_one_is_named():
    assert all(parse(kind).kind == kind for kind in FAULTS)
    assert parse("cut;after=9") == Fault(kind="cut", after=9)
    with pytest.raises(ValueError, match="bogus"):
        parse("bogus")
    with pytest.raises(ValueError, match="often"):
        parse("cut;often=1")


def test_bytes_that_are_no_request_get_a_400_and_chunked_bodies_are_joined(simulator):
    where = urlsplit(simulator.url)

    def exchange(data):
        with socket.create_connection((where.hostname, where.port), timeout=5) as peer:
            peer.sendall(data)
            return peer.recv(65536)

    assert exchange(b"hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    both = b"POST /v1/models HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert exchange(both).startswith(b"HTTP/1.1 400")
    exchange(b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n")
    assert simulator.books.requests[-1].body == b"abcde"


def test_the_simulators_own_paths_show_requests_and_can_move_its_clock(client, simulator):
    stream(client)
    with urllib.request.urlopen(f"{simulator.url}/sim/requests?last=1") as reply:
        assert json.load(reply)["requests"][0]["path"] == "/v1/chat/completions"
    before = simulator.service.ahead_s
    urllib.request.urlopen(urllib.request.Request(f"{simulator.url}/sim/advance?s=5", method="POST")).close()
    assert simulator.service.ahead_s == before + 5
