"""The app's addresses below ``/mailops/`` of a Jupyter Server, and who may open them.

Who holds the server's own token may open everything. Who holds the *look* token may open what this room serves: pages
that read. A page is made in a thread, from one open workspace, so that a slow store holds up no kernel's messages.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from markupsafe import Markup

from ..errors import MailopsError, NotFound
from ..jobs.catalogue import available
from ..page.blocks import Banner, Block, Link, Page, Paragraph, Raw, Title
from ..secrets import redact
from . import hands, pages
from .language import chosen, speaking
from .shell import framed

if TYPE_CHECKING:
    from ..ops import Ops

LOOK = "MAILOPS_APP_LOOK"
"""The environment variable with the look token."""
READ_ONLY = "MAILOPS_APP_READ_ONLY"
COOKIE = "mailops-look"
LIVE = frozenset({"home", "queue", "status"})


class Opened:
    """The workspace of the server: opened when it is first wanted, and again after it could not be."""

    def __init__(self) -> None:
        self._ops: Ops | None = None
        self._guard = threading.Lock()

    def get(self) -> Ops:
        from ..ops import Ops

        with self._guard:
            if self._ops is None:
                self._ops = Ops.open()
            return self._ops


class Look(JupyterHandler):
    """A page that reads."""

    def initialize(self, opened: Opened) -> None:
        self.opened = opened

    async def prepare(self, **more: Any) -> Any:
        given = self.get_query_argument("look", "") or (self.get_signed_cookie(COOKIE, max_age_days=1) or b"").decode()
        wanted = os.environ.get(LOOK, "")
        self._looks = bool(wanted) and hmac.compare_digest(given, wanted)
        if self._looks and self.get_query_argument("look", ""):
            self.set_signed_cookie(COOKIE, wanted, expires_days=1, httponly=True, samesite="Strict", path=self.base_url)
        return await super().prepare(**more)

    @property
    def may_act(self) -> bool:
        """Whether this reader may open what acts."""
        return bool(self.current_user) and not os.environ.get(READ_ONLY)

    async def get(self, *words: str) -> None:
        if not (self.current_user or self._looks):
            self.set_status(403)
            page = Page("Not open to you", (
                Title("This page needs its token"),
                Banner("failed", "✗", "Open the address that mailops app printed; it carries the token."),
            ))  # fmt: skip
            self.finish(framed(page, root=self.root, here=self.request.path, workspace="", may_act=False))
            return
        query = {name: values[-1].decode("utf-8", "replace") for name, values in self.request.query_arguments.items()}
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(None, partial(self._made, words, query))
        status, body = shown
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Accept-Language, Cookie")
        self.set_header("Referrer-Policy", "same-origin")
        self.finish(body)

    def _made(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        with speaking(chosen(self.request.headers.get("Accept-Language", ""))):
            try:
                return self.make(words, query)
            except MailopsError as error:
                page = pages.trouble(error)
                return page.status, self.shell(page)

    @property
    def root(self) -> str:
        return str(url_path_join(self.base_url, "mailops/"))

    def shell(self, page: Page, **more: Any) -> str:
        """The page in its frame."""
        try:
            name = self.opened.get().workspace.path.name
        except MailopsError:
            name = "no workspace"
        return framed(page, root=self.root, here=self.request.path, workspace=name, may_act=self.may_act, **more)

    def make(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        name = words[0] if words and words[0] else "home"
        if name == "files":  # who may not hand in is not shown how
            page = pages.files(self.opened.get(), query, may_act=self.may_act)
        else:
            page = pages.READS[name](self.opened.get(), query)
        return page.status, self.shell(page, live=name in LIVE)


class OneMail(Look):
    """A mail."""

    def make(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        return 200, self.shell(pages.mail(self.opened.get(), words[0]))


class Report(Look):
    """A report of a run in the app's frame, or the report itself."""

    def make(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        run_id, raw = words
        path = pages.report(self.opened.get(), run_id)
        if raw:
            return 200, path.read_text("utf-8")
        page = Page(f"Report {run_id}", (Title(f"Report of run {run_id}"),), "verdicts")
        ways = [("Back to the last verdicts", "verdicts"), ("Home", "home")]
        return 200, self.shell(page, frame=f"report/{run_id}/file", ways=ways)


class Notebook(Look):
    """A notebook's page for who may only look: what it answers, and that it acts. :mod:`acting` draws it for others."""

    def initialize(self, opened: Opened, **_: Any) -> None:
        super().initialize(opened)

    def make(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        info = next((one for one in available() if one.name == words[0]), None)
        if info is None:
            raise NotFound(f"There is no page {words[0][:60]!r}.", code="run.notebook_not_found", fix="Look at home.")
        told = Banner("skipped", "–", "This page acts, and you may look.", "Ask for the address with the act token.")
        blocks: list[Block] = [Title(info.title, info.question), told, Paragraph((Link("Home", "home"),))]
        return 200, self.shell(Page(info.title, tuple(blocks)), ways=pages.beside(info.name))

    def hop(self, name: str) -> str:
        """What is shown until the browser has told its theme."""
        title = next(one.title for one in available() if one.name == name)
        told = Banner("checking", "…", "One moment", "This page needs scripts, and a cookie for the theme.")
        return self.shell(Page(title, (Title(title), told)), hop=True, ways=pages.beside(name))


class Away(Look):
    """A file to take away. What asks DNS, and keeps what it heard, is for who may act."""

    async def get(self, *words: str) -> None:
        name, form = words
        if not (self.current_user or self._looks) or (name == "records" and not self.may_act):
            self.set_status(403)
            self.finish("This file is not open to you.")
            return
        query = {key: values[-1].decode("utf-8", "replace") for key, values in self.request.query_arguments.items()}
        loop = asyncio.get_running_loop()
        try:
            body = await loop.run_in_executor(None, partial(self._bytes, name, form, query))
        except MailopsError as error:
            page = pages.trouble(error)
            self.set_status(page.status)
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(self.shell(page))
            return
        self.set_header("Content-Type", hands.TYPES[form])
        self.set_header("Content-Disposition", f'attachment; filename="{name}.{form}"')
        self.set_header("Cache-Control", "no-store")
        self.finish(body)

    def _bytes(self, name: str, form: str, query: Mapping[str, str]) -> bytes:
        ops = self.opened.get()
        return hands.given_away(ops, name, form, query, pages.chosen(ops, query)[0])


class Hand(Look):
    """A piece of a file that a person hands in: ``POST hand/KIND?name=&size=&at=`` with the bytes as body."""

    async def post(self, *words: str) -> None:
        if not self.may_act:
            self.set_status(403)
            self.finish({"message": "Handing in is for who may act.", "fix": "Ask for the address with the act token."})
            return
        name = self.get_query_argument("name", "")
        numbers = [self.get_query_argument(one, "") for one in ("size", "at")]
        size, at = (int(one) if one.isdecimal() and len(one) < 16 else -1 for one in numbers)
        loop = asyncio.get_running_loop()
        status, answer = await loop.run_in_executor(
            None, partial(self._taken, words[0], name, size, at, self.request.body)
        )
        self.set_status(status)
        self.finish(answer)

    def _taken(self, kind: str, name: str, size: int, at: int, piece: bytes) -> tuple[int, dict[str, Any]]:
        try:
            ops = self.opened.get()
            handed = hands.take(ops.workspace.path, kind, name, size=size, at=at, piece=piece)
            if handed.path is None:
                return 200, {"at": handed.at}
            return 200, {"at": handed.at, "name": handed.path.name, "said": hands.look(ops, kind, handed.path)}
        except MailopsError as error:
            status = 409 if error.code == "upload.order" else 400
            where = {"at": error.facts["at"]} if error.code == "upload.order" else {}
            return status, {"message": redact(error.message), "fix": redact(error.fix), "code": error.code, **where}


class Document(Look):
    """A page of the documentation."""

    def make(self, words: tuple[str, ...], query: Mapping[str, str]) -> tuple[int, str]:
        known = pages.documents()
        name = words[0].removesuffix(".md") or "index"
        if name not in known:
            raise NotFound(f"There is no page {name[:60]!r} here.", code="docs.not_found", fix="Begin at docs/index.")
        body = document(known[name], name, known)
        lines = known[name].read_text("utf-8").splitlines()
        title = next((line.removeprefix("# ").strip() for line in lines if line.startswith("# ")), name)
        return 200, self.shell(Page(title, (Raw(body, title),), "docs"), ways=[("All pages", "docs/index")])


def document(path: Path, name: str, known: Mapping[str, Path]) -> Markup:
    """A page of the documentation as HTML; its links to other pages lead to them in the app."""
    import re

    import mistune
    import nh3

    made = str(mistune.create_markdown(plugins=["table", "strikethrough"])(path.read_text("utf-8")))
    folder = Path(name).parent

    def led(found: re.Match[str]) -> str:
        target, _, part = found[1].partition("#")
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        inside = os.path.normpath(folder / target).removesuffix(".md") if target else name
        if inside in known:
            return f'href="docs/{inside}{f"#{part}" if part else ""}"'
        return 'data-elsewhere="1"'

    tags = nh3.ALLOWED_TAGS | {"h1", "h2", "h3", "h4", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    safe = nh3.clean(re.sub(r'href="([^"]*)"', led, made), tags=tags, link_rel="noopener noreferrer")
    return Markup(safe)  # noqa: S704 (our own files, cleaned)


def install(web_app: Any, acting: tuple[type[Any], Mapping[str, Any]] = (Notebook, {})) -> None:
    """Add the app's addresses to a Jupyter Server; ``acting`` draws the notebooks' pages, and what it is made of."""
    opened = Opened()
    base = web_app.settings["base_url"]

    def at(pattern: str, handler: Callable[..., Any], **more: Any) -> tuple[str, Any, dict[str, Any]]:
        return (url_path_join(base, "mailops", pattern), handler, {"opened": opened, **more})

    reads = "|".join([*pages.READS, "files"])
    web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, "mailops") + "/?", Look, {"opened": opened}),
            at(f"({reads})", Look),
            at(r"mail/(\d{1,18})", OneMail),
            at(r"report/([\w.-]{1,80})(/file)?", Report),
            at(r"page/(\w{1,60})(?:\.ipynb)?", acting[0], **acting[1]),
            at(r"docs/([\w./-]{0,120})", Document),
            at(r"away/([a-z]{1,20})\.([a-z]{1,8})", Away),
            at(r"hand/([a-z]{1,20})", Hand),
        ],
    )
