"""Burn and rebound: energy, carbon and water with bands; the bill's change by factor; where it may go; break-even.

What it decides: which two stretches are compared (the span's halves) and from which rows the future is drawn (weeks or
months). Every figure of this page is modelled, and says so.
"""

import random
import time
from collections.abc import Callable

from jevons.burn import Band
from jevons.core.errors import CallerError
from jevons.core.money import show
from jevons.rebound import Period, break_even, judge, refusal, say, split, waterfall
from jevons.rebound.forecast import Forecast, forecast
from jevons.rebound.walk import MIN_HISTORY
from jevons.store import pages
from jevons.store.measures import DAY
from jevons.web import energy, words
from jevons.web.ask import Ask
from jevons.web.charts import rows as charts
from jevons.web.charts.rows import Ahead, Ranged, Row
from jevons.web.energy import Spent
from jevons.web.figure import Fact, Figure, Page, Table, figure, number, text
from jevons.web.screens import parts

HORIZON = 4
WEEK = 7 * DAY
MOST_WEEKS = 52
SEED = 0
"""The same history gives the same picture."""
PRICE_CUT = 0.5


def build(ask: Ask) -> Page:
    """The page."""
    models = energy.by_model(ask.db, ask.since, ask.now)
    whole = energy.total(spent for _, spent in models)
    word = judge(refusal("no randomised arm"), PRICE_CUT)
    return Page(
        template="rebound.html",
        title="Burn and rebound",
        context={
            "facts": facts(whole),
            "elasticity": f"{break_even(PRICE_CUT):.2f}".replace("-", "−"),
            "verdict": word.word,
            "assumed": refusal("No price was randomised here").source,
        },
        figures={"models": by_model(models), "parts": by_part(whole), "factors": change(ask), "fan": fan(ask)},
        tables={"models": table(models)},
    )


def facts(whole: Spent) -> list[Fact]:
    """The span's burn, each figure with its band."""
    return [
        Fact(
            name="energy at the meter",
            value=words.energy(whole.joules.mid),
            basis="modelled",
            note=f"{words.energy(whole.joules.low)} to {words.energy(whole.joules.high)}",
        ),
        Fact(name="carbon", value=_grams(whole.co2e_g.mid), note=_ends(whole.co2e_g, _grams), basis="modelled"),
        Fact(
            name="water",
            value=f"{whole.water_l.mid:.3g} l",
            note=_ends(whole.water_l, lambda v: f"{v:.3g} l"),
            basis="modelled",
        ),
        Fact(
            name="heat",
            value=words.energy(whole.heat_wh.mid * 3600),
            basis="modelled",
            note=_ends(whole.heat_wh, lambda value: words.energy(value * 3600)),
        ),
    ]


def by_model(models: list[tuple[str, Spent]]) -> Figure:
    """Energy by model."""
    note = "Bars are the bands, marks the middles, on a scale of powers of ten. From each call site's mean call."
    return bands("energy", "Energy by model", [(name, spent.joules) for name, spent in models[:12]], note)


def by_part(whole: Spent) -> Figure:
    """Joules at the accelerators by what they did."""
    return bands("parts", "Energy at the accelerators, by what it did", list(whole.parts.items()), "")


def bands(id: str, title: str, named: list[tuple[str, Band]], note: str) -> Figure:  # noqa: A002
    """Figures with their bands."""
    found = [
        Ranged(name, band.low / 3600, band.mid / 3600, band.high / 3600, words.energy(band.mid))
        for name, band in named
        if band.low > 0
    ]
    rows = [
        [text(row.name), *(number(words.watt_hours(value), value) for value in (row.low, row.mid, row.high))]
        for row in found
    ]

    def draw(width: int, narrow: bool) -> str:
        return charts.ranges(title, found, words.watt_hours, width=width, narrow=narrow)

    heads = ("", "low (Wh)", "middle (Wh)", "high (Wh)")
    return figure(id, title, draw, heads, rows, basis="modelled", empty=parts.NO_CALLS, note=note)


def table(models: list[tuple[str, Spent]]) -> Table:
    """All figures by model."""
    rows = [
        (
            text(model),
            number(words.energy(spent.joules.mid), spent.joules.mid),
            text(f"{words.energy(spent.joules.low)} to {words.energy(spent.joules.high)}"),
            number(_grams(spent.co2e_g.mid), spent.co2e_g.mid),
            number(f"{spent.water_l.mid:.3g} l", spent.water_l.mid),
        )
        for model, spent in models
    ]
    return Table(
        id="models",
        title="By model",
        heads=("model", "energy", "band", "carbon (CO2e)", "water"),
        rows=tuple(rows),
        empty=parts.NO_CALLS,
    )


