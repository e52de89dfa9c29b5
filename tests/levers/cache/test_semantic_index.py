"""The engine on made vectors: what is served, what a fresh answer teaches, what feedback removes, and no leak."""

import random

import numpy as np
import pytest

from jevons.levers.cache.semantic.gate import OPENS_AFTER, Policy
from jevons.levers.cache.semantic.index import SemanticIndex
from jevons.levers.cache.semantic.namespace import WIDTH
from jevons.levers.cache.semantic.vectors import Shelf
from jevons.levers.cache.semantic.verifier import Verifier

VERBS = ("show", "list", "give", "find")
THINGS = tuple(f"{first}{second}" for first in "abcdefgh" for second in ("lume", "rast", "quil"))


def embed(texts):
    """Bags of hashed letters' triples: near texts get near vectors, without any model."""
    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for at in range(len(text) - 2):
            row[sum(map(ord, text[at : at + 3])) % 64] += 1.0
    return rows / np.maximum(1e-6, np.linalg.norm(rows, axis=1, keepdims=True))


def index(level=0.05, unit="request", seed=0):
    return SemanticIndex(Policy(level, unit), embed, embed, random.Random(seed))


def question(dice):
    """The answer hangs on the thing alone; the verb and the politeness are noise."""
    thing = dice.choice(THINGS)
    return f"{dice.choice(VERBS)} me {dice.choice(('all', 'the', 'some'))} {thing} {dice.randrange(40) * 'x'}", thing


def run(engine, steps, seed=0, namespace="n"):
    dice, wrong, found = random.Random(seed), 0, []
    for _ in range(steps):
        text, answer = question(dice)
        said = engine.look_up(namespace, text)
        found.append(said)
        if said.served:
            wrong += said.answer != answer
        else:
            engine.learn(said.ticket, answer, f"ref {text}")
    return wrong, found


def test_it_learns_what_matters_and_serves_it():
    engine = index()
    wrong, found = run(engine, 1500)
    late = found[1000:]
    assert sum(said.kind == "hit" for said in late) > 20
    assert wrong <= 0.05 * 1500
    assert any(said.kind == "audit" for said in found)
    assert all(said.ref == f"ref {said.text}" for said in found if said.served)


def test_before_the_gate_opens_only_the_very_same_text_is_served():
    engine = index(level=0.01)
    _, found = run(engine, OPENS_AFTER["request"] // 2)
    assert {said.kind for said in found if said.served} <= {"exact"}


def test_namespaces_never_see_each_other():
    engine = index()
    run(engine, 600)
    dice = random.Random(0)
    texts = [question(dice)[0] for _ in range(200)]
    assert not any(engine.look_up("other", text).served for text in texts)
    assert all(engine.look_up("other", text).ref == "" for text in texts)


def test_a_flip_is_refused_however_sure_the_verifier_is():
    engine = index()
    run(engine, 1500)
    engine.gate.threshold = 1.0
    engine.learn(engine.look_up("flips", "refund order 4711 now").ticket, "done", "r")
    said = engine.look_up("flips", "refund order 4712 now")
    assert not said.served
    assert said.vetoed == "number"


def test_feedback_removes_the_entry_and_its_neighbours_and_leaves_the_rest():
    engine = index()
    for text in ("show me all the lume", "show me all the lume!", "a wholly different matter"):
        engine.learn(engine.look_up("n", text).ticket, "answer", "r")
    assert set(engine.purge("n", "show me all the lume")) == {"show me all the lume", "show me all the lume!"}
    assert not engine.look_up("n", "show me all the lume").served
    assert engine.look_up("n", "a wholly different matter").served
    assert engine.purge("n", "never seen") == ()


def test_an_audit_whose_answer_never_comes_counts_as_wrong():
    engine = index()
    run(engine, 1500)
    dice = random.Random(9)
    known = engine.gate.known_wrong
    while True:
        text, answer = question(dice)
        said = engine.look_up("n", text)
        if said.kind == "audit":
            break
        if said.ticket and not said.served:
            engine.learn(said.ticket, answer, "r")
    engine.give_up(said.ticket)
    assert engine.gate.known_wrong == known + 1


def test_a_hit_that_was_not_taken_is_counted_as_never_served():
    engine = index()
    _, found = run(engine, 1500)
    hit = next(said for said in reversed(found) if said.kind == "hit")
    served = engine.gate.served
    engine.learn(hit.ticket, hit.answer, "r")
    assert engine.gate.served == served - 1


def test_what_was_kept_and_learned_comes_back():
    engine, kept = index(), []
    dice = random.Random(3)
    for _ in range(300):
        text, answer = question(dice)
        said = engine.look_up("n", text)
        if not said.served and (learned := engine.learn(said.ticket, answer, "r")).kept is not None:
            kept.append(learned.kept)
    again = index()
    again.load(kept)
    again.restore(engine.dump())
    assert len(again) == len(engine)
    text = kept[0].text
    assert again.look_up("n", text).answer == engine.look_up("n", text).answer
    assert np.allclose(again.verifier.mean, engine.verifier.mean)


def test_explaining_changes_nothing():
    engine = index()
    run(engine, 400)
    before = (len(engine), engine.gate.dump(), engine.verifier.labels)
    said = engine.explain("n", "show me the alume x", "show me the alume xx", "alume")
    assert 0.0 <= said.risk <= 1.0
    assert (len(engine), engine.gate.dump(), engine.verifier.labels) == before


def test_a_shelf_gives_what_sorting_all_rows_gives_and_forgets_what_was_dropped():
    dice = np.random.default_rng(0)
    rows = dice.normal(size=(300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shelf = Shelf()
    for row in rows:
        shelf.add(row)
    for gone in (3, 77, 120):
        shelf.drop(gone)
    for asked in rows[:40]:
        order = [int(at) for at in np.argsort(-(rows @ asked)) if at not in {3, 77, 120}][:5]
        assert [row for row, _ in shelf.top(asked, 5)] == order
    assert len(shelf) == 297


def test_a_large_shelf_finds_nearly_what_sorting_finds(monkeypatch):
    monkeypatch.setattr("jevons.levers.cache.semantic.vectors.EXACT_UP_TO", 500)
    dice = np.random.default_rng(1)
    rows = dice.normal(size=(900, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shelf = Shelf()
    for row in rows:
        shelf.add(row)
    shelf.drop(11)
    found = [row for asked in rows[:100] for row, _ in shelf.top(asked, 1)]
    assert sum(row == at for at, row in enumerate(found)) >= 97
    assert 11 not in found


def test_the_verifier_reaches_the_batch_fit_of_an_independent_library():
    linear = pytest.importorskip("sklearn.linear_model")
    dice = np.random.default_rng(2)
    x = np.hstack([np.ones((3000, 1)), dice.normal(size=(3000, 4))])
    truth = np.array([-0.5, 2.0, -1.0, 0.5, 0.0])
    y = dice.random(3000) < 1 / (1 + np.exp(-x @ truth))
    verifier = Verifier(5)
    for row, label in zip(x, y, strict=True):
        verifier.learn(row, bool(label))
    batch = linear.LogisticRegression(C=1.0, fit_intercept=False).fit(x, y)
    assert np.abs(verifier.mean - batch.coef_[0]).max() < 0.35
    assert np.corrcoef(verifier.score(x), batch.predict_proba(x)[:, 1])[0, 1] > 0.995


def test_a_verifier_of_another_width_is_not_restored():
    with pytest.raises(ValueError, match="width"):
        Verifier(WIDTH).restore(Verifier(3).dump())
