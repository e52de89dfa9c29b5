"""A real gateway under load is killed, stopped and starved of disk; its ledger is compared with what clients saw."""

import pytest

from benchmarks.chaos import run

ESTIMATE_ERROR_USD = 0.0005
"""One call's: no call of this load costs more."""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return run(tmp_path_factory.mktemp("chaos"), minutes=0.1, seed=1, clients=8, every_s=1.4)


def test_every_answered_call_is_booked_exactly_once(result: dict):
    assert result["answered_200"] > 50
    assert sum(result["process_faults"].values()) >= 1
    assert result["lost"] == result["double_booked"] == result["put_aside"] == 0
    assert result["cost_differs_nano"] == 0


def test_a_budget_is_passed_by_at_most_a_calls_estimate_error(result: dict):
    assert result["refused_by_budget"] > 0
    assert result["budget_overshoot_usd"] <= ESTIMATE_ERROR_USD


def test_no_reservation_outlives_its_call(result: dict):
    assert result["leaked_reservations"] == 0


def test_the_gateway_answers_soon_after_a_fault(result: dict):
    assert result["recovery_s_max"] < 10.0
