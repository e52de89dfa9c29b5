"""SVG elements as text, escaped; scales and ticks that people would choose.

What lives here: markup and arithmetic that all charts share. What it must not know: what is drawn.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

WIDE, NARROW = 880, 330
"""Pixels that a chart is drawn for: the content's width at 1280 and at 390."""
CHAR = 7.4
"""Pixels of a character at the charts' 12 px, generous for the system fonts that the pages use."""

Format = Callable[[float], str]


class Frame(msgspec.Struct, frozen=True):
    """The plot inside a chart: pixels of its left, top, right and bottom edge."""

    left: float
    top: float
    right: float
    bottom: float


def tag(name: str, text: str = "", /, **attributes: str | float | None) -> str:
    """One element. `class_` and `text_anchor` become `class` and `text-anchor`; `text` is markup already."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    head = " ".join(parts)
    return f"<{head}>{text}</{name}>" if text else f"<{head}/>"


def label(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    class_: str | None = None,
    at: int | None = None,
    form: str | None = None,
) -> str:
    """A text. `at` (Unix seconds) and `form` let the browser rewrite it in the viewer's zone."""
    return tag(
        "text",
        escape(words),
        x=x,
        y=y,
        text_anchor=None if anchor == "start" else anchor,
        class_=class_,
        data_at=at,
        data_form=form,
    )


def drawing(width: float, height: float, title: str, body: Sequence[str], *, narrow: bool, group: bool = False) -> str:
    """A whole chart. As a `group` its parts may be links; else it is one image to a screen reader."""
    return tag(
        "svg",
        "".join(body),
        viewBox=f"0 0 {width:g} {height:g}",
        class_="chart narrow" if narrow else "chart wide",
        role="group" if group else "img",
        aria_label=title,
    )


def tip(words: str) -> str:
    """What a pointer shows over a mark."""
    return f"<title>{escape(words)}</title>"


def fit(words: str, pixels: float) -> str:
    """A text cut to a width, with an ellipsis; nothing when not even three letters would fit."""
    room = int(pixels / CHAR)
    if len(words) <= room:
        return words
    return words[: room - 1] + "…" if room >= 4 else ""


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values that cover [low, high]: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        high = low + 1.0
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def labels(marks: Sequence[float], form: Format) -> list[str]:
    """The ticks' labels with one number of decimals: `$0.5, $1.0`, never `$0.5, $1`."""
    found = [form(mark) for mark in marks]
    if not all(text.lstrip("-$")[-1:].isdigit() and "e" not in text for text in found):
        return found
    decimals = max(len(text.partition(".")[2]) for text in found)
    return [_padded(text, decimals) for text in found] if decimals else found


def _padded(text: str, decimals: int) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<{decimals}}"


def linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A value in [low, high] to a pixel in [start, end]."""
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)
