"""What a bill and a ledger have to say to each other, line by line."""

from jevons.core.usage import Usage
from jevons.ledger.invoice import Billed, Invoice
from jevons.ledger.reconcile import Booked, reconcile

DAY, NEXT = "2026-11-24", "2026-11-25"
USAGE = Usage(input=100, cached=900, output=50)


def billed(usage=USAGE, requests=1, **changes):
    return Billed(**{"day": DAY, "model": "m", "usage": usage, "requests": requests, **changes})


def booked(usage=USAGE, calls=1, **changes):
    return Booked(**{"day": DAY, "model": "m", "usage": usage, "calls": calls, **changes})


def usage_of(lines, entries, keys=()):
    return reconcile(Invoice("openai", "usage", tuple(lines)), entries, keys)


def test_lines_of_several_keys_and_tariffs_are_one_and_agree():
    result = usage_of([billed(key="a"), billed(key="b")], [booked(), booked(tier="default")])
    (line,) = result.lines
    assert (line.state, line.residual, line.calls, line.billed) == ("agrees", 0, 2, 2_100)
    assert result.keys == ("a", "b")


def test_a_key_that_is_not_ours_is_left_out():
    assert usage_of([billed(key="a"), billed(key="b")], [booked()], ["a"]).differing == 0
    assert usage_of([billed(key="a"), billed(key="b")], [booked()]).lines[0].state == "differs"


def test_a_snapshots_name_is_its_models():
    lines = usage_of([billed(model="m-2024-07-18")], [booked()]).lines
    assert [(line.model, line.state) for line in lines] == [("m-2024-07-18", "agrees")]


def test_two_snapshots_of_one_model_stay_apart():
    lines = usage_of(
        [billed(model="m-2024-07-18"), billed(model="m-2024-08-06")],
        [booked(model="m-2024-07-18"), booked(model="m-2024-08-06")],
    ).lines
    assert [line.state for line in lines] == ["agrees", "agrees"]


def test_reported_and_estimated_are_told_apart():
    short = Usage(input=100, cached=900, output=8)
    (line,) = usage_of([billed(), billed()], [booked(), booked(short, estimated=True)]).lines
    assert (line.state, line.residual, line.by_kind) == ("estimated", 42, {"output": 42})
    assert (line.reported, line.estimated) == (1_050, 1_008)
    assert "1 of 2 calls ended before the provider reported" in line.why


def test_an_estimate_does_not_excuse_a_request_that_is_missing():
    (line,) = usage_of([billed(), billed(), billed()], [booked(), booked(estimated=True)]).lines
    assert line.state == "differs"


def test_a_call_at_midnight_is_named():
    lines = usage_of([billed(day=NEXT)], [booked()]).lines
    assert {line.day: line.state for line in lines} == {DAY: "differs", NEXT: "differs"}
    assert all("midnight" in line.why for line in lines)
    assert sum(line.residual for line in lines) == 0


def test_another_tier_is_named():
    lines = usage_of([billed(tier="flex")], [booked()]).lines
    assert all("under the tier" in line.why for line in lines)


def test_what_is_not_booked_or_not_billed_is_named():
    (line,) = usage_of([billed()], []).lines
    assert (line.residual, line.state) == (1_050, "differs")
    assert "did not pass jevons" in line.why
    (line,) = usage_of([], [booked()]).lines
    assert "not complete yet" in line.why
    (line,) = usage_of([], [booked(estimated=True)]).lines
    assert "booked by estimate and not billed" in line.why


def costs_of(lines, entries):
    return reconcile(Invoice("anthropic", "cost", tuple(lines)), entries)


RATES = {"input": 3_000_000, "cached": 300_000, "output": 15_000_000}


def test_costs_are_compared_by_kind_of_token_at_the_booked_rates():
    lines = [
        billed(kind="input", pico=100 * 3_000_000),
        billed(kind="cached", pico=900 * 300_000),
        billed(kind="output", pico=50 * 15_000_000),
    ]
    result = costs_of(lines, [booked(rates=RATES)])
    assert [line.state for line in result.lines] == ["agrees"] * 3
    assert result.residual == 0


def test_another_price_is_named_with_both():
    lines = [billed(kind="input", pico=100 * 2_500_000)]
    (line,) = costs_of(lines, [booked(Usage(input=100), rates=RATES)]).lines
    assert line.state == "differs"
    assert "$2.5000 a million tokens were billed, $3.0000 booked" in line.why


def test_an_unpriced_call_is_named():
    lines = [billed(kind="input", pico=300_000_000)]
    (line,) = costs_of(lines, [booked(Usage(input=100), priced=False)]).lines
    assert "1 calls are unpriced here" in line.why


def test_hidden_reasoning_is_output_at_its_own_rate():
    usage = Usage(output=50, reasoning=20)
    (line,) = costs_of(
        [billed(kind="output", pico=30 * 10 + 20 * 7)], [booked(usage, rates={"output": 10, "reasoning": 7})]
    ).lines
    assert line.state == "agrees"
