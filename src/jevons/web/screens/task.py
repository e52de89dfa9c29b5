"""One task: its calls and sub-agents as an icicle by dollars and along the clock; and one call: its attempts, what the
governor weighed, and what each lever was credited with.

What it decides: what a call looks like in a drawing, and what is marked as a loop. Texts of prompts and replies are
shown only where a plan lets them be kept.
"""

from collections import Counter
from typing import Any

import msgspec

from jevons.governor import render
from jevons.store import pages
from jevons.store.pages import Call
from jevons.store.rollups import TaskSums
from jevons.web import words
from jevons.web.ask import Ask, link
from jevons.web.charts import icicle as charts
from jevons.web.charts.icicle import Node, Stretch
from jevons.web.charts.time import Series
from jevons.web.figure import Cell, Fact, Figure, Page, Table, figure, number, text, when
from jevons.web.screens import parts
from jevons.web.screens.refused import Refused
from jevons.web.screens.savings import name_of

MOST_DRAWN_CHILDREN = 24
"""Sub-agents whose own calls are drawn; of the others only their sum is."""
LOOP = 4
"""Calls in a row of one size and model, that many or more, are marked: a loop seldom changes its prompt."""
PAGE = 100
MOST_PAGES = 100


def build(ask: Ask) -> Page:
    """The page of one task."""
    found = pages.task(ask.db, ask.text("tenant"), ask.text("task"))
    if found is None:
        raise Refused(
            "No such task",
            "It may be older than what is kept, or its calls are not booked yet. Look for it under Tasks.",
        )
    calls = pages.calls(ask.db, found.tenant, found.task)
    inner = pages.children(ask.db, found)
    theirs = [(child, pages.calls(ask.db, child.tenant, child.task)) for child in inner[:MOST_DRAWN_CHILDREN]]
    at = ask.whole("page", MOST_PAGES)
    return Page(
        template="task.html",
        title=found.name or found.task,
        context={
            "task": found,
            "facts": facts(found, inner),
            "loops": loops(calls),
            "cut": found.sums.calls > len(calls),
            "at": at,
            "more": len(calls) > (at + 1) * PAGE,
        },
        figures={
            "dollars": by_dollars(found, calls, theirs, inner[MOST_DRAWN_CHILDREN:]),
            "clock": by_clock(found, calls, theirs),
            "context": context(calls),
        },
        tables={"calls": table(calls, at), "agents": agents(inner)},
    )


def facts(task: TaskSums, inner: list[TaskSums]) -> list[Fact]:
    """The task with its sub-agents."""
    whole = pages.add_up([task.sums, *(child.sums for child in inner)])
    sent = whole.input + whole.cached + whole.cache_write_5m + whole.cache_write_1h
    fresh = whole.input + whole.cache_write_5m + whole.cache_write_1h
    ended = max([task.ended, *(child.ended for child in inner)])
    began = min([task.started, *(child.started for child in inner)])
    return [
        Fact(
            name="dollars",
            value=words.money(whole.cost_nano),
            basis="measured",
            note=f"{words.plural(whole.unpriced, 'call')} unpriced" if whole.unpriced else "sub-agents included",
        ),
        Fact(name="calls", value=words.count(whole.calls), note=words.plural(len(inner), "sub-agent")),
        Fact(
            name="lasted",
            value=words.seconds(max(0.0, ended - began)),
            note=f"models ran {words.seconds(whole.duration_s)}",
        ),
        Fact(
            name="each prompt token was sent",
            value=f"{sent / fresh:.1f} times" if fresh else "–",
            note=f"{words.share(whole.cached, sent)} of {words.count(sent)} read from caches",
        ),
    ]


def by_dollars(
    task: TaskSums, calls: list[Call], theirs: list[tuple[TaskSums, list[Call]]], rest: list[TaskSums]
) -> Figure:
    """The icicle: the task on top, its sub-agents and calls under it, widths in dollars."""
    nodes = [_node(call, index) for index, call in enumerate(calls, start=1)]
    nodes += [
        _branch(child, [_node(call, index) for index, call in enumerate(inner, start=1)]) for child, inner in theirs
    ]
    nodes += [_branch(child, []) for child in rest]
    own = Node(
        "own calls", sum(node.value for node in nodes[: len(calls)]), "", "c0", children=tuple(nodes[: len(calls)])
    )
    top = tuple(nodes) if not (theirs or rest) else (own, *sorted(nodes[len(calls) :], key=lambda node: -node.value))
    root = Node(task.name or task.task, sum(node.value for node in top), "", "root", children=top)
    root = msgspec.structs.replace(root, words=words.money(root.value))
    rows = [
        [text(node.name, node.href), number(words.money(node.value), node.value / 1e9)]
        for node in sorted(nodes, key=lambda node: -node.value)[:PAGE]
    ]
    title = "Where the dollars went"
    return figure(
        "dollars",
        title,
        lambda width, narrow: charts.icicle(title, root, width=width, narrow=narrow),
        ("call or sub-agent", "dollars"),
        rows if root.value else [],
        basis="measured",
        note="Width is dollars. A block leads to its call; pieces too thin to see are drawn together in grey.",
        empty="Nothing of this task has a price yet.",
    )


