"""What a call needs of a model, and which models have it."""

import json

import pytest

from jevons.core.call import Call, Caller, Surface
from jevons.levers.route.needs import ATTACHMENTS, attached, lacks, tokens
from jevons.wire.peek import peek


def call(surface=Surface.CHAT, **fields):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()
    return Call(
        operation="o",
        surface=surface,
        caller=Caller(key_id="k"),
        peek=peek(surface, body),
        body=body,
        headers={},
        at=0.0,
    )


def user(part):
    return [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    ("surface", "part"),
    [
        (Surface.CHAT, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        (Surface.CHAT, {"type": "file", "file": {"file_id": "f"}}),
        (Surface.CHAT, {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}),
        (Surface.MESSAGES, {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
        (Surface.MESSAGES, {"type": "document", "source": {"type": "text", "data": "x"}}),
    ],
)
def test_parts_that_are_not_text_are_seen(surface, part):
    asked = call(surface, messages=user(part))
    assert attached(asked)
    assert any(kind in asked.body.replace(b":", b" : ") for kind in ATTACHMENTS[surface])


def test_text_that_speaks_of_images_is_text():
    talk = 'Put {"type": "image"} and "image_url" into the body.'
    assert not attached(call(messages=user({"type": "text", "text": talk})))


TOOLS = [{"type": "function", "function": {"name": "f"}}]
PICTURE = user({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})


def test_room_is_counted_with_the_answer():
    long = call(messages=user({"type": "text", "text": "x" * 30_000}), max_tokens=1_000)
    assert 11_000 <= tokens(long) <= 11_200


@pytest.mark.parametrize(
    ("model", "tools", "images"),
    [
        ("gpt-4o-mini", True, True),
        ("gpt-4.1-nano", True, True),
        ("gpt-5-mini-2025-08-07", True, True),
        ("gpt-3.5-turbo", True, False),
        ("o3-mini", True, False),
        ("o4-mini", True, True),
        ("claude-haiku-4-5", True, True),
        ("gemini-2.5-flash-lite", True, True),
        ("deepseek-chat", True, False),
        ("openai/gpt-oss-120b", True, False),
        ("smollm2-135m-instruct", False, False),
        ("text-embedding-3-small", False, False),
        ("my-own", False, False),
    ],
)
def test_families_have_what_their_makers_say_and_strangers_have_nothing(model, tools, images):
    assert (lacks(call(tools=TOOLS), model, 10_000) == "") is tools
    assert (lacks(call(messages=PICTURE), model, 10_000) == "") is images
    assert lacks(call(tools=[]), model, 10_000) == ""


def test_an_unknown_context_holds_little():
    asked = call(messages=user({"type": "text", "text": "x" * 9_000}), max_tokens=500)
    longer = call(messages=user({"type": "text", "text": "x" * 12_000}), max_tokens=500)
    assert lacks(asked, "m", 0) == ""
    assert lacks(longer, "m", 0) == "room"
    assert lacks(longer, "m", 8_192) == ""
