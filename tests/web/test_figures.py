"""Charts and tables as values: well-formed whatever the names, true to their numbers, safe for a spreadsheet."""

import asyncio
import csv
import io
import itertools
import tomllib
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.plans.plan import Book, Customer, Limit, Plan, read
from jevons.web import words
from jevons.web.charts import icicle, rows, steps, svg
from jevons.web.charts import time as over_time
from jevons.web.figure import Cell, Table, aligned, as_csv, number
from jevons.web.screens import tasks
from jevons.web.toml import written
from tests.web.conftest import sign_in

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
AMOUNTS = st.floats(0.0, 1e12)
SIZES = [(svg.WIDE, False), (svg.NARROW, True)]


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


@pytest.mark.parametrize(("width", "narrow"), SIZES)
@settings(max_examples=40)
@given(names=st.lists(NAMES, min_size=1, max_size=5), values=st.lists(AMOUNTS, min_size=1, max_size=30))
def test_stacked_bars_are_as_high_as_their_values(width, narrow, names, values):
    times = [3600 * index for index in range(len(values))]
    series = [over_time.Series(name, "c0", tuple(values)) for name in names]
    drawn = parsed(over_time.bars("t", times, 3600, series, words.count, width=width, narrow=narrow))
    marks = drawn.findall("rect")
    assert len(marks) == len(names) * sum(value > 0 for value in values)
    tall = sorted(float(mark.get("height")) for mark in marks)
    if tall and max(values) > 0:
        whole = (190 if narrow else 220) - 10
        assert max(tall) <= whole / len(names) + 1


@pytest.mark.parametrize(("width", "narrow"), SIZES)
@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)), min_size=1, max_size=12))
def test_rows_stay_inside_the_drawing(width, narrow, found):
    bars = [rows.Row(name, start, end, "c0", "$1.00") for name, start, end in found]
    for mark in parsed(rows.rows("t", bars, width=width, narrow=narrow)).findall("rect"):
        left, wide = float(mark.get("x")), float(mark.get("width"))
        assert left >= -0.1
        assert left + wide <= width + 1


NODES = st.recursive(
    st.builds(icicle.Node, NAMES, st.floats(0.0, 1e9), NAMES, st.just("c0"), st.sampled_from(["", "/ui/call"])),
    lambda inner: st.builds(
        lambda name, children: icicle.Node(name, sum(c.value for c in children), "", "c0", "", tuple(children)),
        NAMES, st.lists(inner, min_size=1, max_size=6),
    ),
    max_leaves=30,
)  # fmt: skip


@settings(max_examples=60)
@given(NODES)
def test_no_block_of_an_icicle_reaches_out_of_the_one_above(root):
    drawn = parsed(icicle.icicle("t", root, width=svg.WIDE, narrow=False))
    levels: dict[float, list[tuple[float, float]]] = {}
    for mark in drawn.iter("rect"):
        left = float(mark.get("x"))
        levels.setdefault(float(mark.get("y")), []).append((left, left + float(mark.get("width"))))
    assert all(right <= svg.WIDE + 1 for spans in levels.values() for _, right in spans)
    for spans in levels.values():
        spans.sort()
        assert all(after[0] >= before[1] - 0.6 for before, after in itertools.pairwise(spans))


@given(st.integers(-(10**15), 10**15), st.integers(0, 10**15), st.integers(2, 9))
def test_ticks_cover_the_values_and_are_few(low, size, most):
    marks = svg.ticks(low, low + size, most)
    assert marks[0] <= low + abs(low) * 1e-9
    assert marks[-1] >= (low + size) - abs(low + size) * 1e-9
    assert len(marks) <= most + 2


def test_axis_labels_have_one_number_of_decimals():
    assert svg.labels([0, 0.5e9, 1e9, 1.5e9], words.axis_money) == ["$0.0", "$0.5", "$1.0", "$1.5"]


