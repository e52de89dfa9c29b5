"""Audits of small recordings, against sums done by hand.

Prices used by hand, dollars per million tokens: claude-sonnet-4-5 3 input, .30 read, 3.75 and 6 written, 15 output;
claude-haiku-4-5 1 and 5; gpt-4o 2.50, 1.25 read, 10; a batch halves them.
"""

import csv
import gzip
import io
import json
import random
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.sessions import Books
from jevons.cli import main
from jevons.core.call import Call, Caller, Peek, Surface
from jevons.core.usage import Usage
from jevons.gateway.governing import Tariffs
from jevons.gateway.identify import Identifier
from jevons.levers.cache.breakpoints import Lookup
from jevons.levers.cache.session import Session
from jevons.prices.book import Book
from jevons.replay.audit import run as running
from jevons.replay.audit.levers import _send, without
from jevons.replay.audit.page import page
from jevons.replay.audit.read_claude_code import Reader
from jevons.replay.audit.run import audit
from jevons.replay.audit.seen import Once, moment
from jevons.replay.audit.sums import Report, as_object
from jevons.replay.audit.waste import Step, reread
from jevons.replay.traces import Step as Request
from jevons.wire.toplevel import fields

DATA = Path(__file__).parent.parent / "data" / "audit"
SONNET = "claude-sonnet-4-5-20250929"


def look(path: Path) -> Report:
    book = Book.load()
    tariffs, identifier = Tariffs(book), Identifier()

    def identify(call: Call) -> Call:
        return identifier.identify(call, fields(call.body))

    lookup = Lookup(terms=tariffs.terms, rates=tariffs.rates)
    return audit(path, book, lookup, identify, time.time(), lambda _: None)


def write(path: Path, lines: list) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def answer(number: int | str, at: str, usage: dict, *, session: str = "s", model: str = SONNET) -> dict:
    message = {"id": f"m{number}", "role": "assistant", "model": model, "content": [], "usage": usage}
    return {"type": "assistant", "sessionId": session, "uuid": f"u{number}", "timestamp": at, "message": message}


def test_a_transcript_is_priced_call_by_call():
    report = look(DATA / "claude_code.jsonl")
    assert report.formats == {"Claude Code transcripts": 1}
    main_session, agent = report.sessions
    assert (main_session.name, main_session.calls) == ("s-main", 4)
    assert main_session.tokens == {
        "input": 40, "cached": 25_000, "cache_write_5m": 61_000, "cache_write_1h": 0, "output": 210,
    }  # fmt: skip
    # (10 x 3 + 20000 x 3.75 + 100 x 15) + (10 x 3 + 20000 x .3 + 1000 x 3.75 + 50 x 15)
    # + (10 x 3 + 22000 x 3.75 + 50 x 15) + (10 x 3 + 5000 x .3 + 18000 x 3.75 + 10 x 15), in millionths of a dollar
    assert main_session.nano == 76_530_000 + 10_530_000 + 83_280_000 + 69_180_000
    assert (agent.name, agent.calls, agent.nano) == ("s-main/agent-7", 1, 150_000)
    assert report.total.nano == 239_670_000


def test_an_answer_over_two_lines_is_one_call_with_its_last_output():
    assert look(DATA / "claude_code.jsonl").total.tokens["output"] == 100 + 50 + 50 + 10 + 10


def test_resent_tokens_are_what_the_call_before_had_sent():
    session = look(DATA / "claude_code.jsonl").sessions[0]
    assert session.prompt == 20_010 + 21_010 + 22_010 + 23_010
    assert session.repeated == 20_010 + 21_010 + 5_000
    assert session.sent_times == pytest.approx(86_040 / (86_040 - 46_020))


def test_an_expired_prefix_and_a_broken_one_are_told_apart_and_priced():
    lost = look(DATA / "claude_code.jsonl").sessions[0].lost
    assert set(lost) == {"expired", "rewritten"}
    assert (lost["expired"].tokens, lost["expired"].nano) == (21_000, 21_000 * 3_450)  # (3.75 - .30) a token
    assert (lost["rewritten"].tokens, lost["rewritten"].nano) == (17_000, 17_000 * 3_450)


