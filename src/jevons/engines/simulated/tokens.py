"""The simulator's own tokenizer: what it counts, and where its tokens end.

A token is up to six letters with the space before them, up to three digits, up to eight blanks, or any other single
character. That gives about four characters a token on English and code. It is nobody's real tokenizer and need not
be: it only has to be one clear count that the usage, the cache and the invoice share.
"""

import re
from array import array
from functools import lru_cache
from itertools import pairwise

PIECE = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s{1,8}|.", re.DOTALL)
REMEMBERED_TEXTS = 8192
"""An agent resends the same messages many times; each is cut once."""
PER_MESSAGE = 3
"""Framing tokens of each message, as both providers' formats have some."""
PER_REPLY = 3
"""Framing tokens that open the reply."""


@lru_cache(maxsize=REMEMBERED_TEXTS)
def ends(text: str) -> "array[int]":
    """The character offset after each token of `text`, ascending; the last is len(text)."""
    return array("I", (match.end() for match in PIECE.finditer(text)))


def count(text: str) -> int:
    """Number of tokens."""
    return len(ends(text))


def pieces(text: str, per_piece: int) -> list[str]:
    """`text` cut into deltas of `per_piece` tokens; joined again it is `text`."""
    cuts = [0, *ends(text)[per_piece - 1 :: per_piece]]
    if cuts[-1] != len(text):
        cuts.append(len(text))
    return [text[start:end] for start, end in pairwise(cuts)]


def head(text: str, tokens: int) -> str:
    """The first `tokens` tokens of `text`."""
    marks = ends(text)
    return text if tokens >= len(marks) else text[: marks[tokens - 1]] if tokens > 0 else ""
