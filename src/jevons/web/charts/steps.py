"""Stacked bars by position rather than by time: call 1, call 2, ... of a task."""

from collections.abc import Sequence

from jevons.web.charts.svg import CHAR, Format, drawing, label, labels, linear, tag, ticks, tip
from jevons.web.charts.time import Series


def stacks(title: str, series: Sequence[Series], form: Format, *, width: int, narrow: bool) -> str:
    """One bar a position; all series have the same length."""
    length = len(series[0].values)
    totals = [sum(each.values[index] or 0.0 for each in series) for index in range(length)]
    marks = ticks(0.0, max(totals, default=1.0) or 1.0, 4)
    names = labels(marks, form)
    left, right, bottom = max(map(len, names)) * CHAR + 10, width - 6.0, 180.0
    y, x = linear(0.0, marks[-1], bottom, 10.0), linear(0.0, length, left, right)
    body = []
    for mark, name in zip(marks, names, strict=True):
        body.append(tag("line", x1=left, x2=right, y1=y(mark), y2=y(mark), class_="axis" if mark == 0 else "grid"))
        body.append(label(left - 6, y(mark) + 4, name, anchor="end"))
    wide = max(0.6, (right - left) / length - (1.0 if length < 200 else 0.0))
    for index in range(length):
        base = 0.0
        for each in series:
            value = each.values[index] or 0.0
            if value:
                words = f"call {index + 1}, {each.name}: {form(value)}"
                body.append(
                    tag(
                        "rect",
                        tip(words),
                        x=x(index),
                        y=y(base + value),
                        width=wide,
                        height=y(base) - y(base + value),
                        class_=each.colour,
                    )
                )
                base += value
    every = max(1, -(-length // (5 if narrow else 12)))
    body += [label(x(index + 0.5), bottom + 18, str(index + 1), anchor="middle") for index in range(0, length, every)]
    return drawing(width, bottom + 24, title, body, narrow=narrow)
