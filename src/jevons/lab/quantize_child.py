"""The process in which libllama quantizes: one job from its input, progress and the answer as JSON lines.

Started only by `quantize.py`. A library that crashes ends this process; no file that was there before is touched.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.errors import JevonsError
from jevons.engines.library import LibraryError
from jevons.lab.quantize_abi import Native, quantize_matrix_known

TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] +(\S+)")
"""How llama.cpp logs each tensor that it writes."""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    library: str
    task: str
    """`quantize` | `matrix` | `describe`."""
    source: str = ""
    target: str = ""
    ftype: int = 0
    threads: int = 1
    requantize: bool = False
    matrix: str = ""
    """A matrix file, to quantize with."""
    text: str = ""
    """A text file, to make a matrix of."""
    niceness: int = 0


def main() -> int:
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what the native library prints belongs into the log
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)

    def say(**fields: Any) -> None:
        answer.write(json.dumps(fields) + "\n")

    try:
        os.nice(job.niceness)
        native = Native(job.library)
        say(done=_run(job, native, lambda at, of, what: say(at=at, of=of, what=what)))
    except (JevonsError, OSError) as error:
        say(error=str(error))
        return 1
    return 0


def _run(job: Job, native: Native, report: Any) -> dict[str, Any]:
    if job.task == "matrix":
        from jevons.lab.quantize_matrix import collect

        native.on_log(sys.stderr.write)
        native.start()
        text = Path(job.text).read_text(encoding="utf-8", errors="replace")
        return {"tokens": collect(native, job.source, text, Path(job.target), job.threads, report)}
    raw, padding = native.defaults("llama_model_quantize_default_params")
    matrices = quantize_matrix_known(raw, padding, native.path)
    native.symbol("llama_model_quantize")
    if job.task == "quantize":
        _quantize(job, native, raw, matrices, report)
    return {"version": native.version(), "matrices": matrices, "struct_bytes": len(raw)}


def _quantize(job: Job, native: Native, raw: bytes, matrices: bool, report: Any) -> None:
    ffi = native.ffi

    def heard(text: str) -> None:
        sys.stderr.write(text)
        if found := TENSOR.match(text):
            report(int(found[1]), int(found[2]), found[3])

    native.on_log(heard)
    params = ffi.new("struct quantize_params *")
    ffi.memmove(params, raw, len(raw))
    params.nthread, params.ftype, params.allow_requantize = job.threads, job.ftype, job.requantize
    held = _matrix(job, ffi) if job.matrix and matrices else None
    if job.matrix and held is None:
        raise LibraryError(f"{native.path} takes importance matrices only as a C++ object: use a newer libllama")
    if held is not None:
        params.imatrix = held[0]
    if native.symbol("llama_model_quantize")(job.source.encode(), job.target.encode(), params):
        raise LibraryError(f"libllama could not quantize {job.source}; its log says why")


def _matrix(job: Job, ffi: Any) -> tuple[Any, list[Any]]:
    """(the C array, what must stay alive while it is used)."""
    from jevons.lab.quantize_matrix import load

    matrix = load(Path(job.matrix), Path(job.source))
    held: list[Any] = []
    array = ffi.new("struct imatrix_data[]", len(matrix) + 1)  # the last one stays null: the end
    for at, (name, row) in enumerate(matrix.items()):
        label = ffi.new("char[]", name.encode())
        data = ffi.new("float[]", row.tolist())
        held += (label, data)
        array[at].name, array[at].data, array[at].size = label, data, len(row)
    return array, held


if __name__ == "__main__":
    sys.exit(main())
