"""The command line as a person and as a program use it."""

import json
import socket
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import jevons.cli as cli
from jevons.core.money import Nano
from jevons.plans.key import digest
from jevons.store import keys as key_rows
from jevons.store.migrate import open_database, open_reader
from jevons.store.writer import Writer
from tests.store.conftest import attempt, operation

LINE = [
    "operation", "task", "site", "customer", "surface", "model", "status", "started", "cost_nanodollars", "unpriced",
    "baseline_nanodollars", "usage", "cache", "attempts",
]  # fmt: skip
"""What `jevons log --json` promises to other programs."""
USAGE = ["input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning"]


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY", "JEVONS_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    return f"sqlite:///{tmp_path}/j.db"


def run(*arguments, code=0, **env):
    result = CliRunner().invoke(cli.main, arguments, env=env)
    assert result.exit_code == code, result.output
    return result


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_command_in_the_list_is_a_click_command_with_a_help():
    group = cli.main
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command.help, name
            assert run(name, "--help").stdout


def test_help_of_one_command_imports_no_other():
    code = (
        "import sys; from jevons.cli import main\n"
        "try: main(['keys', 'list', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = [m for m in ('jevons.gateway.serve', 'jevons.cli.doctor', 'numpy', 'psycopg') if m in sys.modules]\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_key_is_shown_once_and_works_by_its_hash(url):
    (made,) = lines(run("keys", "create", "--name", "app", "--customer", "acme", "--database", url, "--json"))
    with open_reader(url) as db:
        (stored,) = key_rows.every(db)
    assert digest(made["key"]) == stored.digest
    assert (stored.customer, stored.tenant) == ("acme", "acme")
    listed = run("keys", "list", "--database", url).stdout
    assert made["key"] not in listed
    run("keys", "revoke", "app", "--database", url)
    assert lines(run("keys", "list", "--database", url, "--json"))[0]["revoked"] is not None
    assert "no key is called" in run("keys", "revoke", "nobody", "--database", url, code=1).stderr


def test_plain_output_of_a_new_key_is_the_key_alone(url):
    result = run("keys", "create", "--name", "app", JEVONS_DATABASE=url)
    assert result.stdout.strip().startswith("sk-jv-")
    assert len(result.stdout.split()) == 1


def book(url, *made):
    writer = Writer(url)
    for one in made:
        writer.book(one)
    writer.close()


def test_the_logs_keys_are_the_promised_ones_in_order(url):
    unknown = attempt(cost_nano=None, cost_source="unpriced", rates=None)
    book(url, operation("op_1"), operation("op_2", unknown, baseline_nano=None), operation("op_3"))
    found = lines(run("log", "--last", "2", "--database", url, "--json"))
    assert [list(line) for line in found] == [LINE, LINE]
    assert [list(line["usage"]) for line in found] == [USAGE, USAGE]
    assert [line["operation"] for line in found] == ["op_2", "op_3"]
    assert (found[0]["cost_nanodollars"], found[0]["unpriced"], found[0]["baseline_nanodollars"]) == (None, True, None)
    assert (found[1]["cost_nanodollars"], found[1]["unpriced"]) == (1_000, False)
    assert found[1]["attempts"][0]["cost_nanodollars"] == 1_000


def test_the_log_for_people_says_unpriced_and_sums(url):
    unknown = attempt(cost_nano=None, cost_source="unpriced", rates=None)
    book(url, operation("op_1", attempt(cost_nano=Nano(2_000_000_000))), operation("op_2", unknown))
    shown = run("log", "--database", url, COLUMNS="160").stdout
    assert "unpriced" in shown
    assert "2 operations, $2.00 and 1 without a known price" in shown


def test_a_log_of_a_missing_or_empty_database_says_what_to_do(url):
    assert "jevons serve" in run("log", "--database", url, code=1).stderr
    open_database(url).close()
    assert "no operation is booked yet" in run("log", "--database", url).stdout
    assert lines(run("log", "--database", url, "--json")) == []


def test_models_come_with_routes_and_prices_of_the_providers_that_are_here(url):
    found = lines(run("models", "--json", OPENAI_API_KEY="sk-x"))
    gpt = next(line for line in found if line["model"] == "gpt-5")
    assert gpt["routes"] == ["openai/gpt-5"]
    assert gpt["rates"]["input"] == 1_250_000
    assert not any(line["model"].startswith("claude-") for line in found)
    assert "no provider is configured" in run("models").stdout


def test_prices_of_a_moment_come_with_their_source(url, tmp_path):
    shown = run("prices", "deepseek", "deepseek-v4-pro", "--at", "2026-11-20T01:00", "--output", "1000000", "--json")
    (found,) = lines(shown)
    assert found["cost_nanodollars"] == 3_960_000_000
    (tmp_path / "mine.toml").write_text('[[price]]\nprovider = "p"\nmodel = "m"\ninput = 1\n')
    (found,) = lines(run("prices", "p", "m", "--overrides", "mine.toml", "--json"))
    assert found["source"] == "override"
    assert "no price is known" in run("prices", "p", "m", code=1).stderr


def states(*arguments, code=0, **env):
    return {line["what"]: line["state"] for line in lines(run("doctor", "--json", *arguments, code=code, **env))}


def test_the_doctor_finds_a_good_house_good(url):
    run("keys", "create", "--name", "me", "--database", url)
    found = states("--database", url, OPENAI_API_KEY="sk-x", JEVONS_PORT=str(free_port()))
    assert set(found.values()) <= {"ok", "note"}
    assert found["database"] == found["provider openai"] == found["port"] == found["prices"] == "ok"


def test_the_doctor_says_what_is_bad_and_exits_1(url, tmp_path):
    (tmp_path / "jevons.toml").write_text("[server]\nprot = 1\n")
    result = run("doctor", code=1)
    assert "server.prot" in result.stdout
    (tmp_path / "jevons.toml").write_text(
        '[providers.mine]\nbase_url = "http://x"\nkey_env = "MINE"\n[local]\nmodel = "none.gguf"\n'
    )
    found = states("--database", url, code=1)
    assert (found["provider mine"], found["local model"]) == ("bad", "bad")
    (tmp_path / "j.db").write_bytes(b"no database at all, but long enough for its header to be read" * 20)
    assert states("--database", url, code=1)["database"] == "bad"


def test_the_doctor_sees_a_used_port(url):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        assert states("--database", url, JEVONS_PORT=str(busy.getsockname()[1]))["port"] == "note"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_following_shows_what_is_booked_later_and_only_that(url):
    from jevons.cli.log import batches
    from jevons.store.log import page

    book(url, operation("op_1"))
    with open_reader(url) as db:
        tail = batches(db, page(db, 0), follow=True)
        book(url, operation("op_2"), operation("op_3"))
        assert [one.operation for one in next(tail)] == ["op_2", "op_3"]
        book(url, operation("op_4"))
        assert [one.operation for one in next(tail)] == ["op_4"]
