"""Burn now: dollars, tokens, calls, cache mix and energy of the last minutes; today against yesterday; alarms.

What it decides: what is an alarm. Everything is read from minute rollups and a few bounded look-ups, since it is made
anew every two seconds while somebody watches.
"""

from jevons.core.money import show
from jevons.plans.budget import window
from jevons.plans.plan import Limit
from jevons.store import pages, plans, rollups
from jevons.store.measures import DAY, HOUR, MINUTE
from jevons.store.rollups import Point, Sums
from jevons.store.spent import spent_in_ledger
from jevons.web import energy, words
from jevons.web.ask import Ask, link
from jevons.web.charts.time import Series
from jevons.web.figure import Fact, Figure, Page, Table, number, text, when
from jevons.web.screens import parts

MINUTES = 60
RUNAWAY_CALLS = 300
"""Calls of one task within a day that look like a loop; of the recorded coding sessions 1 in 50 is longer."""
MOST_BUDGETS = 200
"""Limits looked at for alarms: each is an indexed sum."""
MOST_ALARMS = 12


def build(ask: Ask) -> Page:
    """The page, and the fragment of the live stream."""
    end = int(ask.now // MINUTE * MINUTE)
    points = rollups.over_time(ask.db, end - (MINUTES - 1) * MINUTE, end + MINUTE, grain=MINUTE)
    times = list(range(end - (MINUTES - 1) * MINUTE, end + 1, MINUTE))
    recent = pages.add_up([point.sums for point in points if point.at >= end - 5 * MINUTE])
    return Page(
        template="burn_now.html",
        title="Burn now",
        context={
            "facts": facts(ask, recent, min(5.0, (ask.now - end) / MINUTE + 5)),
            "alarms": alarms(ask),
            "quiet": not points,
        },
        figures={"minutes": minutes(points, times), "mix": mix(points, times)},
        tables={"today": today(ask), "failed": failed(ask)},
    )


def facts(ask: Ask, recent: Sums, span_min: float) -> list[Fact]:
    """Rates of the last five minutes."""
    tokens = recent.input + recent.cached + recent.cache_write_5m + recent.cache_write_1h + recent.output
    prompt = tokens - recent.output
    burned = energy.of(ask.db, ask.now - 5 * MINUTE, ask.now, grain=MINUTE).joules
    return [
        Fact(
            name="dollars a minute",
            value=words.money(recent.cost_nano / span_min),
            note="last 5 minutes",
            basis="measured",
        ),
        Fact(
            name="calls a minute",
            value=words.count(recent.calls / span_min),
            note=f"{words.plural(recent.errors, 'failure')}",
        ),
        Fact(
            name="tokens a minute",
            value=words.count(tokens / span_min),
            note=f"{words.share(recent.cached, prompt)} of the prompt from caches",
        ),
        Fact(
            name="energy a minute",
            value=words.energy(burned.mid / span_min),
            note=f"{words.energy(burned.low / span_min)} to {words.energy(burned.high / span_min)}",
            basis="modelled",
        ),
    ]


def minutes(points: list[Point], times: list[int]) -> Figure:
    """Dollars by minute."""
    known = {point.at: float(point.sums.cost_nano) for point in points}
    series = [Series("dollars", "c0", tuple(known.get(at, 0.0) for at in times))]
    return parts.stacked(
        "minutes",
        "Dollars by minute",
        times if points else [],
        MINUTE,
        series,
        words.axis_money,
        words.money,
        scale=1e-9,
        unit="USD",
    )


def mix(points: list[Point], times: list[int]) -> Figure:
    """Tokens by minute, as they are priced."""
    known = {point.at: point.sums for point in points}
    series = [
        Series(name, colour, tuple(float(take(known[at])) if at in known else 0.0 for at in times))
        for name, colour, take in parts.KINDS
    ]
    return parts.stacked("mix", "Tokens by minute", times if points else [], MINUTE, series, words.count, words.count)


def today(ask: Ask) -> Table:
    """Today against yesterday, both until the last full hour: rollups of a day are read by the hour."""
    start, hour = ask.now // DAY * DAY, ask.now // HOUR * HOUR
    now = _until(ask, start, hour)
    before = _until(ask, start - DAY, hour - DAY)
    pairs = [
        ("dollars", now.cost_nano, before.cost_nano, words.money, 1e-9),
        ("calls", now.calls, before.calls, words.count, 1.0),
        ("failures", now.errors, before.errors, words.count, 1.0),
        ("output tokens", now.output, before.output, words.count, 1.0),
        ("prompt tokens", _prompt(now), _prompt(before), words.count, 1.0),
    ]
    rows = [
        (text(name), number(say(one), one * scale), number(say(two), two * scale), number(_change(one, two), None))
        for name, one, two, say, scale in pairs
    ]
    return Table(
        id="today",
        title="Today against yesterday, until the last full hour (UTC)",
        heads=("", "today", "yesterday", "change"),
        rows=tuple(rows),
    )


def _until(ask: Ask, since: float, until: float) -> Sums:
    return pages.add_up([point.sums for point in rollups.over_time(ask.db, since, until, grain=HOUR)])


def failed(ask: Ask) -> Table:
    """The newest failures."""
    rows = [
        (
            when(words.moment(call.started), call.started, link("/ui/call", operation=call.operation)),
            number(str(call.status), call.status, "bad"),
            text(call.error or "–"),
            text(call.model),
            text(call.site),
        )
        for call in pages.recent_errors(ask.db, 10)
    ]
    return Table(
        id="failed",
        title="Newest failures",
        heads=("at", "status", "why", "model", "call site"),
        rows=tuple(rows),
        empty="None among the last 2,000 calls.",
    )


def alarms(ask: Ask) -> list[tuple[str, str]]:
    """(what, where to look), the most pressing first; at most MOST_ALARMS."""
    found = [*_runaways(ask), *_budgets(ask), *_unpriced(ask)]
    return found[:MOST_ALARMS]


def _runaways(ask: Ask) -> list[tuple[str, str]]:
    dear = pages.tasks_page(ask.db, ask.now - DAY, ask.now, order="calls", limit=5)
    return [
        (
            f"A task may run away: {task.name or task.task}, {words.plural(task.sums.calls, 'call')}",
            link("/ui/task", tenant=task.tenant, task=task.task),
        )
        for task in dear
        if task.sums.calls >= RUNAWAY_CALLS and ask.now - task.ended < 3600
    ]


def _unpriced(ask: Ask) -> list[tuple[str, str]]:
    groups = rollups.by(ask.db, ("served_model",), ask.now - DAY, ask.now, order="unpriced", limit=5)
    unpriced = "unpriced in the last 24 hours: the bill is too low. Give it a price in prices.overrides."
    return [
        (
            f"{words.plural(group.sums.unpriced, 'call')} of {group.key[0] or 'an unnamed model'} {unpriced}",
            "/ui/settings",
        )
        for group in groups
        if group.sums.unpriced
    ]


def _budgets(ask: Ask) -> list[tuple[str, str]]:
    """Limits of plans and customers that have passed their warning share."""
    book = plans.load(ask.db)
    held = [("customer", name, limit) for name, each in book.customers.items() for limit in each.limits]
    held += [
        ("plan", name, limit) for name, plan in book.plans.items() for limit in plan.limits if limit.scope == "plan"
    ]
    held += [
        ("customer", name, limit)
        for name, each in book.customers.items()
        for limit in (book.plans[each.plan].limits if each.plan in book.plans else ())
        if limit.scope == "customer"
    ]
    found = []
    for scope, name, limit in held[:MOST_BUDGETS]:
        if limit.kind == "concurrent" or limit.per not in {"day", "month", "total"} or not limit.amount:
            continue
        spent = spent_in_ledger(ask.db, f"{scope}:{name}|{limit.kind}|{window(limit.per, ask.now)[0]}")
        if spent >= limit.warn_at * limit.amount:
            found.append((spent / limit.amount, f"{scope.capitalize()} {name} {_used(limit, spent)}"))
    return [(what, "/ui/customers") for _, what in sorted(found, reverse=True)]


def _used(limit: Limit, spent: int) -> str:
    say = show if limit.kind == "usd" else words.count
    kind = "" if limit.kind == "usd" else f" {limit.kind}"
    per = "in all" if limit.per == "total" else f"a {limit.per}"
    times = spent / limit.amount
    share = words.percent(times) if times < 2 else f"{words.count(round(times))} times"
    return f"has used {share} {'of ' if times < 2 else ''}its budget: {say(spent)} of {say(limit.amount)}{kind} {per}."


def _prompt(sums: Sums) -> int:
    return sums.input + sums.cached + sums.cache_write_5m + sums.cache_write_1h


def _change(one: float, two: float) -> str:
    if not two:
        return "–"
    return f"{100 * (one - two) / two:+.0f}%".replace("-", "−")
