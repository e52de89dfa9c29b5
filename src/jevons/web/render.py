"""Pages to HTML through Jinja: the environment, its filters, and what every page is given.

What lives here: the ties between values and templates. Everything is escaped unless a chart's own module drew it.
"""

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jevons.web import words
from jevons.web.ask import SPANS, Ask
from jevons.web.figure import Page, aligned
from jevons.web.screens import GROUPS, SCREENS, Screen


class Renderer:
    """`tags`: the static files' hashes by name, for addresses that may be kept for ever."""

    def __init__(self, tags: Mapping[str, str]):
        self._env = Environment(
            loader=PackageLoader("jevons.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters = ("money", "count", "share", "percent", "seconds", "energy", "moment", "iso", "plural")
        self._env.filters.update({name: getattr(words, name) for name in filters})
        self._env.filters["svg"] = Markup
        self._env.filters["aligned"] = aligned
        self._env.filters["coded"] = coded
        self._env.globals["static"] = lambda name: f"/static/{name}?v={tags.get(name, '')}"

    def page(self, page: Page, ask: Ask, screen: Screen | None = None) -> str:
        """A whole page."""
        return self._env.get_template(page.template).render(**self._given(page, ask, screen))

    def fragment(self, template: str, page: Page, ask: Ask) -> str:
        """A part of a page, for the live stream."""
        return self._env.get_template(template).render(**self._given(page, ask, None))

    def problem(self, title: str, message: str, ask: Ask) -> str:
        """A page that says what is wrong and what to do."""
        return self.page(Page(template="problem.html", title=title, context={"message": message}), ask)

    def sign_in(self, csrf: str, where: str, error: str) -> str:
        return self._env.get_template("sign_in.html").render(csrf=csrf, next=where, error=error)

    def _given(self, page: Page, ask: Ask, screen: Screen | None) -> dict[str, object]:
        return {
            "title": page.title,
            "page": page,
            "figures": page.figures,
            "tables": page.tables,
            "ask": ask,
            "session": ask.session,
            "here": screen.nav if screen else "",
            "groups": GROUPS,
            "screens": [each for each in SCREENS if each.group],
            "spans": SPANS if screen and screen.spans else {},
            "query": partial(_query, ask.query),
            **page.context,
        }


def coded(words: str) -> Markup:
    """A text of ours with what stands between backticks as code; everything is escaped."""
    code, parts = Markup("<code>{}</code>"), words.split("`")
    return Markup("").join(code.format(part) if index % 2 else part for index, part in enumerate(parts))


def _query(given: Mapping[str, str], **changes: str | int) -> str:
    """The page's own query with some values changed; an empty value takes one out."""
    kept = {name: value for name, value in given.items() if name != "csv"} | {
        name: str(value) for name, value in changes.items()
    }
    return "?" + urlencode({name: value for name, value in kept.items() if value})
