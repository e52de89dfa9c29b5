"""Now or later: what is deferred, and that sending it late is never dearer than sending it now."""

from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.batch.decide import Channel, Waiting, decide, saving
from jevons.prices.prefix import Rates

NOW = Rates(input=100, cached=10, cache_write_5m=125, cache_write_1h=200, output=500)
HALF = Rates(input=50, cached=5, cache_write_5m=62, cache_write_1h=100, output=250)
BATCH = Channel(name="batch", rates=HALF, wait_s=1800.0)
FLEX = Channel(name="flex", rates=HALF, wait_s=100.0, keeps_prefix=True)
NIGHT = Channel(name="off-peak", rates=HALF, opens=5000.0, keeps_prefix=True)


def waiting(**changes: float) -> Waiting:
    base: dict[str, float] = {"at": 0.0, "deadline": 7200.0, "prompt": 10_000, "output": 100, "survives": 0}
    return Waiting(**(base | changes))  # type: ignore[arg-type]


def test_a_call_that_stands_alone_goes_by_batch_at_half_its_price() -> None:
    plan = decide(waiting(), NOW, [BATCH])
    assert plan.channel is BATCH
    assert plan.saves_pico == (10_000 * 100 + 100 * 500) // 2


def test_a_call_that_others_follow_stays_for_its_prefix_is_worth_more() -> None:
    assert decide(waiting(survives=1_000_000), NOW, [BATCH]).channel is None


def test_much_output_outweighs_a_prefix_that_is_written_again() -> None:
    assert decide(waiting(survives=1_000_000, output=5000), NOW, [BATCH]).channel is BATCH


def test_a_held_prefix_is_never_left_to_die() -> None:
    held = waiting(held=9000, held_until=290.0, output=50_000)
    assert decide(held, NOW, [BATCH]).channel is None
    plan = decide(held, NOW, [FLEX])
    assert plan.channel is FLEX
    assert plan.late_at < 290.0
    assert decide(waiting(held=9000, held_until=90.0), NOW, [FLEX]).channel is None


def test_a_deadline_that_is_too_near_means_now() -> None:
    assert decide(waiting(deadline=60.0), NOW, [BATCH, FLEX]).channel is None


def test_a_window_is_waited_for_when_it_opens_in_time() -> None:
    plan = decide(waiting(), NOW, [NIGHT])
    assert (plan.channel, plan.send_at) == (NIGHT, 5000.0)
    assert decide(waiting(deadline=5000.0), NOW, [NIGHT]).channel is None


@given(
    st.integers(0, 100_000),
    st.floats(0, 1),
    st.integers(0, 5_000),
    st.sampled_from([0, 1_000_000]),
    st.sampled_from([BATCH, FLEX, NIGHT]),
)
def test_what_is_deferred_is_cheaper_and_if_taken_back_no_dearer(
    prompt: int, share: float, output: int, survives: int, channel: Channel
) -> None:
    held = int(prompt * share)
    call = waiting(prompt=prompt, held=held, held_until=280.0, output=output, survives=survives)
    plan = decide(call, NOW, [channel])
    if plan.channel is None:
        return
    assert plan.saves_pico == saving(call, NOW, channel) > 0
    assert plan.late_at < call.deadline
    assert not held or plan.late_at < call.held_until
