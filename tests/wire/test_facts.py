"""Usage in every convention, each token once. The expected numbers are the providers' documented sums."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.usage import Usage
from jevons.wire.facts import facts
from jevons.wire.usage import read_usage, write_chat, write_messages, write_responses


def chat(usage, **more):
    body = {"id": "c", "model": "up", "choices": [{"index": 0, "message": {}, "finish_reason": "stop"}], "usage": usage}
    return facts("chat", json.dumps({**body, **more}).encode())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input=10, output=5)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input=10, cached=60, cache_write_5m=30, output=50, reasoning=20),
        ),
        (
            {"prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6, "completion_tokens": 5},
            Usage(input=6, cached=4, output=5),
        ),
        ({"prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 5}, Usage(input=6, cached=4, output=5)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(input=10, output=12, reasoning=7),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": None, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(cached=3),
        ),
    ],
)
def test_openai_conventions(usage, expected):
    assert chat(usage).usage == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, Usage(input=10, output=5)),
        (
            {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 4, "output_tokens": 8},
            Usage(input=1, cached=2, cache_write_5m=4, output=8),
        ),
        (
            {
                "input_tokens": 1,
                "cache_read_input_tokens": 2,
                "cache_creation_input_tokens": 12,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 8},
                "output_tokens": 16,
                "output_tokens_details": {"thinking_tokens": 3},
            },
            Usage(input=1, cached=2, cache_write_5m=4, cache_write_1h=8, output=16, reasoning=3),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "iterations": [
                    {"type": "compaction", "input_tokens": 100, "output_tokens": 10},
                    {"type": "message", "input_tokens": 1, "output_tokens": 2},
                ],
            },
            Usage(input=101, output=12),
        ),
    ],
)
def test_anthropic_convention(usage, expected):
    body = {"type": "message", "id": "m", "model": "up", "content": [], "stop_reason": "end_turn", "usage": usage}
    found = facts("messages", json.dumps(body).encode())
    assert (found.usage, found.ok, found.stop) == (expected, True, "end_turn")


def test_other_facts():
    assert chat({"prompt_tokens": 1, "cost": 0.0025}).cost_usd == 0.0025
    assert chat(None, service_tier="flex").tier == "flex"
    assert chat(None).usage is None
    assert chat({"prompt_tokens": 9, "completion_tokens": 1}, timings={"cache_n": 8}).usage == Usage(
        input=1, cached=8, output=1
    )
    found = facts("messages", b'{"content":[],"usage":{"input_tokens":1,"output_tokens":1,"service_tier":"batch"}}')
    assert found.tier == "batch"
    assert facts("count_tokens", b'{"input_tokens":12}').usage == Usage()
    assert facts("embeddings", b'{"data":[],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}').usage == Usage(
        input=8
    )


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_rubbish_is_not_ok_and_never_raises(raw):
    for dialect in ("chat", "messages", "responses", "embeddings", "count_tokens"):
        assert not facts(dialect, raw).ok


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "cache_creation",
        "iterations",
        "cost",
    ]
)


@given(st.dictionaries(FIELDS, JUNK))
@settings(max_examples=200, deadline=None)
def test_junk_counts_never_raise(usage):
    read_usage(usage)


COUNTS = st.integers(0, 10**7)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 100))
@settings(deadline=None)
def test_what_is_written_reads_back(plain, cached, short, hour, output, reasoning):
    usage = Usage(
        input=plain,
        cached=cached,
        cache_write_5m=short,
        cache_write_1h=hour,
        output=output,
        reasoning=min(output, reasoning),
    )
    for write in (write_chat, write_responses):
        back = read_usage(write(usage))
        assert back is not None
        assert (back.prompt, back.cached, back.output, back.reasoning) == (
            usage.prompt,
            usage.cached,
            usage.output,
            usage.reasoning,
        )
    back = read_usage(write_messages(usage))
    assert back is not None
    assert (back.input, back.cached, back.cache_write_5m, back.cache_write_1h) == (plain, cached, short, hour)
