"""Which quantization to deploy: every file measured on this machine, by the library that serves it.

What lives here: what is measured of which file, in which child process, and how windows become intervals. What must
not be here: native code (`localbench_child.py`), the choice (`localbench_choose.py`).

Per file: real bits per weight (from the tensors' types); KL divergence and same-top share against the best-precision
file over the whole vocabulary (full logits, no top-N cut), and perplexity, on windows of 512 tokens of one text whose
second halves are scored; tokens per CPU-second of prefill and of decoding at 1, 2, 4, 8 sequences; the KV cache's
bytes per token by type; how many sequences fit; energy; dollars at a machine's price.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jevons.burn import meter
from jevons.burn.band import Band
from jevons.burn.rates import device
from jevons.burn.tables import load as load_tables
from jevons.core.errors import CallerError
from jevons.engines import library, local_gguf
from jevons.engines.library import LibraryError
from jevons.engines.local import COMPUTE_BYTES, free_bytes
from jevons.engines.local_gguf import ModelError, ModelFile
from jevons.lab.localbench_child import SCORED, WINDOW, Job
from jevons.lab.localbench_choose import Choice, Interval, Rung, choose, interval, kv_passes
from jevons.lab.localbench_energy import reading
from jevons.lab.localbench_tasks import Task, score
from jevons.lab.quantize import manifest

KV_TYPES = ("f16", "q8_0", "q4_0")
SEQUENCES = (1, 2, 4, 8)
WINDOWS = 6
"""1,536 scored tokens; the interval is over windows, since tokens of one text depend on each other."""
PROMPT_SHARE = 0.75
"""Of a blended token's price, the prompt's share: three tokens in for one out."""
CPU_CORES = 96
"""Of the processor behind the burn tables' `cpu`: its watts are shared by so many."""
JOB_TIMEOUT_S = 3600.0
MAX_KEPT_BYTES = 16 * 1024**3
"""The reference's log-probabilities on disk: 300 MB for the default text and a vocabulary of 49,152."""


class Energy(msgspec.Struct, frozen=True):
    """Joules per thousand tokens."""

    joules_per_ktok_in: Band
    joules_per_ktok_out: Band
    source: str
    """`measured: RAPL`, or `modelled: ...`."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One file's row. Intervals are 95%, over windows or tasks."""

    name: str
    path: str
    reference: bool
    derived_from: str
    """The file that it was quantized from, as its manifest says."""
    bits_per_weight: float
    stored: str
    file_bytes: int
    resident_bytes: int
    perplexity: float
    perplexity_low: float
    perplexity_high: float
    kld: Interval
    same_top: Interval
    score: Interval | None
    score_lost: Interval | None
    prefill_tok_per_cpu_s: float
    decode_tok_per_cpu_s: dict[str, float]
    kv_bytes_per_token: dict[str, int]
    sequences_that_fit: dict[str, int]
    usd_per_mtok_in: float
    usd_per_mtok_out: float
    energy: Energy

    @property
    def usd_per_mtok(self) -> float:
        return PROMPT_SHARE * self.usd_per_mtok_in + (1 - PROMPT_SHARE) * self.usd_per_mtok_out


