"""A runaway is told by what a task spends against what tasks usually cost."""

from jevons.ledger.trouble import runaway, velocity_nano_per_min

DOLLAR = 1_000_000_000


def test_the_speed_is_that_of_the_last_ten_minutes() -> None:
    assert velocity_nano_per_min([]) == 0
    assert velocity_nano_per_min([(0.0, 50 * DOLLAR), (1000.0, DOLLAR), (1300.0, DOLLAR)]) == DOLLAR // 5


def test_a_task_far_faster_than_usual_is_a_runaway() -> None:
    fast = [(float(second), DOLLAR // 10) for second in range(60)]
    assert runaway(fast, DOLLAR)
    assert not runaway(fast, 2 * DOLLAR)
    assert not runaway(fast, 0), "nothing is known of what is usual"


def test_cents_are_no_runaway() -> None:
    assert not runaway([(0.0, DOLLAR // 2)], 1000)
