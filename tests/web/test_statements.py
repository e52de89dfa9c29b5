"""What the pages may say of a saving: measured only from held-out tasks, and only once the experiment shows it."""

import random

from jevons.ledger.experiment import Design, assign, begin, look, record
from jevons.store.experiments import Measured
from jevons.web.screens import savings


def measured(tasks, saved, seed=1):
    """An experiment of so many tasks whose treated ones cost less by a share."""
    design, dice = Design(tenant="", salt="s", holdout=0.2, lever_off=0.0), random.Random(seed)
    evidence = begin(design)
    for number in range(tasks):
        arm = assign(design, f"task {number}")
        dollars = dice.lognormvariate(0.0, 0.5) * (1.0 if arm.held else 1.0 - saved)
        evidence = record(evidence, design, arm, dollars, 1.0, None)
    return Measured(plan="pro", since=0.0, design=design, evidence=evidence, headline=look(evidence, design), told=0,
                    unpriced=0, full=False, course=((1.0, look(evidence, design)),))  # fmt: skip


def test_before_the_arms_are_full_no_figure_is_said_and_the_missing_tasks_are():
    said = savings._statement(measured(200, 0.5))
    assert not said.shown
    assert "$" not in said.words
    assert "more task" in said.words
    assert said.facts == ()


def test_without_a_difference_no_saving_is_said():
    said = savings._statement(measured(3_000, 0.0))
    assert not said.shown
    assert "$" not in said.words


def test_a_shown_saving_comes_with_its_interval_and_its_arms():
    seen = measured(3_000, 0.4)
    said = savings._statement(seen)
    assert said.shown
    held, treated = seen.headline.tasks
    assert f"{held:,} held out, {treated:,} treated" in said.words
    assert said.words.count("[") == 1
    share = seen.headline.saved_share
    assert share.low <= 0.4 <= share.high
    assert [fact.basis for fact in said.facts][:3] == ["measured"] * 3
    assert [at for at, _ in said.course] == [1.0]


def test_lines_of_the_waterfall_have_names_for_people():
    assert savings.name_of("own:judge") == "our own: judge"
    assert savings.name_of("trim") == "trimming"
    assert savings.name_of("something new") == "something new"
