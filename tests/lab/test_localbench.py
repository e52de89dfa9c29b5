"""The bench's arithmetic against scipy, its choice against brute force, and a model against itself."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jevons.burn.meter import between
from jevons.core.errors import CallerError
from jevons.engines import library, local_gguf
from jevons.engines.library import LibraryError
from jevons.lab import localbench, localbench_choose, localbench_engines, localbench_tasks
from jevons.lab.localbench_child import Job, divergence, log_softmax
from jevons.lab.localbench_choose import Interval, Rung, choose, interval
from jevons.lab.localbench_energy import reading
from jevons.lab.localbench_tasks import Task, solved
from jevons.lab.quantize_tensors import tiny

MODEL = Path(__file__).parents[2] / ".jevons/models/SmolLM2-135M-Instruct.Q4_1.gguf"
EXACT = Interval(0.0, 0.0, 0.0, 0.0)


def rung(name, kld, price, high=None, **more):
    return Rung(name=name, kld=Interval(kld, 0.0, kld, kld if high is None else high), usd_per_mtok=price, **more)


# --- figures


def test_log_probabilities_and_divergence_are_scipys():
    dice = np.random.default_rng(1)
    first, second = (dice.normal(0, 8, (5, 400)).astype(np.float32) for _ in range(2))
    own, other = log_softmax(first), log_softmax(second)
    assert np.allclose(own, scipy.special.log_softmax(first.astype(np.float64), axis=1), atol=1e-4)
    truth = scipy.stats.entropy(np.exp(own, dtype=np.float64), np.exp(other, dtype=np.float64), axis=1)
    assert np.allclose(divergence(own, other), truth, rtol=1e-3)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20).filter(lambda values: max(values) - min(values) > 1e-3))
def test_an_interval_is_students(values):
    found = interval(values)
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_one_window_knows_no_spread():
    assert interval([0.3]).high == math.inf


# --- the choice


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=7))
def test_the_front_is_what_nothing_beats(points):
    rungs = [rung(str(at), kld, price) for at, (kld, price) in enumerate(points)]
    front = set(localbench_choose.front(rungs))
    for at, (kld, price) in enumerate(points):
        beaten = any(k <= kld and p <= price and (k, p) != (kld, price) for k, p in points)
        assert (str(at) in front) != beaten


def test_the_cheapest_file_that_is_known_to_lose_little_is_recommended():
    rungs = [
        rung("f16", 0, 10.0, reference=True), rung("q8", 0.005, 6.0), rung("q4_k_m", 0.07, 4.0, high=0.09),
        rung("q4_0", 0.3, 3.0), rung("unsure", 0.05, 2.0, high=math.inf),
    ]  # fmt: skip
    found = choose(rungs)
    assert found.name == "q4_k_m"
    assert "60% cheaper than f16" in found.reason
    assert "refused: q4_0, unsure" in found.reason


def test_prices_within_the_noise_go_to_the_better_file_and_the_reference_stays_when_nothing_else_does():
    rungs = [rung("f16", 0, 10.0, reference=True), rung("q8", 0.005, 4.1), rung("q6", 0.02, 4.0)]
    assert choose(rungs).name == "q8"
    assert choose([rung("f16", 0, 10.0, reference=True), rung("q2", 0.9, 1.0)]).name == "f16"


def test_a_task_score_decides_where_there_is_one():
    worse, same = Interval(0.2, 0.02, 0.16, 0.24), Interval(0.0, 0.01, -0.02, 0.02)
    rungs = [
        rung("f16", 0, 10.0, reference=True, score_lost=EXACT), rung("q4", 0.3, 4.0, score_lost=same),
        rung("q8", 0.001, 3.0, score_lost=worse),
    ]  # fmt: skip
    assert choose(rungs).name == "q4"
    svg = localbench_choose.plot(rungs, choose(rungs))
    assert svg.startswith("<svg")
    assert "q4" in svg


def test_low_kv_types_need_a_passed_check():
    close, far = Interval(0.004, 0.001, 0.002, 0.006), Interval(0.05, 0.01, 0.03, 0.07)
    assert localbench_choose.kv_passes(close, Interval(0.97, 0.005, 0.96, 0.98))
    assert not localbench_choose.kv_passes(far, Interval(0.97, 0.005, 0.96, 0.98))
    assert not localbench_choose.kv_passes(close, Interval(0.96, 0.01, 0.94, 0.98))


def test_a_file_made_from_another_is_no_better_than_it(tmp_path):
    files = []
    for name in ("a.gguf", "b.gguf"):
        tiny(tmp_path / name)
        files.append(local_gguf.read(tmp_path / name))
    made = {"source": "a.gguf", "source_sha256": "", "source_bits_per_weight": 32.0, "kind": "f32", "library": ""}
    made |= {"sha256": "", "size_bytes": 1, "bits_per_weight": 32.0}
    for known, best in (("b.gguf", "a.gguf"), ("a.gguf", "b.gguf")):
        note = tmp_path / f"{known}.json"
        note.write_text(json.dumps(made))
        assert Path(localbench.reference(files).path).name == best
        note.unlink()
    assert Path(localbench.reference(files, "b.gguf").path).name == "b.gguf"
    with pytest.raises(CallerError, match="not one of the models"):
        localbench.reference(files, "c.gguf")


def test_a_row_is_priced_by_cpu_seconds_and_filled_by_memory(tmp_path):
    tiny(tmp_path / "a.gguf")
    file = local_gguf.read(tmp_path / "a.gguf")
    setup = localbench.Setup(
        text=tmp_path, usd_per_hour=0.36, cores=4, kv_types=("f16", "q8_0"), context_tokens=100,
        memory_bytes=file.size_bytes + localbench.COMPUTE_BYTES + file.kv_bytes_per_token() * 100 * 7,
    )  # fmt: skip
    quality = {file.path: {"nll": [1.0, 3.0], "kld": [], "same_top": []}}
    speed = {"prefill_tok_per_cpu_s": 250.0, "decode_tok_per_cpu_s": {"1": 50.0, "8": 100.0}, "resident_bytes": 1}
    made = localbench.row(file, file, quality, speed, {}, setup)
    assert made.usd_per_mtok_in == pytest.approx(0.36 / 3600 / 4 / 250 * 1e6)
    assert made.usd_per_mtok_out == pytest.approx(0.36 / 3600 / 4 / 100 * 1e6)
    assert made.sequences_that_fit == {"f16": 7, "q8_0": 13}
    assert made.perplexity == pytest.approx(math.exp(2.0))
    assert (made.reference, made.kld.high) == (True, 0.0)
    assert choose(localbench.rungs([made])).name == "a.gguf"


# --- tasks


@pytest.mark.parametrize(
    ("task", "text", "well"),
    [
        (Task(prompt="x", answer="Paris"), "it is paris.", True),
        (Task(prompt="x", answer=("no", "never")), "Never!", True),
        (Task(prompt="x", answer="42", check="exact"), " 42\n", True),
        (Task(prompt="x", answer="42", check="exact"), "It is 42", False),
        (Task(prompt="x", answer="1,200", check="number"), "3 times 400 makes 1200.", True),
        (Task(prompt="x", answer="12", check="number"), "none", False),
        (Task(prompt="x", answer=r"^\d+$", check="regex"), "77", True),
    ],
)
def test_answers_are_checked(task, text, well):
    assert solved(task, text) is well


def test_malformed_lines_are_named_and_the_rest_runs(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(
        '{"prompt":"a","answer":"b"}\nnot json\n{"answer":"b"}\n{"prompt":"a","answer":"(","check":"regex"}\n\n'
    )
    tasks, wrong = localbench_tasks.load(path)
    assert [task.prompt for task in tasks] == ["a"]
    assert [line.split(":")[0].rsplit(" ", 1)[1] for line in wrong] == ["2", "3", "4"]
    path.write_text("nothing\n")
    with pytest.raises(CallerError, match="no line is a task"):
        localbench_tasks.load(path)


# --- energy


def test_whole_packages_are_read_and_their_parts_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.lab.localbench_energy._nvml", dict)
    assert reading(0.0, tmp_path) is None
    for zone, micro in (("intel-rapl:0", 5_000_000), ("intel-rapl:0:0", 1), ("intel-rapl:1", 2_000_000)):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(str(micro))
        (tmp_path / zone / "max_energy_range_uj").write_text("10000000")
    first = reading(0.0, tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("6000000")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000")  # wrapped
    last = reading(2.0, tmp_path)
    assert between(first, last).joules == pytest.approx(1.0 + 9.0)


def test_without_counters_energy_is_modelled_and_says_so():
    found = localbench.energy(200.0, 100.0, {})
    assert found.source.startswith("modelled")
    assert found.joules_per_ktok_out.mid == pytest.approx(2 * found.joules_per_ktok_in.mid)
    counted = localbench.energy(200.0, 100.0, {"energy": {"joules": 50.0, "seconds": 10.0, "source": "RAPL"}})
    assert counted.source.startswith("measured: RAPL")
    assert counted.joules_per_ktok_in.mid == pytest.approx(5.0 * 1000 / 200)


# --- GPU engines


def test_launch_lines_carry_the_choices():
    line = localbench_engines.launch("vllm", "org/m odel", gpu="H100", devices=2, context_tokens=8192).line
    assert line == (
        "vllm serve 'org/m odel' --tensor-parallel-size 2 --quantization fp8 --kv-cache-dtype fp8 "
        "--gpu-memory-utilization 0.90 --enable-prefix-caching --max-model-len 8192"
    )
    made = localbench_engines.launch("sglang", "m", gpu="A100", weights="awq", prefix_caching=False)
    assert "--quantization awq --kv-cache-dtype fp8_e4m3" in made.line
    assert made.line.endswith("--disable-radix-cache")
    assert any("no FP8 arithmetic" in note for note in made.notes)
    with pytest.raises(CallerError, match="known"):
        localbench_engines.launch("vllm", "m", gpu="H100", weights="int3")


def test_benchmark_results_become_prices(tmp_path):
    row = {"duration": 36.0, "completed": 10, "total_input_tokens": 30_000, "total_output_tokens": 10_000}
    path = tmp_path / "vllm.json"
    path.write_text(
        json.dumps(row | {"model_id": "m", "total_token_throughput": 1111.1, "max_concurrency": 64}, indent=1)
    )
    found = localbench_engines.read_benchmarks(path, 2.0)[0]
    assert (found.engine, found.concurrency) == ("vllm", 64)
    assert found.usd_per_mtok_all == pytest.approx(0.02 / 40_000 * 1e6)
    assert found.usd_per_mtok_out == pytest.approx(0.02 / 10_000 * 1e6)
    path.write_text(json.dumps(row | {"backend": "sglang"}) + "\n" + json.dumps(row | {"completed": 0}) + "\n")
    with pytest.raises(CallerError, match="line 2"):
        localbench_engines.read_benchmarks(path, 2.0)
    path.write_text('{"a":1}\nnope\n')
    with pytest.raises(CallerError, match="line 2: not JSON"):
        localbench_engines.read_benchmarks(path, 2.0)


# --- with the engine


@pytest.mark.local
def test_a_model_against_itself_diverges_by_nothing(tmp_path):
    if not MODEL.exists():
        pytest.skip(f"NO LOCAL MODEL: {MODEL}")
    text = localbench.default_text(tmp_path)
    job = {
        "library": str(library.engine().path),
        "model": str(MODEL),
        "text": str(text),
        "kept": str(tmp_path / "kept"),
    }
    first = localbench.run(Job(task="reference", window=64, **job))
    again = localbench.run(Job(task="compare", window=64, **job))
    assert again["same_top"] == [1.0]
    assert abs(again["kld"][0]) < 1e-6
    assert again["nll"] == first["nll"]
    assert 1 < math.exp(first["nll"][0]) < 100
    expected = local_gguf.read(MODEL).kv_bytes_per_token()
    assert first["state_bytes_per_token"] == pytest.approx(expected, rel=0.02)


@pytest.mark.local
def test_what_cannot_be_measured_is_named(tmp_path):
    text = tmp_path / "text"
    text.write_text("short")
    tiny(tmp_path / "tiny.gguf")
    job = {"library": str(library.engine().path), "text": str(text), "kept": str(tmp_path / "kept")}
    with pytest.raises(LibraryError, match="can't load it"):
        localbench.run(Job(model=str(tmp_path / "tiny.gguf"), task="reference", **job))
    if MODEL.exists():
        with pytest.raises(LibraryError, match="windows need"):
            localbench.run(Job(model=str(MODEL), task="reference", **job))
