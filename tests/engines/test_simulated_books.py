"""The simulator's caches and bills against brute force, exports against the books, prices against genai-prices."""

import csv
import io
import json
import re
import urllib.request
from decimal import Decimal

import anthropic
import genai_prices
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.engines.simulated import tokens
from jevons.engines.simulated.cache import Caches
from jevons.engines.simulated.prices import table
from jevons.engines.simulated.prompt import Segment

PARTS = st.lists(st.sampled_from(["alpha beta " * 90, "γράμμα 7 " * 60, "x", "{}[]();" * 120]), max_size=9)


@given(st.lists(PARTS, min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_an_automatic_cache_reads_the_longest_prefix_seen_in_whole_steps(prompts):
    caches, seen = Caches(), []
    for parts in prompts:
        cut = [piece for part in parts for piece in [*tokens.pieces(part, 1), "|"]][:-1]
        read = caches.openai("org", [Segment(part) for part in parts], long=False, now=0.0)
        flat = [piece for piece in cut if piece != "|"]
        best = 0
        for other in seen:
            if cut == other[: len(cut)] or other == cut[: len(other)]:
                best = max(best, min(len(flat), sum(piece != "|" for piece in other)))
                continue
            at = next(i for i, (a, b) in enumerate(zip(cut, other, strict=False)) if a != b)
            best = max(best, sum(piece != "|" for piece in cut[:at]))
        expected = best // 128 * 128 if best >= 1024 else 0
        assert read.read == expected
        assert read.read + read.uncached == len(flat) + tokens.PER_REPLY
        read.commit()
        seen.append(cut)


@given(st.text(max_size=300))
def test_tokens_cover_the_text(text):
    assert "".join(tokens.pieces(text, 1)) == text
    assert len(tokens.pieces(text, 1)) == tokens.count(text)
    assert tokens.head(text, tokens.count(text)) == text


@pytest.mark.parametrize("name", [name for name, model in table().items() if "sim" not in name])
def test_prices_agree_with_genai_prices(name):
    model = table()[name]
    row = model.rates[""]
    million = genai_prices.Usage(input_tokens=100_000, output_tokens=100_000)
    found = genai_prices.calc_price(million, model_ref=name, provider_id=model.provider)
    assert Decimal(row["input"] + row["output"]) / 10**7 == found.total_price
    if "read" in row:
        cached = genai_prices.Usage(input_tokens=100_000, cache_read_tokens=100_000)
        price = genai_prices.calc_price(cached, model_ref=name, provider_id=model.provider).total_price
        assert Decimal(row["read"]) / 10**7 == price


@pytest.fixture
def traffic(simulator):
    """Two keys, both providers, a stream, a cache hit, a batch."""
    long = "A long preamble. " * 900
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    for key in ("sk-aaaa", "sk-bbbb"):
        with openai.OpenAI(api_key=key, base_url=simulator.openai_url, max_retries=0) as client:
            for streams in (False, True):
                reply = client.chat.completions.create(
                    model="gpt-4o", stream=streams, messages=[{"role": "user", "content": long}]
                )
                list(reply) if streams else None
            client.embeddings.create(model="text-embedding-3-small", input="hi")
        with anthropic.Anthropic(api_key=key, base_url=simulator.url, max_retries=0) as client:
            for _ in range(2):
                client.messages.create(
                    model="claude-sonnet-5", max_tokens=9, system=system, messages=[{"role": "user", "content": "hi"}]
                )
    return simulator


def fetch(simulator, path):
    with urllib.request.urlopen(simulator.url + path) as reply:
        return reply.read().decode()


def test_the_cost_exports_sum_to_the_books(traffic):
    cents = json.loads(fetch(traffic, "/sim/invoice?provider=anthropic&kind=costs"))
    anthropic_usd = sum(Decimal(row["amount"]) / 100 for day in cents["data"] for row in day["results"])
    rows = list(csv.DictReader(io.StringIO(fetch(traffic, "/sim/invoice?provider=anthropic&kind=costs&format=csv"))))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == anthropic_usd
    rows = list(csv.DictReader(io.StringIO(fetch(traffic, "/sim/invoice?provider=openai&kind=costs&format=csv"))))
    openai_usd = sum(Decimal(row["amount_value"]) for row in rows)
    assert openai_usd + anthropic_usd == Decimal(traffic.books.total_pico).scaleb(-12)
    assert json.loads(fetch(traffic, "/sim/invoice"))["total_pico"] == traffic.books.total_pico


def test_the_usage_exports_tell_keys_apart_and_count_every_token(traffic):
    usage = json.loads(fetch(traffic, "/sim/invoice?provider=openai"))["data"][0]["results"]
    lines = [line for line in traffic.books.lines if line.surface == "chat"]
    assert {row["api_key_id"] for row in usage} == {"key_aaaa", "key_bbbb"}
    assert sum(row["input_tokens"] for row in usage) == sum(line.counts.prompt for line in lines)
    assert sum(row["input_cached_tokens"] for row in usage) == sum(line.counts.read for line in lines) > 0
    rows = list(csv.DictReader(io.StringIO(fetch(traffic, "/sim/invoice?provider=anthropic&format=csv"))))
    written = sum(int(row["usage_input_tokens_cache_write_1h"]) for row in rows)
    assert written == sum(int(row["usage_input_tokens_cache_read"]) for row in rows) > 2048


def test_the_providers_own_usage_endpoints_answer_too(traffic):
    def get(path):
        request = urllib.request.Request(traffic.url + path, headers={"authorization": "Bearer sk-admin"})
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    assert get("/v1/organization/usage/completions?start_time=0")["object"] == "page"
    assert get("/v1/organization/costs?start_time=0")["data"][0]["results"]
    assert get("/v1/organizations/usage_report/messages?starting_at=2020-01-01T00:00:00Z")["data"][0]["results"]
    assert get("/v1/organizations/cost_report?starting_at=2999-01-01T00:00:00Z")["data"] == []


def test_the_simulator_imports_nothing_of_the_gateway():
    from pathlib import Path

    import jevons.engines.simulated as package

    for file in Path(package.__file__).parent.glob("*.py"):
        for name in re.findall(r"^\s*(?:from|import) (jevons[\w.]*)", file.read_text(), re.MULTILINE):
            assert name.startswith("jevons.engines.simulated"), (file.name, name)