def test_the_lifetime_lever_is_billed_by_its_own_choices():
    saved = look(DATA / "claude_code.jsonl").sessions[0].saved["breakpoints"]
    # It asks for one hour each time: 20000 x 6; 20000 x .3 + 1000 x 6; 21000 x .3 + 1000 x 6; 5000 x .3 + 18000 x 6.
    # Untouched: 20000 x 3.75; 20000 x .3 + 1000 x 3.75; 22000 x 3.75; 5000 x .3 + 18000 x 3.75.
    assert saved.nano == (75_000 + 9_750 + 82_500 + 69_000 - 120_000 - 12_000 - 12_300 - 109_500) * 1000
    assert (saved.calls, saved.seen) == (4, 4)


def test_a_client_that_names_its_lifetime_is_left_alone(tmp_path):
    hour = {"input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 9000}, "output_tokens": 1}
    again = {**hour, "cache_read_input_tokens": 9000, "cache_creation": {"ephemeral_1h_input_tokens": 100}}
    lines = [answer(0, "2026-10-05T09:00:00Z", hour), answer(1, "2026-10-05T09:30:00Z", again)]
    report = look(write(tmp_path / "t.jsonl", lines))
    assert (report.total.saved["breakpoints"].calls, report.total.saved["breakpoints"].nano) == (0, 0)
    assert not report.total.lost


def test_breakpoints_are_placed_where_a_client_has_none(tmp_path):
    turns: list = [{"role": "user", "content": "word " * 4000}]
    lines = []
    for n in range(5):
        lines.append({
            "timestamp": f"2026-10-05T09:0{n}:00Z", "session_id": "s",
            "request": {"model": SONNET, "max_tokens": 9, "messages": list(turns)},
            "response": {"id": f"r{n}", "type": "message", "model": SONNET, "content": [],
                         "usage": {"input_tokens": 5000 + 100 * n, "output_tokens": 9}},
        })  # fmt: skip
        turns += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "word " * 80}]
    saved = look(write(tmp_path / "t.jsonl", lines)).total.saved["breakpoints"]
    assert saved.calls == 5
    # Untouched, every prompt is plain input. The lever writes the first for an hour, then reads it and writes the 100
    # new tokens of each call for five minutes.
    untouched = (5000 + 5100 + 5200 + 5300 + 5400) * 3_000
    assert saved.nano == untouched - 5000 * 6_000 - (5000 + 5100 + 5200 + 5300) * 300 - 4 * 100 * 3_750


