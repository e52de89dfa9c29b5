"""Charts whose rows have names: rankings, the waterfall, the histogram, the fan.

A row is a name, a bar and a number, so these read the same at every width. Negative values grow to the left of zero.
"""

import math
from collections.abc import Sequence

import msgspec

from jevons.web.charts.svg import CHAR, Format, drawing, fit, label, labels, linear, tag, ticks, tip

ROW = 28.0
BAR = 16.0


class Row(msgspec.Struct, frozen=True):
    """One bar from `start` to `end` (values, in the chart's unit)."""

    name: str
    start: float
    end: float
    colour: str
    words: str
    """The number at its end."""
    hatched: bool = False
    """Modelled rather than measured: drawn as an outline, and told in words elsewhere."""


def rows(title: str, found: Sequence[Row], *, width: int, narrow: bool, linked: bool = True) -> str:
    """Bars under each other; with `linked` steps are joined by thin lines where one starts at the other's end."""
    names = min(max((len(row.name) for row in found), default=0) * CHAR + 12, 110.0 if narrow else 230.0)
    numbers = max((len(row.words) for row in found), default=0) * CHAR + 10
    ends = [value for row in found for value in (row.start, row.end)]
    least, most = min([0.0, *ends]), max([0.0, *ends]) or 1.0
    left_room = numbers if least < 0 else 0.0
    x = linear(least, most, names + left_room, width - numbers)
    body = [tag("line", x1=x(0.0), x2=x(0.0), y1=2.0, y2=len(found) * ROW, class_="axis")]
    for index, row in enumerate(found):
        body += _row(row, index, x(row.start), x(row.end), names, width)
        if linked and index + 1 < len(found) and found[index + 1].start != 0 and row.end != 0:
            top = index * ROW + ROW / 2 + BAR / 2
            body.append(tag("line", x1=x(row.end), x2=x(row.end), y1=top, y2=top + ROW - BAR, class_="joint"))
    return drawing(width, len(found) * ROW + 6, title, body, narrow=narrow)


def _row(row: Row, index: int, start: float, end: float, names: float, width: int) -> list[str]:
    top = index * ROW + (ROW - BAR) / 2
    left, wide = min(start, end), max(1.0, abs(end - start))
    middle = index * ROW + ROW / 2 + 4
    colour = f"{row.colour} hatched" if row.hatched else row.colour
    backwards = end < start and row.start == 0
    at, anchor = (left - 6, "end") if backwards else (left + wide + 6, "start")
    return [
        label(0.0, middle, fit(row.name, names - 8)),
        tag("rect", tip(f"{row.name}: {row.words}"), x=left, y=top, width=wide, height=BAR, class_=colour, rx=2),
        label(min(at, width - 2.0), middle, row.words, anchor=anchor, class_="number"),
    ]


class Ranged(msgspec.Struct, frozen=True):
    """A figure with its band."""

    name: str
    low: float
    mid: float
    high: float
    words: str


