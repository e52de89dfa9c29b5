"""A whole gateway whose stores are behind or away: what its callers, /readyz and the metrics say."""

import time

import httpx2 as httpx

from benchmarks.ledger import operations
from jevons.engines.simulated import start
from jevons.gateway.house import _prune
from jevons.settings import parse
from jevons.store.booking import Bookkeeper
from jevons.store.measures import DAY
from jevons.store.migrate import open_database
from tests.conformance.conftest import gateway, wait_until

CHAT = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
MESSAGES = {**CHAT, "model": "claude-haiku-4-5"}
PLANS = """
[plans.open]
budgets = [{ scope = "customer", per = "month", usd = "1" }]
[plans.closed]
budgets = [{ scope = "customer", per = "month", usd = "1", away = "closed" }]
"""
OPEN, CLOSED = "sk-jv-open-" + "b" * 32, "sk-jv-closed-" + "c" * 32


def get(running, path: str) -> httpx.Response:
    return httpx.get(running.url + path)


def test_no_call_begins_while_the_ledger_has_no_room(tmp_path):
    with start() as simulator, gateway(tmp_path, simulator) as running:
        running.housekeeping.writer._max_queue = 0
        for path, body in (("/v1/chat/completions", CHAT), ("/v1/messages", MESSAGES)):
            refused = running.post(path, body)
            assert refused.status_code == 503
            assert refused.headers["x-jevons-error"] == "ledger_behind"
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["type"]
        assert get(running, "/readyz").status_code == 503
        assert not simulator.books.requests
        running.housekeeping.writer._max_queue = 10
        assert running.post("/v1/chat/completions", CHAT).status_code == 200


def test_limits_hold_by_their_policy_while_valkey_is_away(tmp_path, valkey):
    toml = f'[shared]\nurl = "{valkey.url}"\ntimeout_s = 0.2\n'
    secrets = ((OPEN, "one", "open"), (CLOSED, "two", "closed"))
    with start() as simulator, gateway(tmp_path, simulator, toml, secrets=secrets, plans=PLANS) as running:

        def call(secret: str):
            return running.post("/v1/chat/completions", CHAT, authorization=f"Bearer {secret}")

        assert [call(secret).status_code for secret in (OPEN, CLOSED)] == [200, 200]
        assert get(running, "/readyz").json()["parts"]["shared store"] == "ok"
        valkey.kill()
        wait_until(lambda: not running.housekeeping.shared.link.up)
        assert call(OPEN).status_code == 200
        refused = call(CLOSED)
        assert (refused.status_code, refused.headers["x-jevons-error"]) == (503, "budget_store_away")
        ready = get(running, "/readyz")
        assert ready.status_code == 200
        assert ready.json()["parts"]["shared store"].startswith("degraded")
        metrics = get(running, "/metrics").text
        assert "jevons_shared_up 0.0" in metrics
        assert "jevons_shared_refusals 1.0" in metrics
        valkey.start()
        wait_until(lambda: running.housekeeping.shared.link.up)
        assert call(CLOSED).status_code == 200


def test_what_is_too_old_is_deleted_by_the_hourly_look(tmp_path):
    url, now = f"sqlite:///{tmp_path}/x.db", time.time()
    with open_database(url) as db:
        Bookkeeper().write(db, list(operations(100, seed=1, start=now - 100 * DAY, span_s=3_600)))
        assert _prune(parse({"database": {"url": url}}, "test"), now) > 100
        assert db.row("SELECT count(*) FROM operations") == (0,)
