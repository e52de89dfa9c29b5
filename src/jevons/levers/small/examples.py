"""Which verified answers of the large model to show a small one: few-shot examples chosen for each prompt.

What it decides: the examples, by nearness of meaning and without near-copies of each other (maximal marginal relevance,
Carbonell and Goldstein 1998), within a budget of tokens, the nearest last, where small models look most. What it must
not know: who embeds, how a prompt is written for the wire.
"""

import math
from collections.abc import Sequence
from operator import mul

import msgspec

BYTES_PER_TOKEN = 4
VARIETY = 0.3
"""Weight of being unlike the examples already taken."""
POOL = 50
"""Nearest examples that variety chooses among."""


class Example(msgspec.Struct, frozen=True):
    """A prompt and the large model's answer to it that was verified. `vector`: unit length."""

    prompt: str
    answer: str
    vector: tuple[float, ...]

    @property
    def tokens(self) -> int:
        return (len(self.prompt.encode()) + len(self.answer.encode())) // BYTES_PER_TOKEN + 1


def select(vector: Sequence[float], examples: Sequence[Example], most: int, token_budget: int) -> list[Example]:
    """Up to `most` examples within the budget, the nearest last."""
    near = sorted(((_dot(vector, each.vector), each) for each in examples), key=lambda pair: -pair[0])[:POOL]
    chosen: list[Example] = []
    left = token_budget
    while near and len(chosen) < most:
        pick = max(near, key=lambda pair: _worth(pair, chosen))
        near.remove(pick)
        if pick[1].tokens <= left:
            chosen.append(pick[1])
            left -= pick[1].tokens
    return sorted(chosen, key=lambda each: _dot(vector, each.vector))


def _worth(pair: tuple[float, Example], chosen: Sequence[Example]) -> float:
    likeness = max((_dot(pair[1].vector, other.vector) for other in chosen), default=0.0)
    return (1.0 - VARIETY) * pair[0] - VARIETY * likeness


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(mul, one, other))