def change(ask: Ask) -> Figure:
    """The span's second half against its first, factor by factor."""
    title = "Why the bill moved"
    empty = "Both halves of this time need tasks before a change can be split. Choose a longer time."
    known = pages.age(ask.db)
    start = max(ask.since, known[0]) if known else ask.since  # before the ledger began there is nothing to compare
    middle = (start + ask.now) / 2
    before = pages.period(ask.db, start, middle, "first half")
    after = pages.period(ask.db, middle, ask.now, "second half")
    steps = []
    line = ""
    if before is not None and after is not None:
        found = split([before], [after])
        steps, line = list(waterfall(found)), say(found)
    bars = [
        Row(
            step.name,
            float(step.start_nano),
            float(step.end_nano),
            _tone(index, len(steps), step.end_nano - step.start_nano),
            show(step.end_nano - step.start_nano).replace("-", "−"),
        )
        for index, step in enumerate(steps)
    ]
    rows = [[text(bar.name), number(bar.words, (bar.end - bar.start) / 1e9)] for bar in bars]
    return figure(
        "factors",
        title,
        lambda width, narrow: charts.rows(title, bars, width=width, narrow=narrow),
        ("factor", "dollars"),
        rows,
        basis="measured",
        empty=empty,
        note=f"The first half of this time against the second: {line}. The parts add up exactly (log-mean Divisia).",
    )


def fan(ask: Ask) -> Figure:
    """The weekly bill, and where it may go."""
    title = "The weekly bill, and four weeks ahead"
    rows = ask.memo.get("weeks", ask.now, lambda: weeks(ask))
    seen: Forecast | None = ask.memo.get("forecast", ask.now, lambda: _forecast(rows))
    ahead = [Ahead(row.period[5:], *(float(row.bill_nano),) * 3, past=True) for row in rows]
    note = "P10 to P90 of resampled futures."
    if seen is not None:
        ahead += [
            Ahead(f"+{each.ahead}", float(each.bill.p10), float(each.bill.p50), float(each.bill.p90), past=False)
            for each in seen.outlooks
            if each.plan != "*"
        ]
        test = next(iter(seen.backtests.values()), None)
        if test is not None and test.median_error is not None:
            note += f" Earlier forecasts of this history missed by {test.median_error:.0%} in the median."
    cells = [
        [
            text(each.name),
            number(words.money(each.low), each.low / 1e9),
            number(words.money(each.mid), each.mid / 1e9),
            number(words.money(each.high), each.high / 1e9),
        ]
        for each in ahead
    ]
    return figure(
        "fan",
        title,
        lambda width, narrow: charts.fan(title, ahead, words.axis_money, width=width, narrow=narrow),
        ("week", "P10", "P50", "P90"),
        cells if seen is not None else [],
        basis="modelled",
        note=note,
        empty=f"A forecast needs {MIN_HISTORY} whole weeks with tasks; the ledger holds {len(rows)}.",
    )


def weeks(ask: Ask) -> list[Period]:
    """Whole weeks (from Monday, UTC) with tasks, up to now; empty ones end the history before them."""
    end = int((ask.now - 4 * DAY) // WEEK * WEEK + 4 * DAY)
    found: list[Period] = []
    for index in range(1, MOST_WEEKS + 1):
        start = end - index * WEEK
        row = pages.period(ask.db, start, start + WEEK, time.strftime("%Y-%m-%d", time.gmtime(start)))
        if row is None:
            break
        found.append(row)
    return found[::-1]


def _forecast(rows: list[Period]) -> Forecast | None:
    labelled = [_numbered(row, index) for index, row in enumerate(rows)]
    try:
        return forecast(labelled, HORIZON, random.Random(SEED)) if len(rows) >= MIN_HISTORY else None
    except CallerError:
        return None


def _numbered(row: Period, index: int) -> Period:
    """Weeks by number: the forecast's own labels know days and months only."""
    return Period(
        period=f"week {index:03d}",
        customers=row.customers,
        tasks=row.tasks,
        steps=row.steps,
        prompt_tokens=row.prompt_tokens,
        cached_tokens=row.cached_tokens,
        bill_nano=row.bill_nano,
        unpriced=row.unpriced,
    )


def _tone(index: int, count: int, amount: int) -> str:
    if index in {0, count - 1}:
        return "c0"
    return "bad" if amount > 0 else "good"


def _grams(value: float) -> str:
    return f"{value:.3g} g" if value < 1000 else f"{value / 1000:.3g} kg"


def _ends(band: Band, form: Callable[[float], str]) -> str:
    return f"{form(band.low)} to {form(band.high)}"
