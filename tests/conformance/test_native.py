"""The official SDKs against the gateway, each provider on its own wire format."""

import json

import anthropic
import openai
import pytest

from jevons.engines.simulated import Simulator
from tests.conformance.conftest import Running

QUESTION = [{"role": "user", "content": "What turns a flywheel?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "read_gauge",
        "description": "Reads a gauge",
        "parameters": {"type": "object", "properties": {"gauge": {"type": "string"}}, "required": ["gauge"]},
    },
}


def test_chat_answers_with_usage_and_is_booked(running: Running, simulator: Simulator) -> None:
    answer = running.openai().chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=QUESTION)
    reply = answer.parse()
    assert reply.choices[0].message.content
    booked = running.last()
    assert (booked.surface, booked.model, booked.status) == ("chat", "gpt-4o-mini", 200)
    assert booked.usage.prompt == reply.usage.prompt_tokens
    assert booked.usage.output == reply.usage.completion_tokens
    assert answer.headers["x-jevons-operation"] == booked.operation
    assert float(answer.headers["x-jevons-cost"]) * 1e9 == pytest.approx(booked.cost_nano)
    assert booked.cost_nano > 0


def test_a_chat_stream_costs_what_the_whole_answer_costs(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    first = running.last(1)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True))
    second = running.last(2)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert second.usage == first.usage
    assert second.cost_nano == first.cost_nano
    assert all(chunk.usage is None for chunk in chunks), "the client did not ask for usage"
    assert all(chunk.choices for chunk in chunks)


def test_a_client_that_asks_for_usage_gets_the_chunk(running: Running, simulator: Simulator) -> None:
    stream = running.openai().chat.completions.create(
        model="gpt-4o-mini", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.usage.completion_tokens == running.last().usage.output


def test_chat_calls_tools_in_parallel(running: Running, simulator: Simulator) -> None:
    sim = {
        "tools": [
            {"name": "read_gauge", "arguments": '{"gauge": "A"}'},
            {"name": "read_gauge", "arguments": '{"gauge": "B"}'},
        ]
    }
    messages = [{"role": "user", "content": f"Read both.\nSIM {json.dumps(sim)}"}]
    client = running.openai()
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL])
    assert [json.loads(c.function.arguments)["gauge"] for c in whole.choices[0].message.tool_calls] == ["A", "B"]
    calls: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL], stream=True):
        for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            calls[piece.index] = calls.get(piece.index, "") + (piece.function.arguments or "")
    assert [json.loads(text)["gauge"] for text in calls.values()] == ["A", "B"]


def test_responses_whole_and_streamed(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    whole = client.responses.create(model="gpt-4o-mini", input="What turns a flywheel?")
    assert whole.output_text
    booked = running.last(1)
    assert (booked.surface, booked.usage.output) == ("responses", whole.usage.output_tokens)
    with client.responses.stream(model="gpt-4o-mini", input="What turns a flywheel?") as stream:
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert running.last(2).usage == booked.usage


def test_embeddings(running: Running, simulator: Simulator) -> None:
    found = running.openai().embeddings.create(model="text-embedding-3-small", input=["steam", "coal"])
    assert len(found.data) == 2
    booked = running.last()
    assert (booked.surface, booked.usage.prompt) == ("embeddings", found.usage.prompt_tokens)
    assert booked.cost_nano > 0


def test_messages_whole_and_streamed(running: Running, simulator: Simulator) -> None:
    client = running.anthropic()
    whole = client.messages.create(model="claude-haiku-4-5", max_tokens=200, messages=QUESTION)
    booked = running.last(1)
    assert (booked.surface, booked.usage.output) == ("messages", whole.usage.output_tokens)
    assert booked.usage.input == whole.usage.input_tokens
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=200, messages=QUESTION) as stream:
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert running.last(2).cost_nano == booked.cost_nano


def test_token_counting_is_the_provider_s_and_costs_nothing(running: Running, simulator: Simulator) -> None:
    found = running.anthropic().messages.count_tokens(model="claude-haiku-4-5", messages=QUESTION)
    assert found.input_tokens > 0
    booked = running.last()
    assert (booked.surface, booked.cost_nano, booked.usage.prompt) == ("count_tokens", 0, 0)


def test_models_are_listed_in_both_forms(running: Running) -> None:
    assert list(running.openai().models.list()) == []
    assert running.openai().models.retrieve("gpt-4o-mini").owned_by == "openai"
    assert running.anthropic().models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5"


async def _ask_both(running: Running) -> tuple[str | None, str]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=running.secret) as client:
        chat = await client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key=running.secret) as claude:
        message = await claude.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=QUESTION)
    return chat.choices[0].message.content, message.content[0].text


def test_the_async_clients_work_too(running: Running, simulator: Simulator) -> None:
    import asyncio

    text, message = asyncio.run(_ask_both(running))
    assert text
    assert message


def test_same_format_traffic_is_forwarded_byte_for_byte(running: Running, simulator: Simulator) -> None:
    body = (
        b'{ "model":"gpt-4o-mini" , "messages":[{"role":"user","content":"caf\\u00e9 \xe2\x82\xac"}],'
        b'"new_field":{"x":[1,2.50]},\n "service_tier":"default" }'
    )
    answer = running.post("/v1/chat/completions", body)
    assert answer.status_code == 200
    assert simulator.books.requests[-1].body == body


def test_only_the_model_s_name_is_spliced(simulator: Simulator, tmp_path: object) -> None:
    from tests.conformance.conftest import gateway

    toml = '[models."house/small"]\nroutes = [{ provider = "openai", model = "gpt-4o-mini" }]\n'
    with gateway(tmp_path, simulator, toml) as running:  # type: ignore[arg-type]
        body = (
            b'{"messages":[{"role":"user","content":"the \\"model\\": \\"house/small\\""}], '
            b'"model" : "house/small","x":1}'
        )
        assert running.post("/v1/chat/completions", body).status_code == 200
    assert simulator.books.requests[-1].body == body.replace(b'"model" : "house/small"', b'"model" : "gpt-4o-mini"')
