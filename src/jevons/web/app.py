"""The application of the pages process: paths to screens, sessions in front of them, the live stream, static files.

What lives here: who may see what, and how a page becomes an answer. All queries run one after another in one thread
with one connection: pages are few, and memory counts. What it must not know: what a screen shows.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from jevons.core.errors import JevonsError
from jevons.engines.pages import Options
from jevons.store.db import Database
from jevons.store.migrate import open_database
from jevons.store.sessions import Session
from jevons.web import guard
from jevons.web.ask import Ask, link, span_of
from jevons.web.figure import Page, as_csv
from jevons.web.live import Live
from jevons.web.memo import Memo
from jevons.web.render import Renderer
from jevons.web.screens import CHANGES, SCREENS, Refused, Screen, burn_now

T = TypeVar("T")
CACHE_KIB = 2 * 1024
"""SQLite's page cache here: rollups are small, and this process lives in a tight budget of memory."""
MAX_FORM_BYTES = 256 * 1024
MAX_FIELDS = 100
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
Handler = Callable[[Request], Awaitable[Response]]


class Site:
    """The parts of the process, and the handlers that tie them together."""

    def __init__(self, options: Options):
        self.options = options
        self.db: Database = open_database(options.database)
        if not self.db.postgres:
            self.db.run(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.memo = Memo()
        self.attempts = guard.Attempts()
        self.static = _static()
        self.render = Renderer({name: tag for name, (_, _, tag) in self.static.items()})
        self._one = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pages")
        self.live = Live(partial(self.run, self._fragment))

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in the one thread that holds the connection."""
        return await asyncio.get_running_loop().run_in_executor(self._one, self._safely, work)

    def _safely(self, work: Callable[[], T]) -> T:
        """A lost connection is made anew, once."""
        try:
            return work()
        except self.db.transient:
            self.db.connect()
            return work()

    def ask(self, request: Request, session: Session, default: str = "30d") -> Ask:
        query = dict(request.query_params)
        return Ask(
            db=self.db,
            now=guard.clock(),
            session=session,
            options=self.options,
            memo=self.memo,
            query=query,
            span=span_of(query, default),
        )

    async def session(self, request: Request) -> Session | None:
        cookie = request.cookies.get(guard.COOKIE, "")
        return await self.run(lambda: guard.who(self.db, cookie, guard.clock())) if cookie else None

    # --- screens

    def screen(self, screen: Screen) -> Handler:
        async def handler(request: Request) -> Response:
            session = await self.session(request)
            if session is None:
                where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(link("/ui/sign-in", next=where if where != "/" else ""), 303)
            return await self.run(lambda: self._page(screen, self.ask(request, session, screen.span)))

        return handler

    def _page(self, screen: Screen, ask: Ask) -> Response:
        try:
            page = screen.build(ask)
        except Refused as refused:
            return self._html(self.render.problem(refused.title, str(refused), ask), refused.status)
        if "csv" in ask.query:
            return _csv(page, ask.text("csv"))
        return self._html(self.render.page(page, ask, screen))

    def change(self, change: Callable[[Ask, Mapping[str, str]], Page | str]) -> Handler:
        """A form that changes something: for admins, with the session's token."""

        async def handler(request: Request) -> Response:
            session, form = await self.session(request), await _form(request)
            if session is None:
                return RedirectResponse("/ui/sign-in", 303)
            fits = guard.same(form.get("csrf", ""), session.csrf) and guard.own_origin(request.headers)
            if session.role != "admin" or not fits:
                why = "sign in again, then repeat the change" if session.role == "admin" else "a viewer changes nothing"
                return self._html(self.render.problem("Not changed", why, self.ask(request, session)), 403)
            return await self.run(lambda: self._change(change, self.ask(request, session), form))

        return handler

    def _change(
        self, change: Callable[[Ask, Mapping[str, str]], Page | str], ask: Ask, form: Mapping[str, str]
    ) -> Response:
        try:
            done = change(ask, form)
        except JevonsError as error:
            return self._html(self.render.problem("Not changed", error.message, ask), 400)
        return RedirectResponse(done, 303) if isinstance(done, str) else self._html(self.render.page(done, ask))

    # --- the door

    async def sign_in(self, request: Request) -> Response:
        https = request.headers.get("x-jevons-scheme") == "https"
        if request.method != "POST":
            return self._sign_in_form(_own_path(request.query_params.get("next", "")), "", https)
        form, now = await _form(request), guard.clock()
        where, address = _own_path(form.get("next", "")), request.headers.get("x-jevons-client", "unknown")
        if not guard.same(form.get("csrf", ""), request.cookies.get(guard.BEFORE, "")) or not guard.own_origin(
            request.headers
        ):
            return self._sign_in_form(where, "The form was too old. Try again.", https, 403)
        if not self.attempts.allowed(address, now):
            return self._sign_in_form(where, "Too many attempts from this address. Wait five minutes.", https, 429)
        cookie = await self.run(lambda: guard.sign_in(self.db, form.get("key", "").strip(), now))
        if cookie is None:
            self.attempts.failed(address, now)
            wrong = "This key does not open the dashboard. It takes a live key with the role admin or viewer."
            return self._sign_in_form(where, wrong, https, 403)
        answer = RedirectResponse(where, 303)
        answer.headers.append("set-cookie", guard.set_cookie(guard.COOKIE, cookie, https=https))
        answer.headers.append("set-cookie", guard.set_cookie(guard.BEFORE, "", https=https, seconds=0))
        return answer

    def _sign_in_form(self, where: str, error: str, https: bool, status: int = 200) -> Response:
        csrf = guard.token()
        answer = self._html(self.render.sign_in(csrf, where, error), status)
        answer.headers.append("set-cookie", guard.set_cookie(guard.BEFORE, csrf, https=https, seconds=3600))
        return answer

    async def sign_out(self, request: Request) -> Response:
        session, form = await self.session(request), await _form(request)
        if session is not None and guard.same(form.get("csrf", ""), session.csrf):
            await self.run(lambda: guard.sign_out(self.db, request.cookies.get(guard.COOKIE, "")))
        answer = RedirectResponse("/ui/sign-in", 303)
        answer.headers.append("set-cookie", guard.set_cookie(guard.COOKIE, "", https=False, seconds=0))
        return answer

    # --- the rest

    async def stream(self, request: Request) -> Response:
        """Burn now, as server-sent events: the fragment whenever it changed."""
        if await self.session(request) is None:
            return Response("sign in first", 401)

        async def allowed() -> bool:
            return await self.session(request) is not None

        return StreamingResponse(
            self.live.events(allowed), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    def _fragment(self) -> str:
        nobody = Session(key_id="", name="", role="viewer", csrf="")
        ask = Ask(db=self.db, now=guard.clock(), session=nobody, options=self.options, memo=self.memo, span="1h")
        return self.render.fragment("burn_live.html", burn_now.build(ask), ask)

    async def file(self, request: Request) -> Response:
        found = self.static.get(request.path_params["name"])
        if found is None:
            return Response("no such file", 404)
        body, kind, tag = found
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Response(status_code=304)
        headers = {"cache-control": "public, max-age=31536000, immutable", "etag": f'"{tag}"'}
        return Response(body, media_type=kind, headers=headers)

    def _html(self, text: str, status: int = 200) -> Response:
        return Response(text, status, {"cache-control": "no-store"}, "text/html")


def application(options: Options) -> Callable[..., Awaitable[None]]:
    """The ASGI application. Raises SettingsError when the database can't be opened."""
    site = Site(options)
    routes = [
        Route("/health", _health),
        Route("/ui/sign-in", site.sign_in, methods=["GET", "POST"]),
        Route("/ui/sign-out", site.sign_out, methods=["POST"]),
        Route("/ui/live", site.stream),
        Route("/static/{name}", site.file),
        *(Route(screen.path, site.screen(screen)) for screen in SCREENS),
        *(Route(path, site.change(change), methods=["POST"]) for path, change in CHANGES.items()),
    ]
    return _with_headers(Starlette(routes=routes, exception_handlers={404: site_not_found}))


async def site_not_found(_request: Request, _error: Exception) -> Response:
    return Response("There is no such page. The dashboard begins at /", 404, media_type="text/plain")


async def _health(_request: Request) -> Response:
    return Response("ok")


def _with_headers(inner: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    extra = [(name.encode(), value.encode()) for name, value in guard.HEADERS.items()]

    async def wrapped(scope: dict[str, object], receive: object, send: Callable[..., Awaitable[None]]) -> None:
        async def sending(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*_pairs(message["headers"]), *extra]}
            await send(message)

        await inner(scope, receive, sending)

    return wrapped


def _pairs(headers: object) -> list[tuple[bytes, bytes]]:
    return list(headers) if isinstance(headers, list | tuple) else []


async def _form(request: Request) -> dict[str, str]:
    """A form's fields; {} for one that is too large or is none."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def _own_path(where: str) -> str:
    """A place of this site to go on to; never another host."""
    return where if where.startswith("/") and not where.startswith(("//", "/\\")) and where.isprintable() else "/"


def _csv(page: Page, name: str) -> Response:
    found = page.tables.get(name) or (page.figures[name].table if name in page.figures else None)
    if found is None:
        return Response("no such table", 404)
    headers = {"content-disposition": f'attachment; filename="jevons-{found.id}.csv"', "cache-control": "no-store"}
    return Response(as_csv(found), 200, headers, "text/csv")


def _static() -> dict[str, tuple[bytes, str, str]]:
    """Our few files in memory: name -> (bytes, type, hash)."""
    found = {}
    for file in files("jevons.web").joinpath("static").iterdir():
        kind = TYPES.get(file.name[file.name.rfind(".") :])
        if kind:
            body = file.read_bytes()
            found[file.name] = (body, kind, hashlib.sha256(body).hexdigest()[:12])
    return found
