"""The fit against a world whose truth is known; the split against the rule that it documents."""

import hashlib

import numpy as np
import pytest

from jevons.burn.roofline import accelerator_seconds
from jevons.burn.tables import load
from jevons.core.errors import CallerError
from jevons.lab import burn_fit as lab

TABLES = load()
HEADER = (
    "activated_params_billions,avg_batch_size,avg_output_len,energy_per_token_joules,gpu_model,model_id,num_gpus,"
    "output_throughput_tokens_per_sec,total_params_billions,weight_precision,task"
)
MODELS = [("Qwen/Qwen3-8B", 8.2, 8.2, 1), ("meta-llama/Llama-3.1-70B-Instruct", 70.6, 70.6, 4),
          ("Qwen/Qwen3-30B-A3B", 3.3, 30.5, 1), ("google/gemma-3-27b-it", 27.4, 27.4, 2),
          ("openai/gpt-oss-120b", 5.1, 116.8, 4)]  # fmt: skip


def made_up(noise):
    """Servings whose joules and seconds follow the formula with known factors."""
    rng = np.random.default_rng(1)
    blank = "\n".join(
        f"{active},{batch},400,1.0,{gpu},{model},{devices},1.0,{total},bfloat16,lm-arena-chat"
        for model, active, total, devices in MODELS
        for gpu in ("H100", "B200")
        for batch in (8, 32, 128, 512)
    )
    rows = []
    for row in lab.read_servings(f"{HEADER}\n{blank}\n", TABLES):
        seconds = accelerator_seconds(row.work, TABLES.fit.joules) * float(np.exp(rng.normal(0, noise)))
        rows.append(lab.Serving(
            family=row.family, work=row.work, watts=row.watts, known=row.known,
            joules_per_token=row.watts * seconds / row.work.batch, seconds_per_step=seconds / row.work.devices,
        ))  # fmt: skip
    return rows


def test_the_fit_recovers_a_world_that_follows_the_formula():
    rows = made_up(0.05)
    assert lab.misfit(lab.unseen_errors(rows, "joules"), 1.4).p90_factor < 1.2


def test_the_band_shrinks_when_unseen_families_are_predicted_well():
    assert 1.1 < lab.band_factor(made_up(0.02), "joules") < lab.PRIOR_FACTOR


def test_halves_follow_the_documented_hash():
    names = ["a", "b", "c", "d", "e"]
    fit, report = lab.halves(names, 7)
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    assert fit == set(ordered[:3])
    assert report == set(ordered[3:])


def test_too_few_families_are_refused():
    with pytest.raises(CallerError, match="too few"):
        lab.halves(["a", "b", "c"], 0)


@pytest.mark.parametrize("text", ["", HEADER + "\n", "a,b\n1,2\n", HEADER + "\n" + "x," * 10 + "y\n"])
def test_a_file_of_another_format_is_refused(text):
    with pytest.raises(CallerError):
        lab.read_servings(text, TABLES)


def test_misfit_counts_factors_either_way():
    summary = lab.misfit(np.log([2.0, 0.5, 1.0, 1.0]), 1.5)
    assert summary.band_coverage == 0.5
    assert summary.mape == pytest.approx((1.0 + 0.5) / 4)
