"""`jevons quantize`, `models add` and `engines launch` as a person types them; the native work is tested in lab/."""

import json

import pytest
from click.testing import CliRunner

from jevons.cli import main
from jevons.engines import served
from jevons.lab.quantize_tensors import tiny


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JEVONS_LIBLLAMA", str(tmp_path / "libllama.so"))
    tiny(tmp_path / "m.F32.gguf")
    return lambda *words: CliRunner().invoke(main, list(words))


def bench(path, usable):
    found = {"rows": [{"name": "m.F32.gguf", "usd_per_mtok_in": 0.05, "usd_per_mtok_out": 0.1}]}
    path.write_text(json.dumps(found | {"kv": [{"kv_type": "q4_0", "usable": usable}]}))
    return str(path)


def test_what_is_wrong_is_said_in_a_line(run, tmp_path):
    assert "there is no file" in run("quantize", "m.F32.gguf").output
    (tmp_path / "libllama.so").write_bytes(b"junk")
    assert "can't be loaded" in run("quantize", "m.F32.gguf", "--out", "out").output
    assert "no quantization known" in run("quantize", "m.F32.gguf", "--to", "q7").output
    assert "no such file" in run("quantize", "none.gguf").output
    assert "MODEL.gguf" in run("quantize").output


def test_a_model_is_added_moved_and_removed(run, tmp_path):
    assert run("models", "add", "m.F32.gguf", "--as", "small", "--slots", "2").exit_code == 0
    assert served.read()["small"] == served.Served(path=str(tmp_path / "m.F32.gguf"), slots=2)
    priced = bench(tmp_path / "bench.json", usable=True)
    assert "$0.0500 in, $0.1000 out" in run("models", "add", "m.F32.gguf", "--as", "small", "--bench", priced).output
    assert served.read()["small"].usd_per_mtok_out == 0.1
    assert run("models", "remove", "small").exit_code == 0
    assert served.read() == {}
    assert "not served" in run("models", "remove", "small").output
    assert "no name" in run("models", "add", "m.F32.gguf", "--as", "local").output
    assert "no such file" in run("models", "add", "none.gguf", "--as", "small").output


def test_a_low_kv_type_needs_a_check_that_it_passed(run, tmp_path):
    words = ("models", "add", "m.F32.gguf", "--as", "small", "--kv-type", "q4_0")
    assert "needs a quality check" in run(*words).output
    failed = bench(tmp_path / "failed.json", usable=False)
    assert "needs a quality check" in run(*words, "--bench", failed).output
    assert served.read() == {}
    assert run(*words, "--bench", bench(tmp_path / "passed.json", usable=True)).exit_code == 0
    assert served.read()["small"].kv_type == "q4_0"


def test_a_bench_of_other_files_is_refused(run, tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"rows": [], "kv": []}')
    words = ("models", "add", "m.F32.gguf", "--as", "small", "--bench")
    assert "measured no file" in run(*words, str(other)).output
    other.write_text("[]")
    assert "is no output" in run(*words, str(other)).output


def test_a_launch_line_is_alone_on_stdout(run):
    found = run("engines", "launch", "--engine", "vllm", "--model", "org/m", "--gpu", "H100")
    assert found.stdout.startswith("vllm serve org/m --tensor-parallel-size 1 --quantization fp8")
    assert len(found.stdout.splitlines()) == 1


def test_a_bench_of_nothing_known_is_refused(run):
    assert "known are" in run("bench", "local", "m.F32.gguf", "--kv", "q9").output
    assert "is not FILE=USD_HOUR" in run("bench", "local", "m.F32.gguf", "--engine-results", "x").output
    assert "no such file" in run("bench", "local", "none.gguf").output
