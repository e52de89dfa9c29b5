"""How candidates are tried, as a plan says it."""

import tomllib

import pytest

from jevons.core.errors import CallerError
from jevons.plans.plan import Trials, read


def trials(text):
    return read(tomllib.loads(f"[plans.pro]\ncandidates = ['small']\ntrials = {{ {text} }}")).plans["pro"].trials


def test_dollars_are_read_into_nano_dollars():
    found = trials('usd_per_trial = "2.50", usd_per_day = 1, shadow_share = 0.2, evidence = "schema"')
    assert (found.trial_nano, found.day_nano) == (2_500_000_000, 1_000_000_000)
    assert (found.shadow_share, found.evidence, found.canary_pairs) == (0.2, "schema", Trials().canary_pairs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shadow_share = 1.5", "shadow_share"),
        ("alpha = 0.0", "alpha"),
        ("canary_pairs = 0", "canary_pairs"),
        ('evidence = "feeling"', "evidence"),
        ('usd_per_day = "-1"', "negative"),
        ("trial_nano = 5", "unknown setting"),
        ("shadow_shore = 0.1", "shadow_share"),
    ],
)
def test_what_is_no_trial_is_refused_with_its_place(text, says):
    with pytest.raises(CallerError) as refused:
        trials(text)
    assert "plans.pro.trials" in str(refused.value)
    assert says in str(refused.value)
