"""Retrieved documents in fewer tokens: the sentences that a single-hop question needs, with their neighbours.

What lives here: BM25 over sentences (Robertson and Walker 1994), the choice under a token budget, and when to abstain.
A question that joins two sources or asks about all of one is left alone: sentence ranking cannot see what it needs.
It is lossy work, only by the plan's word.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from jevons.levers.trim.tokens import estimate

K1, B = 1.2, 0.5
DOCUMENT_WEIGHT = 0.5
"""How much of its document's score a sentence has: the answer often stands beside the words of the question."""
NEIGHBOUR_WEIGHT = 0.35
KIND_WEIGHT = 0.15
"""For a sentence that holds the kind of thing asked for (a number, a year, a name), of the best score."""
MIN_COVERAGE = 0.5
"""Below this share of the question's weight in any one document, no document answers it alone."""
JOIN_GAIN = 0.3
MIN_SENTENCES = 12
MAX_SENTENCES = 20_000

_WORD = re.compile(r"\w+")
_STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "by",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "s",
        "that",
        "the",
        "their",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
    ]
)
_JOINS = re.compile(
    r"\b(?:both|same|which (?:of|one)|between|either|first|older|younger|earlier|later|more|larger|longer|further)\b"
    r".*\b(?:and|or)\b|^(?:are|is|were|was|did|do|does|have|has)\b.*\b(?:and|or)\b",
    re.IGNORECASE,
)
_BROAD = re.compile(
    r"\b(?:summari[sz]e|summary|discuss\w*|overview|opinions?|overall|conclude\w*|conclusions?|all the|describe|think|"
    r"thoughts?|say about|reasons?|arguments?|main|decisions?)\b",
    re.IGNORECASE,
)
_CHAINS = re.compile(
    r"\w+,? (?:that|which|who|whose|whom|in which)\b(?=.*\w)"  # a noun described by a clause
    r"|\b(?:in|of|at|by|during|for|on|to|from) what\b(?!.*,)"  # "... founded in what year?"
    r"|\b(?:father|mother|son|daughter|wife|husband|brother|sister|author|founder|director|singer|owner|creator|"
    r"headquarters|parent company)\b.*\b(?:of|by|from)\b|'s \w+(?: \w+)?'s? (?:father|mother|wife|husband)\b",
    re.IGNORECASE,
)
LONG_QUESTION = 9
"""Terms of a question that no document holds three quarters of: it speaks of several things."""
LONG_COVERAGE = 0.75
_NUMBER = re.compile(r"\d")
_YEAR = re.compile(
    r"\b(?:1\d|20)\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
)
_NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+")
_KINDS = (
    (
        re.compile(r"\bhow (?:many|much|long|old|far|tall|large|big|often)\b|\bpercent|\b(?:number|population) of\b"),
        _NUMBER,
    ),
    (re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|month|day|century|decade)\b"), _YEAR),
    (re.compile(r"\b(?:who|whom|whose|where)\b|\b(?:what|which) (?:city|country|state|person)\b"), _NAME),
)
"""What a question asks for, and what a sentence with the answer is then likely to hold."""
_SPEAKER = re.compile(r"[\w .'()-]{2,40}: ")


class Document(msgspec.Struct, frozen=True):
    title: str
    sentences: tuple[str, ...]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Kept sentences as (document, sentence) in reading order; with a reason in `abstained`, all of them."""

    kept: tuple[tuple[int, int], ...]
    abstained: str = ""
    tokens_before: float = 0.0
    tokens_after: float = 0.0


def select(question: str, documents: Sequence[Document], ratio: float) -> Selection:
    """Sentences worth 1/ratio of the documents' tokens, by relevance to the question."""
    places = [(at, number) for at, document in enumerate(documents) for number in range(len(document.sentences))]
    sizes = [estimate(documents[at].sentences[number]) for at, number in places]
    before = sum(sizes)
    terms = _terms(question)
    several = len({document.title for document in documents}) > 1
    reason = _abstain(question, places, terms, ratio)
    if not reason and _conversation(documents):
        reason = "conversation"
    if not reason and several and _CHAINS.search(question):
        reason = "chain"
    if not reason:
        words = [_words(documents[at].sentences[number]) for at, number in places]
        titles = [frozenset(_words(document.title)) for document in documents]
        reason = _joins(terms, places, words, titles) if several else ""
    if reason:
        return Selection(kept=tuple(places), abstained=reason, tokens_before=before, tokens_after=before)
    scores = _scores(question, terms, documents, places, words, titles)
    chosen = _fill(scores, places, sizes, before / ratio)
    after = sum(sizes[at] for at in chosen)
    return Selection(kept=tuple(places[at] for at in sorted(chosen)), tokens_before=before, tokens_after=after)


def _abstain(question: str, places: Sequence[tuple[int, int]], terms: Sequence[str], ratio: float) -> str:
    if ratio <= 1 or not MIN_SENTENCES <= len(places) <= MAX_SENTENCES:
        return "size"
    if not terms:
        return "no terms"
    if _BROAD.search(question):
        return "broad"
    return "comparison" if _JOINS.search(question) else ""


