"""Sentence selection: what it keeps, its budget, and where it leaves the documents whole."""

import pytest

from jevons.levers.trim.rag import Document, select
from jevons.levers.trim.tokens import estimate

FILLER = tuple(
    f"The {n}th paragraph is about gardening, weather and other quiet matters of the region." for n in range(20)
)


def documents() -> list[Document]:
    answer = "The bridge over the river Avon was opened by the queen in 1864."
    return [
        Document("Gardens", FILLER),
        Document("Bridges", (*FILLER[:9], "The Clifton bridge has a long history.", answer, *FILLER[10:])),
    ]


def test_a_single_hop_question_keeps_its_sentence_and_a_neighbour_within_the_budget() -> None:
    given = documents()
    got = select("When was the bridge over the river Avon opened?", given, 4.0)
    assert got.abstained == ""
    assert (1, 10) in got.kept
    assert {(1, 9), (1, 11)} & set(got.kept)
    assert list(got.kept) == sorted(got.kept)
    assert got.tokens_after <= got.tokens_before / 4
    assert got.tokens_before == pytest.approx(sum(estimate(s) for d in given for s in d.sentences))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Summarize what was said of the bridge.", "broad"),
        ("Which bridge is older, the Avon bridge or the Clifton bridge?", "comparison"),
        ("Where was the engineer who designed the Avon bridge born?", "chain"),
        ("the of and", "no terms"),
    ],
)
def test_what_needs_more_than_one_place_is_left_whole(question: str, reason: str) -> None:
    got = select(question, documents(), 4.0)
    assert got.abstained == reason
    assert len(got.kept) == 41
    assert got.tokens_after == got.tokens_before


def test_a_conversation_is_left_whole() -> None:
    talk = Document("Minutes", tuple(f"Speaker {n % 3}: I would rather look at the budget." for n in range(40)))
    assert select("What is the budget of the remote control?", [talk], 4.0).abstained == "conversation"


def test_little_is_left_whole() -> None:
    assert select("When was it opened?", [Document("", ("It was opened in 1864.",))], 4.0).abstained == "size"
    assert select("When was it opened?", documents(), 1.0).abstained == "size"