@pytest.mark.parametrize(("width", "narrow"), SIZES)
def test_other_charts_are_well_formed(width, narrow):
    evil = "a\"<b>&'</svg>"
    parsed(rows.histogram("t", [1e6, 1e7, 1e8], [3, 0], words.axis_money, width=width, narrow=narrow))
    ahead = [rows.Ahead(evil, 1.0, 1.0, 1.0, past=True), rows.Ahead("+1", 0.5, 1.0, 3.0, past=False)]
    parsed(rows.fan(evil, ahead, words.axis_money, width=width, narrow=narrow))
    ranged = [rows.Ranged(evil, 0.1, 5.0, 1000.0, "5 Wh")]
    parsed(rows.ranges(evil, ranged, words.watt_hours, width=width, narrow=narrow))
    series = [over_time.Series(evil, "c0", (1.0, None, 3.0), (0.5, 0.5, 0.5), (2.0, 2.0, 4.0))]
    parsed(over_time.lines(evil, [0, 60, 120], 60, series, words.count, width=width, narrow=narrow))
    parsed(steps.stacks(evil, series, words.count, width=width, narrow=narrow))
    stretch = icicle.Stretch(evil, 0, 1.0, 2.5, evil, "c0", "/x?a=1&b=2")
    parsed(icicle.timeline(evil, [evil], [stretch], words.seconds, width=width, narrow=narrow))


def test_costs_fall_into_bins_once_each():
    costs = [1, 10, 100, 1_000, 1_000_000, 5_000_000]
    edges, counts = tasks.bins(costs)
    assert sum(counts) == len(costs)
    assert len(edges) == len(counts) + 1


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@x", "\tx"])
def test_a_csv_holds_no_formula_that_a_caller_chose(text):
    table = Table(id="t", title="t", heads=("name", "n"), rows=((Cell(text), number("$1.00", -1.0)),))
    line = list(csv.reader(io.StringIO(as_csv(table))))[1]
    assert line == [f"'{text}", "-1.0"]


def test_dollars_of_a_column_stand_under_each_other():
    column = [number(words.money(nano), nano / 1e9) for nano in (4_110_000_000, 801_900_000, 8_900_000, 1_230)]
    shown = [row[0].text for row in aligned([[cell] for cell in column])]
    assert shown == ["$4.1100", "$0.8019", "$0.0089", "$0.0000012"]


LIMITS = st.builds(
    Limit,
    scope=st.sampled_from(["key", "customer", "plan", "task"]),
    per=st.sampled_from(["minute", "day", "month", "total"]),
    kind=st.sampled_from(["usd", "requests", "tokens"]),
    amount=st.integers(0, 10**15),
)
NANO = st.integers(0, 10**15)
PLANS = st.builds(
    Plan, name=NAMES, price_month_nano=NANO, price_task_nano=NANO, limits=st.lists(LIMITS, max_size=3).map(tuple),
    quality_floor=st.floats(0, 1), hold_out=st.floats(0, 1), levers=st.sampled_from([{}, {"trim": "equivalent"}]),
    candidates=st.lists(NAMES, max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=80)
@given(st.lists(PLANS, max_size=3), st.lists(st.tuples(NAMES, st.integers(1, 99)), max_size=3))
def test_a_file_of_plans_reads_back_as_the_same_book(found, named):
    held = {plan.name: plan for plan in found}
    customers = {name: Customer(name=name, plan=next(iter(held), ""), seats=seats) for name, seats in named}
    book = Book(plans=held, customers=customers)
    assert read(tomllib.loads(written(book))) == book


@pytest.mark.parametrize(
    ("page", "table", "column"),
    [
        ("/?span=90d", "models", "dollars"),
        ("/ui/tasks?span=90d", "tasks", "dollars"),
        ("/ui/savings", "levers", "calls"),
    ],
)
def test_a_csv_is_the_table_with_unrounded_numbers(client, page, table, column):
    async def look():
        await sign_in(client)
        mark = "&" if "?" in page else "?"
        answer = await client.get(f"{page}{mark}csv={table}")
        assert answer.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert lines
        assert all(float(line[column]) >= 0 for line in lines)

    asyncio.run(look())
