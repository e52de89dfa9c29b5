"""The importance matrix: for each weight, how strongly a text excites each column of its input.

llama.cpp's method: while the model reads the text, the squares of every input of a matrix product are summed by
column. Written and read as llama.cpp's own GGUF form (`NAME.in_sum2`, `NAME.counts`), so that its files serve too.

Collecting runs native code and belongs into a child process. What must not be here: quantizing.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jevons.engines.local_gguf import ModelError
from jevons.lab.localbench_native import BATCH_TOKENS, Model
from jevons.lab.quantize_tensors import check_matrix, tensors, write

MAX_CHUNKS = 48
"""24,576 tokens of text: llama.cpp's own advice is some tens of thousands. 140 tokens a CPU-second here."""
SUMS, COUNTS = ".in_sum2", ".counts"

Matrix = dict[str, np.ndarray[Any, np.dtype[np.float32]]]
"""Weight name -> mean square of each input column, float32 [width]."""


class Watch:
    """The callback that llama.cpp calls for each node of its graph: sums what goes into the matrix products."""

    def __init__(self, native: Any):
        self.sums: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
        self.rows: dict[str, int] = {}
        self._ffi, self._name = native.ffi, native.symbol("ggml_get_name")
        self._fetch, self._op = native.symbol("ggml_backend_tensor_get"), native.symbol("ggml_op_name")
        self.error: Exception | None = None
        self.function = native.ffi.callback("bool(void *, bool, void *)", self._see, error=False)

    def _see(self, node: Any, asking: bool, _data: Any) -> bool:
        tensor = self._ffi.cast("struct tensor *", node)
        if self._ffi.string(self._op(tensor.op)) != b"MUL_MAT":
            return not asking
        weight, given = tensor.src[0], tensor.src[1]
        name = self._ffi.string(self._name(weight)).decode(errors="replace")
        if not name.endswith(".weight") or given.type != 0 or given.ne[0] != weight.ne[0]:
            return not asking
        if not asking:
            self._add(name, given)
        return True

    def _add(self, name: str, given: Any) -> None:
        width, rows = int(given.ne[0]), int(given.ne[1] * given.ne[2] * given.ne[3])
        values = np.empty((rows, width), dtype=np.float32)
        self._fetch(given, self._ffi.from_buffer(values), 0, values.nbytes)
        sums = self.sums.setdefault(name, np.zeros(width))
        sums += np.square(values, dtype=np.float64).sum(axis=0)
        self.rows[name] = self.rows.get(name, 0) + rows


def collect(native: Any, path: str, text: str, to: Path, threads: int, report: Any) -> int:
    """Write the matrix of a model on a text; returns the tokens read. Raises ModelError when the text is too short."""
    model, watch = Model(native, path), Watch(native)
    tokens = model.tokenize(text)[: BATCH_TOKENS * MAX_CHUNKS]
    chunks = len(tokens) // BATCH_TOKENS
    if not chunks:
        raise ModelError(f"the text has {len(tokens)} tokens; an importance matrix needs at least {BATCH_TOKENS}")
    with model.context(BATCH_TOKENS, threads=threads, watch=watch.function) as context:
        for chunk in range(chunks):
            part = tokens[chunk * BATCH_TOKENS : (chunk + 1) * BATCH_TOKENS]
            context.clear()
            context.decode(part, range(len(part)), [0] * len(part), [True] * len(part))
            report(chunk + 1, chunks, "importance matrix")
    if not watch.sums:
        raise ModelError("no matrix product was seen: this library's graph is not the one known here")
    arrays: dict[str, tuple[tuple[int, ...], bytes]] = {}
    for name, sums in watch.sums.items():
        arrays[name + SUMS] = ((len(sums), 1), sums.astype(np.float32).tobytes())
        arrays[name + COUNTS] = ((1, 1), np.float32(watch.rows[name]).tobytes())
    facts = {"general.type": "imatrix", "imatrix.chunk_count": chunks, "imatrix.chunk_size": BATCH_TOKENS}
    write(to, facts, arrays)
    return chunks * BATCH_TOKENS


def load(path: Path, model: Path) -> Matrix:
    """A matrix file for a model. Raises ModelError when it is foreign, or of another model."""
    data = path.read_bytes()
    found = {tensor.name: tensor for tensor in tensors(path)}
    matrix: Matrix = {}
    for name, tensor in found.items():
        counts = found.get(name.removesuffix(SUMS) + COUNTS)
        if not name.endswith(SUMS) or counts is None:
            continue
        if tensor.kind != "f32" or tensor.weights != tensor.shape[0]:
            raise ModelError(f"{path}: {name} is {tensor.kind} of shape {tensor.shape}; experts are not read here")
        sums = np.frombuffer(data, np.float32, tensor.weights, tensor.offset)
        rows = max(float(np.frombuffer(data, np.float32, 1, counts.offset)[0]), 1.0)
        matrix[name.removesuffix(SUMS)] = sums / np.float32(rows)
    check_matrix({name: len(row) for name, row in matrix.items()}, tensors(model), str(path))
    return matrix
