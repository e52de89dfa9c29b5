"""References to repeats: they point at lines that stand there, and at nothing that is gone."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from jevons.levers.trim.equivalent import Shown, prints_file, rewrite
from jevons.levers.trim.repeats import HIDDEN, WINDOW, Index, Source

BODY = [f"def function_{n}(argument): return argument * {n}" for n in range(30)]


def listing(lines: list[str], first: int = 1) -> str:
    return "\n".join(f"{first + at:>6}→{text}" for at, text in enumerate(lines))


def show(shown: Shown, text: str, turn: int, path: str = "src/a.py", *, verbatim: bool = False) -> str:
    label = shown.label("Read", f'{{"file_path": "/home/{path}"}}', turn)
    done = rewrite(shown, label, text, turn, recall=True, verbatim=verbatim)
    return text if done is None else done.text


def test_reading_a_file_again_is_one_line() -> None:
    shown = Shown()
    show(shown, listing(BODY), 1)
    again = show(shown, listing(BODY), 3)
    assert again.split("\n")[1:] == ["[lines 1-30: same as lines 1-30 in Read #1 of src/a.py]"]


def test_after_an_edit_only_the_changed_lines_are_shown() -> None:
    shown = Shown()
    show(shown, listing(BODY), 1)
    changed = [*BODY[:10], "a new line that was not there before", *BODY[10:]]
    again = show(shown, listing(changed), 3)
    assert again.split("\n")[1:] == [
        "[lines 1-10: same as lines 1-10 in Read #1 of src/a.py]",
        "11→a new line that was not there before",
        "[lines 12-31: same as lines 11-30 in Read #1 of src/a.py]",
    ]


def test_what_the_model_wrote_itself_is_not_shown_again() -> None:
    shown = Shown()
    written = "\\n".join(BODY)
    shown.wrote("Write", f'{{"file_path": "/home/src/a.py", "content": "{written}"}}', 1)
    assert "same as in your Write of src/a.py" in show(shown, listing(BODY), 2)


def test_a_reference_never_points_to_a_reference() -> None:
    shown = Shown()
    for turn in range(1, 6):
        show(shown, listing(BODY), turn)
    assert "Read #1 of" in show(shown, listing(BODY), 9)


def test_nothing_refers_to_what_is_gone() -> None:
    shown = Shown()
    show(shown, listing(BODY), 1)
    shown.index.forget(1)
    assert "same as" not in show(shown, listing(BODY), 3)


def test_a_changed_history_forgets_what_stood_behind_it() -> None:
    shown = Shown()
    show(shown, listing(BODY), 1)
    first = show(shown, listing(BODY), 3)
    earlier = shown.until(2)
    assert show(earlier, listing(BODY), 3) == first


def test_the_text_of_a_file_keeps_its_exact_characters() -> None:
    text = '{\n  "name": "x",   \n  "version": "1.0.0"\n}\n' * 3
    assert show(Shown(), text, 1, verbatim=True) == text
    assert prints_file('{"path": "package.json"}')
    assert prints_file('{"command": "cd x && cat package.json"}')
    assert not prints_file('{"command": "npm test"}')
    assert not prints_file("not json")


def test_hidden_lines_match_nothing() -> None:
    index = Index()
    index.add(Source("s", (*BODY[:6], HIDDEN, *BODY[7:]), (0,) * 30, 0))
    (first, second) = index.find(tuple(BODY))
    assert (first.start, first.end) == (0, 6)
    assert (second.start, second.end) == (7, 30)


lines = st.lists(st.sampled_from([f"some line of text number {n}" for n in range(12)]), max_size=40)


@given(lines, lines)
@settings(max_examples=200)
def test_spans_equal_their_source_and_are_found_when_long_enough(old: list[str], new: list[str]) -> None:
    index = Index()
    index.add(Source("s", tuple(old), (0,) * len(old), 0))
    covered: set[int] = set()
    for span in index.find(tuple(new)):
        length = span.end - span.start
        assert length >= WINDOW
        assert new[span.start : span.end] == old[span.at : span.at + length]
        assert covered.isdisjoint(range(span.start, span.end))
        covered.update(range(span.start, span.end))
    shared = any(new[a : a + WINDOW] == old[b : b + WINDOW] for a in range(len(new) - 5) for b in range(len(old) - 5))
    assert bool(covered) == shared


@given(st.lists(st.text(max_size=400), min_size=1, max_size=6))
def test_no_text_breaks_it_and_none_grows(texts: list[str]) -> None:
    shown = Shown()
    for turn, text in enumerate(texts):
        done = rewrite(shown, shown.label("Bash", "{}", turn), text, turn, recall=True)
        assert done is None or (done.after < done.before and done.text)


def test_binary_and_enormous_results_are_left_alone_or_folded_with_recall() -> None:
    shown = Shown()
    assert rewrite(shown, "Bash #1", "x" * 500_000, 1, recall=True) is None
    blob = "log\n" + "Zm9vYmFyMDEyMzQ1Njc4OQ" * 60
    done = rewrite(shown, "Bash #2", blob, 2, recall=True)
    assert done is not None
    assert done.folded
    assert re.search(r"\[\d+ encoded characters, recall [0-9a-f]{8}\]", done.text)
    assert rewrite(Shown(), "Bash #2", blob, 2, recall=False) is None
