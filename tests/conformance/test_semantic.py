"""The semantic cache through the gateway, with its real worker and real embeddings."""

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from jevons.cli.explain import command as explain
from jevons.engines.simulated import Reply, Rule, Script, Simulator, start
from jevons.engines.worker_link import installed
from jevons.gateway.worker import WorkerPart
from jevons.store.migrate import open_reader
from tests.conformance.conftest import Running, gateway, wait_until

pytestmark = pytest.mark.skipif(
    not installed(), reason="THE SEMANTIC CACHE IS NOT TESTED: the extra `embed` is missing"
)

FLOOR = 0.9
"""One wrong answer in ten requests: a bound that a short test can earn, after 230 flawless requests."""
PLANS = f"""
[plans.careful]
[plans.loose]
quality_floor = {FLOOR}
levers = {{ semantic = "lossy" }}
[plans.held]
quality_floor = {FLOOR}
levers = {{ semantic = "lossy" }}
hold_out = 1.0
"""
SECRETS = tuple(
    (f"sk-jv-test-{name}-" + "b" * 32, name, plan)
    for name, plan in (("acme", "loose"), ("other", "loose"), ("none", "careful"), ("held", "held"))
)
TOML = """
[semantic]
deadline_s = 2.0
"""
THINGS = {
    "refund": "get a refund for my order",
    "shipping": "change my shipping address",
    "cancel": "cancel my subscription",
    "password": "reset my password",
    "invoice": "download an invoice as a file",
    "language": "choose another language",
}
"""What is asked about; the answer depends on nothing else."""
OPENINGS = (
    "How do I",
    "How can I",
    "how could I",
    "Tell me how to",
    "How would I",
    "Please say how to",
    "Show me how to",
)
ENDS = ("?", " please?", "", " then?")


def paraphrases() -> list[str]:
    """168 different texts with 6 answers, in an order that mixes them."""
    return [f"{opening} {thing}{end}" for end in ENDS for opening in OPENINGS for thing in THINGS.values()]


def reply(word: str) -> Reply:
    return Reply(text=json.dumps({"topic": word}))


SCRIPT = Script(rules=tuple(Rule(contains=word, reply=reply(word)) for word in ("not ", "500", *THINGS)))


