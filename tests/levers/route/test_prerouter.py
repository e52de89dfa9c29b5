"""The pre-router: what serves is what was fitted, and nothing is embedded without need."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jevons.lab import route_fit
from jevons.lab.route_fit import Rows, fit, fit_heads, losses, out_of_fold, shrunk_table
from jevons.levers.route.prerouter import BUCKETS, MAX_WORDS, choose, loss, settled, words


def rows(n=600, seed=0):
    """Two sites: at one the cheap model is as good, at the other it fails on prompts that say `proof`."""
    dice = np.random.default_rng(seed)
    sites = ["easy" if one else "mixed" for one in dice.random(n) < 0.5]
    hard = dice.random(n) < 0.5
    vectors = dice.normal(size=(n, 8)).astype(np.float32)
    vectors[:, 0] += np.where(hard, 1.5, -1.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"give a {'proof' if one else 'sum'} of case {number % 7}" for number, one in enumerate(hard)]
    fails = hard & (np.array(sites) == "mixed")
    cheap = np.where(fails, dice.random(n) < 0.15, dice.random(n) < 0.95).astype(float)
    return Rows(sites, texts, vectors, cheap, (dice.random(n) < 0.95).astype(float))


@pytest.fixture(scope="module")
def table():
    return rows()


@pytest.fixture(scope="module")
def router(table):
    return fit(table, "small", "large", 0.9, 0.05, np.random.default_rng(0))


def test_one_call_costs_what_the_batch_says(table, router):
    batch = losses((router.cheap_head, router.incumbent_head), table)
    for number in range(5):
        one = loss(router, table.sites[number], table.texts[number], table.vectors[number].tolist())
        assert one == pytest.approx(batch[number], abs=1e-6)


def test_a_head_is_the_logistic_regression_on_site_vector_and_words(table):
    head = fit_heads(table)[1]
    score = head.bias + np.array([head.sites[site] for site in table.sites]) + table.vectors @ np.array(head.vector)
    score += route_fit.word_matrix(table.texts) @ np.array(head.words)
    # at the optimum the fitted rates average to the observed rate: the intercept's own equation
    assert np.mean(1 / (1 + np.exp(-score))) == pytest.approx(table.incumbent.mean(), abs=2e-3)


def test_hard_prompts_stay_and_easy_ones_leave(table, router):
    assert math.isfinite(router.threshold)
    hard = [number for number, text in enumerate(table.texts) if "proof" in text and table.sites[number] == "mixed"]
    easy = [number for number, site in enumerate(table.sites) if site == "easy"]

    def leaving(numbers):
        picked = [choose(router, table.sites[i], table.texts[i], table.vectors[i].tolist()).cheap for i in numbers]
        return np.mean(picked)

    assert leaving(hard) < 0.3
    assert leaving(easy) > 0.7


def test_an_unknown_site_stays_and_needs_no_embedding(router):
    assert settled(router, "never seen") is False
    assert not choose(router, "never seen", "text", None).cheap


def test_without_an_embedding_in_time_the_incumbent_answers(table, router):
    open_site = next(site for site in ("mixed", "easy") if settled(router, site) is None)
    choice = choose(router, open_site, "text", None)
    assert not choice.cheap
    assert "no embedding" in choice.why


def test_a_target_that_cannot_be_kept_leaves_nothing(table):
    useless = Rows(table.sites, table.texts, table.vectors, np.zeros(len(table.sites)), table.incumbent)
    router = fit(useless, "small", "large", 0.98, 0.05, np.random.default_rng(0))
    assert router.threshold == -math.inf
    assert settled(router, "easy") is False


def test_out_of_fold_losses_share_one_level(table):
    found = out_of_fold(table)
    fold = np.arange(len(found)) % route_fit.FOLDS
    assert np.ptp([found[fold == number].mean() for number in range(route_fit.FOLDS)]) < 1e-9


def test_a_tested_threshold_rarely_breaks_its_target():
    dice, broken = np.random.default_rng(5), 0
    for _ in range(40):
        noise = Rows(
            [], [], np.zeros((0, 0), np.float32), (dice.random(400) < 0.8) * 1.0, (dice.random(400) < 0.9) * 1.0
        )
        cut = route_fit.tested_threshold(dice.random(400), noise, 0.95, 0.05, dice)
        share = min(max(cut, 0.0), 1.0)  # scores are uniform: the true share that leaves
        broken += 0.9 - 0.1 * share < 0.95 * 0.9
    assert broken <= 5


def test_outcomes_between_zero_and_one_are_fitted(table):
    graded = Rows(table.sites, table.texts, table.vectors, table.cheap * 0.5, table.incumbent * 0.5)
    cheap, large = fit_heads(graded)
    batch = losses((cheap, large), graded)
    assert batch.mean() == pytest.approx((graded.incumbent - graded.cheap).mean(), abs=0.05)


def test_a_site_with_few_calls_is_pulled_to_the_overall_rate():
    rates, overall = shrunk_table(["a"] * 100 + ["b"], np.array([0.0] * 100 + [1.0]), shrinkage=20)
    assert rates["b"] == pytest.approx((1 + 20 * overall) / 21)
    assert rates["a"] == pytest.approx(20 * overall / 120)


def test_words_are_bounded_and_of_unit_length():
    found = words("Prove it! " * 5_000)
    assert sum(value**2 for value in found.values()) == pytest.approx(1.0)
    assert all(0 <= bucket < BUCKETS for bucket in found)
    assert len(words(" ".join(map(str, range(5_000))))) <= 2 * MAX_WORDS
    assert words("") == {}


def test_sklearn_agrees_on_a_plain_problem():
    dice = np.random.default_rng(6)
    vectors = dice.normal(size=(300, 4)).astype(np.float32)
    hit = (dice.random(300) < 1 / (1 + np.exp(-vectors[:, 0] * 3))).astype(float)
    plain = Rows(["s"] * 300, [""] * 300, vectors, hit, hit)
    head = fit_heads(plain)[0]
    centred = np.hstack([np.full((300, 1), route_fit.SITE_SCALE), vectors - vectors.mean(axis=0)])
    model = LogisticRegression(C=1 / route_fit.PENALTY).fit(centred, hit)
    assert np.array(head.vector) == pytest.approx(model.coef_[0][1:], abs=0.02)
