"""Routes: call sites, the models that were asked for, and those that answered."""

import msgspec

from jevons.store import plans, promotions, rollups
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts import rows as charts
from jevons.web.charts.rows import Row
from jevons.web.figure import Figure, Page, Table, figure, number, text, when
from jevons.web.screens import parts
from jevons.web.screens.savings import lines, name_of

PAGE = 100
MOST_DRAWN = 15
MOST_CHANGES = 500
"""Lines of the audit that are looked through."""
STAGES = {"full": "good", "canary": "good", "demoted": "bad", "stopped": "bad"}
LINES = ("route", "cascade", "promotion", "small")


def build(ask: Ask) -> Page:
    """The page."""
    book = plans.load(ask.db)
    return Page(
        template="routes.html",
        title="Routes",
        context={"named": [(plan.name, plan.candidates) for plan in book.plans.values() if plan.candidates]},
        figures={"sites": dearest(ask)},
        tables={
            "sites": sites(ask),
            "candidates": candidates(ask),
            "course": course(ask),
            "moved": moved(ask),
            "levers": levers(ask),
        },
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


def candidates(ask: Ask) -> Table:
    """Cheaper models on trial, with the evidence that they have."""
    rows = []
    for held in promotions.every(ask.db, limit=PAGE):
        seen, key = promotions.evidence(held.candidate), held.key
        stage = f"{seen.stage}, pinned to the {seen.pinned}" if seen.pinned else seen.stage
        rows.append(
            (
                text(key.site or "–"),
                text(key.incumbent),
                text(key.model),
                text(stage, tone=STAGES.get(seen.stage, "")),
                number(words.count(seen.pairs), seen.pairs),
                number(_evidence(seen.e_value), seen.e_value),
                number(_evidence(seen.drift_e_value), seen.drift_e_value, "bad" if seen.drift_e_value > 1 else ""),
                number(words.money(seen.spent_nano), seen.spent_nano / 1e9),
                when(words.moment(held.candidate.since), held.candidate.since),
                text(seen.reason or "–"),
            )
        )
    return Table(
        id="candidates",
        title="Promotion",
        heads=(
            "call site",
            "asked for",
            "candidate",
            "stage",
            "pairs",
            "e-value",
            "drift",
            "checks cost",
            "since",
            "why",
        ),
        rows=tuple(rows),
        note="The e-value is the evidence against its being worse by the margin; it is promoted at one over the plan's "
        "level (20 at 5%). Drift is the evidence that it has become worse since.",
        empty="No candidate is on trial. Name `candidates` in a plan and allow `route` there; a cheaper model then "
        "answers in the shadow first.",
    )


def course(ask: Ask) -> Table:
    """Each change of a candidate's stage, with the evidence that it had then: the path of its e-value."""
    rows = []
    for change in plans.audit(ask.db, MOST_CHANGES):
        if change.kind == promotions.KIND and change.after:
            seen = msgspec.json.decode(change.after, type=promotions.Evidence)
            rows.append(
                (
                    when(words.moment(change.at), change.at),
                    text(change.name),
                    text(seen.stage, tone=STAGES.get(seen.stage, "")),
                    number(words.count(seen.pairs), seen.pairs),
                    number(_evidence(seen.e_value), seen.e_value),
                    text(seen.reason or "–"),
                    text(change.who),
                )
            )
    return Table(
        id="course",
        title="Steps of promotion",
        heads=("at", "candidate", "stage", "pairs", "e-value", "why", "who"),
        rows=tuple(rows[:PAGE]),
        empty="No candidate has changed its stage.",
    )


def _evidence(value: float) -> str:
    """An e-value: three digits, and powers of ten where it is huge."""
    return f"{value:.3g}" if value < 1e4 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


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
