"""Savings: the waterfall from what would have run to what did, by lever; and what the experiment has shown.

What it decides: how a line of the waterfall is called and drawn. All of the waterfall is modelled (ledger/waterfall.py)
and drawn hatched; measured figures are the experiment's alone and drawn full.
"""

import msgspec

from jevons.judge.sequence import Interval
from jevons.ledger.experiment import BURN_IN, HOLD_OUT
from jevons.store import experiments, pages, plans, rollups
from jevons.store import savings as credited
from jevons.store.experiments import Measured
from jevons.store.measures import DAY, HOUR, MINUTE
from jevons.store.rollups import Sums
from jevons.web import words
from jevons.web.ask import Ask
from jevons.web.charts import rows as charts
from jevons.web.charts.rows import Row
from jevons.web.charts.time import Series
from jevons.web.figure import Fact, Figure, Page, Table, figure, number, text
from jevons.web.screens import parts

NAMES = {
    "exact": "exact cache",
    "semantic": "semantic cache",
    "trim": "trimming",
    "tools": "tool schemas",
    "route": "routing",
    "cascade": "cascade",
    "promotion": "promotion",
    "small": "small models",
    "batch": "batch",
    "toolresults": "tool results",
    "breakpoints": "cache breakpoints",
    "rest": "not credited to a lever",
    "asked-model": "caller's own choice",
}
LOOKS = 24
"""Earlier looks of the experiment that are drawn."""
EMPTY = (
    "No lever has changed a bill in this time. Levers beyond the exact ones act where a plan allows them: "
    "set [plans.NAME.levers] in Settings."
)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What may be said of a plan's experiment."""

    plan: str
    shown: bool
    words: str
    facts: tuple[Fact, ...] = ()
    course: tuple[tuple[float, Interval], ...] = ()
    """Earlier looks: when, and the share saved."""


def build(ask: Ask) -> Page:
    """The page."""
    total = rollups.total(ask.db, ask.since, ask.now)
    statements = measured(ask)
    return Page(
        template="savings.html",
        title="Savings",
        context={"experiment": statements, "total": total, "courses": [course_of(each) for each in statements]},
        figures={"waterfall": waterfall(ask, total), "over_time": over_time(ask)},
        tables={"levers": levers(ask), "arms": arms(ask)},
    )


