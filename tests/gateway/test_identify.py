"""Where clients put the ids of their tasks, and which of them counts."""

import json
from typing import Any

import pytest

from jevons.core.call import Caller, Surface
from jevons.core.errors import CallerError
from jevons.gateway.identify import customer_of, ids_of
from jevons.ledger.stitch import Ids
from jevons.wire.peek import peek
from jevons.wire.toplevel import fields

UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def ids(headers: dict[str, str] | None = None, **body: Any) -> Ids:
    surface = Surface.RESPONSES if "input" in body else Surface.CHAT
    raw = json.dumps({"model": "m", **({} if "input" in body else {"messages": []}), **body}).encode()
    return ids_of(headers or {}, peek(surface, raw), fields(raw))


def test_our_header_comes_before_all_else() -> None:
    found = ids({"x-jevons-task": "run-1", "x-session-id": "s", "traceparent": TRACE}, metadata={"task_id": "t"})
    assert (found.task, found.source) == ("run-1", "header")


def test_metadata_names_a_task_or_a_session() -> None:
    assert ids(metadata={"task_id": "t"}).task == "t"
    found = ids({"x-session-id": "other"}, metadata={"session_id": "s"})
    assert (found.root, found.source) == ("s", "session")
    assert ids(metadata={"task": "summarise"}).source == "metadata"


@pytest.mark.parametrize(
    "user_id",
    [
        f"user_{'ab' * 32}_account_{UUID}_session_{UUID}",
        json.dumps({"device_id": "d", "account_uuid": UUID, "session_id": UUID}),
    ],
)
def test_claude_code_s_session_is_read_from_its_user_id(user_id: str) -> None:
    found = ids(metadata={"user_id": user_id})
    assert (found.root, found.source) == (UUID, "session")


@pytest.mark.parametrize("user_id", ["customer-17", "{", "{}", "[1]", '{"session_id": 5}', ""])
def test_a_person_s_id_names_no_task(user_id: str) -> None:
    assert ids(metadata={"user_id": user_id}).source == ""


@pytest.mark.parametrize("header", ["x-claude-code-session-id", "x-session-id", "session-id", "session_id"])
def test_a_session_header_is_a_session(header: str) -> None:
    found = ids({header: UUID}, prompt_cache_key="k")
    assert (found.root, found.source) == (UUID, "session")


def test_a_conversation_is_read_in_both_forms() -> None:
    assert ids(input="a", conversation="conv_1").root == "conv_1"
    assert ids(input="a", conversation={"id": "conv_1"}).root == "conv_1"
    assert ids(input="a", conversation=None).root == ""


def test_cache_key_comes_before_trace() -> None:
    assert ids({"traceparent": TRACE}, prompt_cache_key="k").source == "prompt_cache_key"
    assert ids({"traceparent": TRACE}).root == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert ids({"traceparent": TRACE}, input="a", previous_response_id="resp_1").previous == "resp_1"


@pytest.mark.parametrize("trace", ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "rubbish", "00-xyz-1-1"])
def test_a_broken_trace_is_ignored(trace: str) -> None:
    assert ids({"traceparent": trace}).root == ""


def test_the_sdks_say_when_they_send_again() -> None:
    assert ids({"x-stainless-retry-count": "1"}).retry
    assert not ids({"x-stainless-retry-count": "0"}).retry


@pytest.mark.parametrize("value", ["x" * 201, " lead", "tab\there", "caf\u00e9"])
def test_a_bad_header_of_ours_is_refused_and_named(value: str) -> None:
    with pytest.raises(CallerError, match="x-jevons-task"):
        ids({"x-jevons-task": value})


def test_an_unusable_session_header_is_ignored() -> None:
    assert ids({"x-session-id": "x" * 500}).source == ""


def test_a_customer_is_named_only_where_the_key_has_none() -> None:
    bound = Caller(key_id="k", tenant="acme", customer="acme")
    free = Caller(key_id="k", tenant="k")
    assert customer_of(bound, {"x-jevons-customer": "globex"}) == bound
    named = customer_of(free, {"x-jevons-customer": "acme"})
    assert named.customer == "acme"
    assert named.tenant not in {"acme", "k"}, "it shares nothing with the customer's own key, nor with other customers"
    assert customer_of(free, {}) == free
    with pytest.raises(CallerError, match="x-jevons-customer"):
        customer_of(free, {"x-jevons-customer": "a\tb"})
