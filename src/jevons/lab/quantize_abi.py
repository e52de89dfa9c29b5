"""A libllama in this process, through CFFI in ABI mode: opened, its structs measured, a foreign one refused.

llama.h has no version of its ABI, and its parameter structs grow. So nothing about them is believed: the library is
asked to write its defaults over two different backgrounds, which shows the size of a struct and its padding, and the
fields are found by the defaults that they must hold. What can't be found is refused. A library may still lie, so only
child processes may import this module: what crashes is the child.

What must not be here: what is computed with the library.
"""

import platform
import struct
from pathlib import Path
from typing import Any

import msgspec

from jevons.engines.library import LibraryError

DECLARATIONS = """
struct quantize_params { int32_t nthread; int32_t ftype; int32_t output_type; int32_t embedding_type;
    uint8_t allow_requantize; uint8_t quantize_output; uint8_t only_copy; uint8_t pure; uint8_t keep_split;
    uint8_t dry_run; uint8_t pad[2]; void *imatrix; void *kv; void *types; void *prune; uint8_t rest[200]; };
struct imatrix_data { const char *name; const float *data; size_t size; };
struct model_params { uint8_t bytes[512]; };
struct context_params { uint8_t bytes[512]; };
struct batch { int32_t n; int32_t *token; float *embd; int32_t *pos; int32_t *n_seq; int32_t **seq; int8_t *logits; };
struct tensor { int32_t type; void *buffer; int64_t ne[4]; size_t nb[4]; int32_t op; int32_t op_params[16];
    int32_t flags; struct tensor *src[10]; };
void llama_model_quantize_default_params(void *);
uint32_t llama_model_quantize(const char *, const char *, void *);
void llama_model_default_params(void *);
void llama_context_default_params(void *);
void llama_log_set(void *, void *);
void llama_backend_init(void);
void ggml_backend_load_all_from_path(const char *);
const char *llama_version(void);
void *llama_model_load_from_file(const char *, struct model_params);
void llama_model_free(void *);
void *llama_init_from_model(void *, struct context_params);
void llama_free(void *);
void *llama_model_get_vocab(void *);
int32_t llama_vocab_n_tokens(void *);
int32_t llama_tokenize(void *, const char *, int32_t, int32_t *, int32_t, bool, bool);
int32_t llama_model_n_ctx_train(void *);
uint32_t llama_n_ctx(void *);
uint32_t llama_n_batch(void *);
uint32_t llama_n_ubatch(void *);
uint32_t llama_n_seq_max(void *);
int32_t llama_n_threads(void *);
int32_t llama_n_threads_batch(void *);
struct batch llama_batch_init(int32_t, int32_t, int32_t);
void llama_batch_free(struct batch);
int32_t llama_decode(void *, struct batch);
float *llama_get_logits(void *);
void *llama_get_memory(void *);
void llama_memory_clear(void *, bool);
void llama_memory_seq_cp(void *, int32_t, int32_t, int32_t, int32_t);
size_t llama_state_seq_get_size(void *, int32_t);
const char *ggml_get_name(void *);
int64_t ggml_nelements(void *);
void ggml_backend_tensor_get(void *, void *, size_t, size_t);
const char *ggml_op_name(int32_t);
"""
BUFFER_BYTES = 512
"""More than any of the structs (64, 78 and 160 bytes in late 2026)."""
TYPE_COUNT = (30, 96)
"""GGML_TYPE_COUNT, the default of the two tensor types: 43 in late 2026."""
QUANTIZE_BYTES = (40, 128)
DRY_RUN_PADDING = (22, 23)
"""Where the padding before the pointers begins once `dry_run` is there; with it the importance matrix became a plain
C array. Older libraries take a C++ map, which no one can build from here."""


class ContextLayout(msgspec.Struct, frozen=True):
    """Byte offsets in llama_context_params of what is set here."""

    threads: int
    flash: int
    callback: int
    types: int


