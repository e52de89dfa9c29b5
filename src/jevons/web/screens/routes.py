"""Routes: call sites, the models that were asked for, and those that answered."""

from jevons.store import plans, rollups
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts import rows as charts
from jevons.web.charts.rows import Row
from jevons.web.figure import Figure, Page, Table, figure, number, text
from jevons.web.screens import parts
from jevons.web.screens.savings import lines, name_of

PAGE = 100
MOST_DRAWN = 15
LINES = ("route", "cascade", "promotion", "small")


def build(ask: Ask) -> Page:
    """The page."""
    book = plans.load(ask.db)
    return Page(
        template="routes.html",
        title="Routes",
        context={"candidates": [(plan.name, plan.candidates) for plan in book.plans.values() if plan.candidates]},
        figures={"sites": dearest(ask)},
        tables={"sites": sites(ask), "moved": moved(ask), "levers": levers(ask)},
    )


def dearest(ask: Ask) -> Figure:
    """Call sites by dollars."""
    groups = rollups.by(ask.db, ("site",), ask.since, ask.now, limit=MOST_DRAWN)
    bars = [
        Row(group.key[0] or "(no site)", 0.0, float(group.sums.cost_nano), "c0", words.money(group.sums.cost_nano))
        for group in groups
    ]
    rows = [[text(bar.name), number(bar.words, bar.end / 1e9)] for bar in bars]
    title = "Dollars by call site"
    return figure(
        "dearest",
        title,
        lambda width, narrow: charts.rows(title, bars, width=width, narrow=narrow, linked=False),
        ("call site", "dollars"),
        rows,
        basis="measured",
        empty=parts.NO_CALLS,
    )


def sites(ask: Ask) -> Table:
    """Call sites by what they cost, with the model that answered."""
    groups = rollups.by(ask.db, ("site", "model"), ask.since, ask.now, limit=PAGE)
    rows = [(text(group.key[0] or "–"), text(group.key[1] or "–"), *parts.group_cells(group.sums)) for group in groups]
    return Table(
        id="sites",
        title="Call sites",
        heads=("call site", "model asked for", *parts.GROUP_HEADS),
        rows=tuple(rows),
        empty=parts.NO_CALLS,
    )


def moved(ask: Ask) -> Table:
    """Where another model answered than the one that was asked for."""
    groups = rollups.by(ask.db, ("model", "served_model"), ask.since, ask.now, limit=rollups.MOST_ROWS)
    rows = []
    for group in groups:
        asked, served = group.key
        if served and not served.startswith(asked) and asked != served and not asked.endswith(served):
            sums = group.sums
            rows.append(
                (
                    text(asked),
                    text(served),
                    number(words.count(sums.calls), sums.calls),
                    parts.cost_cell(sums),
                    number(words.money(sums.baseline_nano), sums.baseline_nano / 1e9),
                    number(words.seconds(sums.duration_s / sums.calls), sums.duration_s / sums.calls),
                )
            )
    heads = ("asked for", "answered by", "calls", "dollars", "untouched (modelled)", "a call lasts")
    return Table(
        id="moved",
        title="Answered by another model",
        heads=heads,
        rows=tuple(rows[:PAGE]),
        empty="Every call was answered by the model that it asked for.",
    )


def levers(ask: Ask) -> Table:
    """What routing is credited with."""
    found = lines(ask)
    rows = [
        (
            text(name_of(line)),
            number(words.count(found[line][0]), found[line][0]),
            number(words.money(found[line][1]), found[line][1] / 1e9),
        )
        for line in LINES
        if line in found
    ]
    return Table(
        id="levers",
        title="Routing, credited",
        heads=("lever", "calls", "saved (modelled)"),
        rows=tuple(rows),
        empty="No routing lever has acted. Name `candidates` in a plan and allow `route` or `cascade` there; a cheaper "
        "model is tried in the shadow first and promoted only on evidence.",
    )
