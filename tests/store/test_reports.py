"""Margins, waterfalls and experiments from rows, on both databases: whole, in order, under the terms of their day."""

from datetime import UTC, datetime

import pytest

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.experiment import Design, assign
from jevons.plans.plan import Book, Customer, Plan
from jevons.store import charges, experiments, outcomes, plans, reports, savings
from jevons.store.booking import Bookkeeper
from jevons.store.measures import DAY
from jevons.store.retention import Keep, prune
from tests.store.conftest import attempt, operation

MONTH = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
DOLLAR = 1_000_000_000
USAGE = Usage(input=400_000, cached=500_000, output=100_000)
"""A million tokens."""


def plan(name, **changes):
    return Plan(name=name, **{"price_month_nano": Nano(30 * DOLLAR), **changes})


def apply(db, at, *items):
    book = Book(
        plans={item.name: item for item in items if isinstance(item, Plan)},
        customers={item.name: item for item in items if isinstance(item, Customer)},
    )
    plans.apply(db, book, who="test", at=at)


def call(number, customer, cost, at, **changes):
    given = {"customer": customer, "tenant": customer, "plan": "", "task": f"t{number}", "baseline_nano": None}
    return operation(
        f"op_{number}", attempt(cost_nano=cost, usage=USAGE, started=at), started=at, **{**given, **changes}
    )  # fmt: skip


