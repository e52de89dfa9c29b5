"""Candidates in both databases: steps are applied to what is there, followed by number, audited at new stages."""

import msgspec

from jevons.levers.route.promotion import Pair, Stage, Terms, move, observe, start
from jevons.store import promotions as rows
from jevons.store.migrate import open_database
from jevons.store.plans import audit

TERMS = Terms()
KEY = rows.Key("acme", "site", "large", "small")
TIE = Pair(new=1.0, old=1.0, cost_nano=3)


def tie(held):
    return observe(held or start("site", "large", "small", TERMS, 1.0), TIE, TERMS, 2.0)


def test_a_state_survives_whole(db):
    changed = rows.change(db, KEY, tie, who="gateway", at=2.0)
    (held,) = rows.every(db)
    assert held.candidate == changed
    assert held.key == KEY


def test_two_gateways_lose_no_pair(url):
    with open_database(url) as one, open_database(url) as other:
        for _ in range(5):
            rows.change(one, KEY, tie, who="one", at=2.0)
            rows.change(other, KEY, tie, who="other", at=2.0)
        (held,) = rows.every(one)
    assert (held.candidate.pairs, held.candidate.spent_nano) == (10, 30)


def test_changes_are_followed_by_number(db):
    rows.change(db, KEY, tie, who="gateway", at=2.0)
    at, found = rows.changes_since(db, 0)
    assert [held.key for held in found] == [KEY]
    assert rows.changes_since(db, at) == (at, [])
    rows.change(db, KEY, lambda held: held, who="gateway", at=2.0)
    assert rows.changes_since(db, at) == (at, [])
    rows.change(db, KEY, tie, who="gateway", at=2.0)
    assert len(rows.changes_since(db, at)[1]) == 1


def test_only_a_new_stage_or_pin_is_audited_with_its_evidence(db):
    for _ in range(3):
        rows.change(db, KEY, tie, who="gateway", at=2.0)
    rows.change(db, KEY, lambda held: move(held, Stage.CANARY, "proven", 3.0), who="gateway", at=3.0)
    last, first = audit(db)
    assert (first.before, first.who, last.at) == ("", "gateway", 3.0)
    told = msgspec.json.decode(last.after, type=rows.Evidence)
    assert (told.stage, told.reason, told.pairs) == ("canary", "proven", 3)
    assert told.e_value > 1.0


def test_a_step_that_gives_nothing_writes_nothing(db):
    assert rows.change(db, KEY, lambda held: held, who="gateway", at=2.0) is None
    assert rows.every(db) == []