def by_clock(task: TaskSums, calls: list[Call], theirs: list[tuple[TaskSums, list[Call]]]) -> Figure:
    """The same calls along the clock, a lane for the task and one for each sub-agent."""
    lanes = [task.name or task.task, *(child.name or child.task for child, _ in theirs)]
    start = min([call.started for call in calls] + [call.started for _, inner in theirs for call in inner], default=0.0)
    stretches = [_stretch(call, 0, start) for call in calls]
    for lane, (_, inner) in enumerate(theirs, start=1):
        stretches += [_stretch(call, lane, start) for call in inner]
    rows = [
        [
            text(each.name, each.href),
            text(lanes[each.lane]),
            number(words.seconds(each.start), round(each.start, 3)),
            number(words.seconds(each.end - each.start), round(each.end - each.start, 3)),
        ]
        for each in sorted(stretches, key=lambda each: each.start - each.end)[:PAGE]
    ]
    title = "When it burned"
    return figure(
        "clock",
        title,
        lambda width, narrow: charts.timeline(title, lanes, stretches, words.seconds, width=width, narrow=narrow),
        ("call", "task", "began after", "lasted"),
        rows,
        basis="measured",
        empty="No calls are kept of this task: retention has taken them, its sums stay.",
    )


def context(calls: list[Call]) -> Figure:
    """The prompt of each call: what was read from a cache, written to it, and sent plain."""
    kinds = (
        ("not cached", "c0", ("input",)),
        ("written", "c3", ("cache_write_5m", "cache_write_1h")),
        ("read from cache", "c2", ("cached",)),
    )
    shown = calls[:500]
    series = [
        Series(name, colour, tuple(float(sum(call.tokens.get(field, 0) for field in fields)) for call in shown))
        for name, colour, fields in kinds
    ]
    rows = [
        [
            text(f"call {index + 1}", _href(call)),
            *(number(words.count(each.values[index] or 0), each.values[index]) for each in series),
        ]
        for index, call in enumerate(shown)
    ]
    title = "The prompt, call by call"
    from jevons.web.charts.steps import stacks  # drawn only here

    return figure(
        "context",
        title,
        lambda width, narrow: stacks(title, series, words.count, width=width, narrow=narrow),
        ("call", *(each.name for each in series)),
        rows,
        keys=[(each.colour, each.name) for each in series],
        basis="measured",
        note="Tokens. Where green turns back to purple or blue, a prefix broke.",
        empty="No calls are kept of this task.",
    )


def loops(calls: list[Call]) -> list[str]:
    """Runs of calls that look the same: at least LOOP in a row, or one failure over and over."""
    found, run = [], 1
    for before, after in zip(calls, [*calls[1:], None], strict=True):
        if after is not None and _shape(before) == _shape(after):
            run += 1
            continue
        if run >= LOOP:
            where = calls.index(before) + 2 - run
            found.append(
                f"calls {where} to {where + run - 1}: {run} alike in a row ({before.served_model or before.model})"
            )
        run = 1
    failures = Counter(call.error for call in calls if call.error)
    found += [f"{times} calls failed with `{error}`" for error, times in failures.most_common(3) if times >= LOOP]
    return found[:10]


def _shape(call: Call) -> tuple[object, ...]:
    """What calls of a loop share: model, and a prompt and answer of nearly the same size."""
    prompt = sum(count for name, count in call.tokens.items() if name != "output")
    return call.model, prompt // 64, call.tokens.get("output", 0), call.status


def table(calls: list[Call], at: int) -> Table:
    """A page of the task's calls."""
    rows = []
    for index, call in enumerate(calls[at * PAGE : (at + 1) * PAGE], start=at * PAGE + 1):
        prompt = sum(count for name, count in call.tokens.items() if name != "output")
        rows.append(
            (
                number(str(index), index, href=_href(call)),
                when(words.moment(call.started), call.started),
                text(call.served_model or call.model),
                _status(call),
                number(words.count(prompt), prompt),
                number(words.share(call.tokens.get("cached", 0), prompt), call.tokens.get("cached", 0)),
                number(words.count(call.tokens.get("output", 0)), call.tokens.get("output", 0)),
                number(words.seconds(call.duration_s), round(call.duration_s, 3)),
                _cost(call.cost_nano),
            )
        )
    heads = ("call", "at", "model", "status", "prompt", "cached", "output", "lasted", "dollars")
    return Table(id="calls", title="Calls", heads=heads, rows=tuple(rows), empty="No calls are kept of this task.")


def agents(inner: list[TaskSums]) -> Table:
    """Tasks that name this one as their parent."""
    rows = [
        (
            text(child.name or child.task, link("/ui/task", tenant=child.tenant, task=child.task)),
            when(words.moment(child.started), child.started),
            number(words.count(child.sums.calls), child.sums.calls),
            parts.cost_cell(child.sums),
        )
        for child in inner
    ]
    return Table(id="agents", title="Sub-agents", heads=("task", "started", "calls", "dollars"), rows=tuple(rows))


