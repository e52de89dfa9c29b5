"""The child process of the local engine: llama.cpp's own HTTP server, through xllamacpp, on a loopback port.

Started only by `local_process.py`, whose protocol it keeps. It must not know the gateway.
"""

import json
import os
import sys
import threading
from typing import Any

import msgspec

from jevons.engines.local_process import follow_parent

KV_TYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q5_1": "Q5_1", "q5_0": "Q5_0",
            "q4_1": "Q4_1", "q4_0": "Q4_0"}  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server is started with."""

    model: str
    port: int
    key: str
    threads: int = 1
    slots: int = 4
    context_tokens: int = 4096
    """Of each slot: a call's prompt and answer together."""
    cache_ram_mib: int = 256
    """Prefixes of idle slots kept in memory, at most this much."""
    kv_type: str = "f16"
    batch_tokens: int = 512
    """Prompt tokens processed in one step: a long prompt lets others' tokens through this often."""


def parameters(options: Options) -> Any:
    """xllamacpp's CommonParams for these options."""
    import xllamacpp

    kind = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{KV_TYPES[options.kv_type]}")
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.api_keys = [options.key]
    params.n_parallel = options.slots
    params.n_ctx = options.context_tokens * options.slots
    params.n_batch = max(options.batch_tokens, options.slots)
    params.n_ubatch = options.batch_tokens
    params.cache_ram_mib = options.cache_ram_mib
    params.cache_type_k = kind
    params.cache_type_v = kind
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.cont_batching = True
    params.endpoint_metrics = True
    params.ui = False
    params.offline = True
    params.fit_params = False
    params.verbosity = 1
    return params


def main() -> int:
    """Exit status 0: the parent went or asked for it. 1: the server did not start; the answer line says why."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the native library prints belongs into the log
    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=Options)
    held: list[Any] = []

    threading.Thread(target=follow_parent, daemon=True).start()
    try:
        import xllamacpp

        held.append(xllamacpp.Server(parameters(options)))
        reply: dict[str, Any] = {"url": held[0].listening_address, "pid": os.getpid()}
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    answer.write(json.dumps(reply) + "\n")
    answer.close()
    if not held:
        return 1
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