class KvQuality(msgspec.Struct, frozen=True, kw_only=True):
    """A KV type against f16, with the best-precision file."""

    kv_type: str
    kld: Interval
    same_top: Interval
    bytes_per_token: int
    """Measured: what the engine's state takes."""
    usable: bool


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    rows: tuple[Measured, ...]
    kv: tuple[KvQuality, ...]
    choice: Choice
    reference: str
    text_tokens: int
    engine: str


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, and at which prices."""

    text: Path
    windows: int = WINDOWS
    kv_types: tuple[str, ...] = KV_TYPES
    sequences: tuple[int, ...] = SEQUENCES
    context_tokens: int = 4096
    memory_bytes: int | None = None
    """Memory to fill with sequences; None: what is free."""
    usd_per_hour: float = 0.10
    """Of the machine, all its cores."""
    cores: int = 0
    """0: those of this machine."""
    tasks: tuple[Task, ...] = ()
    reference: str = ""
    threads: int = 1
    niceness: int = 0


def default_text(directory: Path) -> Path:
    """The text when none is given: the reference topics that come with Python itself, English with some code."""
    from pydoc_data.topics import topics

    path = directory / "text.txt"
    path.write_text("\n\n".join(topics[name] for name in sorted(topics))[:400_000], encoding="utf-8")
    return path


def bench(paths: Sequence[Path], setup: Setup, report: Callable[[str], None] = lambda _: None) -> Bench:
    """Everything above for these files. Raises ModelError, LibraryError or CallerError before anything is lost."""
    files = [local_gguf.read(path) for path in paths]
    base = reference(files, setup.reference)
    with tempfile.TemporaryDirectory(prefix="jevons-bench-") as scratch:
        runner = Runner(setup, Path(scratch) / "kept", report)
        quality = {base.path: runner.quality(base, "reference")}
        check_vocabulary(quality[base.path], files, base)
        kv = tuple(runner.kv(base, kv_type, quality[base.path]) for kv_type in setup.kv_types)
        for file in files:
            if file is not base:
                quality[file.path] = runner.quality(file, "compare")
        speeds = {file.path: runner.speed(file) for file in files}
        scores = {file.path: runner.score(file) for file in files} if setup.tasks else {}
    rows = tuple(row(file, base, quality, speeds[file.path], scores, setup) for file in files)
    return Bench(
        rows=rows, kv=kv, choice=choose(rungs(rows)), reference=base.path, text_tokens=setup.windows * SCORED,
        engine=str(library.engine().path.name),
    )  # fmt: skip


def rungs(rows: Sequence[Measured]) -> list[Rung]:
    """What the choice looks at of each row."""
    return [
        Rung(
            name=one.name, kld=one.kld, usd_per_mtok=one.usd_per_mtok, score_lost=one.score_lost,
            reference=one.reference,
        )
        for one in rows
    ]  # fmt: skip


def reference(files: Sequence[ModelFile], named: str = "") -> ModelFile:
    """The best-precision file: the one that was named, else the one that kept most bits.

    A file made from another of these is no better than it, however many bits it stores: a q8_0 of a q4_1 source
    counts as the source's. Raises CallerError when the named one is not among them.
    """
    if named:
        for file in files:
            if named in (file.path, Path(file.path).name):
                return file
        raise CallerError(f"--reference {named}: is not one of the models")

    def kept(file: ModelFile) -> tuple[float, bool]:
        known = manifest(Path(file.path))
        bits = file.bits_per_weight
        return (min(bits, known.source_bits_per_weight), False) if known else (bits, True)

    return max(files, key=kept)


def check_vocabulary(base: dict[str, Any], files: Sequence[ModelFile], reference_file: ModelFile) -> None:
    """Raises CallerError when the files are of different models, or the kept log-probabilities too large."""
    outline = (reference_file.architecture, reference_file.layers, reference_file.kv_width)
    for file in files:
        if (file.architecture, file.layers, file.kv_width) != outline:
            raise CallerError(f"{file.path}: is another model than {reference_file.path}; compare files of one model")
    if base["vocabulary"] < 1:
        raise ModelError(f"{reference_file.path}: has no vocabulary")


class Runner:
    """Runs the children, one at a time."""

    def __init__(self, setup: Setup, kept: Path, report: Callable[[str], None]):
        self._setup, self._kept, self._report = setup, kept, report
        self._library = str(library.engine().path)

    def quality(self, file: ModelFile, task: str, kv_type: str = "f16") -> dict[str, Any]:
        self._report(f"{Path(file.path).name}: quality" + (f" with KV {kv_type}" if kv_type != "f16" else ""))
        if task == "reference":
            self._room()
        return self._run(file, task, kept=str(self._kept), windows=self._setup.windows, kv_type=kv_type)

    def kv(self, file: ModelFile, kv_type: str, base: dict[str, Any]) -> KvQuality:
        """A KV type's quality. f16 is the reference; q8_0 may always be used; below it, a check must be passed."""
        if kv_type == "f16":
            same = Interval(1.0, 0.0, 1.0, 1.0)
            size = base["state_bytes_per_token"]
            return KvQuality(
                kv_type=kv_type, kld=Interval(0, 0, 0, 0), same_top=same, bytes_per_token=size, usable=True
            )
        found = self.quality(file, "compare", kv_type)
        kld, same_top = interval(found["kld"]), interval(found["same_top"])
        usable = local_gguf.KV_BITS[kv_type] >= local_gguf.KV_BITS["q8_0"] or kv_passes(kld, same_top)
        return KvQuality(
            kv_type=kv_type, kld=kld, same_top=same_top, bytes_per_token=found["state_bytes_per_token"], usable=usable
        )

    def speed(self, file: ModelFile) -> dict[str, Any]:
        self._report(f"{Path(file.path).name}: speed")
        before = reading(time.time())
        found = self._run(file, "speed", windows=1, sequences=self._setup.sequences)
        if before is not None and (after := reading(time.time())) is not None:
            found["energy"] = msgspec.to_builtins(meter.between(before, after))
        return found

    def score(self, file: ModelFile) -> list[bool]:
        self._report(f"{Path(file.path).name}: {len(self._setup.tasks)} tasks")
        setup = self._setup
        return score(Path(file.path), setup.tasks, threads=setup.threads, slots=2, context_tokens=setup.context_tokens)

    def _room(self) -> None:
        free = shutil.disk_usage(self._kept.parent).free
        most = self._setup.windows * SCORED * 4 * 300_000
        if min(most, MAX_KEPT_BYTES) > free:
            raise ModelError(
                f"{self._kept.parent}: the reference's log-probabilities may take {most >> 20} MiB, {free >> 20} MiB "
                "are free; take fewer --windows or set TMPDIR"
            )

    def _run(self, file: ModelFile, task: str, **more: Any) -> dict[str, Any]:
        free = free_bytes()
        need = file.size_bytes + COMPUTE_BYTES + file.kv_bytes_per_token() * WINDOW * max(self._setup.sequences)
        if free is not None and need > free:
            raise ModelError(f"{file.path}: measuring takes about {need >> 20} MiB, and {free >> 20} MiB are free")
        job = Job(
            library=self._library, model=file.path, task=task, text=str(self._setup.text),
            threads=self._setup.threads, niceness=self._setup.niceness, **more,
        )  # fmt: skip
        return run(job)


