"""A task's arm: the same for all of it, at the plan's share, unlike for two salts, and remembered within a bound."""

import msgspec
import pytest

from jevons.core.call import Call, Caller, Peek, Surface, TaskRef
from jevons.core.route import Provider
from jevons.engines.catalogue import Catalogue
from jevons.gateway import arms
from jevons.gateway.arms import MEMORY, Arms, arm_of, declared
from jevons.levers.lever import Risk, View
from jevons.plans.plan import Plan

PLAN = Plan(name="pro", hold_out=0.25)
LEVERS = {"exact": Risk.EXACT, "breakpoints": Risk.EXACT, "trim": Risk.EQUIVALENT}


def call(task="t", tenant="acme", root="", **changes):
    given = {
        "operation": "op", "surface": Surface.CHAT, "caller": Caller(key_id="k", tenant=tenant), "body": b"{}",
        "peek": Peek(model="m"), "headers": {}, "at": 0.0, "task": TaskRef(task=task, root=root),
    }  # fmt: skip
    return Call(**{**given, **changes})


def test_shares_are_the_plans_for_the_hold_out_and_for_each_lever():
    placed = [Arms("salt").place(call(f"t{number}"), PLAN, LEVERS) for number in range(4_000)]
    held = [one for one in placed if one.arm.held]
    treated = [one for one in placed if not one.arm.held]
    assert len(held) == pytest.approx(1_000, abs=120)
    assert all(one.levers == {} for one in held)
    for lever in LEVERS:
        without = [one for one in treated if lever not in one.levers]
        assert len(without) == pytest.approx(750, abs=110)
        assert all(lever in one.arm.off for one in without)
    assert {risk for one in treated for lever, risk in one.levers.items() if lever == "trim"} == {Risk.EQUIVALENT}


def test_a_sub_agent_is_in_the_arm_of_the_task_at_the_top():
    place = Arms("salt").place
    for number in range(50):
        top = place(call(f"t{number}"), PLAN, LEVERS)
        assert place(call("sub", root=f"t{number}"), PLAN, LEVERS).arm == top.arm


def test_tenants_and_salts_are_drawn_apart():
    def drawn(salt, tenant):
        place = Arms(salt).place
        return [place(call(f"t{number}", tenant), PLAN, LEVERS).arm for number in range(60)]

    assert drawn("a", "acme") == drawn("a", "acme")
    assert drawn("a", "acme") != drawn("a", "bolt")
    assert drawn("a", "acme") != drawn("b", "acme")


def test_a_new_salt_and_a_changed_plan_hold_for_tasks_under_way():
    house = Arms("a")
    names = [f"t{number}" for number in range(60)]
    before = [house.place(call(name), PLAN, LEVERS).arm for name in names]
    house.begin("b")
    assert [house.place(call(name), PLAN, LEVERS).arm for name in names] != before
    all_out = msgspec.structs.replace(PLAN, hold_out=1.0)
    assert all(house.place(call(name), all_out, LEVERS).arm.held for name in names)


@pytest.mark.parametrize(
    ("salt", "plan", "changes"),
    [("", PLAN, {}), ("s", Plan(name="x"), {}), ("s", PLAN, {"task": None})],
)
def test_without_a_draw_a_share_or_a_task_there_is_no_arm(salt, plan, changes):
    assert Arms(salt).place(call() if not changes else msgspec.structs.replace(call(), **changes), plan, LEVERS) is None


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(arms, "MOST_TASKS", 10)
    house = Arms("s")
    for number in range(100):
        house.place(call(f"t{number}"), PLAN, LEVERS)
    assert len(house._placed) <= 10


def test_the_governor_reads_the_arm_from_the_view():
    assert arm_of(call(), View(now=0.0, allowed={}, memory={MEMORY: "on-trim"})) == "on-trim"
    assert arm_of(call(), View(now=0.0, allowed={})) == ""


def test_a_declared_model_that_nobody_serves_has_a_route_without_a_price():
    catalogue = Catalogue()
    catalogue.add(Provider(name="p", dialect="openai", base_url=""), models=["m"])
    assert declared(catalogue, Plan(name="x")) is None
    assert declared(catalogue, Plan(name="x", baseline_model="m")).name == "p/m"
    assert declared(catalogue, Plan(name="x", baseline_model="gone")).provider.name == ""
