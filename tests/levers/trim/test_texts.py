"""What the equivalent steps promise of a text, checked against the standard library and by brute force."""

import json

from hypothesis import given
from hypothesis import strategies as st

from jevons.levers.trim import fold
from jevons.levers.trim.clean import clean
from jevons.levers.trim.jsontext import minify
from jevons.levers.trim.listing import read, restore, write
from jevons.levers.trim.tokens import Scale, estimate

line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30)


def listing(lines: list[str], first: int = 1, mark: str = "→") -> str:
    return "\n".join(f"{first + at:>6}{mark}{text}" for at, text in enumerate(lines))


@given(st.lists(line, max_size=40), st.integers(1, 99_999_990), st.sampled_from("→\t"), st.lists(line, max_size=3))
def test_a_listing_comes_back_exactly(lines: list[str], first: int, mark: str, tail: list[str]) -> None:
    text = "\n".join([listing(lines, first, mark), *tail])
    assert restore(write(read(text))) == text


@given(st.text())
def test_any_text_comes_back_exactly(text: str) -> None:
    assert restore(write(read(text))) == text


def test_a_listing_shows_every_tenth_number() -> None:
    text = write(read(listing([f"line {at}" for at in range(1, 26)])))
    assert text.split("\n")[0] == "[lines 1-25→, every 10th numbered]"
    assert "10→line 10" in text
    assert "20→line 20" in text
    assert "\nline 11\n" in text
    assert estimate(text) < 0.8 * estimate(listing([f"line {at}" for at in range(1, 26)]))


def test_numbers_with_gaps_or_other_widths_are_left_alone() -> None:
    for text in ("\n".join(f"{n:>6}→x" for n in (1, 2, 3, 9, 10, 12)), "\n".join(f"{n}→x" for n in range(1, 20))):
        assert write(read(text)) == text


def test_a_text_that_imitates_the_note_is_left_alone() -> None:
    text = "[lines 1-25→, every 10th numbered]\n" + listing(["a"] * 12)
    assert write(read(text)) == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, min_size=1) | st.lists(values, min_size=1), st.integers(0, 4))
def test_minified_json_means_the_same_and_spells_the_same(value: object, indent: int) -> None:
    text = json.dumps(value, indent=indent)
    short = minify(text)
    assert json.loads(short) == value
    assert len(text.strip()) < 24 or short == json.dumps(value, separators=(",", ":"))


def test_minify_keeps_long_numbers_repeated_keys_and_escapes() -> None:
    text = '{ "a" : 12345678901234567890.1230,  "a": "\\u00e9 \\" x" }'
    assert minify(text) == '{"a":12345678901234567890.1230,"a":"\\u00e9 \\" x"}'


def test_minify_reads_documents_behind_one_another_and_refuses_the_rest() -> None:
    assert minify('{"one": 1, "two": 2}\n{"three": [1, 2]}') == '{"one":1,"two":2}\n{"three":[1,2]}'
    for text in ('{"a": 1, "b": 2, "c": 3} and so on', "{ not json at all, really not }", "[" * 5000 + "]" * 5000):
        assert minify(text) == text


def test_clean_shows_what_the_screen_would() -> None:
    assert clean("\x1b[31mred\x1b[0m  \nloading 1%\rloading 99%\rdone\r\nnext\t\n") == "red\ndone\nnext\n"
    assert clean("\x1b]0;title\x07text") == "text"


@given(st.text())
def test_clean_is_idempotent(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_log_runs_fold_in_the_middle_only() -> None:
    lines = ["start", *[f"compiled file {n} of 40" for n in range(40)], "end"]
    assert fold.runs(lines) == [(1 + fold.KEEP_FIRST, 41 - fold.KEEP_LAST)]
    assert fold.runs(lines[:8]) == []


def test_encoded_bytes_fold_and_words_do_not() -> None:
    encoded = "aB3" * 200
    assert fold.encoded(f"data:{encoded}", "ab12") == "data:[600 encoded characters, recall ab12]"
    assert fold.encoded("a" * 600, "ab12") == "a" * 600


def test_reported_usage_scales_the_estimate_within_bounds() -> None:
    scale = Scale()
    scale.see(12_000, 2_000.0)
    scale.see(15_000, 4_000.0)
    assert scale.factor == 1.5
    scale.see(200_000, 5_000.0)
    assert scale.factor == 2.5


@given(st.text(), st.text())
def test_estimates_are_never_negative_and_grow_with_the_text(one: str, other: str) -> None:
    assert 0 <= estimate(one) <= estimate(one + "\n" + other) + 1e-9
