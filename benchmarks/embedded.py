"""Embeddings for benchmarks, by the gateway's own embedder, kept under /tmp by the text's hash: a rerun is quick."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.halves import say
from jevons.engines.embed import MODEL, Embedder

CHUNK = 512


def embed(texts: list[str]) -> NDArray[np.float32]:
    """Unit rows, float32 [n, 384], in the order given."""
    key = hashlib.sha256("\x1f".join([MODEL, *texts]).encode()).hexdigest()[:32]
    place = Path(tempfile.gettempdir()) / f"jevons-embedded-{os.getuid()}-{key}.npy"
    if place.exists():
        return np.load(place)  # type: ignore[no-any-return]
    embedder = Embedder.load(threads=1)
    rows = np.empty((len(texts), embedder.width), dtype=np.float32)
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(texts), CHUNK):
        part = by_length[start : start + CHUNK]
        rows[part] = embedder.embed([texts[index] for index in part])
        say(f"embedded {start + len(part)} of {len(texts)}")
    np.save(place, rows)
    return rows
