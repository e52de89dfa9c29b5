"""Terminal noise: what a screen would not show any more. Colour codes, overwritten progress lines, trailing blanks.

It must never see a file's text (a listing with line numbers): there an invisible byte can be what gets edited.
"""

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TRAILING = re.compile(r"[ \t]+(?=\n|\Z)")
_BAR = re.compile(r"[#=\-.▉-▏█░▒▓>]{12,}")
MAX_BAR = 12


def clean(text: str) -> str:
    """The text as a terminal would finally show it. Idempotent."""
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = "\n".join(_overwritten(line) for line in text.split("\n"))
    if any(block in text for block in "█░▓"):
        text = _BAR.sub(lambda bar: bar.group()[:MAX_BAR], text)
    return _TRAILING.sub("", text)


def _overwritten(line: str) -> str:
    """What stays on the screen of a line that returned to its start: the last write that wrote anything."""
    if "\r" not in line:
        return line
    return next((piece for piece in reversed(line.split("\r")) if piece.strip()), "")