def ranges(title: str, found: Sequence[Ranged], form: Format, *, width: int, narrow: bool) -> str:
    """Bands on a scale of powers of ten, each with its middle: what differs by orders of magnitude stays readable."""
    names = min(max(len(row.name) for row in found) * CHAR + 12, 110.0 if narrow else 230.0)
    numbers = max(len(row.words) for row in found) * CHAR + 14
    first = math.floor(math.log10(min(row.low for row in found)))
    last = math.ceil(math.log10(max(row.high for row in found)))
    x = linear(first, max(last, first + 1), names + 6, width - numbers)
    bottom = len(found) * ROW + 4
    body = []
    every = max(1, -(-(last - first) // (2 if narrow else 6)))
    for power in range(first, last + 1):
        body.append(tag("line", x1=x(power), x2=x(power), y1=2.0, y2=bottom, class_="grid"))
        if (power - first) % every == 0:
            body.append(label(x(power), bottom + 16, form(10.0**power), anchor="middle"))
    for index, row in enumerate(found):
        top, middle = index * ROW + (ROW - BAR) / 2, index * ROW + ROW / 2
        low, mid, high = (x(math.log10(value)) for value in (row.low, row.mid, row.high))
        body.append(label(0.0, middle + 4, fit(row.name, names - 8)))
        said = f"{row.name}: {form(row.mid)} ({form(row.low)} to {form(row.high)})"
        body.append(tag("rect", tip(said), x=low, y=top, width=max(1.0, high - low), height=BAR, class_="range", rx=2))
        body.append(tag("rect", x=mid - 2, y=top - 2, width=4.0, height=BAR + 4, class_="c3", rx=1))
        body.append(label(width - 2.0, middle + 4, row.words, anchor="end", class_="number"))
    return drawing(width, bottom + 22, title, body, narrow=narrow)


def histogram(
    title: str, edges: Sequence[float], counts: Sequence[int], form: Format, *, width: int, narrow: bool
) -> str:
    """Counts between edges (one more edge than counts), edges evenly spaced on the page."""
    marks = ticks(0.0, float(max(counts, default=1) or 1), 4)
    left, bottom = max(len(f"{mark:g}") for mark in marks) * CHAR + 10, 150.0
    y = linear(0.0, marks[-1], bottom, 10.0)
    step = (width - 12 - left) / max(1, len(counts))
    body = []
    for mark in marks:
        body.append(
            tag("line", x1=left, x2=width - 12.0, y1=y(mark), y2=y(mark), class_="axis" if mark == 0 else "grid")
        )
        body.append(label(left - 6, y(mark) + 4, f"{mark:g}", anchor="end"))
    for index, count in enumerate(counts):
        words = f"{form(edges[index])} to {form(edges[index + 1])}: {count}"
        top = y(count)
        body.append(
            tag("rect", tip(words), x=left + index * step + 1, y=top, width=step - 2, height=bottom - top, class_="c0")
        )
    every = max(1, -(-len(edges) // (4 if narrow else 9)))
    for index in range(0, len(edges), every):
        anchor = "start" if index == 0 else "end" if index == len(edges) - 1 else "middle"
        body.append(label(left + index * step, bottom + 18, form(edges[index]), anchor=anchor))
    return drawing(width, bottom + 24, title, body, narrow=narrow)


class Ahead(msgspec.Struct, frozen=True):
    """A period of the fan: what was (low = mid = high) or what may come."""

    name: str
    low: float
    mid: float
    high: float
    past: bool


def fan(title: str, periods: Sequence[Ahead], form: Format, *, width: int, narrow: bool) -> str:
    """A history that opens into its P10 to P90."""
    marks = ticks(0.0, max((each.high for each in periods), default=1.0) or 1.0, 4)
    names = labels(marks, form)
    left, bottom = max(map(len, names)) * CHAR + 10, 200.0
    y = linear(0.0, marks[-1], bottom, 10.0)
    x = linear(0.0, max(1.0, len(periods) - 1.0), left + 14, width - 24.0)
    body = []
    for mark, name in zip(marks, names, strict=True):
        body.append(
            tag("line", x1=left, x2=width - 6.0, y1=y(mark), y2=y(mark), class_="axis" if mark == 0 else "grid")
        )
        body.append(label(left - 6, y(mark) + 4, name, anchor="end"))
    begin = max((index for index, each in enumerate(periods) if each.past), default=0)
    ahead = list(enumerate(periods))[begin:]
    upper = [f"{x(index):.1f},{y(each.high):.1f}" for index, each in ahead]
    lower = [f"{x(index):.1f},{y(each.low):.1f}" for index, each in ahead]
    body.append(tag("polygon", points=" ".join([*upper, *reversed(lower)]), class_="band c0"))
    for part, class_ in ((list(enumerate(periods))[: begin + 1], "line c0"), (ahead, "line c0 dashed")):
        body.append(tag("polyline", points=" ".join(f"{x(i):.1f},{y(e.mid):.1f}" for i, e in part), class_=class_))
    for index, each in enumerate(periods):
        said = form(each.mid) if each.past else f"{form(each.mid)} ({form(each.low)} to {form(each.high)})"
        body.append(tag("circle", tip(f"{each.name}: {said}"), cx=x(index), cy=y(each.mid), r=3, class_="c0"))
    every = max(1, -(-len(periods) // (4 if narrow else 14)))
    body += [label(x(i), bottom + 18, periods[i].name, anchor="middle") for i in range(0, len(periods), every)]
    return drawing(width, bottom + 24, title, body, narrow=narrow)
