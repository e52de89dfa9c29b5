"""The quantization ladder: one source GGUF, several smaller files, each made whole or not at all.

What lives here: which files are wanted, what is checked before, how a file comes to be (under another name, looked
at, then renamed, with a manifest beside it), and what is skipped the next time. The native work runs in a child
(`quantize_child.py`). What must not be here: how good a file is (`localbench.py`).
"""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jevons.engines import local_gguf
from jevons.engines.library import Found, LibraryError
from jevons.engines.local import free_bytes
from jevons.engines.local_gguf import ModelError, ModelFile
from jevons.engines.modelfile import sha256
from jevons.lab.quantize_child import Job
from jevons.lab.quantize_tensors import Tensor, tensors, tiny, weight_names

KINDS = {
    "f32": (0, 32.0), "f16": (1, 16.0), "bf16": (32, 16.0), "q8_0": (7, 8.5), "q6_k": (18, 6.57), "q5_k_m": (17, 5.7),
    "q5_k_s": (16, 5.5), "q5_1": (9, 6.0), "q5_0": (8, 5.5), "q4_k_m": (15, 4.85), "q4_k_s": (14, 4.6),
    "q4_1": (3, 5.0), "q4_0": (2, 4.5), "iq4_nl": (25, 4.5), "iq4_xs": (30, 4.25), "q3_k_l": (13, 4.3),
    "q3_k_m": (12, 3.9), "q3_k_s": (11, 3.5), "q2_k": (10, 3.0), "iq3_m": (27, 3.66), "iq3_s": (26, 3.44),
    "iq3_xxs": (23, 3.06), "iq2_m": (29, 2.7), "iq2_s": (28, 2.5), "iq2_xs": (20, 2.31), "iq2_xxs": (19, 2.06),
    "iq1_m": (31, 1.75), "iq1_s": (24, 1.56),
}  # fmt: skip
"""Name -> (llama_ftype of llama.h, bits per weight that llama.cpp states for a 7B)."""
NEED_MATRIX = ("iq2_xxs", "iq2_xs", "iq2_s", "iq1_m", "iq1_s")
"""llama.cpp makes no such file without an importance matrix."""
PRECISE = ("f32", "f16", "bf16")
FALLBACK = 1.5
"""A file may be this much larger than its name says: rows that no K-quant block divides, and the embeddings, are
stored in other types (1.27x was measured with a width of 576)."""
SPARE_DISK_BYTES = 64 * 1024 * 1024
WORK_BYTES = 256 * 1024 * 1024
"""Of the child besides the tensors in work: the interpreter, the library, its vocabulary."""
JOB_TIMEOUT_S = 6 * 3600.0
TRIAL_TIMEOUT_S = 60.0
TRIAL_ERROR = 1 / 127
"""Largest error of q8_0 relative to a block's largest weight: half a step of the scale, with room for rounding."""

Report = Callable[[str, int, int, str], None]
"""report(file, tensors done, tensors in all, tensor)."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `FILE.gguf.json` says of a file made here."""

    source: str
    source_sha256: str
    source_bits_per_weight: float
    kind: str
    matrix_sha256: str = ""
    library: str
    sha256: str
    size_bytes: int
    bits_per_weight: float


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One rung: the file, and whether it was made now or was here."""

    path: str
    kind: str
    fresh: bool
    size_bytes: int
    bits_per_weight: float
    stored: str
    """The tensor type that holds most bytes: not always what the file's name says."""


def ladder(
    source: Path,
    kinds: Sequence[str],
    *,
    library: Found,
    directory: Path | None = None,
    matrix: Path | None = None,
    requantize: bool = False,
    threads: int = 1,
    report: Report = lambda _file, _at, _of, _what: None,
) -> list[Made]:
    """The wanted files beside the source (or in `directory`), made where they aren't there already.

    Raises ModelError (a source or disk or memory that doesn't do, a file in the way) and LibraryError (the library is
    foreign or failed). Whatever is raised: finished files stay, unfinished ones are removed, the source is only read.
    """
    model, found = check_source(source, kinds, requantize=requantize, matrix=matrix)
    directory = directory or source.parent
    directory.mkdir(parents=True, exist_ok=True)
    digest = sha256(source)
    matrix_digest = sha256(matrix) if matrix else ""
    wanted = [(kind, target(source, kind, directory)) for kind in kinds]
    missing = []
    for kind, path in wanted:
        if not here(path, kind, digest, matrix_digest):
            missing.append((kind, path))
    check_room(model, found, [kind for kind, _ in missing], directory)
    version = try_out(library) if missing else ""
    for kind, path in missing:
        job = Job(
            library=str(library.path), task="quantize", source=str(source.resolve()), target=str(_part(path)),
            ftype=KINDS[kind][0], threads=threads, requantize=requantize,
            matrix=str(matrix.resolve()) if matrix else "",
        )  # fmt: skip
        facts = {"source": source.name, "source_sha256": digest, "source_bits_per_weight": model.bits_per_weight}
        facts |= {"kind": kind, "matrix_sha256": matrix_digest, "library": f"libllama {version} ({library.origin})"}
        _make(job, path, found, facts, report)
    fresh = {path for _, path in missing}
    return [_made(path, kind, path in fresh) for kind, path in wanted]


