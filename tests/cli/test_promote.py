"""`jevons promote` as an operator and as a program use it."""

import json

import msgspec
import pytest
from click.testing import CliRunner

import jevons.cli as cli
from jevons.levers.route.promotion import Pin, Stage, Terms, move, start
from jevons.store import promotions as rows
from jevons.store.migrate import open_database
from jevons.store.plans import audit

KEY = rows.Key("acme", "s_1", "large", "small")


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/j.db"
    full = move(start("s_1", "large", "small", Terms(), 0.0), Stage.FULL, "proven", 1.0)
    with open_database(url) as db:
        rows.change(db, KEY, lambda _: full, who="gateway", at=1.0)
    return url


def promote(url, *arguments, code=0):
    result = CliRunner().invoke(cli.main, ["promote", *arguments, "--database", url])
    assert result.exit_code == code, result.output
    return result


def held(url):
    with open_database(url) as db:
        (found,) = rows.every(db)
    return found.candidate


def test_a_candidate_is_stopped_and_started_again_at_half_the_level(url):
    promote(url, "start", "s_1", "small", code=1)
    promote(url, "stop", "s_1", "small")
    assert held(url).stage is Stage.STOPPED
    shown = json.loads(promote(url, "start", "s_1", "small", "--json").stdout)
    assert (shown["stage"], shown["trial"], shown["e_value"]) == ("shadow", 1, 1.0)
    assert held(url).trial == 1


def test_a_pin_is_set_and_taken_back_and_evidence_stays(url):
    promote(url, "pin", "s_1", "small", "--to", "incumbent")
    assert (held(url).pinned, held(url).stage) == (Pin.INCUMBENT, Stage.FULL)
    promote(url, "pin", "s_1", "small", "--to", "none")
    assert held(url).pinned is Pin.NONE
    promote(url, "pin", "s_1", "small", "--to", "nobody", code=2)


def test_every_order_is_audited_with_who_and_the_evidence(url):
    promote(url, "stop", "s_1", "small")
    with open_database(url) as db:
        changes = audit(db)
    assert [change.name for change in changes] == ["s_1 large -> small"] * 2
    assert changes[0].who.endswith("(cli)")
    before, after = json.loads(changes[0].before), json.loads(changes[0].after)
    assert (before["stage"], after["stage"]) == ("full", "stopped")
    assert {"e_value", "drift_e_value", "pairs", "spent_nano", "reason"} <= set(after)


def test_a_list_is_a_table_or_a_line_each(url):
    assert "small" in promote(url, "list").stdout
    (line,) = promote(url, "list", "--json").stdout.splitlines()
    assert json.loads(line)["site"] == "s_1"
    assert "no candidates yet" in promote(url, "list", "--site", "s_2").stdout


def test_what_is_no_candidate_or_is_one_twice_is_said(url):
    assert "no candidate at the site" in promote(url, "stop", "s_1", "other", code=1).output
    with open_database(url) as db:
        twin = start("s_1", "larger", "small", Terms(), 0.0)
        rows.change(db, msgspec.structs.replace(KEY, incumbent="larger"), lambda _: twin, who="gateway", at=1.0)
    assert "--incumbent" in promote(url, "stop", "s_1", "small", code=1).output
    promote(url, "stop", "s_1", "small", "--incumbent", "larger")
