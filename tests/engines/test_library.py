"""Finding and fetching libllama: files and hashes; nothing is loaded and nothing is downloaded here."""

import base64
import hashlib
import io
import tarfile

import pytest

from jevons.engines import library
from jevons.engines.library import LibraryError


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_an_archive_that_is_not_the_pinned_one_is_not_used(tmp_path):
    made = archive(tmp_path / "x.tgz", {"package/bins/linux-x64/libllama.so": b"x"})
    own = "sha512-" + base64.b64encode(hashlib.sha512(made.read_bytes()).digest()).decode()
    library.check(made, own)
    with pytest.raises(LibraryError, match="not the pinned archive"):
        library.check(made)


def test_only_the_libraries_are_taken_out_of_an_archive(tmp_path):
    made = archive(
        tmp_path / "x.tgz",
        {
            "package/bins/linux-x64/libllama.v9.so": b"llama",
            "package/bins/linux-x64/libggml.so": b"ggml",
            "package/bins/linux-x64/../../../evil.so": b"evil",
            "package/bins/linux-x64/sub/x.so": b"deep",
            "package/install.js": b"script",
            "package/bins/linux-x64/llama-addon.node": b"node",
        },
    )
    (tmp_path / "to").mkdir()
    assert {path.name for path in library.unpack(made, tmp_path / "to")} == {"libllama.v9.so", "libggml.so"}
    assert sorted(path.name for path in tmp_path.rglob("*.so")) == ["libggml.so", "libllama.v9.so"]


def test_an_archive_without_a_libllama_is_refused(tmp_path):
    with pytest.raises(LibraryError, match="holds no libllama"):
        library.unpack(archive(tmp_path / "x.tgz", {"package/bins/linux-x64/libggml.so": b"x"}), tmp_path)


def test_the_users_own_library_comes_first_and_a_missing_one_is_named(tmp_path):
    own, fetched = tmp_path / "libllama.so", tmp_path / "lib"
    fetched.mkdir()
    for path in (own, fetched / "libllama.v1.so"):
        path.write_bytes(b"")
    assert library.quantizer({"JEVONS_LIBLLAMA": str(own)}, fetched).origin == "variable"
    assert library.quantizer({}, fetched).origin == "fetched"
    with pytest.raises(LibraryError, match="there is no file"):
        library.quantizer({"JEVONS_LIBLLAMA": str(tmp_path / "gone.so")}, fetched)


def test_a_machine_without_one_is_told_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(library.ctypes.util, "find_library", lambda _name: None)
    with pytest.raises(LibraryError, match="--get-library"):
        library.quantizer({}, tmp_path)
    with pytest.raises(LibraryError, match="extra `local`"):
        library.engine()