def check_source(
    source: Path, kinds: Sequence[str], *, requantize: bool, matrix: Path | None
) -> tuple[ModelFile, tuple[Tensor, ...]]:
    """The source's header and tensors. Raises ModelError when it can't be quantized so."""
    model = local_gguf.read(source)
    for kind in kinds:
        if kind not in KINDS:
            raise ModelError(f"{kind!r} is no quantization known here; known: {', '.join(KINDS)}")
        if kind in NEED_MATRIX and matrix is None:
            raise ModelError(f"{kind} needs an importance matrix: give --matrix-text a text of the model's use")
    if model.quantization not in PRECISE and not requantize:
        raise ModelError(
            f"{source}: is {model.quantization} already ({model.bits_per_weight} bits per weight). Quantizing it again "
            "adds its loss to the new one, and no file made of it is better than it. Take an f16 or bf16 source, or "
            "say --allow-requantize."
        )
    return model, tensors(source)


def target(source: Path, kind: str, directory: Path) -> Path:
    """`NAME.Q4_K_M.gguf`: the source's name, less its own quantization. Raises ModelError when that is the source."""
    stem = source.name.removesuffix(".gguf")
    head, dot, tail = stem.rpartition(".")
    name = head if dot and tail.lower().replace("-", "_") in KINDS else stem
    path = directory / f"{name}.{kind.upper()}.gguf"
    if path.exists() and path.samefile(source):
        raise ModelError(f"{path}: is the source itself; leave {kind} out or give --out another directory")
    return path


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def manifest(path: Path) -> Manifest | None:
    """What is known of how a file came to be; None for a file that was not made here."""
    try:
        return msgspec.json.decode(manifest_path(path).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def here(path: Path, kind: str, source_sha256: str, matrix_sha256: str) -> bool:
    """Whether the wanted file is there and whole. Raises ModelError when something else has its name."""
    if not path.exists():
        return False
    known = manifest(path)
    if known is None or (known.source_sha256, known.kind, known.matrix_sha256) != (source_sha256, kind, matrix_sha256):
        raise ModelError(f"{path}: is there, and was not made from this source; move it or give --out a directory")
    return path.stat().st_size == known.size_bytes and sha256(path) == known.sha256


def check_room(model: ModelFile, found: Sequence[Tensor], kinds: Sequence[str], directory: Path) -> None:
    """Raises ModelError when disk or memory may not suffice for the missing files."""
    disk = sum(int(model.parameters * min(KINDS[kind][1] * FALLBACK, 32.0) / 8) for kind in kinds)
    free = shutil.disk_usage(directory).free
    if kinds and disk + SPARE_DISK_BYTES > free:
        raise ModelError(
            f"{directory}: {', '.join(kinds)} may take {disk >> 20} MiB of disk, and {free >> 20} MiB are free"
        )
    largest = max((tensor.weights for tensor in found), default=0)
    memory, left = largest * 8 + WORK_BYTES, free_bytes()
    if left is not None and memory > left:
        raise ModelError(f"{model.path}: quantizing takes about {memory >> 20} MiB, and {left >> 20} MiB are free")


def make_matrix(
    source: Path, text: Path, library: Found, to: Path, *, threads: int = 1, report: Report = lambda *_: None
) -> Path:
    """The importance matrix of a model on a text, kept at `to`; there already: only checked. Raises as `ladder`."""
    if to.exists():
        return to
    to.parent.mkdir(parents=True, exist_ok=True)
    job = Job(
        library=str(library.path), task="matrix", source=str(source.resolve()), target=str(_part(to)),
        text=str(text.resolve()), threads=threads,
    )  # fmt: skip
    try:
        run(job, lambda at, of, what: report(to.name, at, of, what))
        _part(to).replace(to)
    finally:
        _part(to).unlink(missing_ok=True)
    return to


def try_out(library: Found) -> str:
    """The library's version, after it quantized a tiny model right in a process of its own. Raises LibraryError."""
    with tempfile.TemporaryDirectory(prefix="jevons-quantize-") as scratch:
        source, made = Path(scratch) / "tiny.gguf", Path(scratch) / "tiny8.gguf"
        tiny(source)
        job = Job(library=str(library.path), task="quantize", source=str(source), target=str(made), ftype=7)
        answer = run(job, lambda *_: None, timeout_s=TRIAL_TIMEOUT_S)
        try:
            well = _same_weights(source, made)
        except (ModelError, OSError, struct.error):
            well = False
    if not well:
        raise LibraryError(f"{library.path}: quantized a tiny model wrongly; it is not the libllama known here")
    return str(answer["version"])


def _same_weights(source: Path, made: Path) -> bool:
    """Whether a q8_0 file holds its f32 source's weights, to the type's own precision; checked on one matrix."""
    name = "blk.0.ffn_up.weight"
    exact = next(tensor for tensor in tensors(source) if tensor.name == name)
    coded = next((tensor for tensor in tensors(made) if tensor.name == name), None)
    if coded is None or (coded.kind, coded.shape) != ("q8_0", exact.shape):
        return False
    truth = struct.unpack_from(f"<{exact.weights}f", source.read_bytes(), exact.offset)
    data = made.read_bytes()
    for block in range(exact.weights // 32):
        scale, *steps = struct.unpack_from("<e32b", data, coded.offset + block * 34)
        given = truth[block * 32 : block * 32 + 32]
        bound = max(map(abs, given)) * TRIAL_ERROR
        if any(abs(scale * step - weight) > bound for step, weight in zip(steps, given, strict=True)):
            return False
    return True


def run(job: Job, report: Callable[[int, int, str], None], *, timeout_s: float = JOB_TIMEOUT_S) -> dict[str, Any]:
    """A job in a child; its answer. Raises LibraryError when the child fails or dies, with the log's end."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "jevons.lab.quantize_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        answer: dict[str, Any] = {}
        try:
            with child:
                assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes, as made above
                with contextlib.suppress(BrokenPipeError):  # it died at once; its status says how
                    child.stdin.write(msgspec.json.encode(job) + b"\n")
                    child.stdin.close()
                for line in child.stdout:
                    answer = json.loads(line)
                    if "at" in answer:
                        report(answer["at"], answer["of"], answer["what"])
                child.wait(timeout_s)
        except BaseException:
            child.kill()
            raise
        log.seek(0)
        tail = log.read()[-4000:].decode(errors="replace").strip().splitlines()[-3:]
    if "done" in answer:
        return dict(answer["done"])
    if "error" in answer:
        raise LibraryError(f"{answer['error']}. {' / '.join(tail)}".strip())
    ended = f"was ended by {signal.Signals(-child.returncode).name}" if child.returncode < 0 else "ended early"
    raise LibraryError(f"{job.library}: its process {ended}; nothing that was there is changed. {' / '.join(tail)}")


def _make(job: Job, path: Path, source: Sequence[Tensor], facts: dict[str, Any], report: Report) -> None:
    """One file: made under another name, checked, written through to the disk, renamed, with its manifest."""
    part = _part(path)
    try:
        run(job, lambda at, of, what: report(path.name, at, of, what))
        made = local_gguf.read(part)
        if weight_names(tensors(part)) != weight_names(tuple(source)):
            raise LibraryError(f"{job.library}: the file that it wrote holds other tensors than its source")
        whole = Manifest(
            sha256=sha256(part), size_bytes=made.size_bytes, bits_per_weight=made.bits_per_weight, **facts
        )  # fmt: skip
        with part.open("rb") as file:
            os.fsync(file.fileno())
        manifest_path(path).write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.resolve().with_name(f".{path.name}.part")


def _made(path: Path, kind: str, fresh: bool) -> Made:
    model = local_gguf.read(path)
    return Made(
        path=str(path), kind=kind, fresh=fresh, size_bytes=model.size_bytes, bits_per_weight=model.bits_per_weight,
        stored=model.quantization,
    )  # fmt: skip
