"""JSON in fewer bytes with every key, string and number left as it was spelled.

What lives here: white space outside strings is removed by a scan, never by decoding and encoding again, so large
numbers, repeated keys and escapes survive. What does not parse is returned as it came.
"""

import json
import re

_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)
_DECODER = json.JSONDecoder()
MIN_CHARS = 24
MAX_DOCUMENTS = 2_000


def minify(text: str) -> str:
    """One JSON document, or several behind one another, without the white space between tokens."""
    body = text.strip()
    if len(body) < MIN_CHARS or body[0] not in "{[" or body[-1] not in "}]":
        return text
    ends = _documents(body)
    if not ends:
        return text
    starts = [0, *ends[:-1]]
    return "\n".join(_squeeze(body[start:end]) for start, end in zip(starts, ends, strict=True))


def _documents(body: str) -> list[int]:
    """The end offsets of the documents that fill the text; empty when something else is in it."""
    ends: list[int] = []
    at = 0
    while at < len(body):
        if len(ends) >= MAX_DOCUMENTS or body[at] not in "{[":
            return []
        try:
            _, at = _DECODER.raw_decode(body, at)
        except (ValueError, RecursionError):
            return []
        while at < len(body) and body[at] in " \t\r\n":
            at += 1
        ends.append(at)
    return ends


def _squeeze(document: str) -> str:
    return _TOKENS.sub(lambda token: token.group(1) or "", document)
