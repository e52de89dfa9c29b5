"""Every screen in a real browser: it renders, keeps to itself, is accessible, and does what its forms say."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from jevons.core.money import Nano
from jevons.core.usage import Usage
from jevons.ledger.operation import Attempt, Operation
from jevons.plans.key import digest
from jevons.store import keys as key_rows
from jevons.store import plans
from jevons.store.booking import Bookkeeper
from jevons.store.migrate import open_database
from jevons.web.screens import SCREENS
from tests.web.seed import ADMIN, VIEWER

pytestmark = pytest.mark.browser
LISTED = [screen for screen in SCREENS if screen.group]
LOOKS = [(1280, "light"), (390, "dark")]


class Visit:
    """A signed-in browser page, and what went wrong in it."""

    def __init__(self, chrome: Any, url: str, key: str, width: int = 1280, scheme: str = "light"):
        self.url = url
        self.context = chrome.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce",
            timezone_id="Asia/Kolkata", locale="en-GB",
        )  # fmt: skip
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(url + "/")
        self.page.fill("#key", key)
        self.page.click("button.main")
        self.page.wait_for_url(url + "/")

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.troubles.append(text)

    def _asked(self, where: str) -> None:
        if not where.startswith((self.url, "data:")):
            self.troubles.append(f"asked another host: {where}")

    def go(self, path: str) -> None:
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer.status == 200


@pytest.fixture(scope="module", params=LOOKS, ids=[f"{width}-{scheme}" for width, scheme in LOOKS])
def visit(request: pytest.FixtureRequest, chrome: Any, dashboard: Any) -> Iterator[Visit]:
    width, scheme = request.param
    made = Visit(chrome, dashboard.url, ADMIN, width, scheme)
    yield made
    made.context.close()


@pytest.fixture
def admin(chrome: Any, dashboard: Any) -> Iterator[Visit]:
    made = Visit(chrome, dashboard.url, ADMIN)
    yield made
    made.context.close()


WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}
"""Colours are all that differs in the dark; axe takes seconds a page, so only they are looked at there."""


def violations(page: Any) -> list[str]:
    """What axe finds of WCAG 2.2 AA; in the dark of contrasts."""
    from axe_playwright_python.sync_playwright import Axe

    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    found = Axe().run(page, options=CONTRAST if dark else WCAG)
    return [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found.response["violations"]]


@pytest.mark.parametrize("screen", LISTED, ids=[screen.nav for screen in LISTED])
def test_a_screen_is_whole_accessible_and_keeps_to_itself(visit, screen):
    visit.troubles.clear()
    visit.go(screen.path)
    assert visit.page.locator("h1").inner_text()
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert violations(visit.page) == []
    assert visit.troubles == []


def test_a_task_and_a_call_are_reached_by_clicking(visit):
    visit.troubles.clear()
    visit.go("/ui/tasks?span=90d&order=dearest")
    visit.page.locator("td a").first.click()
    visit.page.wait_for_selector("#h-dollars")
    assert violations(visit.page) == []
    visit.page.locator("svg.chart:visible a").first.click()
    visit.page.wait_for_selector("#h-options")
    assert violations(visit.page) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert visit.troubles == []


def test_every_screen_is_reached_from_the_navigation(admin):
    for screen in LISTED:
        admin.page.get_by_role("navigation", name="Screens").get_by_role("link", name=screen.nav, exact=True).click()
        admin.page.wait_for_url(f"**{screen.path}")
        assert admin.page.locator("nav [aria-current=page]").inner_text() == screen.nav
    assert admin.troubles == []


def test_times_are_in_the_viewers_zone(admin):
    admin.go("/ui/settings")
    when = admin.page.locator("#h-audit").locator("xpath=../..").locator("time").first
    at = int(when.get_attribute("data-at"))
    shown = time.strftime("%H:%M", time.gmtime(at + 5.5 * 3600))
    assert shown in when.inner_text()


def test_the_choice_of_colours_is_kept(admin):
    button = admin.page.locator("[data-theme-toggle]")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = admin.page.evaluate(ground)
    button.click()
    button.click()
    assert button.inner_text() == "Colours: dark"
    assert admin.page.evaluate(ground) != light
    admin.page.reload()
    assert admin.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_keyboard_reaches_the_figures(admin):
    admin.page.keyboard.press("Tab")
    assert admin.page.evaluate("document.activeElement.className") == "skip"
    admin.page.keyboard.press("Enter")
    assert admin.page.evaluate("document.activeElement.id") == "main"


def test_burn_now_follows_by_itself(admin, dashboard):
    admin.go("/ui/burn")
    card = admin.page.locator(".fact", has_text="calls a minute")
    before = card.inner_text()
    with open_database(dashboard.database) as db:
        Bookkeeper().write(db, [_call(number) for number in range(200)])
    admin.page.wait_for_function(
        "before => document.querySelectorAll('.fact')[1].innerText !== before", arg=before, timeout=10_000
    )
    assert admin.page.evaluate("document.querySelectorAll('.fact time[data-at], h1').length") == 1
    assert admin.troubles == []


def test_a_key_is_made_shown_once_and_revoked(admin, dashboard):
    admin.go("/ui/settings")
    admin.page.fill("input[name=name]", "for a test")
    admin.page.select_option("form[action='/ui/settings/keys'] select[name=role]", "viewer")
    admin.page.get_by_role("button", name="Make").click()
    secret = admin.page.locator("code.secret").inner_text()
    with open_database(dashboard.database) as db:
        made = key_rows.by_digest(db, digest(secret))
        assert (made.name, made.role, made.revoked) == ("for a test", "viewer", None)
        admin.go("/ui/settings")
        assert secret not in admin.page.content()
        admin.page.select_option("select[name=id]", made.id)
        admin.page.get_by_role("button", name="Revoke").click()
        admin.page.wait_for_url("**/ui/settings#keys")
        assert key_rows.by_digest(db, digest(secret)).revoked is not None
        assert [change.kind for change in plans.audit(db, 2)] == ["key", "key"]


def test_plans_are_previewed_then_applied_and_audited(admin, dashboard):
    admin.go("/ui/settings")
    text = admin.page.locator("#file").input_value()
    admin.page.fill("#file", text.replace('price_per_month = "49.00"', 'price_per_month = "59.00"'))
    admin.page.get_by_role("button", name="Preview").click()
    assert "49000000000 → 59000000000" in admin.page.locator("#h-preview").locator("xpath=../..").inner_text()
    with open_database(dashboard.database) as db:
        assert plans.load(db).plans["pro"].price_month_nano == 49_000_000_000
        admin.page.get_by_role("button", name="Apply").click()
        admin.page.wait_for_url("**/ui/settings#plans")
        assert plans.load(db).plans["pro"].price_month_nano == 59_000_000_000
        assert plans.audit(db, 1)[0].who.startswith("ada")


def test_a_viewer_sees_no_buttons_that_change_things(chrome, dashboard):
    visit = Visit(chrome, dashboard.url, VIEWER)
    visit.go("/ui/settings")
    assert visit.page.get_by_role("button", name="Make").count() == 0
    assert visit.page.locator("#file").get_attribute("readonly") is not None
    visit.context.close()


def _call(number: int) -> Operation:
    usage = Usage(input=100, output=10)
    attempt = Attempt(provider="openai", model="gpt-5", status=200, usage=usage, cost_nano=Nano(1_000_000))
    return Operation(
        operation=f"op_live_{number}", tenant="acme", key_id="k", customer="acme", plan="pro", task="live",
        task_source="header", parent="", task_name="live", site="s_live", surface="chat", model="gpt-5",
        served_model="gpt-5", status=200, started=time.time(), attempts=(attempt,),
    )  # fmt: skip
