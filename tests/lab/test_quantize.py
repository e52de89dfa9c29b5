"""The ladder: what is refused before, how a file comes to be, what a foreign or dying library does (nothing)."""

import json
import shutil
import stat
import struct
from pathlib import Path

import numpy as np
import pytest

from jevons.engines import library, local_gguf
from jevons.engines.library import Found, LibraryError
from jevons.engines.local_gguf import ModelError
from jevons.lab import quantize, quantize_matrix
from jevons.lab.quantize_abi import context_layout, measured, quantize_matrix_known
from jevons.lab.quantize_child import Job
from jevons.lab.quantize_tensors import tensors, tiny, write

LIBRARIES = sorted((Path(__file__).parents[2] / ".jevons/lib").glob("libllama.*so*"))
needs_library = pytest.mark.skipif(not LIBRARIES, reason="NO LIBLLAMA: `jevons quantize --get-library` fetches one")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.F32.gguf"
    tiny(path)
    return path


@pytest.fixture
def found():
    return Found(LIBRARIES[0], "fetched")


# --- the ABI's measures


def test_a_struct_is_what_was_written_and_its_padding_is_not():
    size, padding = 24, {5, 6}
    first = bytes(7 if at < size and at not in padding else 0xA5 for at in range(64))
    second = bytes(7 if at < size and at not in padding else 0x5A for at in range(64))
    raw, holes = measured(first, second, "f")
    assert (len(raw), set(holes)) == (size, padding)
    with pytest.raises(LibraryError, match="not the function"):
        measured(b"\xa5" * 64, b"\x5a" * 64, "f")


def params(output_type=43, bools=b"\0\1\0\0\0\0", size=64):
    return (struct.pack("<4i", 0, 7, output_type, output_type) + bools).ljust(24, b"\xa5") + b"\0" * (size - 24)


def test_the_known_structs_are_told_apart_and_foreign_ones_refused():
    assert quantize_matrix_known(params(), frozenset({22, 23}), "new")
    assert not quantize_matrix_known(params(bools=b"\0\1\0\0\0", size=56), frozenset({21, 22, 23}), "old")
    for foreign in (params(output_type=0), params(bools=b"\1\1\0\0\0\0"), params(size=200)):
        with pytest.raises(LibraryError, match="another ABI"):
            quantize_matrix_known(foreign, frozenset({22, 23}), "foreign")


