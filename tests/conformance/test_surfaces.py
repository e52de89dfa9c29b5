"""Surfaces beside the conversation: the state of Responses, raw paths, a caller's own key, both kinds of key, betas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from jevons.engines.simulated import Simulator
from tests.conformance.conftest import SECRET, Running, gateway, wait_until
from tests.conformance.stub import answering, spoken

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
OTHER, LIMITED = "sk-jv-other-" + "b" * 32, "sk-jv-limited-" + "c" * 32
PLANS = """
[plans.dollars]
[[plans.dollars.budgets]]
scope = "key"
per = "total"
usd = "5"
"""


@pytest.fixture(scope="module")
def wide(simulators: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that lets own keys in and opens every path; a second tenant, and a key under a budget in dollars."""
    toml = '[access]\nclient_provider_keys = true\npassthrough = ["*"]\n'
    secrets = ((OTHER, "other", ""), (LIMITED, "", "dollars"))
    with gateway(tmp_path_factory.mktemp("wide"), simulators, toml, secrets=secrets, plans=PLANS) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(simulator: Simulator, request: pytest.FixtureRequest) -> None:
    if "wide" in request.fixturenames:
        request.getfixturevalue("wide").booked.clear()


def call(running: Running, method: str, path: str, *, secret: str = SECRET, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}", **more.pop("headers", {})}
    return running.http.request(method, running.url + path, headers=headers, **more)


# --- the state of Responses


