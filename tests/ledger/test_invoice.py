"""Exports as providers write them, and as spreadsheets ruin them: read exactly, or refused with what to do."""

import json

import pytest

from jevons.core.errors import CallerError
from jevons.core.usage import Usage
from jevons.ledger.invoice import read

OPENAI_USAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1_795_478_400,
            "end_time": 1_795_564_800,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1_000,
                    "input_cached_tokens": 800,
                    "output_tokens": 50,
                    "num_model_requests": 3,
                    "model": "gpt-4o-mini-2024-07-18",
                    "api_key_id": "key_abc",
                    "batch": False,
                    "service_tier": "default",
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
"""A page as the usage endpoint's reference shows it."""
ANTHROPIC_CSV = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
    "usage_output_tokens,web_search_count\n"
    "2026-11-24,claude-haiku-4-5,main,Default,standard,0-200k,{count},20,30,40,50,0\n"
)
COSTS_CSV = (
    "start_time,end_time,amount_value,amount_currency,line_item,project_id\n{at},1,{amount},{currency},{item},\n"
)


def costs(amount="0.5", at="2026-11-24T00:00:00Z", currency="usd", item='"gpt-4o-mini, input"'):
    return COSTS_CSV.format(amount=amount, at=at, currency=currency, item=item).encode()


def test_openais_cached_tokens_are_taken_out_of_its_input():
    invoice = read(json.dumps(OPENAI_USAGE).encode())
    (line,) = invoice.lines
    assert (invoice.provider, invoice.what) == ("openai", "usage")
    assert (line.day, line.model, line.key, line.tier) == ("2026-11-24", "gpt-4o-mini-2024-07-18", "key_abc", "default")
    assert (line.usage, line.requests) == (Usage(input=200, cached=800, output=50), 3)


def test_several_pages_are_one_export_and_an_unfinished_one_is_refused():
    more = {**OPENAI_USAGE, "has_more": True, "next_page": "p2"}
    assert len(read(json.dumps([more, OPENAI_USAGE]).encode()).lines) == 2
    with pytest.raises(CallerError, match="fetch the remaining pages"):
        read(json.dumps(more).encode())


def test_anthropics_cents_become_dollars():
    row = {
        "currency": "USD", "amount": "123.78912", "model": "claude-haiku-4-5", "token_type": "cache_read_input_tokens",
        "cost_type": "tokens", "service_tier": "standard", "description": "x", "workspace_id": None,
        "context_window": "0-200k",
    }  # fmt: skip
    page = {"data": [{"starting_at": "2026-11-24T00:00:00Z", "ending_at": "x", "results": [row]}], "has_more": False}
    (line,) = read(json.dumps(page).encode()).lines
    assert (line.kind, line.pico) == ("cached", 1_237_891_200_000)


def test_a_consoles_csv_with_a_byte_order_mark_is_read():
    (line,) = read(b"\xef\xbb\xbf" + ANTHROPIC_CSV.format(count=10).encode()).lines
    assert line.usage == Usage(input=10, cached=40, cache_write_5m=20, cache_write_1h=30, output=50)


def test_a_cost_names_its_kind_of_token_and_its_tier():
    (line,) = read(costs(item='"gpt-4o-mini, cached input, batch"', amount="1.5e-07")).lines
    assert (line.model, line.kind, line.tier, line.pico) == ("gpt-4o-mini", "cached", "batch", 150_000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (costs(amount='"1.234,56"'), "1234.56, with a point"),
        (costs(amount='"1,234.56"'), "1234.56, with a point"),
        (costs(at="24.11.2026"), "a date is written 2026-11-24"),
        (costs(at="11/24/2026"), "a date is written 2026-11-24"),
        (costs(currency="eur"), "only exports in US dollars"),
        (costs(item=""), "grouped by line_item"),
        (costs().replace(b",", b";"), "separated by commas"),
        (costs().decode().encode("utf-16"), "UTF-16"),
        ("prix,é\n".encode("latin-1"), "not UTF-8"),
        (ANTHROPIC_CSV.format(count="1.234").encode(), "whole number without separators"),
        (ANTHROPIC_CSV.format(count='"1,234"').encode(), "whole number without separators"),
        (ANTHROPIC_CSV.format(count="-5").encode(), "whole number without separators"),
        (ANTHROPIC_CSV.format(count="5,6").encode(), "another number of columns"),
        (b"a,b\n1,2\n", "of no export that is known"),
        (b"", "of no export that is known"),
        (b"{", "not JSON"),
        (b'{"rows": []}', "is no export"),
        (b'{"data": []}', "holds nothing"),
        (
            json.dumps(OPENAI_USAGE).replace('"gpt-4o-mini-2024-07-18"', "null").encode(),
            "grouped by model",
        ),
        (json.dumps(OPENAI_USAGE).replace("800", "1800").encode(), "more than the 1000 input_tokens"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_with_what_to_do(content, words):
    with pytest.raises(CallerError, match=words):
        read(content)


def test_an_empty_table_of_a_known_shape_is_an_invoice_without_lines():
    assert read(costs().splitlines(keepends=True)[0]).lines == ()
