"""Tasks: a searchable list, newest, dearest, busiest or longest first, and how their costs are spread."""

import math

from jevons.store import pages
from jevons.store.rollups import TaskSums
from jevons.web import words
from jevons.web.ask import Ask, link
from jevons.web.charts import rows as charts
from jevons.web.figure import Cell, Figure, Page, Table, figure, number, text, when
from jevons.web.screens import parts

PAGE = 50
MOST_PAGES = 200
"""Further back a search or a shorter time leads sooner."""
SPREAD_OVER = 1_000
"""Tasks whose costs are drawn as a histogram: the newest of the span."""
BINS = 18
EMPTY = (
    "No tasks here. Send x-jevons-task with a call, or let conversations be stitched by themselves; "
    "or choose a longer time."
)
HEADS = ("task", "started", "customer", "calls", "lasted", "dollars", "cached", "arm")


def build(ask: Ask) -> Page:
    """The page."""
    order = ask.text("order") if ask.text("order") in pages.ORDERS else "newest"
    search, at = ask.text("search"), ask.whole("page", MOST_PAGES)
    found = pages.tasks_page(ask.db, ask.since, ask.now, search=search, order=order, offset=at * PAGE, limit=PAGE + 1)
    rows = tuple(row_of(task) for task in found[:PAGE])
    return Page(
        template="tasks.html",
        title="Tasks",
        context={
            "search": search,
            "order": order,
            "orders": tuple(pages.ORDERS),
            "at": at,
            "more": len(found) > PAGE and at < MOST_PAGES,
        },
        figures={"spread": spread(ask)} if not at and not search else {},
        tables={"tasks": Table(id="tasks", title="Tasks", heads=HEADS, rows=rows, empty=EMPTY)},
    )


def row_of(task: TaskSums) -> tuple[Cell, ...]:
    """One line of the list."""
    sums = task.sums
    prompt = sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h
    href = link("/ui/task", tenant=task.tenant, task=task.task)
    return (
        text(task.name or task.task, href),
        when(words.moment(task.started), task.started),
        text(task.customer or "–"),
        number(words.count(sums.calls), sums.calls),
        number(words.seconds(max(0.0, task.ended - task.started)), round(task.ended - task.started, 3)),
        parts.cost_cell(sums),
        number(words.share(sums.cached, prompt), sums.cached / prompt if prompt else 0.0),
        text(task.arm or "–"),
    )


def spread(ask: Ask) -> Figure:
    """Task costs on a scale of powers, so that cents and dollars are both seen."""
    found = pages.tasks_page(ask.db, ask.since, ask.now, limit=SPREAD_OVER)
    costs = [task.sums.cost_nano for task in found if task.sums.cost_nano > 0 and not task.sums.unpriced]
    edges, counts = bins(costs)
    rows = [
        [
            number(words.money(edges[index]), edges[index] / 1e9),
            number(words.money(edges[index + 1]), edges[index + 1] / 1e9),
            number(str(count), count),
        ]
        for index, count in enumerate(counts)
    ]
    title = "What tasks cost"
    return figure(
        "spread",
        title,
        lambda width, narrow: charts.histogram(title, edges, counts, words.axis_money, width=width, narrow=narrow),
        ("from", "to", "tasks"),
        rows,
        basis="measured",
        empty=EMPTY,
        note=f"The newest {words.plural(len(costs), 'priced task')} of this time. Each bar is wider in dollars than "
        "the one before it by the same factor.",
    )


def bins(costs: list[int]) -> tuple[list[float], list[int]]:
    """(edges, counts) by even steps of the logarithm."""
    if not costs:
        return [], []
    low, high = math.log10(min(costs)), math.log10(max(costs))
    step = max((high - low) / BINS, 1e-6)
    counts = [0] * BINS
    for cost in costs:
        counts[min(BINS - 1, int((math.log10(cost) - low) / step))] += 1
    return [10 ** (low + step * index) for index in range(BINS + 1)], counts