def lines(ask: Ask) -> dict[str, tuple[int, int]]:
    """line -> (calls, nano-dollars) of the span."""
    grain = HOUR if ask.now - ask.since < 14 * DAY else DAY
    since, until = int(ask.since // grain * grain), int(-(-ask.now // grain) * grain)
    found = credited.by_line(ask.db, grain, since, until)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


def name_of(line: str) -> str:
    """A line for people: a lever's name, or what of ours it paid for."""
    return f"our own: {line.removeprefix('own:')}" if line.startswith("own:") else NAMES.get(line, line)


def waterfall(ask: Ask, total: Sums) -> Figure:
    """From the baseline to the cost of the calls that have both."""
    steps = [(name_of(line), nano) for line, (_, nano) in lines(ask).items() if nano]
    level = float(total.baseline_nano)
    found = [Row("untouched", 0.0, level, "rest", words.money(level), hatched=True)]
    for name, nano in steps:
        words_ = f"−{words.money(nano)}" if nano >= 0 else f"+{words.money(-nano)}"
        found.append(Row(name, level, level - nano, "good" if nano >= 0 else "bad", words_, hatched=True))
        level -= nano
    found.append(Row("paid", 0.0, float(total.compared_cost_nano), "c0", words.money(total.compared_cost_nano)))
    table = [[text(row.name), number(words.money(row.end - row.start), (row.end - row.start) / 1e9)] for row in found]
    shown = found if total.compared and steps else []
    title = "From what would have run to what did"
    return figure(
        "waterfall",
        title,
        lambda width, narrow: charts.rows(title, shown, width=width, narrow=narrow),
        ("step", "dollars"),
        table if shown else [],
        basis="modelled",
        empty=EMPTY,
        note="Hatched bars are modelled: the same tokens at the price of what was asked for. The last bar was paid.",
    )


def over_time(ask: Ask) -> Figure:
    """Paid against untouched, by bucket."""
    grain = max(HOUR, parts.grain_of(ask))
    points = rollups.over_time(ask.db, ask.since, ask.now, grain=grain)
    times = parts.buckets(points, ask, grain)
    known = {point.at: point.sums for point in points}
    pairs = [("untouched (modelled)", "rest", "baseline_nano"), ("paid", "c0", "compared_cost_nano")]
    series = [
        Series(name, colour, tuple(float(getattr(known[at], field)) if at in known else 0.0 for at in times))
        for name, colour, field in pairs
    ]
    return parts.line(
        "paid-untouched",
        "Paid and untouched",
        times,
        grain,
        series,
        words.axis_money,
        basis="modelled",
        note="Only calls that have both figures.",
    )


def course_of(statement: Statement) -> Figure:
    """The share saved, look by look, inside its confidence sequence: all looks hold together."""
    looks = statement.course
    series = Series(
        "saved, % of held-out dollars",
        "c2",
        tuple(100 * each.value for _, each in looks),
        tuple(100 * each.low for _, each in looks),
        tuple(100 * each.high for _, each in looks),
    )
    title = f"What the experiment has shown: {statement.plan}" if statement.plan else "What the experiment has shown"
    times = [int(at) for at, _ in looks]
    span = times[-1] - times[0] if times else 0
    drawn = parts.line(
        f"course-{statement.plan or 'none'}",
        title,
        times,
        DAY if span > 3 * DAY else MINUTE,
        [series],
        _percent,
        note="The band is a 95% confidence sequence: it may be looked at whenever one likes.",
        empty=f"Intervals are shown from {BURN_IN} finished tasks in each arm on.",
    )
    rows = tuple(
        (*row, number(_percent(100 * each.low), each.low), number(_percent(100 * each.high), each.high))
        for row, (_, each) in zip(drawn.table.rows, looks, strict=True)
    )
    heads = (*drawn.table.heads, "low", "high")
    return msgspec.structs.replace(drawn, table=msgspec.structs.replace(drawn.table, heads=heads, rows=rows))


def _percent(value: float) -> str:
    return f"{value:.0f}%".replace("-", "−")


def levers(ask: Ask) -> Table:
    """Each line with its calls."""
    rows = [
        (
            text(name_of(line)),
            number(words.count(calls), calls),
            number(words.money(nano), nano / 1e9, "good" if nano > 0 else "bad"),
            number(words.money(nano / calls) if calls else "–", parts.per(nano, calls)),
        )
        for line, (calls, nano) in lines(ask).items()
    ]
    return Table(
        id="levers",
        title="By lever",
        heads=("lever", "calls", "saved (modelled)", "a call"),
        rows=tuple(rows),
        empty=EMPTY,
    )


def arms(ask: Ask) -> Table:
    """The experiment's arms, as drawn."""
    found = pages.arms(ask.db, ask.since, ask.now)
    rows = [
        (
            text("held out" if arm.name == HOLD_OUT else arm.name),
            number(words.count(arm.tasks), arm.tasks),
            number(words.money(arm.cost_nano), arm.cost_nano / 1e9),
            number(words.money(arm.cost_nano / arm.tasks), parts.per(arm.cost_nano, arm.tasks)),
        )
        for arm in found
    ]
    return Table(
        id="arms",
        title="Arms of the experiment",
        heads=("arm", "tasks", "dollars", "a task"),
        rows=tuple(rows),
        note="Plain means without intervals: only the sentence above compares.",
        empty="No task was drawn into an arm. Set hold_out = 0.1 in a plan to begin.",
    )


NO_HOLD_OUT = (
    "No saving is called measured here: no task was held out. Set hold_out = 0.1 in a plan; a tenth of its tasks then "
    "runs untouched, and the difference is measured."
)


def measured(ask: Ask) -> list[Statement]:
    """What may be said from held-out tasks, by plan. At least one statement, if only of why there is none."""
    found = ask.memo.get("experiment", ask.now, lambda: _looks(ask))
    return found or [Statement(plan="", shown=False, words=NO_HOLD_OUT)]


def _looks(ask: Ask) -> list[Statement]:
    drawn = experiments.current(ask.db)
    held = [plan for plan in plans.load(ask.db).plans.values() if plan.hold_out > 0]
    return [_statement(experiments.measure(ask.db, plan, drawn, ask.now, LOOKS)) for plan in held] if drawn else []


def _statement(seen: Measured) -> Statement:
    """One plan's headline in words; figures only where the experiment may show them."""
    headline = seen.headline
    course = tuple((at, each.saved_share) for at, each in seen.course if each.saved_share is not None)
    arms_ = f"{words.count(headline.tasks[0])} held out, {words.count(headline.tasks[1])} treated"
    if not headline.shown or headline.per_task is None or headline.saved_share is None:
        more = f"; about {words.plural(headline.more_tasks, 'more task')}" if headline.more_tasks else ""
        said = f"Nothing is shown yet: {headline.why}{more} ({arms_})."
        return Statement(plan=seen.plan, shown=False, words=said, course=course)
    held, treated = headline.per_task
    facts = [
        Fact(name="a task, held out", value=_dollars(held.value), note=_range(held), basis="measured"),
        Fact(name="a task, treated", value=_dollars(treated.value), note=_range(treated), basis="measured"),
        Fact(
            name="saved",
            value=words.percent(headline.saved_share.value),
            basis="measured",
            note=f"[{words.percent(headline.saved_share.low)}, {words.percent(headline.saved_share.high)}], 95%",
        ),
        Fact(
            name="success",
            value="kept" if headline.success_kept else "not yet proven",
            tone="good" if headline.success_kept else "",
            note=f"{words.count(seen.told)} tasks with an outcome",
        ),
    ]
    count = headline.tasks[1]
    said = (
        f"its {words.plural(count, 'treated task')} cost {_dollars(count * treated.value)}; untouched "
        f"{_dollars(count * held.value)} [{_dollars(count * held.low)}, {_dollars(count * held.high)}]. "
        f"{headline.why[0].upper()}{headline.why[1:]} ({arms_})."
    )
    if headline.switch_off:
        said += f" Proven to cost more than they save: {', '.join(headline.switch_off)}."
    return Statement(
        plan=seen.plan,
        shown=True,
        words=said[0].upper() + said[1:],
        facts=tuple(facts),
        course=course,
    )


def _dollars(value: float) -> str:
    return words.money(value * 1e9)


def _range(interval: Interval) -> str:
    return f"[{_dollars(interval.low)}, {_dollars(interval.high)}], 95%"
