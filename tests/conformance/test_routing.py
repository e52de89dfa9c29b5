"""Cheaper models through a running gateway: tried beside calls, promoted on evidence, and back at the first trouble."""

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from jevons.engines.simulated import Reply, Rule, Script, start
from jevons.engines.simulated.faults import Dice
from jevons.gateway.routing import terms_of
from jevons.levers.route.cascade import Plan
from jevons.levers.route.cascade_lever import Climb
from jevons.levers.route.promotion import Stage, move
from jevons.levers.route.promotion import start as begin
from jevons.plans.plan import read
from jevons.store import plans as plan_rows
from jevons.store import promotions as rows
from jevons.store.migrate import open_database
from tests.conformance.conftest import Running, gateway, wait_until

INCUMBENT, CANDIDATE = "gpt-4o", "gpt-4o-mini"
SECRET = "sk-jv-routed-" + "b" * 32
TRIALS = "{ shadow_share = 1.0, canary_share = 1.0, canary_pairs = 3, audit_share = 1.0, rest_calls = 4 }"
PLAN = f"""
[plans.pro]
quality_floor = 0.5
levers = {{ route = "lossy" }}
candidates = ["{CANDIDATE}"]
trials = {TRIALS}
"""
SAME = Rule(reply=Reply(text="forty-two"))
OTHER = Rule(model=CANDIDATE, reply=Reply(text="forty-three"))


@contextmanager
def routed(folder: Path, *rules: Rule, plan: str = PLAN, toml: str = "") -> Iterator[Running]:
    """A gateway whose caller's plan has a candidate, before a provider that answers by these rules."""
    with (
        start(script=Script(rules=rules)) as simulator,
        gateway(folder, simulator, toml, secrets=((SECRET, "acme", "pro"),), plans=plan) as running,
    ):
        running.secret = SECRET
        running.simulator = simulator  # type: ignore[attr-defined]
        yield running


def ask(running: Running, number: int = 0, **fields: Any) -> Any:
    """One call of one site: the same system text, another question."""
    messages = [{"role": "system", "content": "You count."}, {"role": "user", "content": f"How many? ({number})"}]
    known = [client for client in running.clients if isinstance(client, openai.OpenAI)]
    client = known[0] if known else running.openai()
    return client.chat.completions.with_raw_response.create(model=INCUMBENT, messages=messages, max_tokens=50, **fields)


def settle(running: Running) -> None:
    """Until the calls have ended, what they asked beside them too."""
    house = running.housekeeping
    wait_until(lambda: not house.gateway.active and house.shadows.waiting == 0)


def answers(running: Running, *rules: Rule) -> None:
    """What the provider answers from now on."""
    running.simulator.service._dice = Dice(Script(rules=rules), 0)  # type: ignore[attr-defined]


def held(running: Running) -> Any:
    with open_database(running.database) as db:
        found = rows.every(db)
    return found[0].candidate if found else None


def ask_until(running: Running, done: Any, most: int, **fields: Any) -> int:
    """Ask, let each shadow end, and look; how many calls it took."""
    for number in range(most):
        ask(running, number, **fields)
        settle(running)
        if done():
            return number + 1
    raise AssertionError(f"it did not happen in {most} calls: {held(running)}")


def stage_is(running: Running, stage: Stage) -> Any:
    return lambda: (found := held(running)) is not None and found.stage is stage


def promoted(running: Running, model: str = CANDIDATE, usual: str = INCUMBENT) -> None:
    """The candidate has been promoted at the site: written as another gateway would have, and followed."""
    ask(running)
    settle(running)
    booked, terms = running.booked[-1], terms_of(read(tomllib.loads(PLAN)).plans["pro"])
    full = move(begin(booked.site, usual, model, terms, 0.0), Stage.FULL, "proven elsewhere", 0.0)
    with open_database(running.database) as db:
        rows.change(db, rows.Key(booked.tenant, booked.site, usual, model), lambda _: full, who="test", at=0.0)
    running.housekeeping.routing.follow()


def audit(running: Running) -> list[tuple[str, dict[str, Any]]]:
    """(who, evidence after) of each change of a stage, oldest first."""
    with open_database(running.database) as db:
        found = [change for change in plan_rows.audit(db) if change.kind == rows.KIND]
    return [(change.who, json.loads(change.after)) for change in reversed(found)]


