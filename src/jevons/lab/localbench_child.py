"""The process in which one model is measured: quality against kept log-probabilities, or speed by CPU seconds.

Started only by `localbench.py`. It loads the engine's own library (that which serves), so what is measured is what
serves, less HTTP. One JSON line in, one out.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from jevons.core.errors import JevonsError
from jevons.engines.local_gguf import ModelError
from jevons.lab.localbench_native import BATCH_TOKENS, Context, Model, resident_bytes
from jevons.lab.quantize_abi import Native

WINDOW = 512
"""Tokens of a window; its second half is scored, each token after 255 others at least, as llama.cpp's tool does."""
SCORED = WINDOW // 2
STEPS = 24
"""Decode steps that are timed for each number of sequences."""
PROMPT = 32
"""Tokens of each sequence before its decode steps."""
ROUNDS = 2
"""Each speed is measured so often; the best counts: other work on the machine only ever takes away."""


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    library: str
    model: str
    task: str
    """`reference`: keep the log-probabilities; `compare`: against kept ones; `speed`."""
    text: str
    kept: str = ""
    """The file of the reference's log-probabilities: float32 [windows x SCORED, vocabulary]."""
    windows: int = 1
    window: int = WINDOW
    """Tokens of a window; at most a batch of the engine's."""
    kv_type: str = "f16"
    threads: int = 1
    sequences: tuple[int, ...] = ()
    niceness: int = 0


def main() -> int:
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what the native library prints belongs into the log
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        os.nice(job.niceness)
        native = Native(job.library)
        native.on_log(sys.stderr.write)
        native.start()
        model = Model(native, job.model)
        tokens = model.tokenize(Path(job.text).read_text(encoding="utf-8", errors="replace"))
        if len(tokens) < max(job.windows, 1) * job.window:
            raise ModelError(
                f"the text has {len(tokens)} tokens; {job.windows} windows need {job.windows * job.window}"
            )
        result = speed(model, tokens, job) if job.task == "speed" else quality(model, tokens, job, _say(answer))
        answer.write(json.dumps({"done": result}) + "\n")
    except (JevonsError, OSError) as error:
        answer.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    return 0


def quality(model: Model, tokens: list[int], job: Job, report: Any) -> dict[str, Any]:
    """Means of each window: negative log-likelihood (nats a token), KL divergence and agreement with the reference."""
    keep = job.task == "reference"
    window, scored = job.window, job.window // 2
    shape = (job.windows * scored, model.vocabulary)
    kept = np.memmap(job.kept, dtype=np.float32, mode="w+" if keep else "r", shape=shape)
    nll, kld, same = [], [], []
    with model.context(window, threads=job.threads, kv_type=job.kv_type) as context:
        for number in range(job.windows):
            part = tokens[number * window : (number + 1) * window]
            context.clear()
            wanted = [at >= window - scored - 1 and at < window - 1 for at in range(window)]
            context.decode(part, range(window), [0] * window, wanted)
            own = log_softmax(context.logits(scored))
            rows = slice(number * scored, (number + 1) * scored)
            nll.append(float(-own[np.arange(scored), part[-scored:]].mean()))
            if keep:
                kept[rows] = own
            else:
                base = np.asarray(kept[rows])
                kld.append(float(divergence(base, own).mean()))
                same.append(float((base.argmax(axis=1) == own.argmax(axis=1)).mean()))
            report(number + 1, job.windows)
        state = context.state_bytes()
    return {
        "nll": nll, "kld": kld, "same_top": same, "vocabulary": model.vocabulary,
        "state_bytes_per_token": round(state / window), "resident_bytes": resident_bytes(),
    }  # fmt: skip


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Row by row, float32, stable."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    total: NDArray[np.float32] = np.exp(shifted, dtype=np.float64).sum(axis=1, keepdims=True).astype(np.float32)
    result: NDArray[np.float32] = shifted - np.log(total)
    return result


def divergence(base: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL(base || other) of each row in nats, over the whole vocabulary."""
    result: NDArray[np.float64] = (np.exp(base, dtype=np.float64) * (base - other)).sum(axis=1)
    return result


def speed(model: Model, tokens: list[int], job: Job) -> dict[str, Any]:
    """Tokens per CPU-second: prompts in steps of 512, and decoding at each number of sequences."""
    with model.context(BATCH_TOKENS, threads=job.threads, kv_type=job.kv_type) as context:
        prefill = max(_prefill(context, tokens) for _ in range(ROUNDS))
        resident = resident_bytes()
    decode = {}
    for sequences in job.sequences:
        with model.context(WINDOW, threads=job.threads, sequences=sequences, kv_type=job.kv_type) as context:
            decode[str(sequences)] = max(_decode(context, tokens, sequences) for _ in range(ROUNDS))
    return {"prefill_tok_per_cpu_s": prefill, "decode_tok_per_cpu_s": decode, "resident_bytes": resident}


def _prefill(context: Context, tokens: list[int]) -> float:
    context.clear()
    started = time.process_time()
    last = [at == BATCH_TOKENS - 1 for at in range(BATCH_TOKENS)]
    context.decode(tokens[:BATCH_TOKENS], range(BATCH_TOKENS), [0] * BATCH_TOKENS, last)
    context.logits(1)
    return BATCH_TOKENS / (time.process_time() - started)


def _decode(context: Context, tokens: list[int], sequences: int) -> float:
    context.clear()
    owners = list(range(sequences))
    for owner in owners:
        context.decode(tokens[:PROMPT], range(PROMPT), [owner] * PROMPT, [at == PROMPT - 1 for at in range(PROMPT)])
    started = time.process_time()
    for step in range(STEPS):
        given = [tokens[(PROMPT + step + owner) % len(tokens)] for owner in owners]
        context.decode(given, [PROMPT + step] * sequences, owners, [True] * sequences)
        context.logits(sequences)
    return sequences * STEPS / (time.process_time() - started)


def _say(answer: Any) -> Any:
    def say(at: int, of: int) -> None:
        answer.write(json.dumps({"at": at, "of": of}) + "\n")

    return say


if __name__ == "__main__":
    sys.exit(main())