@pytest.fixture
def month(db):
    apply(
        db, MONTH, plan("pro", target_margin=0.9), plan("free", price_month_nano=Nano(0)),
        plan("metered", price_month_nano=Nano(0), price_task_nano=Nano(DOLLAR), price_mtok_nano=Nano(2 * DOLLAR),
             included_nano=Nano(3 * DOLLAR)),
        Customer(name="good", plan="pro"), Customer(name="thin", plan="pro"), Customer(name="loses", plan="free"),
        Customer(name="meter", plan="metered"), Customer(name="idle", plan="pro"),
    )  # fmt: skip
    calls = [call(1, "good", 1 * DOLLAR, MONTH + DAY), call(2, "thin", 20 * DOLLAR, MONTH + DAY)]
    calls += [call(3, "loses", 5 * DOLLAR, MONTH + 2 * DAY), call(4, "stray", 2 * DOLLAR, MONTH + DAY)]
    calls += [call(10 + n, "meter", DOLLAR // 2, MONTH + n * DAY, task_name="triage") for n in range(3)]
    calls += [call(20, "good", None, MONTH + DAY, task="")]
    Bookkeeper().write(db, calls)
    return db


def test_customers_come_with_who_loses_most_first(month):
    lines = reports.customers(month, MONTH, DECEMBER)
    assert [(line.name, line.margin_nano, line.state) for line in lines] == [
        ("loses", -5 * DOLLAR, "losing"),
        ("stray", -2 * DOLLAR, "losing"),
        ("meter", int(4.5 * DOLLAR), "ok"),
        ("thin", 10 * DOLLAR, "below target"),
        ("good", 29 * DOLLAR, "unknown"),
        ("idle", 30 * DOLLAR, "ok"),
    ]
    assert next(line for line in lines if line.name == "meter").revenue_nano == (3 * 1 + 3 * 2 - 3) * DOLLAR


def test_plans_sites_and_features_share_the_same_revenue_and_cost(month):
    customers = reports.customers(month, MONTH, DECEMBER)
    revenue, cost = sum(line.revenue_nano for line in customers), sum(line.used.cost_nano for line in customers)
    for find in (reports.plans, reports.sites, reports.features):
        lines = find(month, MONTH, DECEMBER)
        assert sum(line.revenue_nano for line in lines) == revenue
        assert sum(line.used.cost_nano for line in lines) == cost
        assert [line.margin_nano for line in lines] == sorted(line.margin_nano for line in lines)
    assert {line.name for line in reports.features(month, MONTH, DECEMBER)} == {"triage", "(other)"}


def test_a_part_of_a_month_earns_its_days(month):
    idle = next(line for line in reports.customers(month, MONTH, MONTH + 10 * DAY) if line.name == "idle")
    assert idle.revenue_nano == 10 * DOLLAR


def test_a_plan_edited_in_mid_month_changes_no_day_before(month):
    apply(month, MONTH + 14.5 * DAY, plan("pro", price_month_nano=Nano(60 * DOLLAR)))
    idle = next(line for line in reports.customers(month, MONTH, DECEMBER) if line.name == "idle")
    assert idle.revenue_nano == 14 * DOLLAR + 16 * 2 * DOLLAR
    before = next(line for line in reports.customers(month, MONTH, MONTH + 14 * DAY) if line.name == "idle")
    assert before.revenue_nano == 14 * DOLLAR


def test_a_customer_that_moves_pays_each_plan_for_its_days(month):
    apply(month, MONTH + 10 * DAY, Customer(name="idle", plan="free"))
    paid = {(one.customer, one.plan): one.revenue.total for one in reports.paid(month, MONTH, DECEMBER)}
    assert (paid["idle", "pro"], paid["idle", "free"]) == (10 * DOLLAR, 0)


def test_a_customer_without_a_plan_costs_and_earns_nothing(month):
    stray = next(line for line in reports.customers(month, MONTH, DECEMBER) if line.name == "stray")
    assert (stray.revenue_nano, stray.plan, stray.share) == (0, "", None)


def test_an_empty_ledger_has_empty_reports(db):
    for find in (reports.customers, reports.plans, reports.sites, reports.features):
        assert find(db, MONTH, DECEMBER) == []
    assert reports.waterfall(db, MONTH, DECEMBER).lines == ()


def saving(number, lines, at=MONTH + DAY, cost=1_000, customer="good"):
    levers = {"waterfall": lines} if lines else None
    return call(number, customer, cost, at, baseline_nano=Nano(cost + sum(lines.values())), levers=levers)


def test_the_waterfalls_lines_add_up_to_the_whole(db):
    Bookkeeper().write(
        db,
        [
            saving(1, {"route": 700, "trim": 50}),
            saving(2, {"trim": -20, "rest": 3}, customer="other"),
            saving(3, {}, at=MONTH + 5 * DAY),
            call(4, "good", None, MONTH + DAY),
        ],
    )
    found = reports.waterfall(db, MONTH, DECEMBER)
    assert (found.baseline_nano, found.cost_nano, found.compared, found.calls) == (3_733, 3_000, 3, 4)
    assert found.lines == (("route", 1, 700), ("trim", 2, 30), ("rest", 1, 3))
    assert sum(nano for _, _, nano in found.lines) == found.saved_nano
    narrow = reports.waterfall(db, MONTH, DECEMBER, column="customer", value="other")
    assert narrow.lines == (("trim", 1, -20), ("rest", 1, 3))


def test_a_difference_that_nobody_split_stands_in_the_rest(db):
    Bookkeeper().write(db, [call(1, "good", 1_000, MONTH, baseline_nano=Nano(1_500))])
    assert reports.waterfall(db, MONTH, DECEMBER).lines == (("rest", 0, 500),)


def test_a_booking_that_is_written_twice_credits_once(db):
    keeper = Bookkeeper()
    for _ in range(2):
        keeper.write(db, [saving(1, {"route": 700})])
    assert savings.by_line(db, DAY, int(MONTH), int(DECEMBER)) == {"route": (1, 700)}


def test_credits_go_with_the_rollups_that_they_belong_to(db):
    Bookkeeper().write(db, [saving(1, {"route": 700})])
    while prune(db, DECEMBER, Keep(days_days=1)):
        pass
    assert savings.by_line(db, DAY, int(MONTH), int(DECEMBER)) == {}


HOLD = 0.2


def task(number, arm, cost, *, at, parent="", plan="pro", tenant="good"):
    return call(number, tenant, cost, at, arm=arm, parent=parent, plan=plan)


def measured(db, now):
    experiment = experiments.current(db)
    return experiments.measure(db, Plan(name="pro", hold_out=HOLD), experiment, now)


def test_one_draw_holds_until_another_begins(db):
    first = experiments.ensure(db, "salt", MONTH)
    assert experiments.ensure(db, "other", MONTH + 1) == first == experiments.current(db)
    second = experiments.begin(db, "new", MONTH + 2, "me")
    assert experiments.current(db) == second
    assert second.number == first.number + 1


def test_finished_tasks_count_with_their_sub_agents_and_once(db):
    experiments.ensure(db, "salt", MONTH)
    at = MONTH + DAY
    Bookkeeper().write(
        db,
        [
            task(1, "on", 1_000, at=at),
            task(2, "on", 500, at=at + 5, parent="t1"),
            task(3, "hold-out", None, at=at),
            task(4, "hold-out", 9_000, at=at),
            task(5, "on-trim", 70, at=at + DAY),
            task(6, "", 1, at=at),
            task(7, "on", 1, at=at, plan="free"),
            task(8, "on", 1, at=MONTH - DAY),
        ],
    )
    for name, solved in (("t1", True), ("t4", False), ("t4", True)):
        known = outcomes.find(db, "good", name, "")
        outcomes.record(db, known, outcomes.Said(solved=solved), at + 60 + solved)
    done = list(experiments.finished(db, "pro", MONTH, at + 100))
    assert {(one.task, one.arm, one.cost_nano, one.solved) for one in done} == {
        ("t1", "on", 1_500, True),
        ("t3", "hold-out", None, None),
        ("t4", "hold-out", 9_000, True),
    }
    look = measured(db, at + 100 + experiments.QUIET_S)
    assert (look.headline.tasks, look.told, look.unpriced, look.headline.shown) == ((1, 1), 2, 1, False)
    assert measured(db, at + 3 * DAY).design.levers == ("trim",)


def test_a_changed_share_begins_the_plans_experiment_anew(db):
    experiment = experiments.ensure(db, "salt", MONTH)
    apply(db, MONTH + 1, plan("pro", hold_out=0.2))
    apply(db, MONTH + DAY, plan("pro", hold_out=0.2, priority=3))
    assert experiments.since(db, experiment, "pro") == MONTH + 1
    apply(db, MONTH + 2 * DAY, plan("pro", hold_out=0.1))
    assert experiments.since(db, experiment, "pro") == MONTH + 2 * DAY


def test_a_large_saving_is_named_once_both_arms_have_enough_and_a_biased_draw_never(db):
    design = Design(tenant="good", salt=experiments.ensure(db, "salt", MONTH).salt, holdout=HOLD)
    drawn = [assign(design, f"t{number}").name for number in range(1_500)]
    costs = {"hold-out": 1_000, "on": 500}
    calls = [
        task(number, arm, (costs[arm] + number % 100) * 10**6, at=MONTH + number) for number, arm in enumerate(drawn)
    ]
    Bookkeeper().write(db, calls[:300])
    early = measured(db, MONTH + DAY).headline
    assert (early.shown, early.saved_per_task) == (False, None)
    assert early.more_tasks > 400
    Bookkeeper().write(db, calls[300:])
    late = measured(db, MONTH + DAY)
    assert late.headline.shown
    assert late.headline.saved_per_task.low < 0.5 < late.headline.saved_per_task.high
    assert late.headline.saved_share.low > 0.4
    Bookkeeper().write(db, [task(5_000 + n, "on", 10**6, at=MONTH + 2_000 + n) for n in range(1_500)])
    broken = measured(db, MONTH + DAY)
    assert broken.evidence.broken
    assert (broken.headline.shown, broken.headline.saved_per_task) == (False, None)


def test_a_lever_that_costs_more_than_it_saves_is_switched_off_until_another_draw(db):
    salt = experiments.ensure(db, "salt", MONTH).salt
    apply(db, MONTH - 1, plan("pro", hold_out=HOLD))
    design = Design(tenant="good", salt=salt, levers=("route", "trim"), holdout=HOLD, lever_off=HOLD)
    calls = []
    for number in range(2_000):
        arm = assign(design, f"t{number}")
        cost = 1_000 + number % 100 + (0 if arm.held or "trim" in arm.off else 800)
        calls.append(task(number, arm.name, cost * 10**6, at=MONTH + number))
    Bookkeeper().write(db, calls)
    assert experiments.switched_off(db) == frozenset()
    assert experiments.enforce(db, MONTH + DAY) == [("pro", "trim")]
    assert experiments.enforce(db, MONTH + DAY) == []
    assert experiments.switched_off(db) == {("pro", "trim")}
    experiments.begin(db, "new", MONTH + DAY, "me")
    assert experiments.switched_off(db) == frozenset()


def test_charges_are_summed_by_day_and_tariff_and_served_answers_are_none(db):
    served = attempt(provider="cache", usage=Usage(), cost_nano=Nano(0), cost_source="cache", usage_source="none")
    Bookkeeper().write(
        db,
        [
            call(1, "good", 1_000, MONTH + 86_399.9),
            call(2, "good", 1_000, MONTH + DAY),
            call(3, "good", None, MONTH + DAY + 1),
            operation("op_4", served, started=MONTH + DAY),
        ],
    )
    found = charges.booked(db, ["openai"], MONTH, DECEMBER)
    assert sorted((one.day, one.calls) for one in found) == [("2026-11-01", 1), ("2026-11-02", 2)]
    spent = charges.spent(db, MONTH, DECEMBER)
    assert sorted((one.day, one.calls, one.cost_nano) for one in spent) == [
        ("2026-11-01", 1, 1_000),
        ("2026-11-02", 2, None),
    ]
    assert charges.before(db, MONTH + DAY) == 1