class Shop:
    """A gateway whose upstream answers each thing with a short JSON, always the same."""

    def __init__(self, running: Running, simulator: Simulator):
        self.running, self.simulator = running, simulator
        self.unasked = iter(paraphrases())

    def ask(self, text: str, who: str = "acme") -> Any:
        """The answer to one question; it is waited for what the worker learns of it."""
        secret = next(secret for secret, customer, _ in SECRETS if customer == who)
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
        found = self.running.post("/v1/chat/completions", body, authorization=f"Bearer {secret}")
        assert found.status_code == 200, found.text
        return found

    @property
    def worker(self) -> WorkerPart:
        return self.running.housekeeping.worker

    def cache(self, text: str, who: str = "acme") -> str:
        return str(self.ask(text, who).headers.get("x-jevons-cache", ""))

    def burned(self) -> int:
        return len(self.simulator.books.requests)

    def until_served(self) -> str:
        """Ask in ever new words until one is answered from another's answer; returns that call's operation."""
        for text in self.unasked:
            found = self.ask(text)
            if found.headers["x-jevons-cache"] == "semantic":
                return str(found.headers["x-jevons-operation"])
            for _ in range(2):  # the very same text again: served at once, and it counts as a request
                self.ask(text)
        raise AssertionError(f"nothing was served: {self.worker.standing}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("semantic")
    with start(script=SCRIPT) as simulator, gateway(folder, simulator, TOML, secrets=SECRETS, plans=PLANS) as running:
        shop = Shop(running, simulator)
        assert shop.worker.process is None, "a cache that nobody uses has no worker"
        assert shop.cache("Hello there, worker.") == "miss"
        wait_until(lambda: shop.worker.connected, 30.0)
        yield shop


@pytest.fixture(scope="module")
def served(shop: Shop) -> str:
    """The operation that was first answered in other words: from here on the cache is open."""
    return shop.until_served()


def test_a_plan_that_does_not_allow_it_and_a_held_out_task_never_reach_the_worker(shop: Shop) -> None:
    asked = sum(shop.worker.counts[what] for what in ("hits", "misses", "late", "away", "full", "kept", "dropped"))
    for who in ("none", "held"):
        assert [shop.cache("How do I get a refund for my order?", who) for _ in range(2)] == ["", ""]
    after = sum(shop.worker.counts[what] for what in ("hits", "misses", "late", "away", "full", "kept", "dropped"))
    assert after == asked


def test_the_cache_opens_once_its_bound_leaves_room_and_serves_what_was_asked_in_other_words(
    shop: Shop, served: str
) -> None:
    operation = next(one for one in shop.running.booked if one.operation == served)
    assert (operation.cache, operation.cost_nano, operation.attempts[0].provider) == ("semantic", 0, "cache")
    # 23 answers may have been wrong as long as none was audited, so at .1 nothing is served in other words before
    wait_until(lambda: shop.worker.standing.requests >= 230)
    standing = shop.worker.standing
    assert standing.open == 1
    assert standing.served_wrong <= (1 - FLOOR) * standing.requests
    metrics = shop.running.http.get(f"{shop.running.url}/metrics").text
    for name in ("audits", "served_wrong", "open", "threshold", "hits", "late", "away"):
        assert f"jevons_semantic_{name} " in metrics


def test_explain_shows_the_offer_and_whose_answer_it_is(shop: Shop, served: str) -> None:
    shop.running.housekeeping.writer.flush(5.0)
    said = CliRunner().invoke(explain, [served, "--database", shop.running.database, "--json"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.output)
    assert told["cache"] == "semantic"
    assert any("answered this in other words" in option["why"] for option in told["options"])


def test_an_open_cache_audits_a_share_and_serves_right_answers(shop: Shop, served: str) -> None:
    before, calls, hits = shop.burned(), 0, 0
    for text in itertools.islice(shop.unasked, 60):
        found = shop.ask(text)
        topic = next(word for word, thing in THINGS.items() if thing in text)
        assert json.loads(found.json()["choices"][0]["message"]["content"]) == {"topic": topic}
        calls, hits = calls + 1, hits + (found.headers["x-jevons-cache"] == "semantic")
    assert calls == 60
    assert hits > 10
    assert shop.burned() - before == calls - hits
    wait_until(lambda: shop.worker.standing.audits > 0)  # a fifth of 60 at least: none with a chance of one in 10^6


@pytest.mark.parametrize(
    "flip",
    ["How do I not cancel my subscription?", "How do I cancel my 500 subscription?", "How do I cancel no order?"],
)
def test_a_flip_is_never_served(shop: Shop, served: str, flip: str) -> None:
    before = shop.burned()
    assert shop.cache(flip) == "miss"
    assert shop.burned() == before + 1


def test_another_tenant_is_never_served(shop: Shop, served: str) -> None:
    asked = paraphrases()[:8]
    assert all(shop.cache(text) == "semantic" for text in asked[:2])
    assert [shop.cache(text, "other") for text in asked] == ["miss"] * len(asked)


def test_a_complaint_takes_the_answer_out_for_its_own_tenant_only(shop: Shop, served: str) -> None:
    asked = "How do I get a refund for my order?"
    again = shop.ask(asked)
    assert again.headers["x-jevons-cache"] == "semantic"
    said = {"operation": again.headers["x-jevons-operation"], "label": "wrong"}
    shop.running.http.post(
        f"{shop.running.url}/v1/feedback", json=said, headers={"authorization": f"Bearer {SECRETS[0][0]}"}
    ).raise_for_status()
    wait_until(lambda: "acme" not in kept_by(shop, asked))
    assert "other" in kept_by(shop, asked)
    assert shop.worker.standing.known_wrong == 0, "a complaint is no audit"


def kept_by(shop: Shop, text: str) -> set[str]:
    """The customers for whom an answer to this very text is on disk."""
    with open_reader(shop.running.database) as db:
        rows = db.rows("SELECT tenant FROM semantic_entries WHERE text = ?", (text,))
    return {str(tenant).rpartition("/")[2] for (tenant,) in rows}


def test_a_killed_worker_is_a_miss_and_comes_back_with_what_it_knew(shop: Shop, served: str) -> None:
    asked = "How do I choose another language?"
    shop.ask(asked)
    time.sleep(1.5)  # what was learned is on disk within a second
    process = shop.worker.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not shop.worker.connected)
    began = time.monotonic()
    assert shop.cache("Does anybody hear me, worker?") == "miss"
    assert time.monotonic() - began < 1.0
    assert shop.worker.counts["away"] >= 2
    wait_until(lambda: shop.worker.connected, 30.0)
    assert shop.cache(asked) == "semantic"
    wait_until(lambda: shop.worker.standing.requests > 230)
    assert process.restarts == 1
    assert shop.worker.standing.served_wrong > 0, "what was served before still counts"


def test_a_late_worker_costs_the_deadline_and_no_more(shop: Shop, served: str) -> None:
    process = shop.worker.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        assert shop.cache("How do I choose another language?") == "miss"
        assert shop.worker.counts["late"] == 1
    finally:
        os.kill(process.pid, signal.SIGCONT)
    wait_until(lambda: shop.cache("How do I choose another language?") == "semantic")
