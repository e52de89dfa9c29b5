"""What a call needs of a model (tools, images or files, room), and whether a model has it. Unknown counts as no.

What lives here: the look at a body, and the families of models that take tools and images. What it must not know:
prices, routes, which model is better. A body is searched, not decoded, and only where the model takes no images: a word
that only looks like an image keeps the call at its own model, which is what happens to a call anyway.
"""

import re
from functools import lru_cache

from jevons.core.call import Call, Surface

BYTES_PER_TOKEN = 3
"""Fewer than the four of English: code, JSON and other scripts must fit too."""
USUAL_OUTPUT_TOKENS = 4_096
"""Room for the answer of a call that names no limit."""
UNKNOWN_CONTEXT = 4_096
"""Room that is taken for granted where no context length is known: the least of any model sold in 2026."""
ATTACHMENTS = {
    Surface.CHAT: (b'"image_url"', b'"file"', b'"input_audio"'),
    Surface.RESPONSES: (b'"input_image"', b'"input_file"', b'"input_audio"'),
    Surface.MESSAGES: (b'"image"', b'"document"'),
}
"""Types of parts that are not text, by dialect. Each is looked for in 40 us at 100 KB."""

TOOLS = re.compile(
    r"(gpt-(3\.5-turbo|4|5|6|oss)|chatgpt-|codex-|o[134](?!-(mini-2024|preview))|claude-|gemini-|deepseek-(chat|v[3-9])"
    r"|mistral-|ministral-|codestral-|qwen|llama-?(3\.[1-9]|4)|command-|grok-|kimi-|glm-4|nova-)"
)
IMAGES = re.compile(
    r"(gpt-(4o|4\.1|4\.5|4-turbo|5|6)|o1(?!-(mini|preview))|o3(?!-mini)|o4-|claude-|gemini-|pixtral-|nova-)"
)
"""Families, from general knowledge of providers' pages: check yours. A name that is none of these takes neither."""
NOT_IMAGES = re.compile(r"(gpt-(4o|5)-(audio|search)|gpt-oss|claude-(2|instant)|nova-micro)")


@lru_cache(maxsize=4_096)
def takes(model: str) -> tuple[bool, bool]:
    """Whether a model (its provider's own name) takes tools, and images."""
    name = model.lower().rpartition("/")[2]
    return bool(TOOLS.match(name)), bool(IMAGES.match(name) and not NOT_IMAGES.match(name))


def lacks(call: Call, model: str, context_tokens: int) -> str:
    """What the model does not have of what the call needs; '' when it has all. `context_tokens` 0: not known."""
    tools, images = takes(model)
    if call.peek.has_tools and not tools:
        return "tools"
    if tokens(call) > (context_tokens or UNKNOWN_CONTEXT):
        return "room"
    if not images and attached(call):
        return "images and files"
    return ""


def tokens(call: Call) -> int:
    """The room that prompt and answer may take."""
    output = call.peek.max_tokens if call.peek.max_tokens is not None else USUAL_OUTPUT_TOKENS
    return len(call.body) // BYTES_PER_TOKEN + output


def attached(call: Call) -> bool:
    """Whether something in the body is not text."""
    return any(kind in call.body for kind in ATTACHMENTS.get(call.surface, ()))
