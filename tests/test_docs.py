"""What the documents point at is there: files, benchmarks, commands, verbs."""

import re
from pathlib import Path

import pytest

from jevons.cli import COMMANDS
from tests.status import missing

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_command_of_a_page_leads_somewhere(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if "**not built**" not in line)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    modules = set(re.findall(r"python -m benchmarks\.(\w+)", text))
    assert [name for name in modules if missing(f"python -m benchmarks.{name}")] == []
    commands = set(re.findall(r"(?:^    |`)jevons ([a-z][a-z-]+)", text, re.MULTILINE))
    assert [name for name in commands if name not in COMMANDS] == []


def test_every_listed_command_exists() -> None:
    assert [name for name in COMMANDS if missing(f"jevons {name}")] == []
