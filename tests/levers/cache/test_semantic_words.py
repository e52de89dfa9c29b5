"""What a pair of texts says of itself: flips are vetoed whatever any statistics say, paraphrases are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.cache.semantic.pair import STATIC, compare, veto
from jevons.levers.cache.semantic.words import read, stem

FLIPS = [
    ("number", "refund order 4711", "refund order 4712"),
    ("number", "wait 5 minutes", "wait a few minutes"),
    ("number", "show me five hotels", "show me six hotels"),
    ("number", "who was the 13th president", "who was the 14th president"),
    ("unit", "add 5 grams of salt", "add 5 pounds of salt"),
    ("name", "tell me about Boston", "tell me about Denver"),
    ("negation", "can I eat this with alcohol", "can I not eat this with alcohol"),
    ("negation", "does it work", "doesn't it work"),
    ("date", "flights on monday", "flights on tuesday"),
    ("direction", "flights from boston to denver", "flights from denver to boston"),
    ("polarity", "list flights before noon", "list flights after noon"),
    ("polarity", "the cheapest fare", "the dearest fare"),
    ("code", "what does get_user() return", "what does put_user() return"),
]
SAME = [
    ("what is the population of utah", "how many people live in utah"),
    ("show me flights from boston to denver", "please list the flights that go from boston to denver"),
    ("Which classes are easiest?", "Which courses are the least difficult?"),
    ("is it open for 5 days", "will it be open five days"),
    ("flights to boston on monday", "on monday, flights to boston"),
]


@pytest.mark.parametrize(("kind", "a", "b"), FLIPS)
def test_a_flip_is_vetoed_in_both_directions(kind, a, b):
    assert veto(read(a), read(b)) == kind
    assert veto(read(b), read(a))


@pytest.mark.parametrize(("a", "b"), SAME)
def test_a_paraphrase_is_not_vetoed(a, b):
    assert veto(read(a), read(b)) == ""


def test_a_unit_behind_the_same_number_is_seen():
    features = dict(zip(STATIC, compare(read("add 5 grams"), read("add 5 pounds")).features, strict=True))
    assert features["units"] == 1.0
    assert features["numbers"] == 0.0


def test_a_turned_order_of_common_words_is_seen():
    features = dict(zip(STATIC, compare(read("dog bites man"), read("man bites dog")).features, strict=True))
    assert features["order"] == 1.0
    assert features["same_bag"] == 1.0


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_can_be_compared_and_a_veto_has_no_direction(a, b):
    one, other = compare(read(a), read(b)), compare(read(b), read(a))
    assert len(one.features) == len(STATIC)
    assert all(abs(value) < 20 for value in one.features)
    assert bool(one.vetoed) == bool(other.vetoed)
    assert sorted(one.differing) == sorted(other.differing)


@given(st.text(max_size=200))
def test_a_text_is_never_a_flip_of_itself(text):
    found = compare(read(text), read(text))
    assert found.vetoed == ""
    assert found.differing == ()


@pytest.mark.parametrize(("word", "root"), [("classes", "class"), ("cities", "city"), ("is", "is"), ("miss", "miss")])
def test_a_stem_is_crude_but_keeps_short_words(word, root):
    assert stem(word) == root
