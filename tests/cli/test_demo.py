"""`jevons demo` end to end: both clients, both bills, nothing left between invoice and ledger."""

import json

from click.testing import CliRunner

from jevons.cli import main
from jevons.cli.demo import load


def test_the_demo_ends_with_bills_that_agree_with_the_invoice():
    done = CliRunner().invoke(main, ["demo", "--tasks", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output.splitlines()[-1])
    bills = found["bills"]
    assert len(bills) == 4
    for bill in bills.values():
        assert bill["invoice_nano"] == bill["ledger_nano"] > 0
        assert bill["unpriced"] == 0
    assert bills["plain with jevons"]["invoice_nano"] < bills["plain untouched"]["invoice_nano"]
    assert bills["plain untouched"]["usage"]["cached"] == 0


def test_the_demo_says_what_is_measured_and_what_is_modelled():
    done = CliRunner().invoke(main, ["demo", "--tasks", "1"])
    assert done.exit_code == 0, done.output
    for word in ("residual", "measured", "modelled", "a solved task"):
        assert word in done.output


def test_the_recording_is_all_there_and_the_same_for_a_seed():
    tasks = load(26, 1)
    assert len(tasks) == 26
    assert sum(task.solved for task in tasks) == 11
    assert load(2, 7) == load(2, 7)
    assert load(2, 7) != load(2, 8)
