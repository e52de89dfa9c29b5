"""Who may reach what: upstream addresses, keys at rest and in words, revocation, and the walls between tenants."""

import asyncio
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from jevons.engines.simulated import Simulator
from jevons.store import keys as key_rows
from jevons.store.migrate import open_database
from tests.conformance.conftest import PATIENCE_S, SECRET, Running, gateway, wait_until
from tests.conformance.stub import answering

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
CHAT = "/v1/chat/completions"
TURN = [{"role": "user", "content": "x"}]
OTHER = "sk-jv-other-" + "b" * 32
PROVIDER_KEYS = ("sk-sim-openai", "sk-sim-anthropic", "sk-own-key-of-a-caller")


# --- a client never chooses an upstream


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"host": "evil.example"}, {}),
        ({"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}, {}),
        ({"x-jevons-provider": "evil", "x-jevons-base-url": "http://evil.example"}, {}),
        ({"openai-base-url": "http://evil.example", "api-base": "http://evil.example"}, {}),
        ({}, {"base_url": "http://evil.example", "api_base": "http://evil.example", "api_key": "stolen"}),
        ({}, {"model": "openai/gpt-4o-mini"}),
    ],
)
def test_nothing_in_a_request_moves_its_upstream_or_key(
    running: Running, simulator: Simulator, headers: dict[str, str], body: dict[str, Any]
) -> None:
    answer = running.post(CHAT, {"model": GPT, "messages": TURN, **body}, **headers)
    assert answer.status_code == 200
    seen = simulator.books.requests[-1]
    assert (seen.path, seen.key) == (CHAT, "sk-sim-openai")
    assert dict(seen.headers)["host"] == simulator.url.removeprefix("http://")


@pytest.mark.parametrize(
    "model", ["http://evil.example/gpt", "//evil.example", "openai@evil.example/x", "../x", "a\r\nx: y"]
)
def test_a_model_s_name_is_no_address(running: Running, simulator: Simulator, model: str) -> None:
    assert running.post(CHAT, {"model": model, "messages": TURN}).status_code == 404
    assert not simulator.books.requests