def test_the_context_is_found_by_its_defaults_wherever_they_stand():
    def words(extra):
        head = [512, 2048, 512, 1, *[0] * extra, 4, 4, 0, -1, -1, -1, -1]
        floats = [0, 0, *[-1082130432] * 4, 0, -1082130432]
        return head + floats + [0] * (len(head + floats) % 2) + [0, 0, 0, 0, 1, 1, 0, 0]

    for extra in (0, 2, 3):
        found = words(extra)
        layout = context_layout(struct.pack(f"<{len(found)}i", *found), "x")
        assert found[layout.threads // 4] == 4
        assert found[layout.flash // 4] == -1
        assert found[layout.types // 4 :][:2] == [1, 1]
    with pytest.raises(LibraryError, match="not the struct known"):
        context_layout(struct.pack("<40i", *range(40)), "x")


# --- what is refused before anything is made


def test_a_quantized_source_needs_the_users_word(tmp_path, source):
    coded = tmp_path / "coded.gguf"
    data = bytearray(source.read_bytes())
    for tensor in tensors(source):  # each matrix now claims to be q8_0, which takes fewer bytes
        at = data.find(tensor.name.encode()) + len(tensor.name) + 4 + 8 * len(tensor.shape)
        data[at : at + 4] = struct.pack("<I", 8)
    coded.write_bytes(data)
    with pytest.raises(ModelError, match="q8_0 already"):
        quantize.check_source(coded, ["q4_0"], requantize=False, matrix=None)
    assert quantize.check_source(coded, ["q4_0"], requantize=True, matrix=None)[0].quantization == "q8_0"


def test_truncated_foreign_and_unknown_are_named(tmp_path, source):
    short, junk = tmp_path / "short.gguf", tmp_path / "junk.gguf"
    short.write_bytes(source.read_bytes()[:-5000])
    junk.write_bytes(b"PK\3\4" * 100)
    for path, what in ((short, "truncated"), (junk, "not a GGUF"), (tmp_path / "none.gguf", "no such file")):
        with pytest.raises(ModelError, match=what):
            quantize.ladder(path, ["q8_0"], library=Found(Path("none.so"), "variable"))
    with pytest.raises(ModelError, match="q9_9"):
        quantize.check_source(source, ["q9_9"], requantize=False, matrix=None)
    with pytest.raises(ModelError, match="importance matrix"):
        quantize.check_source(source, ["iq2_xs"], requantize=False, matrix=None)


def test_names_follow_the_source_and_never_are_the_source(tmp_path, source):
    assert quantize.target(source, "q4_k_m", tmp_path).name == "tiny.Q4_K_M.gguf"
    with pytest.raises(ModelError, match="source itself"):
        quantize.target(source, "f32", source.parent)


def test_too_little_disk_or_memory_is_said_before(tmp_path, source, monkeypatch):
    model, found = local_gguf.read(source), tensors(source)
    usage = shutil.disk_usage(tmp_path)._replace(free=1024)
    monkeypatch.setattr(quantize.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(ModelError, match="MiB of disk, and 0 MiB are free"):
        quantize.check_room(model, found, ["q8_0"], tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(quantize, "free_bytes", lambda: 1024)
    with pytest.raises(ModelError, match="quantizing takes about"):
        quantize.check_room(model, found, ["q8_0"], tmp_path)


def test_a_file_that_was_not_made_from_this_source_is_left_alone(tmp_path, source):
    other = tmp_path / "tiny.Q8_0.gguf"
    other.write_bytes(b"someone's")
    with pytest.raises(ModelError, match="was not made from this source"):
        quantize.ladder(source, ["q8_0"], library=Found(Path("none.so"), "variable"), directory=tmp_path)
    assert other.read_bytes() == b"someone's"


# --- libraries that are none


@pytest.mark.parametrize("content", [b"", b"junk", b"\x7fELF" + b"\0" * 60])
def test_a_file_that_is_no_library_is_refused_and_nothing_is_left(tmp_path, source, content):
    fake = tmp_path / "libllama.so"
    fake.write_bytes(content)
    with pytest.raises(LibraryError, match=r"loaded|exports no"):
        quantize.ladder(source, ["q8_0"], library=Found(fake, "variable"), directory=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_serving_engine_has_no_quantizer_and_says_so(tmp_path, source):
    with pytest.raises(LibraryError, match="exports no llama_model_quantize"):
        quantize.ladder(source, ["q8_0"], library=library.engine(), directory=tmp_path)


def test_a_library_that_kills_its_process_kills_nothing_else(tmp_path, monkeypatch):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(dying.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(quantize.sys, "executable", str(dying))
    with pytest.raises(LibraryError, match="SIGSEGV; nothing that was there is changed"):
        quantize.run(Job(library="libllama.so", task="describe"), lambda *_: None)


# --- with a real library


@needs_library
def test_the_ladder_is_made_skipped_and_mended(tmp_path, source, found):
    before, seen = source.read_bytes(), []
    made = quantize.ladder(
        source, ["q8_0", "q4_k_m"], library=found, directory=tmp_path, report=lambda *step: seen.append(step)
    )
    assert [(one.kind, one.fresh) for one in made] == [("q8_0", True), ("q4_k_m", True)]
    assert made[0].bits_per_weight == pytest.approx(8.5, abs=0.1)
    assert made[1].stored == "q4_k"
    assert seen[-1][:3] == ("tiny.Q4_K_M.gguf", 12, 12)
    damaged = tmp_path / "tiny.Q4_K_M.gguf"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-64] + b"\1" * 64)
    again = quantize.ladder(source, ["q8_0", "q4_k_m"], library=found, directory=tmp_path)
    assert [one.fresh for one in again] == [False, True]
    assert damaged.read_bytes() == whole
    assert source.read_bytes() == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gguf", ".gguf", ".json", ".json"]
    assert json.loads((tmp_path / "tiny.Q8_0.gguf.json").read_text())["source"] == source.name


@needs_library
def test_an_importance_matrix_moves_precision_to_its_columns(tmp_path, source, found):
    name = "blk.0.ffn_up.weight"
    weights = np.ones(256, np.float32)
    weights[:8] = 1e4
    path = tmp_path / "m.imatrix.gguf"
    write(
        path,
        {},
        {name + ".in_sum2": ((256, 1), weights.tobytes()), name + ".counts": ((1, 1), np.float32(1).tobytes())},
    )
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    plain = quantize.ladder(source, ["q4_0"], library=found, directory=tmp_path / "a")
    tuned = quantize.ladder(source, ["q4_0"], library=found, directory=tmp_path / "b", matrix=path)

    def error(made):
        tensor = next(one for one in tensors(Path(made[0].path)) if one.name == name)
        data, exact = Path(made[0].path).read_bytes(), next(one for one in tensors(source) if one.name == name)
        truth = np.frombuffer(source.read_bytes(), np.float32, exact.weights, exact.offset).reshape(256, 8, 32)
        blocks = np.frombuffer(data, np.uint8, tensor.size, tensor.offset).reshape(256, 8, 18)
        scale = blocks[:, :, :2].copy().view(np.float16).astype(np.float32)
        steps = np.concatenate([blocks[:, :, 2:] & 15, blocks[:, :, 2:] >> 4], axis=2).astype(np.float32) - 8
        return np.square(truth - scale * steps)[:, 0, :8].mean()

    assert error(tuned) < 0.9 * error(plain)


def test_a_matrix_of_another_model_is_refused(tmp_path, source):
    path = tmp_path / "m.imatrix.gguf"
    row = np.ones(64, np.float32).tobytes()
    one = np.float32(1).tobytes()
    write(path, {}, {"blk.0.ffn_up.weight.in_sum2": ((64, 1), row), "blk.0.ffn_up.weight.counts": ((1, 1), one)})
    with pytest.raises(ModelError, match="of another model"):
        quantize_matrix.load(path, source)
