"""The official SDKs against the gateway with a real local model: every surface, no key of any provider, no internet."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest

from jevons.engines.modelfile import default_path
from jevons.engines.simulated import Simulator
from tests.conformance.conftest import Running, gateway, wait_until

pytestmark = pytest.mark.local
MODEL_FILE = default_path(Path(__file__).parents[2] / ".jevons/models")
TURN = [{"role": "user", "content": "Name one colour."}]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def local(simulators: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    if not MODEL_FILE.exists():
        pytest.skip(f"NO LOCAL MODEL: {MODEL_FILE} is missing; `jevons model fetch` gets it. These tests did not run.")
    settings = f'[local]\nmodel = "{MODEL_FILE}"\nalias = "smol"\nthreads = 1\nslots = 2\ncontext_tokens = 1024\n'
    with gateway(tmp_path_factory.mktemp("local"), simulators, settings) as running:
        wait_until(lambda: bool(running.housekeeping.local.model or running.housekeeping.local.error), 60.0)
        assert not running.housekeeping.local.error
        yield running


@pytest.fixture(autouse=True)
def fresh(local: Running) -> None:
    local.booked.clear()


def test_it_is_listed_and_priced_by_the_machine(local: Running) -> None:
    assert {"smol", "local"} <= {model.id for model in local.openai().models.list()}
    answer = local.openai().chat.completions.with_raw_response.create(model="smol", messages=TURN, max_tokens=8)
    booked = local.last()
    assert answer.parse().usage.prompt_tokens == booked.usage.prompt > 0
    assert (booked.attempts[0].provider, booked.attempts[0].cost_source) == ("local", "machine")
    assert booked.cost_nano > 0
    assert float(answer.headers["x-jevons-cost"]) > 0


def test_chat_whole_and_streamed(local: Running) -> None:
    client = local.openai()
    asked = {"model": "smol", "messages": TURN, "max_tokens": 8, "temperature": 0}
    off = {"x-jevons-cache": "off"}
    whole = client.chat.completions.create(**asked, extra_headers=off)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}, extra_headers=off)
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    again = client.chat.completions.create(**asked, extra_headers=off)
    assert again.usage.prompt_tokens_details.cached_tokens > 0, "the engine reuses a prefix that it holds"
    assert local.last(3).usage.cached > 0


def test_messages_whole_streamed_and_counted(local: Running) -> None:
    client = local.anthropic()
    asked = {"model": "smol", "messages": TURN, "max_tokens": 8, "system": "Answer briefly."}
    whole = client.messages.create(**asked, extra_body={"temperature": 0})
    assert whole.content[0].text
    assert whole.stop_reason in {"end_turn", "max_tokens"}
    with client.messages.stream(**asked, extra_body={"temperature": 0}) as stream:
        assert stream.get_final_message().content[0].text == whole.content[0].text
    counted = client.messages.count_tokens(model="smol", messages=TURN, system="Answer briefly.")
    assert counted.input_tokens > 5


def test_responses_whole_streamed_and_continued(local: Running) -> None:
    client = local.openai()
    whole = client.responses.create(model="smol", input="Name one colour.", max_output_tokens=8, temperature=0)
    assert whole.output_text
    with client.responses.stream(model="smol", input="Name one colour.", max_output_tokens=8, temperature=0) as stream:
        assert stream.get_final_response().output_text == whole.output_text
    first = local.last(2).usage.prompt
    second = client.responses.create(
        model="smol", input="And another?", previous_response_id=whole.id, max_output_tokens=8
    )
    assert second.output_text
    assert local.last(3).usage.prompt > first
    assert client.responses.retrieve(second.id).output_text == second.output_text


def test_a_json_schema_binds_the_answer_on_each_surface(local: Running) -> None:
    client = local.openai()
    form = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA, "strict": True}}
    chat = client.chat.completions.create(model="smol", messages=TURN, max_tokens=40, response_format=form)  # type: ignore[call-overload]
    text = {"format": {"type": "json_schema", "name": "c", "schema": SCHEMA, "strict": True}}
    response = client.responses.create(model="smol", input="Name one colour.", max_output_tokens=40, text=text)  # type: ignore[call-overload]
    for said in (chat.choices[0].message.content, response.output_text):
        assert json.loads(said)["colour"] in {"red", "blue"}


def test_calls_with_tools_and_their_results_are_answered(local: Running) -> None:
    """The default model was trained for none: its template shows it no tools, so it calls none."""
    tool = {"type": "function", "function": {"name": "weather", "description": "Weather", "parameters": TOOL}}
    client = local.openai()
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    turns = [*TURN, {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]  # fmt: skip
    after = client.chat.completions.create(model="smol", messages=turns, tools=[tool], max_tokens=4)
    assert after.choices[0].finish_reason in {"stop", "length", "tool_calls"}
    message = local.anthropic().messages.create(
        model="smol", max_tokens=4, messages=TURN, tools=[{"name": "weather", "input_schema": TOOL}]
    )
    assert message.stop_reason in {"end_turn", "max_tokens", "tool_use"}


def test_the_async_clients_at_once(local: Running) -> None:
    async def ask() -> list[str | None]:
        async with (
            openai.AsyncOpenAI(base_url=f"{local.url}/v1", api_key=local.secret) as one,
            anthropic.AsyncAnthropic(base_url=local.url, api_key=local.secret) as other,
        ):
            chat = one.chat.completions.create(model="smol", messages=TURN, max_tokens=4)
            message = other.messages.create(model="smol", messages=TURN, max_tokens=4)
            first, second = await asyncio.gather(chat, message)
        return [first.choices[0].message.content, second.content[0].text]

    assert all(asyncio.run(ask()))


def test_embeddings(local: Running) -> None:
    pytest.importorskip("onnxruntime")
    client = local.openai()
    rows = [
        row.embedding
        for row in client.embeddings.create(
            model="minilm", input=["a steam engine", "a locomotive", "my cat sleeps"]
        ).data
    ]
    alike, unlike = (sum(a * b for a, b in zip(rows[0], other, strict=True)) for other in rows[1:])
    assert alike > unlike
    assert client.embeddings.create(model="local-embed", input="x", encoding_format="float").data[0].embedding


def test_a_prompt_beyond_the_context_is_the_caller_s_to_shorten(local: Running) -> None:
    with pytest.raises(openai.BadRequestError):
        local.openai().chat.completions.create(model="smol", messages=[{"role": "user", "content": "steam " * 3000}])
    with pytest.raises(anthropic.BadRequestError):
        local.anthropic().messages.create(
            model="smol", max_tokens=8, messages=[{"role": "user", "content": "steam " * 3000}]
        )
