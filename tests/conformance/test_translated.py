"""Each wire format against the other provider's models: the official SDKs must not notice."""

import json

import pytest

from jevons.engines.simulated import Simulator
from tests.conformance.conftest import Running

QUESTION = [{"role": "user", "content": "What turns a flywheel?"}]
SCHEMA = {"type": "object", "properties": {"gauge": {"type": "string"}}, "required": ["gauge"]}
CHAT_TOOL = {"type": "function", "function": {"name": "read_gauge", "description": "Reads", "parameters": SCHEMA}}
MESSAGES_TOOL = {"name": "read_gauge", "description": "Reads", "input_schema": SCHEMA}
RESPONSES_TOOL = {
    "type": "function",
    "name": "read_gauge",
    "description": "Reads",
    "parameters": SCHEMA,
    "strict": False,
}
BOTH = json.dumps(
    {
        "tools": [
            {"name": "read_gauge", "arguments": '{"gauge":"A"}'},
            {"name": "read_gauge", "arguments": '{"gauge":"B"}'},
        ]
    }
)
READ_BOTH = [{"role": "user", "content": f"Read both.\nSIM {BOTH}"}]
PLAIN = {"role": "user", "content": "Read both."}
CLAUDE, GPT = "claude-haiku-4-5", "gpt-4o-mini"


def test_chat_to_claude(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    whole = client.chat.completions.create(model=CLAUDE, messages=QUESTION, max_tokens=100)
    assert whole.choices[0].message.content
    assert whole.model == CLAUDE
    assert whole.created == int(running.last(1).started)
    booked = running.last(1)
    assert (booked.surface, booked.attempts[0].provider) == ("chat", "anthropic")
    assert whole.usage.completion_tokens == booked.usage.output
    chunks = list(client.chat.completions.create(model=CLAUDE, messages=QUESTION, max_tokens=100, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(chunk.created > 1_700_000_000 for chunk in chunks)
    assert running.last(2).cost_nano == booked.cost_nano


def test_chat_tools_to_claude_and_their_results_back(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    first = client.chat.completions.create(model=CLAUDE, messages=READ_BOTH, tools=[CHAT_TOOL], max_tokens=100)
    calls = first.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"gauge": "A"}, {"gauge": "B"}]
    assert first.choices[0].finish_reason == "tool_calls"
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{n} bar"} for n, call in enumerate(calls)]
    turn = first.choices[0].message.model_dump(exclude_none=True)
    second = client.chat.completions.create(
        model=CLAUDE, messages=[PLAIN, turn, *results], tools=[CHAT_TOOL], max_tokens=100
    )
    assert second.choices[0].message.content
    sent = json.loads(simulator.books.requests[-1].body)
    assert [block["type"] for block in sent["messages"][-1]["content"]] == ["tool_result", "tool_result"]


def test_chat_tool_deltas_of_claude_keep_their_index(running: Running, simulator: Simulator) -> None:
    calls: dict[int, str] = {}
    stream = running.openai().chat.completions.create(
        model=CLAUDE, messages=READ_BOTH, tools=[CHAT_TOOL], max_tokens=100, stream=True
    )
    for chunk in stream:
        for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            calls[piece.index] = calls.get(piece.index, "") + (piece.function.arguments or "")
    assert [json.loads(text) for text in calls.values()] == [{"gauge": "A"}, {"gauge": "B"}]


def test_messages_to_gpt(running: Running, simulator: Simulator) -> None:
    client = running.anthropic()
    whole = client.messages.create(model=GPT, max_tokens=100, system="Be brief.", messages=QUESTION)
    assert whole.content[0].text
    assert (whole.stop_reason, whole.model) == ("end_turn", GPT)
    booked = running.last(1)
    assert whole.usage.input_tokens + (whole.usage.cache_read_input_tokens or 0) == booked.usage.prompt
    with client.messages.stream(model=GPT, max_tokens=100, system="Be brief.", messages=QUESTION) as stream:
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert running.last(2).cost_nano == booked.cost_nano


@pytest.mark.parametrize("streamed", [False, True])
def test_messages_tools_to_gpt(running: Running, simulator: Simulator, streamed: bool) -> None:
    client = running.anthropic()
    asked = {"model": GPT, "max_tokens": 100, "messages": READ_BOTH, "tools": [MESSAGES_TOOL]}
    if streamed:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"gauge": "A"}, {"gauge": "B"}]
    assert message.stop_reason == "tool_use"
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "1 bar"}
        for block in message.content
        if block.type == "tool_use"
    ]
    turns = [PLAIN, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = client.messages.create(model=GPT, max_tokens=100, messages=turns, tools=[MESSAGES_TOOL])
    assert answer.content[0].text


def test_responses_to_claude(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    whole = client.responses.create(model=CLAUDE, input="What turns a flywheel?", max_output_tokens=100)
    assert whole.output_text
    with client.responses.stream(model=CLAUDE, input="What turns a flywheel?", max_output_tokens=100) as stream:
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert running.last(2).usage.output == whole.usage.output_tokens


def test_responses_tools_to_claude(running: Running, simulator: Simulator) -> None:
    client = running.openai()
    asked = {"model": CLAUDE, "input": READ_BOTH, "tools": [RESPONSES_TOOL], "max_output_tokens": 100}
    whole = client.responses.create(**asked)
    calls = [item for item in whole.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"gauge": "A"}, {"gauge": "B"}]
    with client.responses.stream(**asked) as stream:
        final = stream.get_final_response()
    assert [json.loads(i.arguments) for i in final.output if i.type == "function_call"] == [
        {"gauge": "A"},
        {"gauge": "B"},
    ]


def test_what_cannot_be_carried_is_said(running: Running, simulator: Simulator) -> None:
    answer = running.openai().chat.completions.with_raw_response.create(
        model=CLAUDE, messages=QUESTION, max_tokens=50, seed=7, logprobs=True
    )
    warnings = answer.headers["x-jevons-warnings"]
    assert "seed" in warnings
    assert "logprobs" in warnings


def test_counting_tokens_for_a_model_without_a_counter_is_an_estimate(running: Running, simulator: Simulator) -> None:
    answer = running.anthropic().messages.with_raw_response.count_tokens(model=GPT, messages=QUESTION)
    assert answer.parse().input_tokens > 3
    assert "estimate" in answer.headers["x-jevons-warnings"]
