"""docs/status.md claims only what has a proof, and is current."""

import tomllib

from tests.status import SOURCE, TARGET, missing, render


def test_every_proof_exists_and_the_page_is_current() -> None:
    page, wrong = render(tomllib.loads(SOURCE.read_text(encoding="utf-8")))
    assert wrong == []
    assert TARGET.read_text(encoding="utf-8") == page, "run `make status`"


def test_a_proof_that_is_not_there_is_refused() -> None:
    assert missing("tests/test_status.py::no_such_test")
    assert missing("python -m benchmarks.no_such_thing")
    assert missing("jevons nosuch")
    assert not missing("tests/test_status.py::test_a_proof_that_is_not_there_is_refused")


def test_a_row_without_a_proof_is_not_built() -> None:
    page, wrong = render({"area": [{"name": "a", "rows": [["something", "", ""]]}]})
    assert wrong == []
    assert "**not built**" in page
