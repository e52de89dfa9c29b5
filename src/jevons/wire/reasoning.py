"""How a reasoning block of one maker travels through the dialect of the other and comes back byte for byte.

A Responses reasoning item has an id and encrypted content; an Anthropic thinking block has a signature, a redacted one
its data. Each is opaque to all but its maker. So the neutral `signature` of an OpenAI item says whose it is, and the
`encrypted_content` of an Anthropic block does likewise; the writers never send one maker's block to the other.
"""

from jevons.core.prompt import RedactedThinking, Thinking

_OPENAI = "openai-reasoning:"
_SIGNED = "anthropic-thinking:"
_REDACTED = "anthropic-redacted:"


def signature_of(item_id: str, encrypted: str) -> str:
    """The neutral signature of an OpenAI reasoning item; '' for one that holds nothing to send back."""
    return f"{_OPENAI}{item_id}:{encrypted}" if encrypted else ""


def is_openai_reasoning(signature: str) -> bool:
    return signature.startswith(_OPENAI)


def item_of(signature: str) -> tuple[str, str]:
    """(item id, encrypted content) of an OpenAI signature."""
    item_id, _, encrypted = signature.removeprefix(_OPENAI).partition(":")
    return item_id, encrypted


def encrypted_of(part: Thinking | RedactedThinking) -> str:
    """What stands in `encrypted_content` for a block; '' for reasoning that nobody signed."""
    if isinstance(part, RedactedThinking):
        return f"{_REDACTED}{part.data}"
    if not part.signature:
        return ""
    return item_of(part.signature)[1] if is_openai_reasoning(part.signature) else f"{_SIGNED}{part.signature}"


def block_of(text: str, item_id: str, encrypted: str) -> Thinking | RedactedThinking:
    """A Responses reasoning item -> the neutral block that it was."""
    if encrypted.startswith(_REDACTED):
        return RedactedThinking(encrypted.removeprefix(_REDACTED))
    if encrypted.startswith(_SIGNED):
        return Thinking(text, encrypted.removeprefix(_SIGNED))
    return Thinking(text, signature_of(item_id, encrypted))


def is_anthropic(encrypted: str) -> bool:
    return encrypted.startswith((_SIGNED, _REDACTED))
