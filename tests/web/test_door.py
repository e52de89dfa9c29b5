"""Who gets in, and what a form may do: sessions, roles, tokens, bounds, headers. Without a browser or sockets."""

import asyncio
import time

import pytest

from jevons.store import keys as key_rows
from jevons.store import plans
from jevons.store.migrate import open_database
from jevons.web import guard
from jevons.web.app import application
from jevons.web.screens import CHANGES, SCREENS
from tests.web.conftest import csrf, sign_in
from tests.web.seed import ADMIN, VIEWER

EVERY = [screen.path for screen in SCREENS]


def run(work):
    return asyncio.run(work)


@pytest.mark.parametrize("path", [*EVERY, "/ui/live"])
def test_nothing_is_seen_without_a_session(client, path):
    async def look():
        answer = await client.get(path)
        assert answer.status_code in {303, 401}
        assert "$" not in answer.text

    run(look())


def test_a_key_without_a_role_opens_nothing(client, database):
    from jevons.plans import key as keys

    secret = "sk-jv-" + "p" * 43
    with open_database(database) as db:
        key_rows.add(db, keys.make(secret, name="app"))

    async def look():
        answer = await sign_in(client, secret)
        assert answer.status_code == 403
        assert guard.COOKIE not in client.cookies

    run(look())


def test_the_cookie_is_for_this_site_only_and_is_nowhere_in_the_database(client, database):
    async def look():
        answer = await sign_in(client)
        cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(guard.COOKIE))
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie
        secret = client.cookies[guard.COOKIE]
        with open_database(database) as db:
            assert secret not in str(db.rows("SELECT * FROM sessions"))

    run(look())


def test_behind_https_the_cookie_is_secure(client):
    async def look():
        form = await client.get("/ui/sign-in", headers={"x-jevons-scheme": "https"})
        assert "; Secure" in form.headers["set-cookie"]

    run(look())


def test_a_revoked_key_ends_its_sessions(client, database):
    async def look():
        await sign_in(client)
        assert (await client.get("/")).status_code == 200
        with open_database(database) as db:
            key_rows.revoke(db, "ada", time.time())
        assert (await client.get("/")).status_code == 303

    run(look())


def test_signing_out_ends_the_session_on_the_server(client):
    async def look():
        await sign_in(client)
        page, cookie = await client.get("/"), client.cookies[guard.COOKIE]
        await client.post("/ui/sign-out", data={"csrf": csrf(page.text)})
        assert (await client.get("/", headers={"cookie": f"{guard.COOKIE}={cookie}"})).status_code == 303

    run(look())


def test_a_session_ends_by_itself(database):
    with open_database(database) as db:
        cookie = guard.sign_in(db, ADMIN, 1000.0)
        assert guard.who(db, cookie, 1000.0 + guard.SESSION_S - 1) is not None
        assert guard.who(db, cookie, 1000.0 + guard.SESSION_S + 1) is None


def test_failed_attempts_are_bounded_by_address(client):
    async def look():
        for _ in range(guard.TRIES):
            assert (await sign_in(client, "sk-jv-wrong")).status_code == 403
        assert (await sign_in(client, ADMIN)).status_code == 429

    run(look())


def test_attempts_are_forgotten_after_their_window():
    attempts = guard.Attempts()
    for _ in range(guard.TRIES):
        attempts.failed("a", 0.0)
    assert not attempts.allowed("a", 1.0)
    assert attempts.allowed("b", 1.0)
    assert attempts.allowed("a", guard.WINDOW_S + 1)


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("why", ["no token", "a wrong token", "another origin", "a viewer"])
def test_a_form_is_refused(client, database, path, why):
    async def look():
        await sign_in(client, VIEWER if why == "a viewer" else ADMIN)
        token = csrf((await client.get("/ui/settings")).text)
        form = {"name": "evil", "file": "", "do": "apply", "csrf": token}
        headers = {"origin": "http://evil.test"} if why == "another origin" else {}
        if why == "no token":
            del form["csrf"]
        elif why == "a wrong token":
            form["csrf"] = token[:-1] + ("A" if token[-1] != "A" else "B")
        with open_database(database) as db:
            before = len(plans.audit(db)), len(key_rows.every(db))
            assert (await client.post(path, data=form, headers=headers)).status_code == 403
            assert (len(plans.audit(db)), len(key_rows.every(db))) == before

    run(look())


def test_a_sign_in_form_of_another_site_is_refused(client):
    async def look():
        token = csrf((await client.get("/ui/sign-in")).text)
        answer = await client.post(
            "/ui/sign-in", data={"key": ADMIN, "csrf": token}, headers={"origin": "http://evil.test"}
        )
        assert answer.status_code == 403

    run(look())


@pytest.mark.parametrize("where", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)"])
def test_after_sign_in_nobody_is_sent_to_another_host(client, where):
    async def look():
        assert (await sign_in(client, where=where)).headers["location"] == "/"

    run(look())


def test_the_admins_own_key_is_not_revoked_from_here(client, database):
    async def look():
        await sign_in(client)
        with open_database(database) as db:
            own = key_rows.find(db, "ada")[0]
        token = csrf((await client.get("/ui/settings")).text)
        answer = await client.post("/ui/settings/keys/revoke", data={"csrf": token, "id": own.id})
        assert answer.status_code == 400
        assert (await client.get("/")).status_code == 200

    run(look())


def test_every_answer_forbids_what_comes_from_elsewhere(client):
    async def look():
        await sign_in(client)
        for path in ("/", "/ui/sign-in", "/static/style.css", "/ui/nothing", "/ui/tasks?csv=tasks"):
            answer = await client.get(path)
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            assert answer.headers["x-content-type-options"] == "nosniff"

    run(look())


@pytest.mark.parametrize("path", EVERY)
def test_no_page_holds_a_style_or_a_script_of_its_own(client, path):
    async def look():
        await sign_in(client)
        page = (await client.get(path)).text
        assert " style=" not in page
        assert "<script>" not in page
        assert "onclick" not in page

    run(look())


@pytest.mark.parametrize("body", [b"x" * 300_000, b"\xff\xfe", b"&".join(b"a=1" for _ in range(200))])
def test_an_absurd_form_is_a_refusal_and_not_a_fault(client, body):
    async def look():
        await sign_in(client)
        assert (await client.post("/ui/settings/plans", content=body)).status_code == 403

    run(look())


def test_an_empty_ledger_says_what_to_do_next(tmp_path):
    import httpx2 as httpx

    from jevons.engines.pages import Options
    from jevons.plans import key as keys

    url = f"sqlite:///{tmp_path}/empty.db"
    with open_database(url) as db:
        key_rows.add(db, keys.make(ADMIN, name="ada", role="admin"))
    fresh = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=application(Options(database=url))), base_url="http://x"
    )

    async def look():
        await sign_in(fresh)
        for path in EVERY[:10]:
            page = await fresh.get(path)
            assert page.status_code == 200
            assert "nan" not in page.text.lower().replace("nano", "").replace("governance", "")
        assert "make a call" in (await fresh.get("/")).text

    run(look())
