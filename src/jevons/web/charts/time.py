"""Charts over time: stacked bars of sums, and lines with bands.

What lives here: their frame, their time axis. Times are Unix seconds; the labels are UTC until the browser rewrites
them in the viewer's zone, except days, which are UTC days because the ledger's days are.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from jevons.web.charts.svg import CHAR, Format, Frame, drawing, label, labels, linear, tag, ticks, tip

DAY = 86_400


class Series(msgspec.Struct, frozen=True):
    """One colour. `values` are by bucket; None is a gap (a line breaks, a bar is absent)."""

    name: str
    colour: str
    values: tuple[float | None, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """The band's ends, where there is one."""


def bars(
    title: str, times: Sequence[int], grain: int, series: Sequence[Series], form: Format, *, width: int, narrow: bool
) -> str:
    """Stacked bars, one a bucket."""
    totals = [sum(each.values[index] or 0.0 for each in series) for index in range(len(times))]
    marks = ticks(0.0, max(totals, default=1.0) or 1.0, 4 if narrow else 5)
    frame, body, y = _frame(marks, form, width, narrow)
    first, last = times[0], times[-1] + grain
    x = linear(first, last, frame.left, frame.right)
    wide = max(1.0, (frame.right - frame.left) * grain / (last - first) - 1.5)
    for index, at in enumerate(times):
        base = 0.0
        for each in series:
            value = each.values[index] or 0.0
            if value > 0:
                top, bottom = y(base + value), y(base)
                words = f"{stamp(at, grain)} {each.name}: {form(value)}"
                body.append(
                    tag(
                        "rect",
                        tip(words),
                        x=x(at),
                        y=top,
                        width=wide,
                        height=max(0.5, bottom - top),
                        class_=each.colour,
                    )
                )
                base += value
    body += _time_axis(times, grain, x, frame, narrow)
    return drawing(width, frame.bottom + 24, title, body, narrow=narrow)


def lines(
    title: str, times: Sequence[int], grain: int, series: Sequence[Series], form: Format, *, width: int, narrow: bool
) -> str:
    """Lines, with their bands where they have one."""
    known = [value for each in series for value in (*each.values, *each.low, *each.high) if value is not None]
    marks = ticks(min(0.0, *known) if known else 0.0, max(known, default=1.0) or 1.0, 4 if narrow else 5)
    frame, body, y = _frame(marks, form, width, narrow)
    last = times[-1] if len(times) > 1 else times[0] + grain
    x = linear(times[0], last, frame.left + 4, frame.right - 4)
    for each in series:
        if each.low:
            upper = [f"{x(at):.1f},{y(value):.1f}" for at, value in zip(times, each.high, strict=True)]
            lower = [f"{x(at):.1f},{y(value):.1f}" for at, value in zip(times, each.low, strict=True)]
            body.append(tag("polygon", points=" ".join([*upper, *reversed(lower)]), class_=f"band {each.colour}"))
    for each in series:
        body += _line(each, times, grain, x, y, form)
    body += _time_axis(times, grain, x, frame, narrow)
    return drawing(width, frame.bottom + 24, title, body, narrow=narrow)


STEPS_S = (300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY)
"""Steps of a time axis that people would choose, below days."""


def marked(times: Sequence[int], grain: int, most: int) -> list[int]:
    """Which buckets bear a label: at most `most`, at round times."""
    fits = next((step for step in STEPS_S if step >= grain and (times[-1] - times[0]) / step < most), 0)
    if fits and grain < DAY:
        return [at for at in times if at % fits == 0] or list(times[:1])
    return list(times[:: max(1, -(-len(times) // most))])


def stamp(at: int, grain: int) -> str:
    """A bucket's start for people, UTC."""
    return time.strftime("%b %d" if grain >= DAY else "%b %d %H:%M", time.gmtime(at))


def _line(
    each: Series,
    times: Sequence[int],
    grain: int,
    x: Callable[[float], float],
    y: Callable[[float], float],
    form: Format,
) -> list[str]:
    """The strokes between gaps, and a dot for each value that a pointer can ask."""
    strokes: list[list[str]] = [[]]
    dots = []
    for at, value in zip(times, each.values, strict=True):
        if value is None:
            strokes.append([])
            continue
        strokes[-1].append(f"{x(at):.1f},{y(value):.1f}")
        words = f"{stamp(at, grain)} {each.name}: {form(value)}"
        dots.append(tag("circle", tip(words), cx=x(at), cy=y(value), r=2.5, class_=each.colour))
    lines_ = [tag("polyline", points=" ".join(stroke), class_=f"line {each.colour}") for stroke in strokes if stroke]
    return lines_ + (dots if len(dots) <= 120 else [])


def _frame(
    marks: Sequence[float], form: Format, width: int, narrow: bool
) -> tuple[Frame, list[str], Callable[[float], float]]:
    """The plot's edges, its grid with labels, and the scale of values."""
    names = labels(marks, form)
    left = max(map(len, names)) * CHAR + 10
    frame = Frame(left, 10.0, width - 6.0, 190.0 if narrow else 220.0)
    y = linear(marks[0], marks[-1], frame.bottom, frame.top)
    body = []
    for mark, name in zip(marks, names, strict=True):
        zero = "axis" if mark == 0 else "grid"
        body.append(tag("line", x1=frame.left, x2=frame.right, y1=y(mark), y2=y(mark), class_=zero))
        body.append(label(frame.left - 6, y(mark) + 4, name, anchor="end"))
    return frame, body, y


def _time_axis(times: Sequence[int], grain: int, x: Callable[[float], float], frame: Frame, narrow: bool) -> list[str]:
    """Labels under the plot, no two of which touch."""
    days = grain >= DAY
    span = times[-1] - times[0]
    form = "date" if days else "time" if span <= 2 * DAY else "day"
    pattern = {"date": "%b %d", "time": "%H:%M", "day": "%b %d"}[form]
    found = []
    for at in marked(times, grain, 4 if narrow else 8):
        at_x = min(max(x(at), frame.left + 16), frame.right - 16)
        zone = None if days else at
        words = time.strftime(pattern, time.gmtime(at))
        found.append(
            label(at_x, frame.bottom + 18, words, anchor="middle", at=zone, form=form if zone is not None else None)
        )
    return found