class Native:
    """An opened library. Raises LibraryError when it can't be loaded or lacks a symbol."""

    def __init__(self, path: str):
        if platform.machine() not in ("x86_64", "AMD64"):
            raise LibraryError(f"the structs of libllama are measured on x86-64 only, not on {platform.machine()}")
        from cffi import FFI

        self.path = path
        self.ffi: Any = FFI()
        self.ffi.cdef(DECLARATIONS)
        try:
            self.lib: Any = self.ffi.dlopen(path)
        except OSError as error:
            raise LibraryError(f"{path}: can't be loaded: {error}") from None
        self._held: list[Any] = []

    def symbol(self, name: str) -> Any:
        """A function. Raises LibraryError when the library exports none of that name."""
        try:
            return getattr(self.lib, name)
        except AttributeError:
            raise LibraryError(f"{self.path}: exports no {name}; it is not the libllama that is needed") from None

    def version(self) -> str:
        """What the library calls itself, or `unnamed`: only late 2026 ones say."""
        try:
            return str(self.ffi.string(self.lib.llama_version()).decode())
        except AttributeError:
            return "unnamed"

    def start(self) -> None:
        """Load the backends that stand beside the library as files of their own, then begin."""
        if any(Path(self.path).parent.glob("libggml-cpu*")):
            self.symbol("ggml_backend_load_all_from_path")(str(Path(self.path).parent).encode())
        self.symbol("llama_backend_init")()

    def on_log(self, say: Any) -> None:
        """`say(text)` for each piece of the library's log."""
        ffi = self.ffi

        @ffi.callback("void(int, const char *, void *)")  # type: ignore[untyped-decorator]
        def heard(_level: int, text: Any, _data: Any) -> None:
            say(ffi.string(text).decode(errors="replace"))

        self._held.append(heard)
        self.symbol("llama_log_set")(heard, ffi.NULL)

    def defaults(self, name: str) -> tuple[bytes, frozenset[int]]:
        """(the struct's bytes, its padding's offsets) that the function `name` writes. Raises LibraryError."""
        function = self.symbol(name)
        seen = []
        for background in (b"\xa5", b"\x5a"):
            buffer = self.ffi.new(f"uint8_t[{BUFFER_BYTES}]")
            self.ffi.memmove(buffer, background * BUFFER_BYTES, BUFFER_BYTES)
            function(buffer)
            seen.append(bytes(self.ffi.buffer(buffer)))
        return measured(seen[0], seen[1], f"{self.path}: {name}")


def measured(first: bytes, second: bytes, name: str) -> tuple[bytes, frozenset[int]]:
    """A struct from two writes over different backgrounds: a byte that is equal in both was written.

    Returns its bytes up to the last written one, and the offsets between that were not. Raises LibraryError when
    nothing or everything was written.
    """
    written = [at for at in range(len(first)) if first[at] == second[at]]
    if not written or written[-1] == len(first) - 1:
        raise LibraryError(f"{name} wrote {len(written)} bytes: not the function that is meant")
    size = written[-1] + 1
    return first[:size], frozenset(range(size)) - frozenset(written)


def quantize_matrix_known(raw: bytes, padding: frozenset[int], name: str) -> bool:
    """Whether the quantizer's struct is the known one; True when it takes an importance matrix as a C array.

    Raises LibraryError when it is another struct.
    """
    nthread, ftype, output_type, embedding_type = struct.unpack_from("<4i", raw)
    low, high = TYPE_COUNT
    well = (
        QUANTIZE_BYTES[0] <= len(raw) <= QUANTIZE_BYTES[1]
        and nthread == 0
        and 0 < ftype < high
        and low <= output_type == embedding_type <= high
        and raw[16:20] == b"\0\1\0\0"
        and not any(raw[24:40])
    )
    if not well:
        raise LibraryError(
            f"{name}: llama_model_quantize_params is not the struct known here ({len(raw)} bytes, {raw[:24].hex()}): a "
            "library of another ABI. `jevons quantize --get-library` fetches one that is known."
        )
    return tuple(sorted(at for at in padding if at < 24)) == DRY_RUN_PADDING


def context_layout(raw: bytes, name: str) -> ContextLayout:
    """The offsets in llama_context_params, found by its defaults. Raises LibraryError when they can't be."""
    words = struct.unpack_from(f"<{len(raw) // 4}i", raw)
    head = words[:4] == (512, 2048, 512, 1)
    threads = next((at for at in range(4, 10) if words[at] == words[at + 1] == 4), 0)
    ones = next((at for at in range(threads, 16) if words[at : at + 4] == (-1, -1, -1, -1)), 0)
    types = next(
        (
            at
            for at in range(ones + 8 + ones % 2, len(words) - 1, 2)  # pointers before: aligned to 8 bytes
            if words[at : at + 2] == (1, 1) and not any(words[at - 4 : at])
        ),
        0,
    )
    if not (head and threads and ones and types):
        raise LibraryError(f"{name}: llama_context_params is not the struct known here ({len(raw)} bytes)")
    return ContextLayout(threads=threads * 4, flash=(ones + 3) * 4, callback=(types - 4) * 4, types=types * 4)