def attempts(running: Running) -> list[tuple[str, str, int]]:
    """(model, role, nano-dollars) of the last operation, as the ledger has it."""
    assert running.housekeeping.writer.flush()
    with open_database(running.database) as db:
        return db.rows(
            "SELECT t.model, t.role, a.cost_nano FROM attempts a JOIN tariffs t ON t.id = a.tariff "
            "JOIN operations o ON o.seq = a.operation WHERE o.operation = ? ORDER BY a.number",
            (running.booked[-1].operation,),
        )


def explained(running: Running) -> dict[str, Any]:
    from click.testing import CliRunner

    from jevons import cli

    assert running.housekeeping.writer.flush()
    arguments = ["explain", running.booked[-1].operation, "--json", "--database", running.database]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_candidate_that_agrees_is_promoted_and_then_serves(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        first = ask(running)
        assert "x-jevons-model" not in first.headers
        ask_until(running, stage_is(running, Stage.FULL), 40)
        answer = ask(running, 99)
        assert answer.headers["x-jevons-model"] == CANDIDATE
        assert running.booked[-1].served_model == CANDIDATE
        assert running.booked[-1].baseline_nano > running.booked[-1].cost_nano
        steps = audit(running)
        assert [after["stage"] for _, after in steps] == ["shadow", "canary", "full"]
        assert {who for who, _ in steps} == {"gateway"}
        assert steps[1][1]["e_value"] >= 40, "1 / alpha of the first of three trials"
        shown = explained(running)
        assert shown["options"][0]["levers"] == "route"
        assert f"{CANDIDATE} is full here" in shown["options"][0]["why"]
        bills = {option["levers"]: option["bill_nanodollars"] for option in shown["options"]}
        assert bills["route"] < bills["untouched"]


def test_what_a_shadow_burns_is_in_its_operation_and_nobody_waits_for_it(tmp_path: Path) -> None:
    slow = Rule(model=CANDIDATE, reply=Reply(text="forty-two", first_byte_s=0.4))
    with routed(tmp_path, slow, SAME) as running:
        answer = ask(running)
        assert answer.elapsed.total_seconds() < 0.4
        settle(running)
        found = attempts(running)
        assert [(model, role) for model, role, _ in found] == [(INCUMBENT, "answer"), (CANDIDATE, "shadow")]
        assert float(answer.headers["x-jevons-cost"]) * 1e9 == pytest.approx(found[0][2])
        with open_database(running.database) as db:
            row = db.row("SELECT cost_nano, baseline_nano, levers FROM operations") or ()
            task = db.row("SELECT cost_nano, calls FROM tasks")
        assert row[:2] == (found[0][2] + found[1][2], found[0][2])
        assert json.loads(row[2])["waterfall"] == {"own:shadow": -found[1][2]}
        assert task == (row[0], 1)
        assert running.housekeeping.routing.spent_nano("pro", int(running.booked[-1].started) // 86400 * 86400) > 0


def test_a_candidate_that_disagrees_never_serves(tmp_path: Path) -> None:
    with routed(tmp_path, OTHER, SAME) as running:
        for number in range(12):
            assert "x-jevons-model" not in ask(running, number).headers
            settle(running)
        found = held(running)
        assert (found.stage, found.pairs) == (Stage.SHADOW, 12)
        assert found.wealth.log_e < 0


@pytest.mark.parametrize("fault", ["500", "reset", "stall_first;s=20"])
def test_a_candidate_that_fails_in_shadow_gets_nowhere(tmp_path: Path, fault: str) -> None:
    toml = "[timeouts]\nfirst_byte_s = 0.3\n"
    with routed(tmp_path, Rule(model=CANDIDATE, fault=fault), SAME, toml=toml) as running:
        for number in range(3):
            assert ask(running, number).parse().choices[0].message.content == "forty-two"
            settle(running)
        assert held(running).stage is Stage.SHADOW
        assert held(running).failed_in_row == 3


@pytest.mark.parametrize("fault", ["500", "404", "400", "rubbish", "stall_first;s=20"])
def test_a_promoted_candidate_that_fails_is_passed_by_and_demoted(tmp_path: Path, fault: str) -> None:
    toml = "[timeouts]\nfirst_byte_s = 0.3\n[retry]\nbreaker_failures = 50\nbase_s = 0.01\n"
    broken = Rule(model=CANDIDATE, fault=fault)
    with routed(tmp_path, SAME, toml=toml) as running:
        promoted(running)
        answers(running, broken, SAME)
        for number in range(5):
            answer = ask(running, 100 + number)
            assert answer.parse().choices[0].message.content == "forty-two"
            assert "x-jevons-model" not in answer.headers
        assert [attempt.model for attempt in running.booked[-1].attempts] == [CANDIDATE, INCUMBENT]
        wait_until(stage_is(running, Stage.DEMOTED))
        assert "failures in a row" in audit(running)[-1][1]["reason"]
        ask(running, 200)
        assert [attempt.model for attempt in running.booked[-1].attempts] == [INCUMBENT]


def test_a_promoted_candidate_that_vanishes_is_demoted(tmp_path: Path) -> None:
    toml = '[models."house/small"]\nroutes = [{ provider = "openai", model = "gpt-4o-mini" }]\n'
    plan = PLAN.replace(f'candidates = ["{CANDIDATE}"]', 'candidates = ["house/small"]')
    with routed(tmp_path, SAME, plan=plan, toml=toml) as running:
        promoted(running, "house/small")
        assert ask(running, 99).headers["x-jevons-model"] == CANDIDATE
        running.housekeeping.catalogue.unname("house/small")
        assert "x-jevons-model" not in ask(running, 100).headers
        wait_until(stage_is(running, Stage.DEMOTED))
        assert held(running).reason == "no route serves it any more"


def test_a_candidate_that_drifts_is_demoted(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        promoted(running)
        answers(running, OTHER, SAME)
        ask_until(running, stage_is(running, Stage.DEMOTED), 60)
        assert "fell behind" in held(running).reason
        assert [role for _, role, _ in attempts(running)] == ["answer", "audit"]
        assert "x-jevons-model" not in ask(running, 999).headers


def test_what_was_proven_is_known_after_a_start(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        promoted(running)
    with routed(tmp_path, SAME) as running:
        assert ask(running).headers["x-jevons-model"] == CANDIDATE


def test_a_stream_is_promoted_and_flows_from_the_candidate(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        for number in range(40):
            list(ask(running, number, stream=True).parse())
            settle(running)
            if stage_is(running, Stage.FULL)():
                break
        answer = ask(running, 99, stream=True)
        assert answer.headers["x-jevons-model"] == CANDIDATE
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer.parse() if chunk.choices)
        assert text == "forty-two"


def test_a_call_that_needs_what_the_candidate_lacks_stays(tmp_path: Path) -> None:
    plan = PLAN.replace(CANDIDATE, "gpt-3.5-turbo")
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    with routed(tmp_path, SAME, plan=plan) as running:
        running.openai().chat.completions.create(model=INCUMBENT, messages=[{"role": "user", "content": picture}])
        settle(running)
        assert running.housekeeping.shadows.counts["asked"] == 0
        ask(running)
        settle(running)
        assert running.housekeeping.shadows.counts["asked"] == 1


def test_a_spent_day_ends_the_shadows(tmp_path: Path) -> None:
    plan = PLAN.replace("rest_calls = 4", 'rest_calls = 4, usd_per_day = "0.000001"')
    with routed(tmp_path, SAME, plan=plan) as running:
        for number in range(4):
            ask(running, number)
            settle(running)
        counts = running.housekeeping.shadows.counts
        assert (counts["done"], counts["capped"]) == (1, 3)


def test_a_held_out_task_is_not_shadowed(tmp_path: Path) -> None:
    plan = PLAN.replace("quality_floor", "hold_out = 1.0\nquality_floor")
    with routed(tmp_path, SAME, plan=plan) as running:
        ask(running)
        settle(running)
        assert running.booked[-1].arm == "hold-out"
        assert [model for model, _, _ in attempts(running)] == [INCUMBENT]


@pytest.mark.parametrize("change", [('route = "lossy"', 'route = "off"'), ("quality_floor = 0.5", "quality_floor = 1")])
def test_without_the_plan_s_word_nothing_is_tried(tmp_path: Path, change: tuple[str, str]) -> None:
    with routed(tmp_path, SAME, plan=PLAN.replace(*change)) as running:
        ask(running)
        settle(running)
        assert held(running) is None
        assert running.housekeeping.shadows.counts["asked"] == 0


def test_the_operator_s_word_binds_a_running_gateway(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        promoted(running)
        site = running.booked[-1].site
        order(running, "pin", site, CANDIDATE, "--to", "incumbent")
        wait_until(lambda: "x-jevons-model" not in ask(running).headers)
        order(running, "pin", site, CANDIDATE, "--to", "candidate")
        wait_until(lambda: ask(running).headers.get("x-jevons-model") == CANDIDATE)
        assert "pinned by the operator" in explained(running)["options"][0]["why"]
        order(running, "stop", site, CANDIDATE)
        order(running, "pin", site, CANDIDATE, "--to", "none")
        wait_until(lambda: "x-jevons-model" not in ask(running).headers)


def test_another_model_s_answer_is_not_kept_under_the_incumbent_s_name(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        promoted(running)
        for _ in range(2):
            answer = ask(running, temperature=0)
            assert (answer.headers["x-jevons-cache"], answer.headers["x-jevons-model"]) == ("miss", CANDIDATE)


def test_a_caller_s_own_mistake_is_no_failure_of_the_candidate(tmp_path: Path) -> None:
    with routed(tmp_path, SAME) as running:
        promoted(running)
        answers(running, Rule(fault="400"))
        for _ in range(6):
            with pytest.raises(openai.BadRequestError):
                ask(running)
        answers(running, SAME)
        running.housekeeping.routing.follow()
        assert held(running).stage is Stage.FULL
        assert ask(running).headers["x-jevons-model"] == CANDIDATE


def order(running: Running, *arguments: str) -> None:
    from click.testing import CliRunner

    from jevons import cli

    result = CliRunner().invoke(cli.main, ["promote", *arguments, "--database", running.database])
    assert result.exit_code == 0, result.output


def test_a_session_stays_where_its_prefix_is_held(tmp_path: Path) -> None:
    """The offer loses in dollars: the candidate would read anew what the incumbent holds."""
    usual, cheap = "gpt-5", "o4-mini"
    with routed(tmp_path, SAME, plan=PLAN.replace(CANDIDATE, cheap)) as running:
        messages = [{"role": "system", "content": "You count."}]

        def step(number: int, task: str) -> Any:
            messages.append({"role": "user", "content": f"({number}) " + "Boilers? " * (1 if number else 20_000)})
            answer = running.openai().chat.completions.with_raw_response.create(
                model=usual, messages=messages, max_tokens=50, extra_headers={"x-jevons-task": task}
            )
            messages.append({"role": "assistant", "content": "forty-two"})
            settle(running)
            return answer

        for number in range(3):
            step(number, "run")
        promoted(running, cheap, usual)
        assert "x-jevons-model" not in step(3, "run").headers
        options = explained(running)["options"]
        bills = {option["levers"]: option["bill_nanodollars"] for option in options}
        assert "chosen" in next(option["why"] for option in options if "route" not in option["levers"])
        assert bills["route"] > bills["untouched"]
        del messages[1:]
        assert step(4, "another").headers["x-jevons-model"] == cheap, "a short prompt has nothing to lose"


LADDER = Plan(
    ladder=(CANDIDATE, INCUMBENT), refused=False, why="sum", quality_ratio=1.0, cost_ratio=0.4, reach=(1, 0.2)
)
CLIMBING = '[plans.pro]\nquality_floor = 0.9\nlevers = { cascade = "lossy" }\n'
FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "count",
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("cheap", "served", "roles"),
    [
        ('{"n": 42}', CANDIDATE, [CANDIDATE]),
        ('{"n": "many"}', INCUMBENT, [CANDIDATE, INCUMBENT]),
        ("forty-two", INCUMBENT, [CANDIDATE, INCUMBENT]),
    ],
)
def test_a_ladder_escalates_what_is_no_such_json_and_books_both_rungs(
    tmp_path: Path, cheap: str, served: str, roles: list[str], stream: bool
) -> None:
    rules = (Rule(model=CANDIDATE, reply=Reply(text=cheap)), Rule(reply=Reply(text='{"n": 42}')))
    with routed(tmp_path, *rules, plan=CLIMBING) as running:
        ask(running)
        settle(running)
        booked = running.booked[-1]
        climb = Climb(plan=LADDER, incumbent=INCUMBENT, gate="schema", share=1.0)
        running.housekeeping.world.memory.put("cascade", booked.tenant, booked.site, climb)
        answer = ask(running, 1, response_format=FORM, stream=stream)
        parsed = answer.parse()
        if stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in parsed if chunk.choices)
        else:
            text = parsed.choices[0].message.content
        assert text == '{"n": 42}'
        assert answer.headers.get("x-jevons-model", INCUMBENT) == served
        booked = running.last(2)
        assert [attempt.model for attempt in booked.attempts] == roles
        assert booked.cost_nano == sum(attempt.cost_nano for attempt in booked.attempts)
        shown = explained(running)
        assert shown["options"][0]["levers"] == "cascade"
        assert [attempt["model"] for attempt in shown["attempts"]] == roles
