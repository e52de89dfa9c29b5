"""Customers and plans: what each paid at list price, what it burned, and what is left; losing ones first.

What it decides: how a margin is shown. The figures are store/reports.py's; they cover whole days (UTC).
"""

from jevons.core.money import show
from jevons.ledger.margin import Margin
from jevons.plans.plan import Book, Plan
from jevons.store import pages, plans, reports
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts import rows as charts
from jevons.web.charts.rows import Row
from jevons.web.figure import Cell, Figure, Page, Table, figure, number, text
from jevons.web.screens import parts

PAGE = 100
MOST_DRAWN = 20
TONES = {"losing": "bad", "below target": "bad", "unknown": "quiet", "ok": ""}
EMPTY = (
    "No calls of customers in this time. Make a key with `jevons keys create --name app --customer acme`, "
    "and a plan in Settings."
)
HEADS = ("calls", "tasks", "revenue", "burned", "margin", "of revenue", "state")


def build(ask: Ask) -> Page:
    """The page."""
    book = plans.load(ask.db)
    start = ask.since
    known = pages.age(ask.db)
    if known is not None:
        start = max(start, known[0])  # a month's price before the ledger's first day has no cost beside it
    found = reports.customers(ask.db, start, ask.now)
    return Page(
        template="customers.html",
        title="Customers and plans",
        context={"planned": bool(book.plans), "losing": sum(line.state == "losing" for line in found)},
        figures={"margin": chart(found), "spend": parts.spend_over_time(ask, "customer", "Dollars by customer")},
        tables={
            "customers": table("customers", "Customers", "customer", found, plan=True),
            "plans": by_plan(book, reports.plans(ask.db, start, ask.now)),
            "features": table("features", "Features", "task name", reports.features(ask.db, start, ask.now)),
            "sites": table("sites", "Call sites", "call site", reports.sites(ask.db, start, ask.now)),
        },
    )


def chart(found: list[Margin]) -> Figure:
    """Margins as bars around zero."""
    shown = found if len(found) <= MOST_DRAWN else [*found[: MOST_DRAWN // 2], *found[-(MOST_DRAWN // 2) :]]
    bars = [
        Row(
            line.name, 0.0, float(line.margin_nano), "bad" if line.margin_nano < 0 else "good", signed(line.margin_nano)
        )
        for line in shown
    ]
    rows = [[text(bar.name), number(bar.words, bar.end / 1e9)] for bar in bars]
    title = "Margin by customer"
    note = "Revenue at list price, days pro rata, less what was burned."
    if len(found) > MOST_DRAWN:
        note += f" The {MOST_DRAWN // 2} worst and the {MOST_DRAWN // 2} best of {len(found)}."
    return figure(
        "margin",
        title,
        lambda width, narrow: charts.rows(title, bars, width=width, narrow=narrow, linked=False),
        ("customer", "margin (USD)"),
        rows,
        basis="modelled",
        note=note,
        empty=EMPTY,
    )


def table(id: str, title: str, first: str, found: list[Margin], *, plan: bool = False) -> Table:  # noqa: A002
    """A report of margins; at most PAGE lines, the worst first."""
    rows = tuple(
        (text(line.name), *([text(line.plan or "–")] if plan else []), *margin_cells(line)) for line in found[:PAGE]
    )
    return Table(
        id=id,
        title=title,
        heads=(first, *(["plan"] if plan else []), *HEADS),
        rows=rows,
        empty=EMPTY,
        note=f"The {PAGE} with the worst margins." if len(found) > PAGE else "",
    )


def by_plan(book: Book, found: list[Margin]) -> Table:
    """Plans with their list prices, the worst margin first; those without calls too."""
    seen = {line.name for line in found}
    lines = [*found, *(Margin(name=name) for name in book.plans if name not in seen)]
    rows = tuple(
        (text(line.name), text(price(book.plans.get(line.name))), *margin_cells(line)) for line in lines[:PAGE]
    )
    return Table(
        id="plans",
        title="Plans",
        heads=("plan", "list price", *HEADS),
        rows=rows,
        empty="No plans yet. Write one in Settings.",
    )


def margin_cells(line: Margin) -> tuple[Cell, ...]:
    """The columns that all reports share."""
    tone = TONES[line.state]
    burned = show(line.used.cost_nano)
    return (
        number(words.count(line.used.calls), line.used.calls),
        number(words.count(line.used.tasks), line.used.tasks),
        number(show(line.revenue_nano), line.revenue_nano / 1e9),
        number(f"≥ {burned}" if line.used.unpriced else burned, line.used.cost_nano / 1e9),
        number(signed(line.margin_nano), line.margin_nano / 1e9, "bad" if line.margin_nano < 0 else ""),
        number("–" if line.share is None else words.percent(line.share).replace("-", "−"), line.share),
        text(line.state, tone=tone),
    )


def signed(nano: int) -> str:
    """Money with a true minus."""
    return show(nano).replace("-", "−")


def price(plan: Plan | None) -> str:
    """A price list in a line."""
    if plan is None:
        return "–"
    asked = (
        (plan.price_month_nano, "a month"),
        (plan.price_seat_nano, "a seat"),
        (plan.price_task_nano, "a task"),
        (plan.price_mtok_nano, "per Mtok"),
    )
    return ", ".join(f"{show(amount)} {unit}" for amount, unit in asked if amount) or "free"
