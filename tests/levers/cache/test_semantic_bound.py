"""The audit coin's bound against brute force and simulation, and the gate that obeys it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.core.errors import CallerError, OurError
from jevons.levers.cache.semantic.bound import RHOS, Coin, poisson_mean
from jevons.levers.cache.semantic.gate import ALPHA, Gate, Policy


def test_the_bound_holds_at_all_times_together_for_nineteen_runs_in_twenty():
    dice, broken, runs = random.Random(1), 0, 400
    coin = Coin(0.3, ALPHA)
    for _ in range(runs):
        audited = served = 0
        for _ in range(300):  # each step is one would-be hit that is wrong: the worst stream there is
            if dice.random() < coin.q:
                audited += 1
            else:
                served += 1
            if served > coin.served_wrong(audited):
                broken += 1
                break
    assert broken <= ALPHA * runs


def test_an_adversary_who_stops_after_a_lucky_streak_gains_nothing():
    """He serves wrong answers until the excess looks best, over many tries: still at most alpha of them break it."""
    dice, broken, runs = random.Random(2), 0, 300
    coin = Coin(0.5, ALPHA)
    for _ in range(runs):
        audited = served = 0
        while served - audited < 12 and served + audited < 200:
            audited, served = (audited + 1, served) if dice.random() < coin.q else (audited, served + 1)
            if served > coin.served_wrong(audited):
                broken += 1
                break
    assert broken <= ALPHA * runs


@given(st.integers(0, 60), st.sampled_from([0.05, 0.2, 0.5]))
@settings(max_examples=60)
def test_the_bound_is_the_last_count_that_the_martingale_does_not_refute(audited, q):
    coin = Coin(q, ALPHA)
    most = coin.served_wrong(audited)

    def martingale(served):
        return sum(rho**audited * ((1 - rho * q) / (1 - q)) ** served for rho in RHOS) / len(RHOS)

    assert martingale(most) < 1 / ALPHA <= martingale(most + 1)
    assert coin.served_wrong(audited + 1) >= most


@pytest.mark.parametrize("q", [0.0, 1.0, -1.0])
def test_a_coin_that_always_falls_alike_proves_nothing(q):
    with pytest.raises(OurError):
        Coin(q, ALPHA)


@pytest.mark.parametrize(("count", "alpha"), [(0, 0.02), (1.9, 0.02), (5, 0.05)])
def test_the_poisson_mean_matches_scipy(count, alpha):
    stats = pytest.importorskip("scipy.stats")
    assert stats.poisson.sf(int(count), poisson_mean(count, alpha)) == pytest.approx(alpha, rel=1e-6)


def run(gate, steps, wrong_chance, seed=0):
    """Would-be hits of equal risk; returns (served wrong, whether the level was ever passed)."""
    dice, served_wrong, passed = random.Random(seed), 0, False
    for _ in range(steps):
        verdict = gate.weigh(0.05)
        wrong = dice.random() < wrong_chance
        if verdict == "hit" and dice.random() >= gate.audit_share:
            gate.serve(0.05)
            served_wrong += wrong
        elif verdict == "hit":
            gate.labelled(0.05, wrong, audited=True)
        elif verdict == "shadow":
            gate.labelled(0.05, wrong, audited=False)
        count = gate.requests if gate.policy.unit == "request" else gate.would_be
        passed = passed or served_wrong > gate.policy.level * max(1, count)
    return served_wrong, passed


def test_a_verifier_that_lies_costs_hits_and_not_the_bound():
    """It says 5% where the truth is 60%: the gate closes before the level is passed."""
    passed = 0
    for seed in range(40):
        gate = Gate(Policy(0.05))
        gate._aim = lambda: None  # the threshold never learns, so only the audits protect
        gate.threshold = 0.5
        passed += run(gate, 2000, 0.6, seed)[1]
    assert passed <= 40 * ALPHA


def test_a_good_record_opens_the_gate_and_a_bad_one_lowers_the_threshold():
    good, bad = Gate(Policy(0.05)), Gate(Policy(0.05))
    run(good, 3000, 0.01)
    run(bad, 3000, 0.9)
    assert good.served > 1000
    assert bad.served < 300
    assert bad.correction > 3 > good.correction


def test_nothing_is_served_before_the_record_could_prove_anything():
    gate = Gate(Policy(0.01))
    verdicts = [gate.weigh(0.0001) for _ in range(300)]
    assert "hit" not in verdicts
    assert "shadow" in verdicts


def test_repeats_count_as_hits_and_leave_the_threshold_alone():
    gate = Gate(Policy(0.05, "hit"))
    for _ in range(2000):
        gate.repeated()
    assert gate.open
    assert gate.threshold == 0.0


def test_later_coins_audit_less():
    gate = Gate(Policy(0.05))
    first = gate.audit_share
    run(gate, 40_000, 0.0)
    assert gate.audit_share < first / 4


def test_a_dumped_gate_goes_on_where_it_was():
    gate = Gate(Policy(0.05))
    run(gate, 1500, 0.02)
    again = Gate(Policy(0.05))
    again.restore(gate.dump())
    assert again.dump() == gate.dump()
    assert [again.weigh(0.01) for _ in range(50)] == [gate.weigh(0.01) for _ in range(50)]


@pytest.mark.parametrize("level", [0.0, 0.5, -0.1])
def test_a_level_that_means_nothing_is_refused(level):
    with pytest.raises(CallerError):
        Policy(level)
