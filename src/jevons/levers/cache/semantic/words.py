"""What a text says in ways that a sentence vector blurs: its numbers, negations, dates, names, directions, code.

What it decides: how a prompt is cut into terms and which of them are of a kind whose change changes the answer. What it
must not know: any other text, any vector, or what a difference is worth; that is learned. The word lists are short and
English; in another language their features stay silent and the learned ones (rarity, past harm) carry the verdict.
"""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

MAX_CHARS: Final = 4000
"""A longer prompt is no paraphrase of anything; its tail is compared by the vectors alone."""

MAX_READ: Final = 8192
"""Texts whose words are remembered: popular entries are compared again and again. About 5 KB each."""

_TERM = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+(?:[.,:/]\d+)*|\w+", re.UNICODE)
_CODE = re.compile(r"\S*[_/\\`<>{}=@#$%]\S*|\w+\(\)|\w*\d\w*[A-Za-z]\w*|\b[A-Z]{2,}\b")


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


NEGATIONS = _set(
    "no not n't never none neither nor without cannot cant dont doesnt isnt wont except exclude excluding lacking "
    "non unable free"
)
DATES = _set(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december today tomorrow yesterday tonight morning afternoon evening night noon "
    "midnight week month year weekday weekend spring summer fall autumn winter daily weekly monthly yearly"
)
OPPOSITES = sorted(
    tuple(pair.split("/"))
    for pair in _set(
        "before/after first/last earliest/latest early/late min/max minimum/maximum least/most less/more low/high "
        "lowest/highest cheap/expensive cheapest/dearest smallest/largest small/large smallest/biggest small/big "
        "shortest/longest short/long fewer/more fewest/most under/over below/above arrive/depart arriving/departing "
        "arriving/leaving arrive/leave arrival/departure from/to easy/hard easiest/hardest best/worst good/bad on/off "
        "enable/disable start/stop open/close increase/decrease up/down in/out buy/sell add/remove with/without "
        "always/never all/none and/or inside/outside old/new oldest/newest upper/lower income/expense send/receive "
        "sent/received allow/deny accept/reject true/false one/round encrypt/decrypt import/export lock/unlock"
    )
)
QUESTIONS = _set("what which who whom whose when where why how many much")
PLAIN = _set(
    "a an the is are was were be been am do does did can could will would shall should may might i me my we us our you "
    "your it its of to in on at for from by with as that this these those there here and or but if so then than please "
    "show tell give list find get need want like know have has had 's 'd 'm 've 're 'll let some any all"
)
"""Function words: a difference in them alone seldom changes an answer."""
ROLES = _set("from to between and by of into before after than over through via with on in at for under as per against")
"""Words that give the next one its part: `from boston to denver`."""
UNITS = _set(
    "second minute hour day week month year am pm dollar euro pound cent usd eur gbp percent gram kilogram kg g mg "
    "ounce lb oz meter metre kilometer km mile cm mm inch foot feet yard liter litre ml gallon celsius fahrenheit "
    "degree byte kb mb gb tb watt kw kwh volt mph kph"
)
NUMBER_WORDS = dict(
    pair.split("/")
    for pair in _set(
        "two/2 three/3 four/4 five/5 six/6 seven/7 eight/8 nine/9 ten/10 eleven/11 twelve/12 twenty/20 thirty/30 "
        "forty/40 fifty/50 sixty/60 seventy/70 eighty/80 ninety/90 hundred/100 thousand/1000 million/1000000"
    )
)
"""Read as digits. `one` is left alone: it is seldom a number."""
ENDPOINTS = _set("from to between into")

_POLES: dict[str, tuple[tuple[int, int], ...]] = {}
for _axis, _ends in enumerate(OPPOSITES):
    for _side, _word in zip((1, 2), _ends, strict=True):
        _POLES[_word] = (*_POLES.get(_word, ()), (_axis, _side))


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """One text, read once."""

    terms: tuple[str, ...]
    """Stemmed, lower case, in order."""
    bag: frozenset[str]
    content: tuple[str, ...]
    """The terms that are not function words, in order."""
    numbers: tuple[str, ...]
    units: frozenset[tuple[str, str]]
    """(number, the term behind it)."""
    measures: frozenset[str]
    """Units of measure that stand behind a number."""
    negations: int
    dates: frozenset[str]
    poles: dict[int, int]
    """Axis of OPPOSITES -> which ends are named (1, 2, or 3 for both)."""
    questions: frozenset[str]
    names: frozenset[str]
    """Terms with a capital that do not open the text."""
    code: frozenset[str]
    roles: dict[str, str]
    """Term -> the role word before it; the last one counts."""


@lru_cache(maxsize=MAX_READ)
def read(text: str) -> Words:
    """Cut a text into its terms and their kinds. Pure; about 40 us for a short question."""
    raw = _TERM.findall(text[:MAX_CHARS])
    lower = [NUMBER_WORDS.get(part, part) for word in raw for part in _split(word.lower())]
    terms = tuple(stem(word) for word in lower)
    follows = list(pairwise(terms))
    poles: dict[int, int] = {}
    for word in lower:
        for axis, side in _POLES.get(word, ()):
            poles[axis] = poles.get(axis, 0) | side
    return Words(
        terms=terms,
        bag=frozenset(terms),
        content=tuple(term for term in terms if term not in PLAIN),
        numbers=tuple(sorted(term for term in terms if term[0].isdigit())),
        units=frozenset((number, unit) for number, unit in follows if number[0].isdigit()),
        measures=frozenset(unit for number, unit in follows if number[0].isdigit() and unit in _MEASURES),
        negations=sum(word in NEGATIONS for word in lower),
        dates=frozenset(word for word in lower if word in DATES),
        poles=poles,
        questions=frozenset(word for word in lower if word in QUESTIONS),
        names=frozenset(word.lower() for word in raw[1:] if word[0].isupper() and word not in {"I", "I'm"}),
        code=frozenset(_CODE.findall(text[:MAX_CHARS])),
        roles={term: role for role, term in follows if role in ROLES},
    )


def _split(word: str) -> tuple[str, ...]:
    if word.endswith("n't"):
        return (word[:-3], "n't") if len(word) > 3 else (word,)
    head, mark, tail = word.partition("'")
    return (head, mark + tail) if mark and head else (word,)


def stem(word: str) -> str:
    """Plural and tense off, crudely: equal words must stay equal, and a rare wrong merge costs one feature."""
    if len(word) == 4 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    if len(word) > 4:
        for suffix, instead in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")):
            if word.endswith(suffix) and len(word) - len(suffix) >= 3:
                return word[: -len(suffix)] + instead
    return word


_MEASURES = frozenset(stem(unit) for unit in UNITS)