def _conversation(documents: Sequence[Document]) -> bool:
    """Whether most sentences name a speaker: what was meant spreads over an exchange."""
    sentences = [sentence for document in documents for sentence in document.sentences]
    return 2 * sum(_SPEAKER.match(sentence) is not None for sentence in sentences) > len(sentences)


def _joins(
    terms: Sequence[str],
    places: Sequence[tuple[int, int]],
    words: Sequence[Sequence[str]],
    titles: Sequence[frozenset[str]],
) -> str:
    """'two documents' when no single document holds most of the question, but two together do."""
    held = [set(title) for title in titles]
    for (at, _), found in zip(places, words, strict=True):
        held[at].update(found)
    weights = {term: _idf(sum(term in document for document in held), len(held)) for term in set(terms)}
    total = sum(weights.values())
    covers = [{term for term in weights if term in document} for document in held]

    def share(cover: set[str]) -> float:
        return sum(weights[term] for term in cover) / total if total else 1.0

    best = max(covers, key=share)
    joined = max((share(best | other) for other in covers), default=0.0)
    if len(terms) >= LONG_QUESTION and share(best) < LONG_COVERAGE:
        return "long"
    return "two documents" if share(best) < MIN_COVERAGE and joined - share(best) > JOIN_GAIN else ""


def _scores(
    question: str,
    terms: Sequence[str],
    documents: Sequence[Document],
    places: Sequence[tuple[int, int]],
    words: Sequence[Sequence[str]],
    titles: Sequence[frozenset[str]],
) -> list[float]:
    mean = sum(map(len, words)) / max(1, len(words))
    seen = Counter(term for found in words for term in set(found))
    weights = {term: _idf(seen[term], len(words)) for term in set(terms)}
    own = []
    for (at, _), found in zip(places, words, strict=True):
        counts = Counter(found)
        norm = K1 * (1 - B + B * len(found) / max(1.0, mean))
        score = sum(weight * counts[term] * (K1 + 1) / (counts[term] + norm) for term, weight in weights.items())
        own.append(score + 0.5 * sum(weight for term, weight in weights.items() if term in titles[at]))
    top = max(own, default=0.0)
    kind = _kind(question)
    best: dict[int, float] = {}
    for (at, _), score in zip(places, own, strict=True):
        best[at] = max(best.get(at, 0.0), score)
    scores = []
    for index, (at, number) in enumerate(places):
        beside = [own[index + step] for step in (-1, 1) if _beside(places, index, step)]
        asked = KIND_WEIGHT * top if kind and kind.search(documents[at].sentences[number]) else 0.0
        scores.append(own[index] + DOCUMENT_WEIGHT * best[at] + NEIGHBOUR_WEIGHT * max(beside, default=0.0) + asked)
    return scores


def _beside(places: Sequence[tuple[int, int]], index: int, step: int) -> bool:
    return 0 <= index + step < len(places) and places[index + step][0] == places[index][0]


def _fill(
    scores: Sequence[float], places: Sequence[tuple[int, int]], sizes: Sequence[float], budget: float
) -> set[int]:
    """The best sentences that fit; the single best one always, with its neighbours while they fit."""
    ranked = sorted(range(len(places)), key=lambda index: -scores[index])
    chosen = {ranked[0]}
    spent = sizes[ranked[0]]
    for index in (ranked[0] + step for step in (1, -1) if _beside(places, ranked[0], step)):
        if spent + sizes[index] <= budget:
            chosen.add(index)
            spent += sizes[index]
    for index in ranked[1:]:
        if index not in chosen and spent + sizes[index] <= budget:
            chosen.add(index)
            spent += sizes[index]
    return chosen


def _kind(question: str) -> re.Pattern[str] | None:
    """What a sentence with the answer is likely to hold."""
    asked = question.lower()
    if re.search(
        r"\bhow (many|much|long|old|far|tall|large|big|often)\b|\bpercent|\bnumber of\b|\bpopulation\b", asked
    ):
        return _NUMBER
    if re.search(r"\bwhen\b|\b(what|which) (year|date|month|day|century|decade)\b", asked):
        return _YEAR
    return (
        _NAME if re.search(r"\b(who|whom|whose|where)\b|\b(what|which) (city|country|state|person)\b", asked) else None
    )


def _idf(documents: int, of: int) -> float:
    return math.log(1 + (of - documents + 0.5) / (documents + 0.5))


def _terms(question: str) -> list[str]:
    return [term for term in _words(question) if term not in _STOP]


def _words(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(text.lower())]


def _stem(word: str) -> str:
    """A light cut of English endings; other languages pass nearly unchanged."""
    for ending, least in (("ations", 4), ("ation", 4), ("ies", 3), ("ing", 4), ("ed", 4), ("es", 4), ("s", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            return word[: -len(ending)]
    return word
