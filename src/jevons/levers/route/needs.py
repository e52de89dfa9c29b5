"""What a call needs of a model (tools, images or files, room), and whether a model has it. Unknown counts as no.

What lives here: the look at a body, and the families of models that take tools and images. What it must not know:
prices, routes, which model is better. A body is searched, not decoded: a word that only looks like an image keeps the
call at its own model, which is what happens to a call anyway.
"""

import re

import msgspec

from jevons.core.call import Call

BYTES_PER_TOKEN = 3
"""Fewer than the four of English: code, JSON and other scripts must fit too."""
USUAL_OUTPUT_TOKENS = 4_096
"""Room for the answer of a call that names no limit."""
UNKNOWN_CONTEXT = 4_096
"""Room that is taken for granted where no context length is known: the least of any model sold in 2026."""
ATTACHMENTS = (
    b'"image_url"',
    b'"input_image"',
    b'"image"',
    b'"input_file"',
    b'"file"',
    b'"document"',
    b'"input_audio"',
)
"""Types of parts that are not text, in the three dialects."""

TOOLS = re.compile(
    r"(gpt-(3\.5-turbo|4|5|6|oss)|chatgpt-|codex-|o[134](?!-(mini-2024|preview))|claude-|gemini-|deepseek-(chat|v[3-9])"
    r"|mistral-|ministral-|codestral-|qwen|llama-?(3\.[1-9]|4)|command-|grok-|kimi-|glm-4|nova-)"
)
IMAGES = re.compile(
    r"(gpt-(4o|4\.1|4\.5|4-turbo|5|6)|o1(?!-(mini|preview))|o3(?!-mini)|o4-|claude-|gemini-|pixtral-|nova-)"
)
"""Families as their providers' model pages list them (2026-11). A name of yours that is none of these takes neither."""
NOT_IMAGES = re.compile(r"(gpt-(4o|5)-(audio|search)|gpt-oss|claude-(2|instant)|nova-micro)")


class Needs(msgspec.Struct, frozen=True):
    """What one call asks for."""

    tokens: int
    tools: bool = False
    attachments: bool = False


def needs(call: Call) -> Needs:
    """About 10 us at 100 KB."""
    body = call.body
    output = call.peek.max_tokens if call.peek.max_tokens is not None else USUAL_OUTPUT_TOKENS
    return Needs(
        tokens=len(body) // BYTES_PER_TOKEN + output,
        tools=call.peek.has_tools,
        attachments=any(kind in body for kind in ATTACHMENTS),
    )


def lacks(wanted: Needs, model: str, context_tokens: int) -> str:
    """What the model (its provider's own name) does not have of what is wanted; '' when it has all."""
    name = model.lower().rpartition("/")[2]
    if wanted.tools and not TOOLS.match(name):
        return "tools"
    if wanted.attachments and (not IMAGES.match(name) or NOT_IMAGES.match(name)):
        return "images and files"
    if wanted.tokens > (context_tokens or UNKNOWN_CONTEXT):
        return "room"
    return ""
