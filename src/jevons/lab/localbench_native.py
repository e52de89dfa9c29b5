"""A model loaded in this process through the engine's own library: tokens in, logits out, states measured.

Only child processes may import this: a native fault ends them, not their parent. What must not be here: what the
logits are used for.
"""

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jevons.engines.library import LibraryError
from jevons.engines.local_gguf import ModelError
from jevons.lab.quantize_abi import BUFFER_BYTES, ContextLayout, Native, context_layout

GGML_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
"""ggml.h's numbers of the types that a KV cache may have."""
FLASH_ON = 1
"""A quantized V cache needs flash attention."""
BATCH_TOKENS = 512


class Model:
    """A GGUF in memory. Raises ModelError when the library refuses it."""

    def __init__(self, native: Native, path: str):
        self.native, self.path = native, path
        raw, _ = native.defaults("llama_model_default_params")
        self._context_raw, _ = native.defaults("llama_context_default_params")
        self._layout: ContextLayout = context_layout(self._context_raw, native.path)
        params = native.ffi.new("struct model_params *")
        native.ffi.memmove(params, raw, len(raw))
        self.handle = native.symbol("llama_model_load_from_file")(path.encode(), params[0])
        if not self.handle:
            raise ModelError(f"{path}: the engine can't load it; its log says why")
        vocab = native.symbol("llama_model_get_vocab")(self.handle)
        self._vocab = vocab
        self.vocabulary = int(native.symbol("llama_vocab_n_tokens")(vocab))

    def tokenize(self, text: str) -> list[int]:
        """The text's tokens, a beginning-of-text token first where the model wants one."""
        data = text.encode()
        room = len(data) + 16
        out = self.native.ffi.new("int32_t[]", room)
        count = self.native.symbol("llama_tokenize")(self._vocab, data, len(data), out, room, True, False)
        if count < 0:
            raise ModelError(f"{self.path}: its tokenizer failed on a text of {len(data)} bytes ({count})")
        return [int(out[at]) for at in range(count)]

    @contextlib.contextmanager
    def context(
        self, tokens: int, *, threads: int, sequences: int = 1, kv_type: str = "f16", watch: Any = None
    ) -> Iterator["Context"]:
        """A context of `tokens` for each of `sequences`. Raises LibraryError when it isn't what was asked for."""
        made = Context(self, self._params(tokens, threads, sequences, kv_type, watch))
        try:
            made.check(tokens * sequences, threads, sequences)
            yield made
        finally:
            made.close()

    def _params(self, tokens: int, threads: int, sequences: int, kv_type: str, watch: Any) -> Any:
        ffi, at = self.native.ffi, self._layout
        raw = bytearray(self._context_raw)
        batch = min(BATCH_TOKENS, tokens * sequences)
        struct.pack_into("<4I", raw, 0, tokens * sequences, batch, batch, sequences)
        struct.pack_into("<2i", raw, at.threads, threads, threads)
        struct.pack_into("<2i", raw, at.types, GGML_TYPES[kv_type], GGML_TYPES[kv_type])
        if kv_type not in ("f16", "f32", "bf16"):
            struct.pack_into("<i", raw, at.flash, FLASH_ON)
        if watch is not None:
            struct.pack_into("<Q", raw, at.callback, int(ffi.cast("uintptr_t", watch)))
        params = ffi.new("struct context_params *")
        ffi.memmove(params, bytes(raw), min(len(raw), BUFFER_BYTES))
        return params


class Context:
    """One context and its batch; `Model.context` makes it."""

    def __init__(self, model: Model, params: Any):
        self._native, self._model = model.native, model
        self.handle = self._native.symbol("llama_init_from_model")(model.handle, params[0])
        if not self.handle:
            raise ModelError(f"{model.path}: the engine made no context of this size and KV type; its log says why")
        self._batch = self._native.symbol("llama_batch_init")(BATCH_TOKENS, 0, 1)
        self._decode, self._logits = self._native.symbol("llama_decode"), self._native.symbol("llama_get_logits")

    def check(self, tokens: int, threads: int, sequences: int) -> None:
        """What the library says it took must be what was given: else the struct's fields are elsewhere."""
        asked = {
            "llama_n_batch": min(BATCH_TOKENS, tokens),
            "llama_n_ubatch": min(BATCH_TOKENS, tokens),
            "llama_n_seq_max": sequences,
            "llama_n_threads": threads,
            "llama_n_threads_batch": threads,
        }
        got = {name: int(self._native.symbol(name)(self.handle)) for name in asked}
        size = int(self._native.symbol("llama_n_ctx")(self.handle))
        if got != asked or size < tokens:
            raise LibraryError(f"{self._native.path}: took {got} and {size} tokens for {asked}: another ABI")

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], owners: Sequence[int], wanted: Sequence[bool]
    ) -> None:
        """One step: each token at its position of its sequence; logits are kept where wanted. Raises ModelError."""
        batch = self._batch
        batch.n = len(tokens)
        for at, (token, position, owner, want) in enumerate(zip(tokens, positions, owners, wanted, strict=True)):
            batch.token[at], batch.pos[at] = token, position
            batch.n_seq[at], batch.seq[at][0] = 1, owner
            batch.logits[at] = want
        status = self._decode(self.handle, batch)
        if status:
            raise ModelError(f"{self._model.path}: llama_decode failed with {status}")

    def logits(self, rows: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The kept logits of the last step, float32 [rows, vocabulary]; a copy."""
        count = rows * self._model.vocabulary
        data = self._native.ffi.buffer(self._logits(self.handle), count * 4)
        return np.frombuffer(data, dtype=np.float32).reshape(rows, self._model.vocabulary).copy()

    def clear(self) -> None:
        self._native.symbol("llama_memory_clear")(self._native.symbol("llama_get_memory")(self.handle), True)

    def state_bytes(self, sequence: int = 0) -> int:
        """What the sequence's KV state takes when saved."""
        return int(self._native.symbol("llama_state_seq_get_size")(self.handle, sequence))

    def close(self) -> None:
        self._native.symbol("llama_batch_free")(self._batch)
        self._native.symbol("llama_free")(self.handle)


def resident_bytes() -> int:
    """This process's resident set."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
