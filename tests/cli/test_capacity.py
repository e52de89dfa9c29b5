"""`jevons capacity`: the same figures for people and for programs; bad words are refused with a way out."""

import json

import pytest
from click.testing import CliRunner

from jevons.cli.capacity import command


def run(*words):
    return CliRunner().invoke(command, list(words))


def test_json_holds_memory_points_and_notes():
    found = json.loads(run("llama-3.1-70b", "--devices", "4", "--context", "480", "--batch", "8", "--json").output)
    assert found["memory"]["kv_bytes_per_token"] == 327_680
    assert found["points"][0]["usd_per_mtok"]["low"] < found["points"][0]["usd_per_mtok"]["high"]
    assert any("assumption" in note for note in found["notes"])


def test_people_see_bands_and_a_verdict_on_spilled_sequences():
    text = run("qwen3-8b", "--batch", "16").output
    assert "bytes of KV per token" in text
    assert " to " in text
    assert "recompute" in text


def test_an_unlisted_model_is_planned_from_its_parameters():
    found = json.loads(run("--params", "120:6", "--hardware", "b200", "--batch", "8", "--json").output)
    assert any("guessed" in note for note in found["notes"])


def test_shocks_run_through_to_a_plans_margin():
    words = ("--shock", "hour=0.7", "--plan", "pro=100:50", "--json")
    found = json.loads(run(*words).output)
    assert found["margins"]["pro"]["before_nano"] == 50 * 10**9
    assert found["margins"]["pro"]["after_mid_nano"] == 65 * 10**9
    assert {line["name"] for line in found["materials"] if line["share"] is None} == {"optics", "building", "margin"}


def test_the_bill_of_materials_prints_unknown_where_no_source_exists():
    assert "unknown" in run("--materials").output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("no-such-model",),
        ("qwen3-8b", "--hardware", "abacus"),
        ("qwen3-8b", "--weights", "fp3"),
        ("--params", "x"),
        ("--params", "6:120"),
        ("qwen3-8b", "--usd-hour", "1,2"),
        ("qwen3-8b", "--usd-hour", "3,2,1"),
        ("--shock", "gold=2"),
        ("--shock", "hbm"),
        ("--shock", "hbm=2", "--plan", "pro=x:y"),
        ("qwen3-8b", "--context", "0"),
    ],
)
def test_bad_words_are_refused(words):
    result = run(*words)
    assert result.exit_code != 0
    assert "Error" in result.output
    assert "Traceback" not in result.output


def test_the_list_names_models_and_hardware():
    assert "mi300x" in run("--list").output
    assert "deepseek-v3" in json.loads(run("--list", "--json").output)["models"]
