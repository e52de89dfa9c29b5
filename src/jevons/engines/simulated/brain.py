"""The simulated model: from an Ask to the blocks of an answer, always the same for the same prompt.

A script's Reply comes first; else a line `SIM {json}` in the last user message (the fields of Reply); else a tool where
the request demands one, an example of the schema where it has one, or a text drawn from a hash of the prompt.
"""

import base64
import hashlib
import hmac
import json
from typing import Any

import msgspec

from jevons.engines.simulated import tokens
from jevons.engines.simulated.prompt import Ask, Block, Reply

TEXT = (
    "steam engine governor valve piston coal furnace boiler pressure flywheel ratio output measure sample margin "
    "the a of and in to with by for from is was holds turns falls rises per each more less than when after before "
    "Watt Boulton Cornwall Jevons naïve façade 炭 – ✓"
)
WORDS = tuple(TEXT.split())
EFFORT = {"": 128, "none": 0, "minimal": 0, "low": 64, "medium": 128, "high": 256, "xhigh": 512, "max": 512}
"""Hidden reasoning tokens by effort, for OpenAI's reasoning models."""
REASONS_BY_NAME = ("o1", "o3", "o4", "gpt-5", "gpt-6")
SIGNING_KEY = b"the simulator's thinking"
MAX_DEPTH = 6
"""Depth to which an example of a JSON schema is built."""


def directive(text: str) -> Reply | None:
    """The Reply of a `SIM {...}` line. Raises msgspec.ValidationError on an unknown field: a test's own mistake."""
    at = text.rfind("SIM {")
    if at < 0:
        return None
    value, _ = json.JSONDecoder().raw_decode(text, at + 4)
    return msgspec.convert(value, Reply)


def digest(ask: Ask) -> bytes:
    """A hash of everything in the prompt and the model's name."""
    state = hashlib.blake2b(ask.model.encode(), digest_size=32)
    for segment in ask.segments:
        state.update(segment.text.encode("utf-8", "surrogatepass"))
        state.update(b"\0")
    return state.digest()


def words(seed: bytes, length: int) -> str:
    """`length` tokens of text from a seed."""
    out: list[str] = []
    number = int.from_bytes(seed, "big")
    while tokens.count(" ".join(out)) < length + 2:
        number = (number * 6364136223846793005 + 1442695040888963407) % (1 << 128)
        out.append(WORDS[(number >> 64) % len(WORDS)])
    return tokens.head(" ".join([out[0].capitalize(), *out[1:]]), length)


def blocks(ask: Ask, reply: Reply, seed: bytes) -> tuple[list[Block], int]:
    """The answer's blocks and its hidden reasoning tokens, before any cut."""
    out: list[Block] = []
    if ask.thinks and ask.surface == "messages" and reply.redacted is None:
        thought = reply.thinking if reply.thinking is not None else words(seed[::-1], 12)
        out.append(Block(kind="thinking", text=thought, signature=sign(thought)))
    if reply.redacted is not None:
        out.append(Block(kind="redacted", text=reply.redacted))
    if reply.stop == "refusal" and ask.surface != "messages":
        return [Block(kind="refusal", text=reply.text or "I can't help with that.")], 0
    calls = [(call.name, call.arguments) for call in reply.tools]
    if not calls and ask.must_call and ask.tools and reply.text is None:
        name, schema = next((tool for tool in ask.tools if tool[0] == ask.must_call), ask.tools[0])
        calls = [(name, json.dumps(example(schema, seed), ensure_ascii=False))]
    if reply.text is not None:
        out.append(Block(kind="text", text=reply.text))
    elif not calls:
        out.append(Block(kind="text", text=default_text(ask, reply, seed)))
    prefix = "toolu_sim_" if ask.surface == "messages" else "call_sim_"
    for index, (name, arguments) in enumerate(calls):
        ident = prefix + hashlib.blake2b(seed + bytes([index]), digest_size=8).hexdigest()
        out.append(Block(kind="tool", name=name, text=arguments, id=ident))
    return out, reasoning(ask, reply)


def default_text(ask: Ask, reply: Reply, seed: bytes) -> str:
    if ask.schema is not None:
        return json.dumps(example(ask.schema, seed), ensure_ascii=False)
    return words(seed, reply.output_tokens or 8 + seed[0] % 40)


def reasoning(ask: Ask, reply: Reply) -> int:
    if reply.reasoning_tokens is not None:
        return reply.reasoning_tokens
    if ask.surface != "messages" and ask.model.startswith(REASONS_BY_NAME):
        return EFFORT.get(ask.effort, 128)
    return 0


def cut(out: list[Block], ask: Ask, spent: int) -> tuple[list[Block], str, str]:
    """(blocks, stop, stop sequence) after stop sequences and the token limit; `spent` went to reasoning."""
    stop, matched = ("tool" if any(block.kind == "tool" for block in out) else "stop"), ""
    for index, block in enumerate(out):
        hits = (
            sorted((block.text.find(s), s) for s in ask.stop if s and s in block.text) if block.kind == "text" else []
        )
        if hits:
            at, matched = hits[0]
            out = [*out[:index], msgspec.structs.replace(block, text=block.text[:at])]
            stop = "stop_sequence"
            break
    if ask.max_tokens is None:
        return out, stop, matched
    kept: list[Block] = []
    left = ask.max_tokens - spent
    for block in out:
        size = tokens.count(block.text)
        if size > left:
            return (
                ([*kept, msgspec.structs.replace(block, text=tokens.head(block.text, left))] if left > 0 else kept),
                "length",
                "",
            )
        kept.append(block)
        left -= size
    return kept, stop, matched


def sign(thought: str) -> str:
    """A thinking block's signature; `verify` is how the simulator notices a changed byte."""
    return base64.b64encode(hmac.digest(SIGNING_KEY, thought.encode("utf-8", "surrogatepass"), "sha256")).decode()


def verify(thought: str, signature: str) -> bool:
    return hmac.compare_digest(sign(thought), signature)


def example(schema: dict[str, Any], seed: bytes, depth: int = 0) -> Any:
    """A value that fits a JSON schema's everyday keywords, from a seed."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][seed[depth % 32] % len(schema["enum"])]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return example(schema[key][0], seed, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        if depth > MAX_DEPTH:
            return {}
        return {name: example(sub, seed, depth + 1) for name, sub in schema.get("properties", {}).items()}
    if kind == "array":
        return [] if depth > MAX_DEPTH else [example(schema.get("items", {}), seed, depth + 1)]
    if kind == "integer":
        return int(schema.get("minimum", seed[1] % 100))
    if kind == "number":
        return float(schema.get("minimum", seed[1] / 8))
    return {"boolean": seed[2] % 2 == 0, "null": None}.get(kind, words(seed, 2))
