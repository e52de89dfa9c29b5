"""The simulator's Anthropic side, seen through the official SDK."""

import anthropic
import pytest

LONG = "A long and steady preamble about engines. " * 400
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
MODEL = "claude-sonnet-5"


@pytest.fixture
def client(simulator):
    with anthropic.Anthropic(api_key="sk-test", base_url=simulator.url, max_retries=0) as made:
        yield made


def ask(client, content="Say something.", **more):
    given = {"model": MODEL, "max_tokens": 2048, "messages": [{"role": "user", "content": content}]}
    return client.messages.create(**given | more)


def system(ttl=None, text=LONG):
    mark = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    return [{"type": "text", "text": text, "cache_control": mark}]


def split(usage):
    kinds = usage.cache_creation
    return (
        usage.cache_read_input_tokens,
        kinds.ephemeral_5m_input_tokens,
        kinds.ephemeral_1h_input_tokens,
        usage.input_tokens,
    )


def test_a_stream_says_what_the_whole_message_says_with_the_same_usage(client):
    whole = ask(client, system=system())
    with client.messages.stream(
        model=MODEL, max_tokens=2048, system=system(), messages=[{"role": "user", "content": "Say something."}]
    ) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].text == whole.content[0].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.cache_read_input_tokens == whole.usage.cache_creation_input_tokens > 2048


def test_a_breakpoint_is_written_once_then_read_until_it_has_been_idle_five_minutes(client, simulator):
    _, written, _, plain = split(ask(client, system=system()).usage)
    assert split(ask(client, system=system()).usage) == (written, 0, 0, plain)
    simulator.advance(299)
    assert split(ask(client, system=system()).usage) == (written, 0, 0, plain)
    simulator.advance(299)
    assert split(ask(client, system=system()).usage) == (written, 0, 0, plain)
    simulator.advance(301)
    assert split(ask(client, system=system()).usage) == (0, written, 0, plain)


def test_an_hours_breakpoint_lives_an_hour_and_is_not_content_with_a_five_minute_entry(client, simulator):
    _, written, _, plain = split(ask(client, system=system()).usage)
    assert split(ask(client, system=system("1h")).usage) == (0, 0, written, plain)
    simulator.advance(3599)
    assert split(ask(client, system=system("5m")).usage) == (written, 0, 0, plain)


def test_nothing_is_cached_below_the_minimum_or_without_a_breakpoint(client):
    short = system(text="short")
    assert split(ask(client, system=short).usage)[:3] == (0, 0, 0)
    assert split(ask(client, system=LONG).usage)[:3] == (0, 0, 0)
    assert split(ask(client, system=LONG).usage)[:3] == (0, 0, 0)


def test_a_changed_tool_choice_keeps_the_system_prefix_and_loses_the_messages(client):
    content = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    first = split(ask(client, content, system=system(), tools=[TOOL]).usage)
    second = split(ask(client, content, system=system(), tools=[TOOL], tool_choice={"type": "none"}).usage)
    assert 0 < second[0] < first[1]
    assert second[0] + second[1] == first[1]


def test_a_breakpoint_looks_back_over_twenty_blocks_and_no_further(client):
    def blocks(count):
        texts = [{"type": "text", "text": LONG}, *({"type": "text", "text": f"block {i}"} for i in range(count))]
        texts[-1]["cache_control"] = {"type": "ephemeral"}
        return texts

    ask(client, blocks(1))
    assert split(ask(client, blocks(20)).usage)[0] > 0
    assert split(ask(client, blocks(45)).usage)[0] == 0


def test_keys_do_not_share_a_cache(client, simulator):
    ask(client, system=system())
    with anthropic.Anthropic(api_key="sk-other", base_url=simulator.url, max_retries=0) as other:
        assert ask(other, system=system()).usage.cache_read_input_tokens == 0


def test_five_breakpoints_and_a_late_hour_are_refused(client):
    mark = {"cache_control": {"type": "ephemeral"}}
    many = [{"type": "text", "text": str(i), **mark} for i in range(5)]
    with pytest.raises(anthropic.BadRequestError, match="maximum of 4"):
        ask(client, many)
    late = [{"type": "text", "text": "a", **mark}, system("1h", "b")[0]]
    with pytest.raises(anthropic.BadRequestError, match="1h"):
        ask(client, late)


def test_thinking_must_come_back_byte_for_byte(client):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    first = ask(client, thinking=thinking)
    thought = first.content[0]
    assert (thought.type, bool(thought.signature)) == ("thinking", True)
    turns = [
        {"role": "user", "content": "Say something."},
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": "And?"},
    ]
    assert ask(client, messages=turns, thinking=thinking).content[-1].type == "text"
    turns[1]["content"][0]["thinking"] += " "
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        ask(client, messages=turns, thinking=thinking)


def test_tools_are_called_in_parallel_and_must_be_answered(client):
    line = (
        'SIM {"tools":[{"name":"weather","arguments":"{\\"city\\":\\"Oslo\\"}"},{"name":"weather","arguments":"{}"}]}'
    )
    with client.messages.stream(
        model=MODEL, max_tokens=99, tools=[TOOL], messages=[{"role": "user", "content": line}]
    ) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"
    assert [block.input for block in message.content] == [{"city": "Oslo"}, {}]
    turns = [
        {"role": "user", "content": line},
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": message.content[0].id, "content": "x"}]},
    ]
    with pytest.raises(anthropic.BadRequestError, match=message.content[1].id):
        ask(client, messages=turns, tools=[TOOL])


def test_redacted_thinking_and_stop_reasons_are_scripted(client):
    reply = ask(client, 'SIM {"redacted":"b64==","text":"yes","stop":"refusal"}')
    assert [block.type for block in reply.content] == ["redacted_thinking", "text"]
    assert reply.stop_reason == "refusal"


def test_counting_tokens_agrees_with_the_bill(client):
    counted = client.messages.count_tokens(
        model=MODEL, system=LONG, messages=[{"role": "user", "content": "Say something."}], tools=[TOOL]
    )
    assert counted.input_tokens == ask(client, system=LONG, tools=[TOOL]).usage.input_tokens


def test_a_message_batch_is_half_price_and_billed_once(client, simulator):
    params = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    batch = client.messages.batches.create(
        requests=[
            {"custom_id": "a", "params": params},
            {"custom_id": "b", "params": params | {"model": "claude-none"}},
        ]
    )
    for _ in range(2):
        results = {row.custom_id: row.result for row in client.messages.batches.results(batch.id)}
    assert results["a"].message.usage.service_tier == "batch"
    assert results["b"].type == "errored"
    (line,) = simulator.books.lines
    assert line.total_pico == line.counts.uncached * 1_000_000 + line.counts.output * 5_000_000


def test_the_models_list_pages_for_the_sdk(client):
    assert MODEL in [model.id for model in client.models.list()]


def test_errors_have_the_providers_body(client):
    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(client, model="claude-none")
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert missing.value.request_id == missing.value.body["request_id"]
