"""The sign-in pages of the sandbox's identity provider, for a person or a browser test; loopback only.

Pick an account, see the permissions, accept or cancel; type a device code; and the vendors' error pages. The same pages
answer :func:`click_through`, a browser in one function, for tests and the demo.
"""

from __future__ import annotations

import html
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .identity_provider import IdentityProvider, Refused

_STYLE = (
    "body{font-family:sans-serif;background:#f3f3f3}main{background:#fff;max-width:26em;margin:3em auto;padding:2em;"
    "border:1px solid #ccc}button{font-size:1em;padding:.5em 1em;margin:.3em .3em .3em 0}li{margin:.3em 0}"
    "code{word-break:break-all}.note{color:#555;font-size:.85em}"
)
_NAMES = {"outlook": "Microsoft", "gmail": "Google"}
_ACCEPT = {"outlook": "Yes", "gmail": "Continue"}


class Page(Exception):
    """A page instead of a redirect."""

    def __init__(self, status: int, title: str, body: str) -> None:
        super().__init__(title)
        self.status, self.title, self.body = status, title, body


class Pages:
    """The HTTP server of the pages; ``url`` is known after :meth:`start`."""

    def __init__(self, provider: IdentityProvider) -> None:
        self.provider = provider
        pages = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "0")
                body = self.rfile.read(min(int(length) if length.isdigit() else 0, 65_536))
                self._answer(dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))

            def _answer(self, form: dict[str, str]) -> None:
                try:
                    where = respond(pages.provider, self.path, form)
                    self.send_response(302)
                    self.send_header("Location", where)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except Page as page:
                    content = render(page).encode()
                    self.send_response(page.status)
                    self.send_header("Content-Type", "text/html; charset=utf-8")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Addresses hold codes: nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="identity-pages", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def render(page: Page) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(page.title)}</title>'
        f"<style>{_STYLE}</style><main><p class=note>mailops sandbox: nothing here reaches a real provider.</p>"
        f"<h1>{html.escape(page.title)}</h1>{page.body}</main>"
    )


def respond(provider: IdentityProvider, address: str, form: dict[str, str]) -> str:
    """What a request to the pages leads to: the address of a redirect, or :class:`Page` raised."""
    split = urlsplit(address)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    if split.path == "/device":
        return _device(provider, form)
    if split.path.startswith("/microsoft/") and split.path.endswith("/oauth2/v2.0/authorize"):
        return _authorize(provider, "outlook", query, form)
    if split.path == "/google/o/oauth2/v2/auth":
        return _authorize(provider, "gmail", query, form)
    raise Page(404, "Not found", "<p>There is nothing at this address.</p>")


def _authorize(provider: IdentityProvider, vendor: str, query: dict[str, str], form: dict[str, str]) -> str:
    try:
        provider.check_authorize(query, vendor)
    except Refused as refused:
        raise _error_page(vendor, refused, query) from refused
    back, state = query["redirect_uri"], query.get("state", "")
    if not form:
        raise _pick(provider, vendor, query)
    if form.get("step") == "account":
        raise _consent(vendor, query, form.get("account", ""))
    if form.get("answer") != "accept":
        said = Refused("access_denied", "The user declined to consent to access the app.", aadsts=65004)
        return _redirect(back, state, vendor, said)
    try:
        code = provider.issue_code(query, form.get("account", ""))
    except Refused as refused:
        if refused.status == 403 and vendor == "gmail":
            raise _error_page(vendor, refused, query) from refused
        return _redirect(back, state, vendor, refused)
    return back + ("&" if "?" in back else "?") + urlencode({"code": code, "state": state})


def _redirect(back: str, state: str, vendor: str, refused: Refused) -> str:
    fields = {"error": refused.error, "state": state}
    if vendor == "outlook":
        fields["error_description"] = f"AADSTS{refused.aadsts}: {refused.said}"
    return back + ("&" if "?" in back else "?") + urlencode(fields)


def _error_page(vendor: str, refused: Refused, query: dict[str, str]) -> Page:
    if vendor == "outlook":
        text = f"AADSTS{refused.aadsts}: {refused.said}"
        return Page(
            400, "Sign in", f"<h2>Sorry, but we're having trouble signing you in.</h2><p>{html.escape(text)}</p>"
        )
    sent = html.escape(query.get("redirect_uri", ""))
    details = f"<p>Request details: <code>redirect_uri={sent}</code></p>" if "redirect" in refused.error else ""
    return Page(
        refused.status,
        "Access blocked: Authorization Error",
        f"<h2>Error {refused.status}: {html.escape(refused.error)}</h2><p>{html.escape(refused.said)}</p>{details}",
    )


def _pick(provider: IdentityProvider, vendor: str, query: dict[str, str]) -> Page:
    hint = query.get("login_hint", "").lower()
    people = sorted(provider.people(vendor), key=lambda p: (p.address != hint, p.address))
    rows = "".join(
        f'<li><button name="account" value="{html.escape(p.address)}">{html.escape(p.address)}</button></li>'
        for p in people
    )
    body = f'<form method="post"><input type="hidden" name="step" value="account"><ul>{rows}</ul></form>'
    return Page(200, "Pick an account" if vendor == "outlook" else "Choose an account", body)


def _consent(vendor: str, query: dict[str, str], account: str) -> Page:
    scopes = "".join(f"<li><code>{html.escape(s)}</code></li>" for s in query.get("scope", "").split())
    accept = _ACCEPT[vendor]
    body = (
        f"<p>{html.escape(account)}</p><ul>{scopes}</ul>"
        f'<form method="post"><input type="hidden" name="account" value="{html.escape(account)}">'
        f'<button name="answer" value="accept">{accept}</button>'
        f'<button name="answer" value="cancel">{"No" if vendor == "outlook" else "Cancel"}</button></form>'
    )
    return Page(200, f"{_NAMES[vendor]}: let this app read and send your mail?", body)


def _device(provider: IdentityProvider, form: dict[str, str]) -> str:
    if form.get("user_code") and form.get("account"):
        done = provider.approve_device(form["user_code"], form["account"] if form.get("answer") == "accept" else None)
        raise Page(200, "Done" if done else "Wrong code", "<p>You can close this window.</p>")
    people = "".join(f"<option>{html.escape(p.address)}</option>" for p in provider.people("outlook"))
    body = (
        '<form method="post"><p><label>Code <input name="user_code"></label></p>'
        f'<p><label>Account <select name="account">{people}</select></label></p>'
        '<button name="answer" value="accept">Yes</button><button name="answer" value="cancel">No</button></form>'
    )
    raise Page(200, "Enter code", body)


def click_through(provider: IdentityProvider, address: str, account: str, *, accept: bool = True) -> str:
    """What a person does at the pages, in one step: the address the browser is sent back to.

    Works with and without the loopback pages. Raises :class:`Page` where the provider shows an error page instead.
    """
    split = urlsplit(address)
    path = split.path
    if split.hostname == "login.microsoftonline.com":
        path = "/microsoft" + path
    elif split.hostname == "accounts.google.com":
        path = "/google" + path
    form = {"account": account, "answer": "accept" if accept else "cancel"}
    return respond(provider, f"{path}?{split.query}", form)