def call(ask: Ask) -> Page:
    """The page of one call."""
    found = pages.call(ask.db, ask.text("operation"))
    if found is None:
        raise Refused("No such call", "It may be older than what is kept; `jevons log` shows those that are.")
    explained: dict[str, Any] = msgspec.json.decode(found.levers) if found.levers else {}
    return Page(
        template="call.html",
        title=f"Call {found.operation}",
        context={"call": found, "task_href": link("/ui/task", tenant=found.tenant, task=found.task)},
        tables={"options": options(explained), "credit": credit(explained), "attempts": attempts(ask, found)},
    )


def options(explained: dict[str, Any]) -> Table:
    """Every option that the governor priced, cheapest first."""
    rows = [
        (
            text(what),
            number("not priced" if bill is None else words.money(bill), None if bill is None else bill / 1e9),
            text(why, tone="good" if why.startswith("chosen") else ""),
        )
        for what, bill, why in (render(explained) if "offers" in explained else [])
    ]
    return Table(
        id="options",
        title="What the governor weighed",
        heads=("option", "expected bill", "why"),
        rows=tuple(rows),
        note="Expected over this call and the session's further ones: modelled.",
        empty="No lever had an offer for this call: it went as it came.",
    )


def credit(explained: dict[str, Any]) -> Table:
    """The call's own waterfall."""
    rows = [
        (text(name_of(line)), number(words.money(amount), amount / 1e9, "good" if amount > 0 else "bad"))
        for line, amount in explained.get("waterfall", {}).items()
    ]
    return Table(
        id="credit",
        title="What each lever is credited with",
        heads=("lever", "saved"),
        rows=tuple(rows),
        note="Modelled: the same tokens at the price of what was asked for.",
        empty="Nothing was saved or lost on this call.",
    )


def attempts(ask: Ask, found: Call) -> Table:
    """Everything that was burned to answer it."""
    rows = [
        (
            text(each["role"]),
            text(f"{each['provider']} {each['model']}"),
            number(str(each["status"]), each["status"], "bad" if each["status"] >= 400 else ""),
            number(words.count(each["input"]), each["input"]),
            number(words.count(each["cached"]), each["cached"]),
            number(
                words.count(each["cache_write_5m"] + each["cache_write_1h"]),
                each["cache_write_5m"] + each["cache_write_1h"],
            ),
            number(words.count(each["output"]), each["output"]),
            number(words.seconds(each["duration_s"]), round(each["duration_s"], 3)),
            _cost(each["cost_nano"]),
            text(f"{each['cost_source']} {each['price_version']}".strip()),
        )
        for each in pages.attempts(ask.db, found.seq)
    ]
    heads = ("role", "where", "status", "input", "cached", "written", "output", "lasted", "dollars", "price from")
    return Table(
        id="attempts",
        title="Attempts",
        heads=heads,
        rows=tuple(rows),
        empty="Nothing was sent: the answer was at hand.",
    )


def _node(one: Call, index: int) -> Node:
    prompt = sum(count for name, count in one.tokens.items() if name != "output")
    said = f"{_money(one.cost_nano)}, {words.count(prompt)} in, {words.count(one.tokens.get('output', 0))} out"
    return Node(f"{index} {one.served_model or one.model}", float(one.cost_nano or 0), said, _colour(one), _href(one))


def _branch(child: TaskSums, nodes: list[Node]) -> Node:
    href = link("/ui/task", tenant=child.tenant, task=child.task)
    cost = float(child.sums.cost_nano)
    said = f"{words.money(cost)}, {words.plural(child.sums.calls, 'call')}"
    return Node(child.name or child.task, cost, said, "c4", href, tuple(nodes))


def _stretch(one: Call, lane: int, start: float) -> Stretch:
    begun = one.started - start
    said = f"{words.seconds(one.duration_s)}, {_money(one.cost_nano)}"
    return Stretch(one.served_model or one.model, lane, begun, begun + one.duration_s, said, _colour(one), _href(one))


def _colour(one: Call) -> str:
    """By how it was answered: failed, from a cache of ours, or burned."""
    return "bad" if one.status >= 400 else "c2" if one.cache in {"hit", "coalesced", "semantic"} else "c0"


def _status(one: Call) -> Cell:
    shown = f"{one.status} {one.cache}".strip() + (" cut" if one.cancelled else "")
    return Cell(shown, one.status, tone="bad" if one.status >= 400 else "")


def _href(one: Call) -> str:
    return link("/ui/call", operation=one.operation)


def _money(nano: int | None) -> str:
    return "unpriced" if nano is None else words.money(nano)


def _cost(nano: int | None) -> Cell:
    return number(_money(nano), None if nano is None else nano / 1e9, "bad" if nano is None else "")