def test_answers_whose_lines_stand_between_results_stay_one_turn(tmp_path):
    usage = {"input_tokens": 9, "cache_creation_input_tokens": 3000, "output_tokens": 7}
    first, second = answer(0, "2026-10-05T09:00:01Z", usage), answer(0, "2026-10-05T09:00:03Z", usage)
    for line, tool in ((first, "t1"), (second, "t2")):
        line["message"]["content"] = [{"type": "tool_use", "id": tool, "name": "Read", "input": {}}]
    results = [
        {"type": "user", "sessionId": "s", "timestamp": f"2026-10-05T09:00:0{at}Z",
         "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool, "content": "x"}]}}
        for at, tool in ((2, "t1"), (4, "t2"))
    ]  # fmt: skip
    ask = {"type": "user", "sessionId": "s", "timestamp": "2026-10-05T09:00:00Z",
           "message": {"role": "user", "content": "go"}}  # fmt: skip
    reader = Reader()
    lines = [ask, first, results[0], second, results[1], answer(1, "2026-10-05T09:00:06Z", usage)]
    calls = [seen for line in lines for seen in reader.take(json.dumps(line).encode(), "here")]
    calls += reader.end()
    assert [seen.usage.output for seen in calls] == [7, 7]
    assert [turn.role for turn in calls[1].turns] == ["user", "assistant", "user", "user"]
    assert [part.id for part in calls[1].turns[1].parts] == ["t1", "t2"]
    assert calls[1].at - calls[0].at == 4.0  # from question to last result


def test_parallel_sub_agents_in_one_file_are_sessions_of_their_own(tmp_path):
    usage = {"input_tokens": 9, "output_tokens": 7}
    lines, last = [], dict.fromkeys("ab")
    for n in range(3):
        for agent in "ab":
            line = {**answer(f"{agent}{n}", "2026-10-05T09:00:00Z", usage), "isSidechain": True}
            lines.append({**line, "parentUuid": last[agent]})
            last[agent] = line["uuid"]
    sessions = look(write(tmp_path / "t.jsonl", lines)).sessions
    assert sorted(tally.calls for tally in sessions) == [3, 3]


def test_what_another_session_had_cached_is_in_both_sides_of_the_comparison(tmp_path):
    shared = {
        "input_tokens": 10,
        "cache_read_input_tokens": 15_000,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
    }
    report = look(write(tmp_path / "t.jsonl", [answer(0, "2026-10-05T09:00:00Z", shared)]))
    assert report.modelled_untouched_nano == report.booked_nano == 10 * 3_000 + 15_000 * 300 + 15_000


def test_a_resumed_file_counts_its_old_lines_once(tmp_path):
    text = (DATA / "claude_code.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl").write_text(text)
    report = look(tmp_path)
    assert report.total.nano == 239_670_000
    assert report.repeats == 5


def test_malformed_lines_are_counted_and_named():
    report = look(DATA / "claude_code.jsonl")
    assert report.faults == {"not JSON": 1, "a field of another type": 1, "an answer without usage or model": 1}
    assert report.places["not JSON"] == ["claude_code.jsonl:7"]


def test_an_identical_deterministic_request_is_a_repeat():
    report = look(DATA / "openai.jsonl")
    assert report.total.calls == 3  # one answer stands there twice
    assert report.repeats == 1
    assert report.total.nano == 3_500_000 + 3_500_000 + 5_100_000
    exact = report.total.saved["exact"]
    assert (exact.seen, exact.calls, exact.nano) == (2, 1, 3_500_000)  # temperature .7 is not looked at


def test_a_lone_call_would_cost_half_by_batch():
    batch = look(DATA / "openai.jsonl").total.saved["batch"]
    assert (batch.calls, batch.nano) == (3, (3_500_000 + 3_500_000 + 5_100_000) // 2)


def test_the_doctor_names_a_time_in_the_system_text():
    report = look(DATA / "anthropic.jsonl")
    lost = report.total.lost["timestamp"]
    assert (lost.times, lost.tokens, lost.nano) == (1, 4_000, 4_000 * 3_450)
    assert "round it" in lost.fix
    assert report.total.nano == (10 * 3_000 + 4000 * 3_750 + 20 * 15_000) + (20 * 3_000 + 4100 * 3_750 + 20 * 15_000)


@pytest.mark.parametrize("name", ["litellm.json", "litellm.csv"])
def test_a_spend_log_keeps_its_spend_and_says_what_has_no_price(name):
    report = look(DATA / name)
    assert report.formats == {"LiteLLM spend logs": 1}
    assert (report.total.calls, report.total.nano) == (2, 3_500_000)  # a hit of its own cache burned nothing
    assert report.unpriced == {"house-model": 1}
    assert (report.total.prompt, report.total.tokens["output"]) == (1500, 105)


@pytest.mark.parametrize("name", ["langfuse.json", "langfuse.csv"])
def test_observations_are_calls_where_they_are_generations(name):
    report = look(DATA / name)
    assert report.formats == {"Langfuse observations": 1}
    assert {tally.name: tally.nano for tally in report.sessions} == {
        "t1": 600 * 2_500 + 400 * 1_250 + 100 * 10_000,
        "t2": 10_000_000,  # its own cost wins over the book
    }


def test_the_shape_of_the_file_does_not_matter(tmp_path):
    document = json.loads((DATA / "langfuse.json").read_text())
    shapes = {
        "one_line.json": json.dumps(document),
        "array.json": json.dumps(document["data"], indent=2),
        "lines.jsonl": "\n".join(json.dumps(row) for row in document["data"]),
    }
    for name, text in shapes.items():
        (tmp_path / name).write_text(text)
        assert look(tmp_path / name).total.nano == 13_000_000
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(shapes["lines.jsonl"].encode()))
    assert look(packed).total.nano == 13_000_000


def test_a_long_array_is_read_element_by_element(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.replay.audit.files.HEAD", 64)
    monkeypatch.setattr("jevons.replay.audit.files.CHUNK", 50)
    rows = json.loads((DATA / "langfuse.json").read_text())["data"]
    rows[0]["name"] = "Grüße ] , { 日本 " * 20
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert look(tmp_path / "a.json").total.calls == 2


def test_a_cut_file_ends_where_it_breaks(tmp_path):
    whole = (DATA / "langfuse.json").read_text()
    (tmp_path / "cut.json").write_text(whole[: whole.index('"o3"')])
    report = look(tmp_path / "cut.json")
    assert (report.total.calls, report.faults) == (1, {"document breaks off": 1})
    packed = gzip.compress((DATA / "claude_code.jsonl").read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-12])
    assert any("breaks off" in kind for kind in look(tmp_path / "cut.jsonl.gz").faults)


def test_a_line_beyond_the_bound_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr("jevons.replay.audit.files.LONGEST", 2000)
    usage = {"input_tokens": 1, "output_tokens": 1}
    long = answer(1, "x" * 5000, usage)
    report = look(write(tmp_path / "t.jsonl", [answer(0, "", usage), long, answer(2, "", usage)]))
    assert report.total.calls == 2
    assert next(iter(report.places.values())) == ["t.jsonl:2"]


def test_nothing_in_a_file_makes_it_crash(tmp_path):
    dice = random.Random(7)
    text = (DATA / "claude_code.jsonl").read_bytes() + (DATA / "openai.jsonl").read_bytes()
    for number in range(40):
        spoiled = bytearray(text)
        for _ in range(60):
            spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
        (tmp_path / f"{number}.jsonl").write_bytes(bytes(spoiled))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    (tmp_path / "noise.csv").write_bytes(b'a,b\n"\0,\n' + bytes(range(256)))
    assert look(tmp_path).total.calls > 0


JUNK = (None, True, -1, 1.5, 1e308, 10**30, "", "x", "{", "[1]", [], {}, [1], {"a": 1}, [[{}]], "9" * 400)


def places(value, path=()):
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize(
    "name", ["claude_code.jsonl", "openai.jsonl", "anthropic.jsonl", "litellm.json", "langfuse.json"]
)
def test_no_field_of_another_type_makes_it_crash(tmp_path, name):
    text = (DATA / name).read_text()
    if name.endswith(".json"):
        rows = json.loads(text)
        rows = rows["data"] if isinstance(rows, dict) else rows
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    dice = random.Random(11)
    for number in range(60):
        spoiled = json.loads(json.dumps(rows))
        for row in spoiled:
            *path, last = dice.choice(list(places(row)))
            inner = row
            for key in path:
                inner = inner[key]
            inner[last] = dice.choice(JUNK)
        write(tmp_path / f"{number}.jsonl", spoiled)
    report = look(tmp_path)
    assert report.total.calls > 0
    assert page(report, "x")
    assert json.dumps(as_object(report))


def test_a_switch_of_model_pays_for_the_conversation_again(tmp_path):
    first = {"cache_creation_input_tokens": 20_000, "input_tokens": 0, "output_tokens": 1}
    then = {"cache_creation_input_tokens": 21_000, "input_tokens": 0, "output_tokens": 1}
    lines = [
        answer(0, "2026-10-05T09:00:00Z", first),
        answer(1, "2026-10-05T09:01:00Z", then, model="claude-haiku-4-5-20251001"),
    ]
    lost = look(write(tmp_path / "t.jsonl", lines)).total.lost["model switched"]
    assert (lost.tokens, lost.nano) == (20_000, 20_000 * 1_150)  # haiku: 1.25 - .10


def test_an_automatic_cache_that_misses_is_said_to_have_missed(tmp_path):
    rows = [
        {"request_id": f"r{n}", "model": "gpt-4o", "prompt_tokens": prompt, "completion_tokens": 1, "spend": 0,
         "startTime": f"2026-10-05T09:00:{n:02d}Z", "session_id": "s",
         "metadata": {"usage_object": {"prompt_tokens": prompt, "completion_tokens": 1,
                                       "prompt_tokens_details": {"cached_tokens": cached}}}}
        for n, (prompt, cached) in enumerate(((3000, 0), (4000, 0), (5000, 3968)))
    ]  # fmt: skip
    lost = look(write(tmp_path / "t.jsonl", rows)).total.lost
    assert {reason: (loss.times, loss.tokens, loss.nano) for reason, loss in lost.items()} == {
        "not found": (1, 3000, 3000 * 1_250)
    }


def test_rows_in_reverse_order_are_put_in_order(tmp_path):
    rows = [
        {"request_id": f"r{n}", "model": "gpt-4o", "prompt_tokens": 3000 + 500 * n, "completion_tokens": 1, "spend": 0,
         "startTime": f"2026-10-05T09:00:{n:02d}Z", "session_id": "s"}
        for n in reversed(range(4))
    ]  # fmt: skip
    report = look(write(tmp_path / "t.jsonl", rows))
    assert report.total.repeated == 3000 + 3500 + 4000


def test_repeated_tool_results_are_trimmed_before_they_are_first_sent(tmp_path):
    listing = "\n".join(f"src/module_{n}/file_{n * 7}.py: {n * 13} lines of code here" for n in range(200))
    turns: list = [{"role": "user", "content": "List them."}]
    lines = []
    for n in range(3):
        prompt = 5000 + 4000 * n
        reply = {"role": "assistant", "content": None, "tool_calls": [
            {"id": f"c{n}", "type": "function", "function": {"name": "ls", "arguments": "{}"}}]}  # fmt: skip
        lines.append({
            "timestamp": f"2026-10-05T09:00:{n:02d}Z", "session_id": "s",
            "request": {"model": "gpt-4o", "messages": list(turns)},
            "response": {"id": f"r{n}", "model": "gpt-4o", "choices": [{"message": reply}],
                         "usage": {"prompt_tokens": prompt, "completion_tokens": 10}},
        })  # fmt: skip
        turns += [reply, {"role": "tool", "tool_call_id": f"c{n}", "content": listing}]
    trim = look(write(tmp_path / "t.jsonl", lines)).total.saved["trim"]
    assert trim.seen == 3
    assert trim.calls >= 1
    assert 0 < trim.nano < 13_000 * 2_500


def test_texts_that_the_client_has_cut_are_not_counted_as_sent(tmp_path):
    result = "\n".join(f"line {n} of the same file, with words" for n in range(300))
    lines = []
    for n, prompt in enumerate((9000, 13_000, 17_000, 8000, 8500)):
        user = {"type": "user", "sessionId": "s", "uuid": f"q{n}", "timestamp": f"2026-10-05T09:00:{n:02d}Z",
                "message": {"role": "user", "content": "go" if n == 0 else
                            [{"type": "tool_result", "tool_use_id": f"t{n - 1}", "content": result}]}}  # fmt: skip
        made = answer(n, f"2026-10-05T09:00:{n:02d}Z", {"input_tokens": prompt, "output_tokens": 5})
        made["message"]["content"] = [{"type": "tool_use", "id": f"t{n}", "name": "Read", "input": {}}]
        lines += [user, made]
    assert look(write(tmp_path / "t.jsonl", lines)).total.saved["trim"].seen == 3


def test_sessions_beyond_the_bound_are_closed_and_stay_in_the_sums(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "MOST_OPEN", 2)
    monkeypatch.setattr(running, "MOST_LISTED", 3)
    usage = {"input_tokens": 1000, "output_tokens": 10}
    lines = [answer(n, "2026-10-05T09:00:00Z", usage, session=f"s{n}") for n in range(6)]
    report = look(write(tmp_path / "t.jsonl", lines))
    assert (report.total.calls, len(report.sessions)) == (6, 3)
    assert report.total.saved["batch"].seen == 6


def test_the_cache_model_agrees_with_the_benchmarks_books():
    dice = random.Random(3)
    for _ in range(50):
        books, session, at, prompt = Books(), None, 0.0, 0
        for number in range(30):
            at += dice.choice((5.0, 100.0, 290.0, 400.0, 3000.0, 4000.0)) if number else 0.0
            kept = dice.choice((prompt, prompt, prompt // 2))
            prompt = kept + dice.randrange(1, 5000)
            ttl = dice.choice(("5m", "1h"))
            request = Request(at, prompt, 7, kept if number else 0, "m", 0.0, 0.0)
            call = Call(operation="o", surface=Surface.RAW, caller=Caller(key_id="k"), peek=Peek(model="m"),
                        body=b"", headers={}, at=at)  # fmt: skip
            sent, session = _send(session, call, Usage(input=prompt, output=7), prompt, Step(request.kept), ttl)
            assert sent == books.bill(request, ttl)


def test_taking_tokens_out_leaves_the_others():
    usage = Usage(input=10, cached=1000, cache_write_5m=200, output=5)
    before = Session(prompt=1000)
    assert without(usage, 100, 150, before) == Usage(input=10, cached=900, cache_write_5m=150, output=5)
    assert without(usage, 0, 5000, before).prompt == 0
    assert reread(usage, 205) == Usage(input=5, cached=1205, output=5)


@pytest.mark.parametrize(
    ("found", "seconds"),
    [("2026-10-05T09:00:00Z", 1791190800.0), (1791190800, 1791190800.0), (1791190800000, 1791190800.0),
     ("1791190800", 1791190800.0), ("soon", 0.0), (None, 0.0), (True, 0.0), (-5, 0.0)],
)  # fmt: skip
def test_times_are_read_in_every_unit(found, seconds):
    assert moment(found) == seconds


def test_ids_are_remembered_up_to_a_bound():
    once = Once(most=1)
    assert [once("a"), once("a"), once("b"), once("b"), once("")] == [True, False, True, True, True]


def run(*arguments: str):
    return CliRunner().invoke(main, ["audit", *arguments])


def test_the_json_is_one_object_that_says_what_is_modelled():
    found = json.loads(run(str(DATA / "claude_code.jsonl"), "--json").stdout.splitlines()[-1])
    assert found["total"]["burned_nanodollars"] == 239_670_000
    assert found["basis"]["saved"] == "modelled"
    assert len(found["sessions"]) == 2


def test_a_session_name_is_no_formula_in_the_csv():
    rows = list(csv.DictReader(io.StringIO(run(str(DATA / "anthropic.jsonl"), "--csv").stdout)))
    assert [row["session"] for row in rows] == ["'=2+5", "(all)"]


def test_a_session_name_is_no_markup_in_the_page(tmp_path):
    file = tmp_path / "page.html"
    result = run(str(DATA / "litellm.json"), "--html", str(file))
    assert result.exit_code == 0
    text = file.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "modelled" in text
    assert not any(word in text for word in ("http://", "https://", "src=", "@import", "url("))


def test_the_table_shows_the_format_and_the_total():
    text = run(str(DATA / "claude_code.jsonl")).stdout
    assert "Claude Code transcripts (1 file)" in text
    assert "$0.2397" in text
    assert "modelled" in text


def test_a_path_without_calls_fails_with_words(tmp_path):
    (tmp_path / "a.json").write_text('{"hello": 1}')
    result = run(str(tmp_path))
    assert result.exit_code == 1
    assert "file of no known format" in result.stdout