def run(job: Job) -> dict[str, Any]:
    """One job in a child. Raises LibraryError when it fails or dies; nothing else is touched."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "jevons.lab.localbench_child"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, input=msgspec.json.encode(job) + b"\n", capture_output=True, check=False, timeout=JOB_TIMEOUT_S,
            env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LibraryError(f"{job.model}: was not measured within {JOB_TIMEOUT_S:.0f} s") from None
    lines = done.stdout.splitlines()
    answer = json.loads(lines[-1]) if lines else {}
    if "done" in answer:
        return dict(answer["done"])
    tail = " / ".join(done.stderr.decode(errors="replace").strip().splitlines()[-3:])
    ended = f"ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "ended early"
    raise LibraryError(f"{job.model}: {answer.get('error', f'the measuring process was {ended}')}. {tail}")


def row(
    file: ModelFile, base: ModelFile, quality: dict[str, dict[str, Any]], speed: dict[str, Any],
    scores: dict[str, list[bool]], setup: Setup,
) -> Measured:  # fmt: skip
    """A file's row from what the children said."""
    found, is_base = quality[file.path], file is base
    nll = interval(found["nll"])
    nothing, all_same = Interval(0.0, 0.0, 0.0, 0.0), Interval(1.0, 0.0, 1.0, 1.0)
    decode = {str(key): round(value, 2) for key, value in speed["decode_tok_per_cpu_s"].items()}
    best_decode = max(decode.values())
    second = setup.usd_per_hour / 3600 / (setup.cores or os.cpu_count() or 1)
    memory = setup.memory_bytes if setup.memory_bytes is not None else (free_bytes() or 0)
    kv = {kind: file.kv_bytes_per_token(kind) for kind in setup.kv_types}
    left = max(0, memory - file.size_bytes - COMPUTE_BYTES)
    own, bases = scores.get(file.path), scores.get(base.path)
    known = manifest(Path(file.path))
    return Measured(
        name=Path(file.path).name,
        path=file.path,
        reference=is_base,
        derived_from=known.source if known else "",
        bits_per_weight=file.bits_per_weight,
        stored=file.quantization,
        file_bytes=file.size_bytes,
        resident_bytes=speed["resident_bytes"],
        perplexity=math.exp(nll.mean),
        perplexity_low=math.exp(nll.low),
        perplexity_high=math.exp(min(nll.high, 700.0)),
        kld=nothing if is_base else interval(found["kld"]),
        same_top=all_same if is_base else interval(found["same_top"]),
        score=share(own) if own else None,
        score_lost=(
            interval([float(theirs) - float(ours) for ours, theirs in zip(own, bases, strict=True)])
            if own and bases
            else None
        ),
        prefill_tok_per_cpu_s=round(speed["prefill_tok_per_cpu_s"], 2),
        decode_tok_per_cpu_s=decode,
        kv_bytes_per_token=kv,
        sequences_that_fit={kind: left // max(1, size * setup.context_tokens) for kind, size in kv.items()},
        usd_per_mtok_in=second / speed["prefill_tok_per_cpu_s"] * 1e6,
        usd_per_mtok_out=second / best_decode * 1e6,
        energy=energy(speed["prefill_tok_per_cpu_s"], best_decode, speed),
    )


def share(solved: Sequence[bool]) -> Interval:
    """The share of tasks solved; the interval stays within what a share can be."""
    found = interval([float(one) for one in solved])
    return msgspec.structs.replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def energy(prefill: float, decode: float, speed: dict[str, Any]) -> Energy:
    """Joules per thousand tokens: a processor's watts per core in the burn tables, or the machine's counters.

    Counters see the whole machine and the whole job; their mean watts stand for one busy core, so they are an upper
    bound where other work runs beside it.
    """
    counted = speed.get("energy")
    if counted and counted["joules"] > 0 and counted["seconds"] > 0:
        watts = Band(*[counted["joules"] / counted["seconds"]] * 3)
        source = f"measured: {counted['source']}, the whole machine's watts while one core was busy"
    else:
        cpu = device("cpu", load_tables())
        watts = Band(*(value / CPU_CORES for value in cpu.watts))
        source = f"modelled: data-sheet watts per core ({cpu.source.split(':')[0]}); no RAPL or NVML can be read here"
    return Energy(watts * (1e3 / prefill), watts * (1e3 / decode), source)
