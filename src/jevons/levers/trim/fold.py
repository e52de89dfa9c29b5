"""What a reader skips: runs of log lines of one shape, and encoded bytes. Folded, and recalled by id when wanted.

What lives here: where to fold and what stays. The first and last lines of a run stay; what is folded is said with its
size and the id under which the whole result is kept. Never applied to a file's listing.
"""

import re

MIN_RUN = 12
KEEP_FIRST = 3
KEEP_LAST = 2
MIN_ENCODED = 400

_VARYING = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{8,}|\d+")
_ENCODED = re.compile(rf"[A-Za-z0-9+/_-]{{{MIN_ENCODED},}}={{0,2}}")


def shape(line: str) -> str:
    """A line without its numbers and hashes."""
    return _VARYING.sub("#", line)


def runs(lines: list[str]) -> list[tuple[int, int]]:
    """Spans [start, end) of lines to fold: the middle of each run of MIN_RUN or more lines of one shape."""
    found: list[tuple[int, int]] = []
    start = 0
    shapes = [shape(line) for line in lines]
    for at in range(1, len(lines) + 1):
        if at < len(lines) and shapes[at] == shapes[start]:
            continue
        if at - start >= MIN_RUN and shapes[start].strip():
            found.append((start + KEEP_FIRST, at - KEEP_LAST))
        start = at
    return found


def encoded(line: str, name: str) -> str:
    """The line with long base64 runs folded to their size; `name` is the id of the whole result."""
    if len(line) < MIN_ENCODED:
        return line
    return _ENCODED.sub(lambda run: _fold(run.group(), name), line)


def _fold(run: str, name: str) -> str:
    mixed = any(map(str.isdigit, run)) and any(map(str.isupper, run)) and any(map(str.islower, run))
    return f"[{len(run)} encoded characters, recall {name}]" if mixed and "/" * 3 not in run else run
