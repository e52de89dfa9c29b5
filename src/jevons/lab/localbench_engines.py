"""GPU engines beside the local one: lines that launch them well, and their own benchmark's throughput as rows.

The flags are those of the engines' own argument definitions, read in the released wheels named in CHECKED; the
engines are not run here. What must not be here: running anything.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec

from jevons.core.errors import CallerError

CHECKED = {"vllm": "vLLM 0.33.0", "sglang": "SGLang 0.5.23"}
"""Every flag and value below stands in that release's argument definitions (wheels of late 2026)."""
WEIGHTS = ("bf16", "fp8", "awq")
KV = ("auto", "fp8")
FP8_GPUS = ("h100", "h200", "h20", "b200", "b300", "gb200", "l40s", "l4", "mi300x", "mi325x", "rtx4090", "rtx5090")
"""With FP8 arithmetic (Ada, Hopper, Blackwell, CDNA3); others can hold FP8 weights, yet gain memory only."""
MEMORY_SHARE = 0.90


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    line: str
    checked_against: str
    notes: tuple[str, ...]


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's throughput at a machine's price."""

    name: str
    engine: str
    concurrency: int
    input_tok_per_s: float
    output_tok_per_s: float
    usd_per_mtok_all: float
    """The machine's price over all tokens, prompts' and answers' alike."""
    usd_per_mtok_out: float
    """The same with the whole price laid on the answers: an upper bound for a token of output."""


def launch(
    engine: str,
    model: str,
    *,
    gpu: str,
    devices: int = 1,
    weights: str = "fp8",
    kv: str = "fp8",
    context_tokens: int = 0,
    sequences: int = 0,
    prefix_caching: bool = True,
) -> Launch:
    """The line for a shell. Raises CallerError for an engine, weights or KV type that is not known."""
    if engine not in CHECKED or weights not in WEIGHTS or kv not in KV:
        known = f"engines {', '.join(CHECKED)}; weights {', '.join(WEIGHTS)}; KV {', '.join(KV)}"
        raise CallerError(f"no launch line for {engine} with {weights} weights and {kv} KV; known: {known}")
    build = _vllm if engine == "vllm" else _sglang
    words = build(model, devices, weights, kv, context_tokens, sequences, prefix_caching)
    notes = [f"flags as in {CHECKED[engine]}; not run here"]
    if gpu.lower().replace("-", "").replace(" ", "") not in FP8_GPUS and "fp8" in (weights, kv):
        notes.append(f"{gpu}: no FP8 arithmetic is known of it; FP8 then saves memory, not time")
    if weights == "awq":
        notes.append("AWQ needs a checkpoint quantized so; it is not made on loading")
    if weights == "fp8":
        notes.append("a bf16 checkpoint is quantized to FP8 on loading; measure its quality on your tasks")
    if kv == "fp8":
        notes.append("FP8 KV without calibrated scales uses 1.0: check quality before serving")
    return Launch(line=shlex.join(words), checked_against=CHECKED[engine], notes=tuple(notes))


def _vllm(model: str, devices: int, weights: str, kv: str, context: int, sequences: int, prefix: bool) -> list[str]:
    words = ["vllm", "serve", model, "--tensor-parallel-size", str(devices)]
    words += ["--quantization", weights] if weights != "bf16" else ["--dtype", "bfloat16"]
    words += ["--kv-cache-dtype", kv, "--gpu-memory-utilization", f"{MEMORY_SHARE:.2f}"]
    words.append("--enable-prefix-caching" if prefix else "--no-enable-prefix-caching")
    words += ["--max-model-len", str(context)] if context else []
    return words + (["--max-num-seqs", str(sequences)] if sequences else [])


def _sglang(model: str, devices: int, weights: str, kv: str, context: int, sequences: int, prefix: bool) -> list[str]:
    words = ["python", "-m", "sglang.launch_server", "--model-path", model, "--tp-size", str(devices)]
    words += ["--quantization", weights] if weights != "bf16" else ["--dtype", "bfloat16"]
    words += ["--kv-cache-dtype", "fp8_e4m3" if kv == "fp8" else kv, "--mem-fraction-static", f"{MEMORY_SHARE:.2f}"]
    words += [] if prefix else ["--disable-radix-cache"]  # prefixes are cached unless one says no
    words += ["--context-length", str(context)] if context else []
    return words + (["--max-running-requests", str(sequences)] if sequences else [])


def read_benchmarks(path: Path, usd_per_hour: float) -> list[Imported]:
    """The rows of a result file of `vllm bench serve` (JSON) or SGLang's bench_serving (JSONL).

    `usd_per_hour` is of the whole machine that was measured. Raises CallerError that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CallerError(f"{path}: can't be read: {error}") from None
    try:
        whole = json.loads(text)
        rows = [(1, whole)]
    except json.JSONDecodeError:
        rows = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                rows += [(number, json.loads(line))] if line.strip() else []
            except json.JSONDecodeError as error:
                raise CallerError(f"{path}, line {number}: not JSON: {error}") from None
    return [_row(row, f"{path}, line {number}", usd_per_hour) for number, row in rows]


def _row(row: Any, where: str, usd_per_hour: float) -> Imported:
    try:
        seconds = float(row["duration"])
        tokens_in, tokens_out = int(row["total_input_tokens"]), int(row["total_output_tokens"])
        completed = int(row["completed"])
    except (TypeError, KeyError, ValueError) as error:
        raise CallerError(f"{where}: not a result of vLLM's or SGLang's serving benchmark: {error!r} missing") from None
    if seconds <= 0 or tokens_out <= 0 or completed <= 0:
        raise CallerError(
            f"{where}: {completed} requests in {seconds} s gave {tokens_out} tokens: nothing was measured"
        )
    spent = usd_per_hour / 3600 * seconds
    engine = "vllm" if "total_token_throughput" in row else "sglang"
    name = str(row.get("model_id") or row.get("tag") or row.get("backend") or engine)
    return Imported(
        name=f"{engine}: {name}", engine=engine, concurrency=int(row.get("max_concurrency") or 0),
        input_tok_per_s=tokens_in / seconds, output_tok_per_s=tokens_out / seconds,
        usd_per_mtok_all=spent / (tokens_in + tokens_out) * 1e6, usd_per_mtok_out=spent / tokens_out * 1e6,
    )  # fmt: skip
