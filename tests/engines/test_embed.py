"""Local embeddings: the function on texts, and the served form through the official SDK."""

import asyncio

import numpy as np
import openai
import pytest

from jevons.engines.embed import MAX_TOKENS, WIDTH, Embedded, Embedder, load_tokenizer
from jevons.engines.embed_server import MAX_BATCH, MAX_WAITING, Batcher, EmbedEngine, Refused


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


def test_rows_are_unit_vectors_that_do_not_depend_on_their_neighbours(embedder):
    texts = ["one", "a somewhat longer text about engines", "", "one", "naïve 炭 ✓", "word " * 900]
    rows = embedder.embed(texts)
    assert (rows.shape, rows.dtype) == ((6, WIDTH), np.float32)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.array_equal(rows, np.vstack([embedder.embed([text]) for text in texts]))


def test_paraphrases_are_near_and_strangers_far(embedder):
    rows = embedder.embed(["How do I list all users?", "list every user", "the weather in Oslo"])
    assert rows[0] @ rows[1] > 0.85
    assert rows[0] @ rows[2] < 0.3


def test_tokens_are_counted_as_the_model_read_them(embedder):
    read = embedder.read(["steam", "word " * 900])
    assert read.tokens == [3, MAX_TOKENS]
    assert read.cut == [1]


def test_the_tokenizer_is_berts(embedder):
    tokens = load_tokenizer().encode("Unaffable Jevons' ﬁrst naïve 京!").tokens
    assert tokens[:4] == ["[CLS]", "una", "##ffa", "##ble"]
    assert tokens[-3:] == ["京", "!", "[SEP]"]
    assert "naive" in tokens


def test_nothing_embedded_is_an_empty_matrix(embedder):
    assert embedder.embed([]).shape == (0, WIDTH)


def fake(texts):
    return Embedded(np.full((len(texts), 1), len(texts), dtype=np.float32), [len(text) for text in texts], [])


def test_concurrent_requests_share_a_run_and_each_gets_its_own_rows():
    async def run():
        batcher = Batcher(fake, 0.01)
        got = await asyncio.gather(*(batcher.read(["x" * size] * size) for size in (1, 2, 3)))
        assert batcher.runs == 1
        assert [part.tokens for part in got] == [[1], [2, 2], [3, 3, 3]]
        await asyncio.gather(*(batcher.read(["x"] * MAX_BATCH) for _ in range(2)))
        assert batcher.runs == 3

    asyncio.run(run())


def test_a_failure_reaches_its_callers_and_the_next_batch_runs():
    async def run():
        def embed(texts):
            if "bad" in texts:
                raise RuntimeError("native")
            return fake(texts)

        batcher = Batcher(embed, 0.0)
        with pytest.raises(Refused, match="native"):
            await batcher.read(["bad"])
        assert (await batcher.read(["good"])).tokens == [4]
        with pytest.raises(Refused, match="waiting"):
            await batcher.read(["x"] * (MAX_WAITING + 1))

    asyncio.run(run())


@pytest.fixture(scope="module")
def engine(loop):
    made = EmbedEngine()
    loop.run(made.start())
    yield made
    loop.run(made.stop())


@pytest.fixture
def client(engine):
    with openai.OpenAI(api_key=engine.key, base_url=engine.provider().base_url, max_retries=0) as made:
        yield made


def test_the_sdk_gets_the_same_rows_as_the_library(client, embedder):
    texts = ["hello there", "steam"]
    reply = client.embeddings.create(model="any", input=texts)
    plain = client.embeddings.create(model="any", input=texts, encoding_format="float")
    assert np.allclose([row.embedding for row in reply.data], embedder.embed(texts), atol=1e-6)
    assert np.allclose([row.embedding for row in plain.data], embedder.embed(texts), atol=1e-6)
    assert reply.usage.prompt_tokens == 4 + 3


def test_what_was_cut_is_said(client):
    raw = client.embeddings.with_raw_response.create(model="any", input=["word " * 900, "short"])
    assert raw.headers["x-jevons-warnings"] == f"embeddings: 1 of 2 inputs were cut to {MAX_TOKENS} tokens"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input": []}, "1 to 2048"),
        ({"input": ""}, "empty"),
        ({"input": [[1, 2]]}, "token ids"),
        ({"input": "a", "dimensions": 64}, "384"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(client, given, words):
    with pytest.raises(openai.BadRequestError, match=words):
        client.embeddings.create(model="any", **given)


def test_a_stranger_gets_nothing(client):
    stranger = client.with_options(api_key="guess")
    with pytest.raises(openai.AuthenticationError):
        stranger.embeddings.create(model="any", input="a")


def test_health_shows_the_child(engine, loop):
    health = loop.run(engine.health())
    assert health.ready
    assert health.resident_bytes > 0
