"""What a call needs of a model, and which models have it."""

import json

import pytest

from jevons.core.call import Call, Caller, Surface
from jevons.levers.route.needs import ATTACHMENTS, Needs, lacks, needs
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
    assert needs(call(surface, messages=user(part))).attachments
    spaced = call(surface, messages=user(part)).body.replace(b":", b" : ")
    assert any(kind in spaced for kind in ATTACHMENTS)


def test_text_that_speaks_of_images_is_text():
    talk = 'Put {"type": "image"} and "image_url" into the body.'
    assert not needs(call(messages=user({"type": "text", "text": talk}))).attachments


def test_tools_and_room_are_counted():
    assert needs(call(tools=[{"type": "function", "function": {"name": "f"}}])).tools
    assert not needs(call(tools=[])).tools
    long = call(messages=user({"type": "text", "text": "x" * 30_000}), max_tokens=1_000)
    assert 11_000 <= needs(long).tokens <= 11_200


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
    assert (lacks(Needs(10, tools=True), model, 100) == "") is tools
    assert (lacks(Needs(10, attachments=True), model, 100) == "") is images
    assert lacks(Needs(10), model, 100) == ""


def test_an_unknown_context_holds_little():
    assert lacks(Needs(4_000), "m", 0) == ""
    assert lacks(Needs(5_000), "m", 0) == "room"
    assert lacks(Needs(5_000), "m", 8_192) == ""
