"""Packing: never two of a chain, never two tenants, and nothing waits beyond its time."""

from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.batch.schedule import GATHER_S, Ready, late, pack


def ready(name: str, *, task: str = "", since: float = 0.0, late_at: float = 1e6, **rest: object) -> Ready:
    fields: dict[str, object] = {"tenant": "t", "channel": "batch", "model": "m", "send_at": since} | rest
    return Ready(operation=name, task=task or name, since=since, late_at=late_at, **fields)  # type: ignore[arg-type]


def test_calls_gather_and_then_go_together() -> None:
    calls = [ready("a"), ready("b", since=30.0)]
    assert pack(calls, 59.0) == ([], GATHER_S)
    (batch,), _ = pack(calls, 60.0)
    assert batch.operations == ("a", "b")


def test_an_urgent_call_takes_the_others_along() -> None:
    (batch,), _ = pack([ready("a"), ready("b", late_at=20.0)], 20.0)
    assert batch.operations == ("a", "b")


def test_a_window_that_is_not_open_is_named_as_the_next_time() -> None:
    assert pack([ready("a", send_at=500.0)], 100.0) == ([], 500.0)


def test_those_whose_time_is_over_are_named() -> None:
    assert late([ready("a", late_at=10.0), ready("b", late_at=11.0)], 10.0) == ["a"]


@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from(["t1", "t2"]), st.sampled_from(["m", "n"]), st.floats(0, 50)),
        max_size=30,
    )
)
def test_no_batch_holds_two_of_a_chain_or_two_tenants(drawn: list[tuple[str, str, str, float]]) -> None:
    calls = [
        ready(f"op{i}", task=task, tenant=tenant, model=model, since=since)
        for i, (task, tenant, model, since) in enumerate(drawn)
    ]
    by_name = {call.operation: call for call in calls}
    batches, _ = pack(calls, 1000.0)
    sent = [by_name[name] for batch in batches for name in batch.operations]
    chains = [(call.tenant, call.task) for call in sent]
    assert len(chains) == len(set(chains))
    for batch in batches:
        assert {(by_name[name].tenant, by_name[name].model) for name in batch.operations} == {
            (batch.tenant, batch.model)
        }
    for call in sent:  # the earliest of each chain goes first
        assert all(
            call.since <= other.since for other in calls if (other.tenant, other.task) == (call.tenant, call.task)
        )