def test_a_native_response_is_continued_fetched_and_deleted_at_its_provider(
    running: Running, simulator: Simulator
) -> None:
    client = running.openai()
    first = client.responses.create(model=GPT, input="My name is Ada.")
    second = client.responses.create(model=GPT, input="Who am I?", previous_response_id=first.id)
    sent = json.loads(simulator.books.requests[-1].body)
    assert sent == {"model": GPT, "input": "Who am I?", "previous_response_id": first.id}, (
        "the provider keeps its state"
    )
    assert running.last(2).usage.prompt > running.booked[0].usage.prompt
    assert client.responses.retrieve(second.id).output_text == second.output_text
    items = list(client.responses.input_items.list(second.id))
    assert [item.role for item in items] == ["user", "assistant", "user"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    assert len(running.booked) == 2, "what is only read is not booked"


@pytest.mark.parametrize("model", [GPT, CLAUDE])
@pytest.mark.parametrize("stream", [False, True])
def test_another_tenant_s_response_does_not_exist(
    wide: Running, simulator: Simulator, model: str, stream: bool
) -> None:
    given = {"model": model, "input": "A secret.", "max_output_tokens": 50}
    if stream:
        with wide.openai().responses.stream(**given) as events:
            ident = events.get_final_response().id
    else:
        ident = wide.openai().responses.create(**given).id
    assert wide.openai().responses.retrieve(ident).id == ident
    seen = len(simulator.books.requests)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        assert call(wide, method, f"/v1/responses/{ident}{path}", secret=OTHER).status_code == 404
    body = {"model": model, "input": "Tell me.", "previous_response_id": ident}
    refused = call(wide, "POST", "/v1/responses", secret=OTHER, json=body)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "previous_response_not_found"
    assert len(simulator.books.requests) == seen, "the provider was not even asked"
    assert wide.openai().responses.retrieve(ident).id == ident


@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_response_is_continued_from_what_was_kept_here(
    running: Running, simulator: Simulator, stream: bool
) -> None:
    client = running.openai()

    def ask(text: str, previous: str | None) -> Any:
        given: dict[str, Any] = {
            "model": CLAUDE,
            "input": text,
            "max_output_tokens": 60,
            "previous_response_id": previous,
        }
        if not stream:
            return client.responses.create(**given)
        with client.responses.stream(**given) as events:
            return events.get_final_response()

    first = ask("My name is Ada.", None)
    second = ask("I build engines.", first.id)
    ask("Who am I?", second.id)
    sent = json.loads(simulator.books.requests[-1].body)
    assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert "My name is Ada." in json.dumps(sent["messages"][0])
    assert first.output_text in json.dumps(sent["messages"][1], ensure_ascii=False)
    assert client.responses.retrieve(second.id).output_text == second.output_text
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.content[0].text for item in items] == ["I build engines."]
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(second.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        ask("And now?", second.id)


@pytest.mark.parametrize("model", [GPT, CLAUDE])
def test_a_continued_response_belongs_to_the_task_that_it_continues(
    running: Running, simulator: Simulator, model: str
) -> None:
    client = running.openai()
    first = client.responses.create(model=model, input="One.", max_output_tokens=40)
    client.responses.create(model=model, input="Two.", previous_response_id=first.id, max_output_tokens=40)
    client.responses.create(model=model, input="Elsewhere.", max_output_tokens=40)
    running.last(3)
    tasks = [booked.task for booked in running.booked]
    assert tasks[0] == tasks[1] != tasks[2]


def test_customers_of_one_key_are_walled_off_too(running: Running, simulator: Simulator) -> None:
    ada, bob = ({"x-jevons-customer": name} for name in ("ada", "bob"))
    made = call(running, "POST", "/v1/responses", json={"model": GPT, "input": "x"}, headers=ada).json()["id"]
    assert call(running, "GET", f"/v1/responses/{made}", headers=ada).status_code == 200
    for headers in (bob, {}):
        assert call(running, "GET", f"/v1/responses/{made}", headers=headers).status_code == 404


def test_tools_of_a_continued_translated_response_keep_their_ids(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    tool = {
        "type": "function",
        "name": "read_gauge",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    asked = 'Read.\nSIM {"tools": [{"name": "read_gauge", "arguments": "{}"}]}'
    first = client.responses.create(model=CLAUDE, input=asked, tools=[tool], max_output_tokens=60)
    made = first.output[-1]
    given = [{"type": "function_call_output", "call_id": made.call_id, "output": "7 bar"}]
    client.responses.create(
        model=CLAUDE, input=given, tools=[tool], previous_response_id=first.id, max_output_tokens=60
    )
    turns = json.loads(simulator.books.requests[-1].body)["messages"]
    assert turns[1]["content"][-1]["id"] == turns[2]["content"][0]["tool_use_id"] == made.call_id


def test_what_is_not_stored_can_not_be_continued(running: Running, simulator: Simulator) -> None:
    for model in (GPT, CLAUDE):
        made = running.openai().responses.create(model=model, input="x", store=False, max_output_tokens=40)
        assert call(running, "GET", f"/v1/responses/{made.id}").status_code == 404


def test_a_native_response_can_not_go_on_elsewhere(running: Running, simulator: Simulator) -> None:
    made = running.openai().responses.create(model=GPT, input="x")
    with pytest.raises(openai.BadRequestError, match="send the whole input"):
        running.openai().responses.create(model=CLAUDE, input="y", previous_response_id=made.id)
    with pytest.raises(openai.BadRequestError, match="conversation"):
        running.openai().responses.create(model=GPT, input="y", conversation="conv_1")


def test_a_translated_response_goes_on_at_a_native_provider(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    made = client.responses.create(model=CLAUDE, input="My name is Ada.", max_output_tokens=50)
    client.responses.create(model=GPT, input="Who am I?", previous_response_id=made.id)
    sent = json.loads(simulator.books.requests[-1].body)
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "user"]
    assert not sent["previous_response_id"]
    assert all("id" not in item for item in sent["input"])


def test_responses_are_never_answered_from_the_cache(running: Running, simulator: Simulator) -> None:
    ids = {
        running.openai().responses.create(model=GPT, input="Same?", temperature=0, extra_headers=headers).id
        for headers in ({}, {}, {"x-jevons-cache": "on"}, {"x-jevons-cache": "on"})
    }
    assert len(ids) == 4


# --- raw paths


def test_a_raw_path_is_passed_on_and_booked(wide: Running, simulator: Simulator) -> None:
    answer = call(wide, "GET", "/providers/openai/models")
    assert answer.status_code == 200
    assert "gpt-4o-mini" in {model["id"] for model in answer.json()["data"]}
    booked = wide.last()
    assert (booked.surface, booked.served_model, booked.cost_nano) == ("raw", "models", 0)
    assert answer.headers["x-jevons-operation"] == booked.operation
    seen = dict(simulator.books.requests[-1].headers)
    assert seen["authorization"] == "Bearer sk-sim-openai"
    assert call(wide, "GET", "/providers/anthropic/v1/models", headers={"cookie": "a=b"}).status_code == 200
    seen = dict(simulator.books.requests[-1].headers)
    assert seen["x-api-key"] == "sk-sim-anthropic"
    assert "cookie" not in seen


def test_a_raw_body_goes_up_as_it_came_and_an_error_comes_back_as_it_is(wide: Running, simulator: Simulator) -> None:
    body = b'{"model": "gpt-4o-mini",  "input": "\xe2\x82\xac"}'
    answer = call(wide, "POST", "/providers/openai/moderations?x=1", content=body)
    assert answer.status_code == 404
    assert "Invalid URL" in answer.json()["error"]["message"]
    assert simulator.books.requests[-1].body == body
    assert b"POST /v1/moderations?x=1 " in simulator.books.requests[-1].head
    assert (wide.last().status, wide.last().cost_nano) == (404, 0)


def test_a_raw_file_upload_and_download(wide: Running, simulator: Simulator) -> None:
    made = call(
        wide, "POST", "/providers/openai/files", files={"file": ("a.jsonl", b'{"a": 1}\n')}, data={"purpose": "batch"}
    )
    assert made.status_code == 200, made.text
    assert wide.last().cost_nano is None, "what a reply does not price is unpriced, never free"
    again = call(wide, "GET", f"/providers/openai/files/{made.json()['id']}/content")
    assert again.content == b'{"a": 1}\n'


def test_usage_of_a_raw_reply_is_priced(tmp_path: Path, simulator: Simulator) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    whole = json.dumps({"object": "text_completion", "choices": [], "usage": usage}).encode()
    with answering(whole) as (url, _), gateway(tmp_path, simulator, environ={"OPENAI_BASE_URL": url}) as running:
        call(running, "POST", "/providers/openai/completions", json={"model": GPT, "prompt": "x"})
        booked = running.last()
    assert (booked.usage.input, booked.usage.output) == (1000, 100)
    assert booked.cost_nano == 1000 * 150 + 100 * 600


def test_half_a_raw_answer_never_looks_whole(tmp_path: Path, simulator: Simulator) -> None:
    line = f"GET /providers/openai/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n\r\n"
    with (
        answering(b'{"data": [', missing=9) as (url, _),
        gateway(tmp_path, simulator, environ={"OPENAI_BASE_URL": url}) as running,
    ):
        status, answer = spoken(running.url, line.encode())
        assert status == 200
        assert b'{"data": [' in answer
        assert not answer.endswith(b"0\r\n\r\n")
        assert running.last().error == "reset"


def test_image_tokens_are_not_priced_as_text(tmp_path: Path, simulator: Simulator) -> None:
    details = {"text_tokens": 10, "image_tokens": 4000}
    body = {"data": [], "usage": {"input_tokens": 10, "output_tokens": 4000, "output_tokens_details": details}}
    with (
        answering(json.dumps(body).encode()) as (url, _),
        gateway(tmp_path, simulator, environ={"OPENAI_BASE_URL": url}) as running,
    ):
        call(running, "POST", "/providers/openai/images/generations", json={"model": GPT, "prompt": "coal"})
        assert running.last().cost_nano is None


def test_head_is_asked_as_get_and_answered_without_a_body(wide: Running, simulator: Simulator) -> None:
    answer = call(wide, "HEAD", "/providers/openai/models")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_budget_in_dollars_refuses_what_it_can_not_price(wide: Running, simulator: Simulator) -> None:
    seen = len(simulator.books.requests)
    answer = call(wide, "POST", "/providers/openai/images/generations", secret=LIMITED, json={"prompt": "coal"})
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "unpriced_model"
    assert len(simulator.books.requests) == seen
    assert wide.last().status == 429
    assert call(wide, "GET", "/providers/openai/models", secret=LIMITED).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../sim/invoice",
        "models/../../sim/invoice",
        "%2e%2e/sim/invoice",
        "models/%2e%2e",
        "a//b",
        "./models",
        "a\\b",
        "models%00",
        "models%0d%0ax:1",
        "//evil.example/x",
        "@evil.example/x",
    ],
)
def test_a_path_that_is_not_plain_is_refused(wide: Running, simulator: Simulator, path: str) -> None:
    seen = len(simulator.books.requests)
    line = f"GET /providers/openai/{path} HTTP/1.1\r\nhost: x\r\n"
    request = f"{line}authorization: Bearer {SECRET}\r\nconnection: close\r\n\r\n"
    status, body = spoken(wide.url, request.encode())
    assert status in {400, 404}, body
    assert all(not request.path.startswith("/sim") for request in simulator.books.requests[seen:])


def test_surfaces_unknown_providers_and_closed_paths_are_refused(running: Running, simulator: Simulator) -> None:
    for path, status in (
        ("/providers/openai/chat/completions", 403),
        ("/providers/openai/responses/resp_1", 403),
        ("/providers/openai/files", 403),
        ("/providers/openai/organization/costs", 403),
        ("/providers/nobody/models", 404),
        ("/providers/openai/", 400),
        ("/providers/", 404),
    ):
        answer = call(running, "GET", path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["message"]
    assert call(running, "GET", "/providers/openai/models", secret="wrong").status_code == 401
    assert call(running, "GET", "/providers/anthropic/files").json()["type"] == "error"
    assert not simulator.books.requests


# --- keys


def test_both_kinds_of_key_header_work_on_every_surface(running: Running, simulator: Simulator) -> None:
    body = {"model": GPT, "messages": [{"role": "user", "content": "x"}]}
    claude = {**body, "model": CLAUDE, "max_tokens": 20}
    for path, given in (("/v1/chat/completions", body), ("/v1/messages", claude)):
        for headers in (
            {"x-api-key": SECRET},
            {"authorization": f"Bearer {SECRET}"},
            {"authorization": f"bearer {SECRET}"},
        ):
            assert running.http.post(running.url + path, json=given, headers=headers).status_code == 200
        assert running.http.post(running.url + path, json=given, headers={"x-api-key": "no"}).status_code == 401


def test_a_caller_s_own_key_goes_to_its_provider_where_the_operator_allows_it(
    wide: Running, running: Running, simulator: Simulator
) -> None:
    body = {"model": GPT, "messages": [{"role": "user", "content": "x"}]}
    own = {"x-jevons-provider-key": "sk-own-key"}
    assert call(wide, "POST", "/v1/chat/completions", json=body, headers=own).status_code == 200
    received = simulator.books.requests[-1]
    assert received.key == "sk-own-key"
    assert b"x-jevons" not in received.head
    assert call(wide, "GET", "/providers/openai/models", headers=own).status_code == 200
    assert simulator.books.requests[-1].key == "sk-own-key"
    refused = call(running, "POST", "/v1/chat/completions", json=body, headers=own)
    assert refused.status_code == 403
    assert "sk-own-key" not in refused.text
    assert (
        call(wide, "POST", "/v1/chat/completions", json=body, headers={"x-jevons-provider-key": "a b"}).status_code
        == 400
    )


def test_a_caller_s_own_key_is_sent_to_no_fallback(tmp_path: Path, simulator: Simulator) -> None:
    toml = f"""
    [access]
    client_provider_keys = true
    [models.best]
    routes = [{{ provider = "openai", model = "{GPT}" }}, {{ provider = "anthropic", model = "{CLAUDE}", order = 1 }}]
    """
    with gateway(tmp_path, simulator, toml) as running:
        body = {"model": "best", "messages": [{"role": "user", "content": 'x\nSIM {"fault": "500"}'}]}
        call(running, "POST", "/v1/chat/completions", json=body, headers={"x-jevons-provider-key": "sk-own-key"})
    assert {(seen.path, seen.key) for seen in simulator.books.requests} == {("/v1/chat/completions", "sk-own-key")}


def test_betas_are_kept_in_their_own_format_and_named_when_they_can_not_be_carried(
    running: Running, simulator: Simulator
) -> None:
    beta = {"anthropic-beta": "context-management-2025-06-27,new-thing-2027-01-01"}
    turn = {"max_tokens": 20, "messages": [{"role": "user", "content": "x"}]}
    answer = running.post("/v1/messages", {"model": CLAUDE, **turn}, **beta)
    assert dict(simulator.books.requests[-1].headers)["anthropic-beta"] == beta["anthropic-beta"]
    assert "x-jevons-warnings" not in answer.headers
    answer = running.post("/v1/messages", {"model": GPT, **turn}, **beta)
    assert answer.status_code == 200
    assert "anthropic-beta" not in dict(simulator.books.requests[-1].headers)
    assert "anthropic-beta" in answer.headers["x-jevons-warnings"]


# --- embeddings, served here


@pytest.mark.local
def test_local_embeddings_start_with_the_first_call(tmp_path: Path, simulator: Simulator) -> None:
    pytest.importorskip("onnxruntime")
    with gateway(tmp_path, simulator, '[local]\nmodel = "missing.gguf"\n') as running:
        part = running.housekeeping.world.upstreams["local-embed"]
        assert part.engine is None
        assert {"minilm", "local-embed"} <= {model.id for model in running.openai().models.list()}
        found = running.openai().embeddings.create(model="minilm", input=["steam", "coal", "steam"])
        rows = [row.embedding for row in found.data]
        assert len(rows[0]) == 384
        assert rows[0] == pytest.approx(rows[2], abs=1e-6)
        booked = running.last()
        assert (booked.attempts[0].cost_source, booked.usage.prompt) == ("machine", found.usage.prompt_tokens)
        assert booked.cost_nano > 0
        with pytest.raises(openai.BadRequestError):
            running.openai().embeddings.create(model="minilm", input=[])
        wait_until(lambda: part.engine is not None and part.engine.ready)
