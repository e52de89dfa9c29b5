"""Ladders by brute force over gate verdicts, and the refusals' arithmetic."""

import itertools
import math

import numpy as np
import pytest

from jevons.levers.route.cascade import (
    Gate,
    Score,
    Terms,
    Trial,
    choose,
    frontier,
    ladders,
    play,
    safe_threshold,
    thrifty,
    weigh,
)

GATE = Gate(kind="tests", false_reject=0.05, false_accept=0.1)


def table(n, rates, dollars, seed=0):
    """Tasks of varying difficulty: a model solves those that are easier than its rate."""
    dice = np.random.default_rng(seed)
    tasks = []
    for hardness in dice.random(n):
        task = {}
        for model, rate in rates.items():
            solved = float(hardness < rate)
            task[model] = Trial(solved, dollars[model] * (1 + hardness), GATE.passes(solved))
        tasks.append(task)
    return tasks


def test_a_ladder_is_the_expectation_over_all_verdicts():
    task = {"a": Trial(1.0, 1.0, 0.8), "b": Trial(0.0, 3.0, 0.3), "c": Trial(1.0, 9.0, 0.0)}
    solved = dollars = 0.0
    for first, second in itertools.product((True, False), repeat=2):
        chance = (0.8 if first else 0.2) * (0.3 if second else 0.7)
        answering = "a" if first else "b" if second else "c"
        solved += chance * task[answering].solved
        dollars += chance * (1.0 + 0.5 + (0 if first else 3.0 + 0.5) + (0 if first or second else 9.0))
    found = play(task, ("a", "b", "c"), gate_dollars=0.5)
    assert found == Score(pytest.approx(solved), pytest.approx(dollars))


def test_past_its_stop_a_task_is_not_climbed_and_the_rejected_answer_stands():
    task = {"a": Trial(1.0, 2.0, 0.8), "c": Trial(1.0, 9.0, 0.0)}
    assert play(task, ("a", "c"), stop=1.9) == Score(pytest.approx(1.0), 2.0)  # right but rejected answers stand too
    assert play(task, ("a", "c"), stop=2.0) == play(task, ("a", "c"))
    assert play(task, ("c",), stop=0.0) == Score(1.0, 9.0)


def spread_out(n, strong_rate, seed=0):
    """A cheap model that solves 70%; what it fails is dear for the strong one where it was dear for the cheap one."""
    dice, tasks = np.random.default_rng(seed), []
    for _ in range(n):
        cheap, own = float(dice.random() < 0.7), dice.lognormal(0, 1)
        tasks.append({"a": Trial(cheap, own, cheap), "c": Trial(float(dice.random() < strong_rate), 20 * own, 0.0)})
    return tasks


def test_a_ladder_that_solves_more_than_the_incumbent_saves_by_stopping():
    tasks = spread_out(600, 0.75)
    full = weigh(tasks, ("a", "c"), "c", Terms())
    plan = thrifty(tasks, full, "c")
    assert math.isfinite(plan.stop)
    assert plan.cost_ratio < full.cost_ratio - 0.05
    assert plan.quality_ratio >= 1.01
    assert plan.reach[1] < full.reach[1]
    assert "no last climb past" in plan.why
    by_hand = [play(task, ("a", "c"), stop=plan.stop) for task in tasks]
    assert plan.cost_ratio == pytest.approx(sum(x.dollars for x in by_hand) / sum(t["c"].dollars for t in tasks))


def test_a_ladder_with_nothing_to_spare_climbs_always():
    tasks = table(400, {"a": 0.6, "c": 0.95}, {"a": 0.1, "c": 10.0})
    plan = weigh(tasks, ("a", "c"), "c", Terms(floor=0.9))
    assert thrifty(tasks, plan, "c") is plan
    refused = weigh(tasks, ("a",), "c", Terms())
    assert thrifty(tasks, refused, "c") is refused


def test_only_models_that_nothing_beats_are_rungs():
    tasks = table(300, {"a": 0.5, "b": 0.4, "c": 0.9}, {"a": 1.0, "b": 2.0, "c": 10.0})
    assert frontier(tasks, ["c", "b", "a"]) == ["a", "c"]
    assert set(ladders(tasks, ["a", "b", "c"], "c")) == {("a",), ("a", "c")}


def test_a_dominated_incumbent_may_still_end_a_ladder():
    tasks = table(300, {"a": 0.9, "b": 0.8}, {"a": 1.0, "b": 2.0})
    assert ("a", "b") in set(ladders(tasks, ["a"], "b"))


def test_the_cheapest_ladder_that_keeps_the_floor_is_chosen():
    tasks = table(400, {"a": 0.6, "b": 0.8, "c": 0.95}, {"a": 0.1, "b": 1.0, "c": 10.0})
    plan = choose(tasks, ["a", "b", "c"], "c", Terms(floor=0.9))
    assert not plan.refused
    assert plan.ladder[-1] == "c"
    assert plan.cost_ratio < 0.5
    assert plan.quality_ratio >= 0.9
    assert plan.reach[0] == 1.0
    assert sorted(plan.reach, reverse=True) == list(plan.reach)


def test_a_ladder_that_cannot_pay_is_refused_with_its_sum():
    tasks = table(200, {"a": 0.5, "c": 0.9}, {"a": 7.0, "c": 10.0})
    plan = weigh(tasks, ("a", "c"), "c", Terms())
    assert plan.refused
    assert plan.ladder == ("c",)
    assert plan.cost_ratio > 1
    assert "does not pay" in plan.why
    assert "100% of tasks x $" in plan.why
    assert "c alone $" in plan.why


def test_a_ladder_that_loses_too_much_is_refused():
    tasks = table(200, {"a": 0.3, "b": 0.5, "c": 0.9}, {"a": 0.1, "b": 0.2, "c": 10.0})
    plan = weigh(tasks, ("a", "b"), "c", Terms())
    assert plan.refused
    assert "98.0% of the solved" in plan.why


def test_too_few_tasks_are_no_evidence():
    tasks = table(10, {"a": 0.6, "c": 0.9}, {"a": 0.1, "c": 10.0})
    assert "too few" in choose(tasks, ["a", "c"], "c", Terms()).why


def test_no_ladder_is_a_refusal_that_says_how_many_were_tried():
    tasks = table(100, {"a": 0.1, "c": 0.9}, {"a": 9.9, "c": 10.0})
    plan = choose(tasks, ["a", "c"], "c", Terms())
    assert plan.refused
    assert "none of 2 ladders" in plan.why


def test_a_score_threshold_is_the_lowest_that_is_proven():
    dice = np.random.default_rng(3)
    scores = dice.random(1_500)
    cheap = [(float(score), float(dice.random() < score)) for score in scores]  # the score is the chance to be right
    strong = (dice.random(1_500) < 0.95).astype(float).tolist()
    found = safe_threshold(cheap, strong, [0.3, 0.5, 0.7, 0.8, 0.9], margin=0.05, alpha=0.05)
    assert found in {0.7, 0.8, 0.9}
    assert safe_threshold(cheap[:20], strong[:20], [0.5], margin=0.05, alpha=0.05) == math.inf