@pytest.mark.parametrize(
    "status",
    ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/providers/openai/moderations"])
def test_a_redirect_of_an_upstream_is_not_followed(
    tmp_path: Path, simulator: Simulator, status: str, path: str
) -> None:
    to = f"location: {simulator.openai_url}/chat/completions\r\n"
    with (
        answering(b"{}", status, to) as (url, seen),
        gateway(tmp_path, simulator, "[retry]\nattempts = 1\n", environ={"OPENAI_BASE_URL": url}) as running,
    ):
        answer = running.post(path, {"model": GPT, "messages": TURN, "input": "x"})
        assert answer.status_code == 502
        assert "location" not in answer.headers
        assert simulator.url not in answer.text
        assert len(seen) == 1
        assert running.last().status == 502
    assert not simulator.books.requests


# --- keys are nowhere but where they must be


def test_no_secret_is_in_an_answer_a_log_a_metric_or_the_database(
    tmp_path: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = (SECRET, *PROVIDER_KEYS)
    said = []
    with gateway(tmp_path, simulator, "[access]\nclient_provider_keys = true\n[retry]\nattempts = 1\n") as running:
        own = {"x-jevons-provider-key": PROVIDER_KEYS[2]}
        turns = [
            *(f'x\nSIM {{"fault": "{fault}"}}' for fault in ("400", "401", "500", "rubbish", "cut", "hang_up")),
            "x",
        ]
        for model in (GPT, CLAUDE):
            for text in turns:
                for headers in ({}, own):
                    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 9}
                    said.append(running.post(CHAT, body, **headers))
                    said.append(running.post("/v1/responses", {"model": model, "input": text}, **headers))
        said.append(running.post(CHAT, b"{"))
        said.append(running.post(CHAT, {"model": SECRET[:20], "messages": TURN}, **{"x-api-key": SECRET + "x"}))
        pages = (
            "/metrics",
            "/readyz",
            "/openapi.json",
            "/v1/models",
            "/providers/openai/models",
            "/providers/openai/x",
        )
        said += [running.http.get(running.url + path, headers={"x-api-key": SECRET, **own}) for path in pages]
        running.housekeeping.writer.flush()
        explained = repr([vars_of(operation) for operation in running.booked])
    ours = (
        record.getMessage() for record in caplog.records if record.name.startswith(("jevons", "uvicorn", "asyncio"))
    )
    words = explained + "\n".join(ours) + "".join(capfd.readouterr())
    for answer in said:
        words += answer.text + repr(answer.headers)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(stored) > 50_000
    for secret in secrets:
        assert secret not in words
        assert secret.encode() not in stored


def vars_of(operation: Any) -> dict[str, Any]:
    return {name: getattr(operation, name) for name in operation.__struct_fields__}


def test_a_key_is_kept_as_its_sha_256(running: Running) -> None:
    from hashlib import sha256

    with open_database(running.database) as db:
        digests = {bytes(row[0]) for row in db.rows("SELECT digest FROM keys")}
    assert sha256(SECRET.encode()).digest() in digests


def test_credentials_of_the_caller_never_reach_a_provider(running: Running, simulator: Simulator) -> None:
    running.post(CHAT, {"model": GPT, "messages": TURN}, **{"x-api-key": SECRET, "cookie": "a=b", "x-secret": "c"})
    head = simulator.books.requests[-1].head
    for word in (SECRET.encode(), b"cookie", b"x-secret", b"x-api-key"):
        assert word not in head


def test_a_revocation_binds_within_a_second(tmp_path: Path, simulator: Simulator) -> None:
    with gateway(tmp_path, simulator, secrets=((OTHER, "", ""),)) as running:
        running.secret = OTHER
        assert running.post(CHAT, {"model": GPT, "messages": TURN}).status_code == 200
        with open_database(running.database) as db:
            key = next(key for key in key_rows.every(db) if OTHER.startswith(key.prefix[:8]) and key.name == "test1")
            key_rows.revoke(db, key.id, time.time())
        revoked = time.monotonic()
        wait_until(lambda: running.post(CHAT, {"model": GPT, "messages": TURN}).status_code == 401, 3.0)
        assert time.monotonic() - revoked < 1.0
        running.secret = SECRET
        assert running.post(CHAT, {"model": GPT, "messages": TURN}).status_code == 200


# --- the walls between tenants


def test_identical_calls_of_two_tenants_in_flight_burn_apart(tmp_path: Path, simulator: Simulator) -> None:
    slow = [{"role": "user", "content": 'x\nSIM {"first_byte_s": 0.3, "text": "once"}'}]

    async def ask(url: str) -> None:
        async def one(secret: str) -> None:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=secret) as client:
                await client.chat.completions.create(model=GPT, messages=slow, temperature=0)  # type: ignore[arg-type]

        await asyncio.gather(*(one(secret) for secret in (SECRET, OTHER) for _ in range(3)))

    with gateway(tmp_path, simulator, secrets=((OTHER, "other", ""),)) as running:
        asyncio.run(ask(running.url))
        running.last(6)
    by_tenant: dict[str, list[str]] = {}
    for booked in running.booked:
        by_tenant.setdefault(booked.tenant, []).append(booked.cache)
    assert {tenant: sorted(seen) for tenant, seen in by_tenant.items()} == {
        tenant: ["coalesced", "coalesced", "miss"] for tenant in by_tenant
    }
    assert len(by_tenant) == 2
    assert len(simulator.books.requests) == 2


def test_a_tenant_s_answer_is_neither_served_nor_timed_to_another(tmp_path: Path, simulator: Simulator) -> None:
    body = {"model": GPT, "temperature": 0, "messages": [{"role": "user", "content": "Our secret plan?"}]}
    with gateway(tmp_path, simulator, secrets=((OTHER, "other", ""),)) as running:
        assert [running.post(CHAT, body).headers["x-jevons-cache"] for _ in range(2)] == ["miss", "hit"]
        running.secret = OTHER
        assert running.post(CHAT, body).headers["x-jevons-cache"] == "miss"


def test_metrics_name_no_tenant_and_no_key(running: Running, simulator: Simulator) -> None:
    running.post(CHAT, {"model": GPT, "messages": TURN})
    text = httpx.get(running.url + "/metrics", timeout=PATIENCE_S).text
    assert re.search(r"jevons_\w+", text)
    for booked in running.booked:
        assert booked.tenant not in text
        assert booked.key_id not in text


def test_no_page_but_health_and_metrics_is_open(running: Running) -> None:
    for path in (
        "/v1/models",
        "/v1/models/gpt-4o-mini",
        "/v1/responses/resp_1",
        "/v1/responses/resp_1/input_items",
        "/providers/openai/models",
    ):
        answer = httpx.get(running.url + path, timeout=PATIENCE_S)
        assert answer.status_code == 401, path
        assert json.loads(answer.text)["error"]["message"]
