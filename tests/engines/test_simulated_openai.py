"""The simulator's OpenAI side, seen through the official SDK."""

import io
import json
import urllib.request

import openai
import pytest

from jevons.engines.simulated import Reply, Rule, Script, ToolCall, start

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
LONG = "A long and steady preamble about engines. " * 400


@pytest.fixture
def client(simulator):
    with openai.OpenAI(api_key="sk-test", base_url=simulator.openai_url, max_retries=0) as made:
        yield made


def ask(client, text="Say something.", **more):
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


def test_the_same_prompt_gives_the_same_answer_and_another_prompt_another(client):
    first, again, other = ask(client), ask(client), ask(client, "Say something else.")
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.choices[0].message.content != other.choices[0].message.content
    assert first.choices[0].finish_reason == "stop"
    assert first.service_tier == "default"


def test_a_stream_says_what_the_whole_reply_says_with_the_same_usage(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_without_include_usage_no_chunk_carries_usage(client):
    assert all("usage" not in chunk.model_fields_set for chunk in ask(client, stream=True))


def test_the_token_limit_cuts_and_says_so(client):
    reply = ask(client, max_completion_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 3


def test_a_stop_sequence_ends_the_text_before_it(client):
    reply = ask(client, 'SIM {"text":"one two three"}', stop=["two"])
    assert reply.choices[0].message.content == "one "


def test_a_required_tool_is_called_with_arguments_of_its_schema(client):
    reply = ask(client, tools=[TOOL], tool_choice="required")
    call = reply.choices[0].message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert (call.function.name, set(arguments)) == ("weather", {"city", "days"})
    assert reply.choices[0].finish_reason == "tool_calls"


def test_interleaved_tool_deltas_are_told_apart_by_index(client):
    calls = [{"name": "weather", "arguments": json.dumps({"city": city})} for city in ("Paris", "Rome")]
    line = "SIM " + json.dumps({"tools": calls, "interleave": True})
    order, arguments = [], {0: "", 1: ""}
    for chunk in ask(client, line, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            order.append(call.index)
            arguments[call.index] += call.function.arguments
    assert [json.loads(text)["city"] for text in arguments.values()] == ["Paris", "Rome"]
    assert order[:4] == [0, 1, 0, 1]


def test_an_unanswered_tool_call_is_refused(client):
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(openai.BadRequestError, match="c1"):
        client.chat.completions.create(model="gpt-4o", messages=[*messages, {"role": "user", "content": "and?"}])
    answered = [*messages, {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]
    assert client.chat.completions.create(model="gpt-4o", messages=answered).choices[0].message.content


def test_structured_output_fits_the_schema(client):
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    assert json.loads(ask(client, response_format=form).choices[0].message.content)["colour"] in ("red", "blue")


def test_a_repeated_long_prompt_is_read_from_the_cache_in_steps_of_128(client, simulator):
    first, second = ask(client, LONG), ask(client, LONG)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached % 128 == 0
    assert first.usage.prompt_tokens - 128 <= cached < first.usage.prompt_tokens
    simulator.advance(601)
    assert ask(client, LONG).usage.prompt_tokens_details.cached_tokens == 0


def test_another_key_sees_nothing_of_a_cache(client, simulator):
    ask(client, LONG)
    with openai.OpenAI(api_key="sk-other", base_url=simulator.openai_url, max_retries=0) as other:
        assert ask(other, LONG).usage.prompt_tokens_details.cached_tokens == 0


def test_hidden_reasoning_counts_as_output(client):
    reply = client.chat.completions.create(
        model="gpt-5", reasoning_effort="high", messages=[{"role": "user", "content": 'SIM {"text":"four"}'}]
    )
    assert reply.usage.completion_tokens_details.reasoning_tokens == 256
    assert reply.usage.completion_tokens == 257


def test_tiers_are_answered_with_the_tier_that_was_used_and_priced_so(client, simulator):
    messages = [{"role": "user", "content": "hi"}]
    costs = {}
    for tier in ("default", "flex", "priority"):
        reply = client.chat.completions.create(model="gpt-5", service_tier=tier, messages=messages)
        assert reply.service_tier == tier
        costs[tier] = simulator.books.lines[-1].total_pico
    assert costs["flex"] * 2 == costs["default"]
    assert costs["priority"] == costs["default"] * 2
    with pytest.raises(openai.BadRequestError, match="flex"):
        client.chat.completions.create(model="gpt-4o", service_tier="flex", messages=messages)


def test_responses_stream_accumulates_to_the_stored_response(client):
    with client.responses.stream(model="gpt-5-mini", input="Tell me.", tools=[]) as stream:
        numbers = [event.sequence_number for event in stream if hasattr(event, "sequence_number")]
        final = stream.get_final_response()
    assert numbers == sorted(numbers)
    assert final.status == "completed"
    stored = client.responses.retrieve(final.id)
    assert stored.output_text == final.output_text
    assert stored.usage == final.usage


def test_responses_continue_an_earlier_one_until_it_is_deleted(client):
    first = client.responses.create(model="gpt-4o", input="One.")
    second = client.responses.create(model="gpt-4o", input="Two.", previous_response_id=first.id)
    assert second.usage.input_tokens > first.usage.total_tokens
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(model="gpt-4o", input="Three.", previous_response_id=first.id)


def test_a_response_calls_a_function_and_one_that_is_cut_is_incomplete(client):
    tool = {"type": "function", "name": "weather", "parameters": TOOL["function"]["parameters"], "strict": False}
    call = client.responses.create(model="gpt-4o", input="hi", tools=[tool], tool_choice="required").output[0]
    assert (call.type, call.name) == ("function_call", "weather")
    with client.responses.stream(model="gpt-4o", input="hi", max_output_tokens=2) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.incomplete"


def test_embeddings_are_unit_vectors_and_the_same_for_the_same_text(client):
    reply = client.embeddings.create(model="text-embedding-3-small", input=["a", "b", "a"])
    first, second, third = (row.embedding for row in reply.data)
    assert first == third != second
    assert sum(value * value for value in first) == pytest.approx(1, abs=1e-5)
    assert reply.usage.prompt_tokens == 3


def test_a_batch_runs_its_lines_at_half_price_and_names_the_failed_ones(client, simulator):
    good = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    lines = [
        {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
        for name, body in (("a", good), ("b", good | {"model": "gpt-none"}))
    ]
    data = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file = client.files.create(file=("lines.jsonl", data), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 1, 1)
    row = json.loads(client.files.content(batch.output_file_id).text)
    assert row["custom_id"] == "a"
    assert json.loads(client.files.content(batch.error_file_id).text)["custom_id"] == "b"
    (line,) = simulator.books.lines
    assert (line.tier, line.counts.output) == ("batch", row["response"]["body"]["usage"]["completion_tokens"])
    assert line.total_pico == line.counts.uncached * 1_250_000 + line.counts.output * 5_000_000


def test_a_request_without_a_good_key_or_model_is_refused_and_not_billed(client, simulator):
    stranger = client.with_options(api_key="sk-invalid")
    with pytest.raises(openai.AuthenticationError):
        ask(stranger)
    with pytest.raises(openai.NotFoundError, match="gpt-none"):
        client.chat.completions.create(model="gpt-none", messages=[{"role": "user", "content": "hi"}])
    assert simulator.books.lines == []


def test_requests_are_kept_byte_for_byte(client, simulator):
    body = b'{"model" : "gpt-4o","messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}], "new_field":{"a":1.0e0}}'
    request = urllib.request.Request(
        f"{simulator.openai_url}/chat/completions", body, {"authorization": "Bearer sk-1", "X-Odd": "Yes"}
    )
    with urllib.request.urlopen(request) as reply:
        assert reply.headers["x-request-id"].startswith("req_")
        assert "x-ratelimit-remaining-requests" in reply.headers
    (received,) = simulator.books.requests
    assert received.body == body
    assert b"X-Odd: Yes\r\n" in received.head


def test_rules_script_replies_faults_and_limits():
    weather = Reply(tools=(ToolCall("weather", '{"city":"Oslo"}'),))
    rules = (Rule(contains="weather", reply=weather), Rule(model="gpt-4o-mini", fault="500", times=1))
    with (
        start(script=Script(rules=rules, requests_per_minute=3)) as simulator,
        openai.OpenAI(api_key="sk-1", base_url=simulator.openai_url, max_retries=0) as client,
    ):
        assert ask(client, "weather?").choices[0].message.tool_calls[0].function.name == "weather"
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}])
        ask(client)
        with pytest.raises(openai.RateLimitError) as limited:
            ask(client)
        assert limited.value.response.headers["retry-after"] == "1"
