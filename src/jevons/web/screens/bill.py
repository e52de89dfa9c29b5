"""The bill: one sentence, what made it, and how many tasks a dollar buys.

What it decides: which sentence may be said. A saving is called measured only where tasks were held out; what would
have run is called modelled; and where neither is known the page says what to do to know it.
"""

from jevons.store import experiments, pages, rollups
from jevons.store.rollups import Sums
from jevons.web import words
from jevons.web.ask import DAY, Ask
from jevons.web.charts.time import Series
from jevons.web.figure import Fact, Figure, Page, Table, text
from jevons.web.screens import parts
from jevons.web.screens.savings import measured, waterfall

MOST_MODELS = 8


def build(ask: Ask) -> Page:
    """The home page."""
    total = rollups.total(ask.db, ask.since, ask.now)
    by_day = pages.days(ask.db, ask.since, ask.now)
    tasks = sum(day.tasks for day in by_day)
    return Page(
        template="bill.html",
        title="Bill",
        context={
            "total": total,
            "tasks": tasks,
            "sentence": sentence(ask, total, tasks, solved(ask)),
            "modelled": modelled(total),
            "experiment": measured(ask),
            "facts": facts(total, tasks),
            "young": pages.age(ask.db) is None,
        },
        figures={
            "waterfall": waterfall(ask, total),
            "spend": parts.spend_over_time(ask, "served_model", "Dollars by model"),
            "duty": duty(by_day),
        },
        tables={"models": models(ask)},
    )


def solved(ask: Ask) -> int:
    """Tasks of the span that were said to be solved; outcomes come over /v1/feedback."""
    told = ask.memo.get(("solved", ask.span), ask.now, lambda: experiments.outcomes(ask.db, ask.since))
    return sum(told.values())


def sentence(ask: Ask, total: Sums, tasks: int, done: int) -> str:
    """What was paid, for what."""
    least = "at least " if total.unpriced else ""
    for_what = words.plural(tasks, "task") if tasks else words.plural(total.calls, "call")
    known = f", {words.count(done)} of them known to be solved," if done else ""
    return f"You paid {least}{words.money(total.cost_nano)} for {for_what}{known} in the {ask.words}."


def modelled(total: Sums) -> str:
    """What would have run, in a sentence that says it is modelled; '' where no call has a baseline."""
    if not total.compared:
        return ""
    saved = total.baseline_nano - total.compared_cost_nano
    less = f"{words.money(saved)} less" if saved >= 0 else f"{words.money(-saved)} more"
    return (
        f"Untouched, {words.plural(total.compared, 'call')} with a baseline would have cost "
        f"{words.money(total.baseline_nano)}; they cost {words.money(total.compared_cost_nano)}: {less}."
    )


def facts(total: Sums, tasks: int) -> list[Fact]:
    """The few numbers beside the sentence."""
    prompt = total.input + total.cached + total.cache_write_5m + total.cache_write_1h
    return [
        Fact(
            name="dollars",
            value=words.money(total.cost_nano),
            basis="measured",
            note=f"{words.plural(total.unpriced, 'call')} unpriced" if total.unpriced else "every call priced",
            tone="bad" if total.unpriced else "",
        ),
        Fact(
            name="a task",
            value=words.money(total.cost_nano / tasks) if tasks else "–",
            note=words.plural(tasks, "task"),
        ),
        Fact(
            name="calls",
            value=words.count(total.calls),
            note=f"{words.share(total.errors, total.calls)} failed, {words.count(total.hits)} served without burning",
        ),
        Fact(
            name="prompt from provider caches",
            value=words.share(total.cached, prompt),
            note=f"of {words.count(prompt)} prompt tokens",
        ),
    ]


def duty(by_day: list[pages.Day]) -> Figure:
    """Tasks a dollar, by day. A day whose tasks are all free or unpriced is a gap."""
    known = {day.at: day for day in by_day}
    times = list(range(by_day[0].at, by_day[-1].at + 1, int(DAY))) if by_day else []
    values = tuple(
        known[at].tasks / (known[at].cost_nano / 1e9) if at in known and known[at].cost_nano > 0 else None
        for at in times
    )
    return parts.line(
        "duty",
        "Duty: tasks a dollar",
        times,
        int(DAY),
        [Series("tasks a dollar", "c2", values)],
        words.count,
        note="Tasks that started on a day (UTC), over what they burned. Higher is better.",
        empty="No tasks in this time. Calls that carry a task (or belong to one conversation) are counted as one.",
    )


def models(ask: Ask) -> Table:
    """What was burned, by the model that answered."""
    groups = rollups.by(ask.db, ("served_model",), ask.since, ask.now, limit=MOST_MODELS)
    rows = [(text(group.key[0] or "(answered without one)"), *parts.group_cells(group.sums)) for group in groups]
    return Table(
        id="models", title="By model", heads=("model", *parts.GROUP_HEADS), rows=tuple(rows), empty=parts.NO_CALLS
    )
