"""Heads against scikit-learn, promises against simulation, exports against the SDK's own types."""

import json
import math
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from jevons.core.errors import CallerError
from jevons.judge.conformal import binomial_tail, calibrate, needed
from jevons.lab.distill import closed_set, fit, pack
from jevons.lab.distill_export import Pair, deduplicated, held_out, hugging_face_lines, openai_lines, recipe
from jevons.levers.small.examples import Example, select
from jevons.levers.small.head import answer


def blobs(n=900, classes=3, noise=0.3, seed=0):
    dice = np.random.default_rng(seed)
    kinds = dice.integers(0, classes, n)
    vectors = (np.eye(classes)[kinds] + dice.normal(scale=noise, size=(n, classes))).astype(np.float32)
    return vectors, np.array([f"kind {kind}" for kind in kinds])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("with_numpy", [True, False])
def test_the_served_answer_is_scikit_learns(classes, with_numpy, monkeypatch):
    vectors, truth = blobs(classes=classes)
    model = LogisticRegression(C=10.0, max_iter=200).fit(vectors, truth)
    head = pack("site", model, calibrate([0.9] * 600, [True] * 600, 0.98))
    rows = [vectors[number].tolist() for number in range(20)]
    rates = model.predict_proba(vectors[:20])
    if not with_numpy:
        monkeypatch.delitem(sys.modules, "numpy")
    for row, rate in zip(rows, rates, strict=True):
        said = answer(head, row)
        assert said.text == model.classes_[rate.argmax()]
        assert said.probability == pytest.approx(rate.max(), abs=1e-5)


def test_a_vector_of_another_width_is_refused():
    vectors, truth = blobs()
    head = fit("site", vectors, truth.tolist(), 0.95, np.random.default_rng(0)).head
    with pytest.raises(ValueError, match="width"):
        answer(head, [0.0] * 7)


def test_a_head_keeps_its_promise_on_fresh_calls():
    broken = 0
    for seed in range(12):
        vectors, truth = blobs(1_200, noise=0.35, seed=seed)
        head = fit("site", vectors[:600], truth[:600].tolist(), 0.95, np.random.default_rng(seed)).head
        said = [answer(head, row) for row in vectors[600:]]
        good = [each.text == right for each, right in zip(said, truth[600:], strict=True) if each.served]
        broken += bool(good) and np.mean(good) < 0.95
    assert broken <= 1


def test_open_sets_are_refused_with_the_reason():
    assert closed_set(["a"] * 10)[1].startswith("10 pairs are too few")
    assert "recur" in closed_set(["a"] * 600)[1]
    open_set = ["a"] * 400 + ["b"] * 400 + [str(number) for number in range(200)]
    assert "the set is open" in closed_set(open_set)[1]
    with pytest.raises(CallerError, match="the set is open"):
        fit("site", np.zeros((1_000, 2), np.float32), open_set, 0.98, np.random.default_rng(0))


def test_the_binomial_tail_is_scipys():
    for errors, n in ((0, 200), (3, 200), (12, 700)):
        assert binomial_tail(errors, n, 0.02) == pytest.approx(stats.binom.cdf(errors, n, 0.02))


def test_a_calibrated_promise_is_rarely_broken():
    dice, broken = np.random.default_rng(1), 0
    for _ in range(200):
        scores = dice.random(800)
        rule = calibrate(scores.tolist(), (dice.random(800) < 0.9 + 0.1 * scores).tolist(), 0.96, 0.9)
        if math.isfinite(rule.threshold):
            broken += 0.9 + 0.05 * (1 + rule.threshold) < 0.96  # the true agreement above a threshold t
    assert broken / 200 <= 0.1


def test_perfect_answers_are_all_served_and_poor_ones_never():
    dice = np.random.default_rng(2)
    scores = dice.random(1_000).tolist()
    assert calibrate(scores, [True] * 1_000, 0.98).share == 1.0
    assert calibrate(scores, [False] * 1_000, 0.98).threshold == math.inf
    assert calibrate(scores[:100], [True] * 100, 0.98).threshold == math.inf  # too few to promise anything
    assert needed(0.98, 0.95) == 149


def test_examples_are_near_varied_and_within_budget():
    near = [Example("p" * 40, f"a{number}", (0.9, 0.436, 0.001 * number)) for number in range(3)]
    other = Example("q" * 40, "b", (0.85, 0.0, 0.527))
    far = Example("r" * 40, "c", (-1.0, 0.0, 0.0))
    chosen = select((1.0, 0.0, 0.0), [far, other, *near], most=2, token_budget=1_000)
    assert [each.answer for each in chosen] == ["b", "a0"]  # varied, and the nearest last
    assert select((1.0, 0.0, 0.0), [*near, other], most=5, token_budget=near[0].tokens) == [near[0]]
    assert select((1.0, 0.0, 0.0), [], most=3, token_budget=100) == []


def test_exports_are_the_formats_of_their_takers():
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    pairs = [Pair("be brief", "question", "answer"), Pair("", "ä\n", "ok")]
    messages = TypeAdapter(list[ChatCompletionMessageParam])
    for line, one in zip(openai_lines(pairs), pairs, strict=True):
        row = json.loads(line)
        messages.validate_python(row["messages"])
        assert [message["role"] for message in row["messages"]] == (["system"] if one.system else []) + [
            "user",
            "assistant",
        ]
    rows = [json.loads(line) for line in hugging_face_lines(pairs)]
    assert rows[1] == {
        "prompt": [{"role": "user", "content": "ä\n"}],
        "completion": [{"role": "assistant", "content": "ok"}],
    }


def test_an_export_has_each_prompt_once_and_a_stable_split():
    pairs = [Pair("", "q", "old"), Pair("", "p", "x"), Pair("", "q", "new")]
    assert [one.answer for one in deduplicated(pairs)] == ["new", "x"]
    share = np.mean([held_out(Pair("", str(number), "")) for number in range(4_000)])
    assert 0.08 < share < 0.12


def test_the_recipe_names_what_it_was_given():
    text = recipe("abc", "some/model-1b", 900, 100, "abc-lora")
    for part in ("some/model-1b", "abc-lora", "900 examples", "--candidate abc-lora"):
        assert part in text
