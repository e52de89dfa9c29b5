"""Files as streams of records: JSON lines, one JSON document with an array of records, or CSV; gzip or plain.

What lives here: finding files, bounded reading, telling the three shapes apart. What it must not know: what a record
means. A record longer than a bound is skipped and named; nothing is read whole but one record.
"""

import codecs
import csv
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from jevons.replay.audit.seen import Faults

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".log")
MOST_FILES = 100_000
LONGEST = 64 * 1024 * 1024
"""Bytes of one record. A request may carry pictures; a longer line is no request that a provider takes."""
CHUNK = 1 << 20
HEAD = 64 * 1024
REPORT_EVERY = 4 << 20
"""Bytes between two movements of the progress bar."""

ARRAYS = ("data", "observations", "spend_logs", "logs")
_BOXED = re.compile(rb'\{\s*"(?:' + "|".join(ARRAYS).encode() + rb')"\s*:\s*\[')
_BETWEEN = re.compile(r"[ \t\r\n,]*")

Record = bytes | dict[str, Any]
Progress = Callable[[int], None]


def find(path: Path) -> list[Path]:
    """The files to read: the path itself, or all below a folder with a suffix that may hold records, in order."""
    if not path.is_dir():
        return [path]
    found = (each for each in path.rglob("*") if each.name.removesuffix(".gz").endswith(SUFFIXES) and each.is_file())
    return sorted(each for _, each in zip(range(MOST_FILES), found, strict=False))


def records(path: Path, faults: Faults, progress: Progress | None = None) -> Iterator[tuple[str, Record]]:
    """(place, record) of a file: bytes of one JSON value, or a row of a CSV. Raises OSError when it cannot be opened;
    a file that breaks off (a cut gzip) ends there and is counted."""
    with path.open("rb") as raw:
        lines = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
        told = 0
        try:
            for place, record in _shaped(path, lines, faults):
                if progress is not None and raw.tell() - told >= REPORT_EVERY:
                    progress(raw.tell() - told)
                    told = raw.tell()
                yield f"{path.name}:{place}", record
        except (EOFError, gzip.BadGzipFile, csv.Error) as error:
            faults.add(f"file breaks off ({type(error).__name__})", path.name)
        if progress is not None:
            progress(path.stat().st_size - told)


def _shaped(path: Path, lines: BinaryIO, faults: Faults) -> Iterator[tuple[int, Record]]:
    head = lines.readline(LONGEST + 1)
    while head and not head.strip(b"\xef\xbb\xbf \t\r\n"):
        head = lines.readline(LONGEST + 1)
    start = head.lstrip(b"\xef\xbb\xbf \t")
    lines.seek(0)
    if start.startswith(b"[") or _BOXED.match(start) or (start.startswith(b"{") and not _whole(start)):
        yield from _elements(path, lines, faults)
    elif start.startswith(b"{") or b"," not in start:
        yield from _lines(path, lines, faults)
    else:
        yield from _rows(lines)


def _whole(line: bytes) -> bool:
    """The line is a JSON object by itself, not the opening of a document over several lines."""
    if len(line) > HEAD:
        return True
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return line.rstrip().endswith(b"}")  # a spoiled line of JSON lines
    return True


def _lines(path: Path, lines: BinaryIO, faults: Faults) -> Iterator[tuple[int, Record]]:
    number = 0
    while line := lines.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while rest := lines.readline(CHUNK):
                if rest.endswith(b"\n"):
                    break
            faults.add(f"longer than {LONGEST >> 20} MiB", f"{path.name}:{number}")
        elif line.strip(b"\xef\xbb\xbf \t\r\n\0"):
            yield number, line.lstrip(b"\xef\xbb\xbf")


def _rows(lines: BinaryIO) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(min(LONGEST, sys.maxsize))
    decoded = (line.decode("utf-8-sig" if number == 0 else "utf-8", "replace") for number, line in enumerate(lines))
    for number, row in enumerate(csv.DictReader(decoded), start=2):
        yield number, {key: value for key, value in row.items() if isinstance(key, str)}


def _elements(path: Path, lines: BinaryIO, faults: Faults) -> Iterator[tuple[int, Record]]:
    """The elements of a document's array of records: the outermost, or that under `data` (`observations`)."""
    decode = json.JSONDecoder().raw_decode
    text = codecs.getincrementaldecoder("utf-8-sig")("replace")
    window = text.decode(lines.read(HEAD))
    at = _opening(window)
    if at < 0:
        faults.add("a JSON document without an array of records", path.name)
        return
    number = 0
    while True:
        at = _BETWEEN.match(window, at).end()  # type: ignore[union-attr]  # it matches the empty text too
        if window.startswith("]", at):
            return
        try:
            _, end = decode(window, at)
        except (ValueError, RecursionError):
            window, at = window[at:], 0
            more = b"" if len(window) > LONGEST else lines.read(max(CHUNK, len(window)))
            if not more:
                faults.add("document breaks off", f"{path.name}:{number + 1}")
                return
            window += text.decode(more)
            continue
        number += 1
        yield number, window[at:end].encode("utf-8", "replace")
        at = end


def _opening(window: str) -> int:
    """Where the records begin; -1: nowhere."""
    if window.lstrip().startswith("["):
        return window.index("[") + 1
    keys = [window.find(f'"{key}"') for key in ARRAYS]
    key = min((found for found in keys if found >= 0), default=-1)
    return window.find("[", key) + 1 or -1 if key >= 0 else -1
