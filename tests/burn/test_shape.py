"""The arithmetic of outlines against figures that can be checked by hand or on the models' cards."""

import pytest

from jevons.burn import shape as outline
from jevons.burn.tables import load
from jevons.core.errors import CallerError

SHAPES = load().shapes


def known(name):
    found = outline.find(name, SHAPES)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "qwen3-235b-a22b"),
        ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
        ("google/gemma-3-12b-it", "gemma-3-12b"),
        ("nvidia/NVIDIA-Nemotron-Nano-12B-v2", "nemotron-nano-12b-v2"),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_family_is_the_name_without_maker_variant_date_and_precision(name, expected):
    assert outline.family(name) == expected


def test_grouped_queries_of_a_70b_take_320_kib_per_token():
    assert outline.kv_bytes_per_token(known("llama-3.3-70b")) == 80 * 2 * 8 * 128 * 2 == 327_680


def test_multi_head_latent_attention_caches_the_latent_only():
    assert outline.kv_bytes_per_token(known("deepseek-v3")) == 61 * 576 * 2


def test_all_heads_cost_a_7b_half_a_mebibyte_per_token():
    assert outline.kv_bytes_per_token(known("llama-2-7b")) == 524_288


def test_windowed_layers_stop_growing_at_their_window():
    gemma = known("gemma-3-12b")
    growth = outline.kv_bytes(gemma, 9000) - outline.kv_bytes(gemma, 8000)
    assert growth == pytest.approx(1000 * (48 - 40) * 2 * 8 * 256 * 2)


def test_a_mixture_reads_all_its_weights_only_at_a_large_batch():
    mixture = known("qwen3-235b-a22b")
    whole = outline.weight_bytes(mixture, "bfloat16")
    one = outline.touched_weight_bytes(mixture, "bfloat16", 1)
    assert one == pytest.approx(22e9 * 2, rel=0.15)  # about the active parameters
    assert outline.touched_weight_bytes(mixture, "bfloat16", 4096) == pytest.approx(whole)


def test_published_totals_agree_with_the_experts_in_the_table():
    for name, shape in SHAPES.models.items():
        assert shape.experts * shape.expert_params_b <= shape.total_b * 1.03, name
        assert 0 < shape.active_b <= shape.total_b, name


def test_packed_experts_of_a_20b_weigh_what_its_card_says():
    assert outline.weight_bytes(known("gpt-oss-20b"), "mxfp4") == pytest.approx(13.7e9, rel=0.1)


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(CallerError, match="bfloat16"):
        outline.element_bytes("fp3")


@pytest.mark.parametrize(("total", "active"), [(0, 0), (10, 20), (-1, 1), (float("nan"), 1)])
def test_impossible_parameter_counts_are_refused(total, active):
    with pytest.raises(CallerError):
        outline.typical(total, active)


def test_a_guessed_outline_says_so_and_touches_about_its_active_parameters():
    guess = outline.typical(120, 6)
    assert not guess.known
    assert outline.touched_weight_bytes(guess, "bfloat16", 1) / 2e9 == pytest.approx(6, rel=0.3)
