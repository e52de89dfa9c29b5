"""A tree as nested bars (an icicle, top down), and the same calls along the clock (a flame's time axis).

A node's width is its value's share of the whole; a node too thin to see is drawn with its neighbours as one grey piece,
so that a task of ten thousand calls stays a small drawing. Nodes are links where they have a place to go.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from jevons.web.charts.svg import Format, drawing, fit, label, linear, tag, ticks, tip

ROW = 26.0
THINNEST = 1.5
"""Pixels; thinner neighbours are merged."""
DEEPEST = 12


class Node(msgspec.Struct, frozen=True):
    """One bar; `children` lie under it and sum to at most its value."""

    name: str
    value: float
    words: str
    colour: str
    href: str = ""
    children: tuple["Node", ...] = ()


class Stretch(msgspec.Struct, frozen=True):
    """One call along the clock, in the lane of its task."""

    name: str
    lane: int
    start: float
    end: float
    words: str
    colour: str
    href: str = ""


NOTHING = 1e-12
"""A root of less is drawn as one of nothing: no dollar and no second that is booked is as small."""


def icicle(title: str, root: Node, *, width: int, narrow: bool) -> str:
    """The tree, its root on top."""
    body: list[str] = []
    whole = root.value if root.value > NOTHING else 1.0
    depth = _draw(root, 0.0, width - 1.0, 0, whole, (width - 1.0) / whole, body)
    return drawing(width, (depth + 1) * ROW + 2, title, body, narrow=narrow, group=True)


def _draw(node: Node, left: float, wide: float, level: int, whole: float, scale: float, body: list[str]) -> int:
    """Draws a node and what is under it. Returns the deepest level drawn."""
    body.append(_block(node, left, wide, level))
    deepest, at, thin = level, left, 0.0
    if level + 1 >= DEEPEST:
        return level
    for child in node.children:
        size = child.value * scale
        if size < THINNEST:
            thin += size
            continue
        if thin:
            body.append(_rest(at, thin, level + 1))
            at, thin = at + thin, 0.0
        deepest = max(deepest, _draw(child, at, size, level + 1, whole, scale, body))
        at += size
    if thin >= THINNEST:
        body.append(_rest(at, thin, level + 1))
        deepest = max(deepest, level + 1)
    return deepest


def _block(node: Node, left: float, wide: float, level: int) -> str:
    words = fit(node.name, wide - 8)
    if len(words) < len(node.name):
        words = max(words if len(words) > 6 else "", fit(node.name.partition(" ")[0], wide - 8), key=len)
    inner = tag(
        "rect",
        tip(f"{node.name}: {node.words}"),
        x=left + 0.5,
        y=level * ROW + 1,
        width=max(0.5, wide - 1),
        height=ROW - 2,
        class_=f"block {node.colour}",
        rx=2,
    )
    if words:
        inner += label(left + 5, level * ROW + 17, words, class_="inside")
    if not node.href:
        return inner
    return tag("a", inner, href=node.href, aria_label=f"{node.name}: {node.words}")


def _rest(left: float, wide: float, level: int) -> str:
    return tag("rect", tip("smaller calls"), x=left, y=level * ROW + 1, width=wide, height=ROW - 2, class_="block rest")


def timeline(
    title: str, lanes: Sequence[str], stretches: Sequence[Stretch], form: Format, *, width: int, narrow: bool
) -> str:
    """Calls along the clock, a lane a task. `form` writes seconds since the first call."""
    end = max((each.end for each in stretches), default=1.0)
    marks = clock_ticks(end, 4 if narrow else 8)
    x = linear(0.0, max(end, marks[-1]), 0.0, width - 1.0)
    bottom = len(lanes) * 2 * ROW
    body = [tag("line", x1=x(mark), x2=x(mark), y1=0.0, y2=bottom, class_="grid") for mark in marks]
    body += [label(2.0, lane * 2 * ROW + 16, fit(name, width - 10.0)) for lane, name in enumerate(lanes)]
    ends: dict[int, float] = {}
    for each in sorted(stretches, key=lambda one: one.start):
        if x(each.end) - ends.get(each.lane, -9.0) < 0.5:
            continue  # under a pixel past what is drawn already
        ends[each.lane] = x(each.end)
        body.append(_stretch(each, x))
    for mark in marks:
        anchor = "start" if mark == marks[0] else "end" if mark == marks[-1] else "middle"
        body.append(label(min(x(mark), width - 1.0), bottom + 16, form(mark), anchor=anchor))
    return drawing(width, bottom + 22, title, body, narrow=narrow, group=True)


CLOCK_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400)


def clock_ticks(end: float, most: int) -> list[float]:
    """Seconds from 0 in steps of a clock, up to the first one past the end; below a second in decimal steps."""
    step = next((step for step in CLOCK_S if end / step < most), CLOCK_S[-1])
    if end < 2 or end / step > most * 10:
        return ticks(0.0, end, most)
    return [float(step * index) for index in range(math.ceil(end / step) + 1)]


def _stretch(each: Stretch, x: Callable[[float], float]) -> str:
    block = tag(
        "rect",
        tip(f"{each.name}: {each.words}"),
        x=x(each.start),
        y=each.lane * 2 * ROW + ROW - 2,
        width=max(1.0, x(each.end) - x(each.start)),
        height=ROW - 4,
        class_=f"block {each.colour}",
    )
    return tag("a", block, href=each.href, aria_label=f"{each.name}: {each.words}") if each.href else block
