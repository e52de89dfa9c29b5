"""How two texts differ, as numbers: what the verifier looks at besides the vectors, and which flips are never served.

What it decides: the features of a pair, each of them near unit size, and the veto. What it must not know: labels,
weights, thresholds. The features were chosen for what they mean (numbers and units, negation, polarity, direction and
role swaps, dates, names, code tokens, what is left of the template when common words are taken out), not by search.
"""

import math

import msgspec

from jevons.levers.cache.semantic.words import ENDPOINTS, PLAIN, Words

STATIC = (
    "shared", "lost", "gained", "content_lost", "content_gained", "content_both", "order", "roles_changed",
    "roles_kept", "swapped", "opposite", "poles", "numbers", "numbers_count", "numbers_both", "units", "negation",
    "dates", "dates_both", "question", "names", "names_both", "code", "code_both", "length", "shorter", "same_content",
    "same_bag", "differing",
)  # fmt: skip
"""Names of the features that depend on the two texts alone, in the order of `Compared.features`."""


class Compared(msgspec.Struct, frozen=True):
    """Two texts side by side: the STATIC features, the terms that only one of them has, and the veto."""

    features: tuple[float, ...]
    differing: tuple[str, ...]
    vetoed: str
    """The flip that forbids serving one's answer for the other, or ''."""


def compare(a: Words, b: Words) -> Compared:
    """Pure; about 30 us for two short questions. Symmetric in what it vetoes, not in `lost` and `gained`."""
    common = a.bag & b.bag
    lost, gained = a.bag - b.bag, b.bag - a.bag
    content_lost, content_gained = len(lost - PLAIN), len(gained - PLAIN)
    numbers_a, numbers_b = set(a.numbers), set(b.numbers)
    changed = [term for term, role in a.roles.items() if term in b.roles and b.roles[term] != role]
    kept = sum(1 for term, role in a.roles.items() if b.roles.get(term) == role and term not in PLAIN)
    swapped = sum(1 for term in changed if a.roles[term] in ENDPOINTS and b.roles[term] in ENDPOINTS)
    opposite = sum(1 for axis, ends in a.poles.items() if b.poles.get(axis, ends) != ends)
    vetoed = veto(a, b)
    features = (
        len(common) / max(1, len(a.bag | b.bag)),
        len(lost) / max(1, len(a.bag)),
        len(gained) / max(1, len(b.bag)),
        math.log1p(content_lost),
        math.log1p(content_gained),
        math.log1p(min(content_lost, content_gained)),
        _disorder(a, b, common),
        math.log1p(sum(term not in PLAIN for term in changed)),
        math.log1p(kept),
        math.log1p(swapped),
        math.log1p(opposite),
        math.log1p(len(a.poles.keys() ^ b.poles.keys())),
        float(a.numbers != b.numbers),
        math.log1p(len(numbers_a ^ numbers_b)),
        _both(numbers_a, numbers_b),
        float(a.units != b.units),
        float(a.negations != b.negations),
        float(a.dates != b.dates),
        _both(a.dates, b.dates),
        float(a.questions != b.questions),
        math.log1p(len(a.names ^ b.names)),
        _both(a.names, b.names),
        math.log1p(len(a.code ^ b.code)),
        _both(a.code, b.code),
        abs(len(a.terms) - len(b.terms)) / max(1, len(a.terms), len(b.terms)),
        math.log1p(min(len(a.terms), len(b.terms))) / 3,
        float(a.content == b.content),
        float(sorted(a.content) == sorted(b.content)),
        math.log1p(len(lost) + len(gained)),
    )
    return Compared(features, tuple(lost | gained), vetoed)


def veto(a: Words, b: Words) -> str:
    """The first flip found that no statistics may serve: another number, unit, date, name, code; a turned direction."""
    if set(a.numbers) != set(b.numbers):
        return "number"
    if (a.negations > 0) != (b.negations > 0):
        return "negation"
    if a.dates != b.dates and (a.dates - b.dates and b.dates - a.dates):
        return "date"
    if _both(a.measures, b.measures):
        return "unit"
    if _both(a.code, b.code):
        return "code"
    if _both(a.names, b.names):
        return "name"
    if any(b.poles.get(axis, ends) + ends == 3 for axis, ends in a.poles.items()):
        return "polarity"
    if any(
        role in ENDPOINTS and b.roles.get(term, role) in ENDPOINTS and b.roles.get(term, role) != role
        for term, role in a.roles.items()
        if term not in PLAIN
    ):
        return "direction"
    return ""


def _both(a: frozenset[str] | set[str], b: frozenset[str] | set[str]) -> float:
    """Each has something that the other lacks: a replacement, not an addition."""
    return float(bool(a - b) and bool(b - a))


def _disorder(a: Words, b: Words, common: frozenset[str]) -> float:
    """Share of pairs of common content terms that stand in the other order (Kendall); 0 when the order is kept."""
    place = {term: at for at, term in enumerate(b.content) if term in common}
    sequence = [place[term] for term in dict.fromkeys(a.content) if term in place]
    count = len(sequence)
    if count < 2:
        return 0.0
    turned = sum(sequence[i] > sequence[j] for i in range(count) for j in range(i + 1, count))
    return turned / (count * (count - 1) / 2)
