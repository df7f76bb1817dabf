"""Practice: the guides walked without any tenant, against the sandbox, in the notebook's own process.

A small console page on loopback stands for the provider's: it shows the application's ids and secret, lets a person
mend the redirect address, and change how the account behaves. It keeps no secret in the notebook, as the real one does
not. Ports and people are kept in the workspace's ``practice`` folder, so a restarted kernel goes on where it was.
"""

from __future__ import annotations

import html
import json
import secrets as randomness
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..guides.checks import Services
from ..guides.service import PRACTICE, Guided, try_server
from ..model.setup import Server
from ..oauth.doctor import Reading
from ..oauth.redirects import redirect_uri
from ..oauth.tokens import TokenService
from ..ops import Ops
from ..smtp import SmtpTransport
from ..testing.identity_pages import click_through
from ..testing.identity_provider import Client, Scenario
from ..testing.sandbox import Sandbox

GUIDE_OF = {"outlook": "azure", "gmail": "google"}
_STYLE = "font-family:system-ui,sans-serif;max-width:46em;margin:2em auto;line-height:1.5"


class Practice:
    """The world of one guide. ``registered`` is the redirect address the console starts with (default: the right one);
    ``scenario`` how the mailbox behaves."""

    def __init__(
        self,
        ops: Ops,
        vendor: str,
        mailbox: str,
        *,
        registered: str = "",
        scenario: Scenario | str = Scenario.HEALTHY,
    ) -> None:
        self.ops, self.vendor, self.mailbox = ops, vendor, mailbox.lower()
        self.folder = ops.workspace.path / "practice" / vendor
        self.sandbox = Sandbox(self.folder, clock=ops.clock, keep=True)
        kept = self._kept()
        self.base_url = f"http://localhost:{kept['port']}"
        self.redirect_uri = redirect_uri(vendor, self.base_url)
        idp = self.sandbox.idp
        if idp.person(self.mailbox) is None:
            idp.add_person(self.mailbox, vendor, scenario)
        found = idp.client(kept.get("client_id", ""))
        if found is None:
            first = registered.replace("{redirect_uri}", self.redirect_uri) or self.redirect_uri
            found = idp.add_client(vendor, "web", first)
            self._keep({**kept, "client_id": found.client_id})
        self.client_id = found.client_id
        self._console = _Console(self)

    def __enter__(self) -> Practice:
        self.sandbox.__enter__()
        self._console.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._console.close()
        self.sandbox.__exit__(kind, error, tb)

    # --- what the guide is given --------------------------------------------------------------------------------------

    @property
    def console_url(self) -> str:
        """The console page."""
        return self._console.url

    @property
    def client(self) -> Client:
        """The application as it is registered now."""
        found = self.sandbox.idp.client(self.client_id)
        assert found is not None
        return found

    def services(self) -> Services:
        """The guide's services, with the sandbox in the provider's place."""
        tokens = TokenService(self.ops.secrets, clock=self.ops.clock, http=self.sandbox.idp.session)
        server = self.sandbox.server(self.mailbox)
        # keys of its own: practice with a real address must not touch what is kept for that address
        key = f"practice-{self.vendor}"
        return Services(
            tokens=tokens,
            test=lambda one: self._try(one, tokens),
            setup=lambda: self.ops.setup,
            overrides={**self.sandbox.idp.overrides(self.vendor), "key": key},
            server_overrides={"key": key, "host": server.host, "port": server.port, "ca_file": server.ca_file},
            reading=Reading(self.sandbox.hosts()["imap"], "imap"),
        )

    def _try(self, server: Server, tokens: TokenService) -> Any:
        return try_server(self.ops, server, SmtpTransport(self.ops.secrets, self.ops.clock, tokens))

    def guided(self) -> Guided:
        """The guide for this mailbox, in practice."""
        name = GUIDE_OF[self.vendor]
        subject = PRACTICE + self.mailbox
        return Guided.open(self.ops, name, subject, services=self.services(), base_url=self.base_url)

    # --- what the console does ----------------------------------------------------------------------------------------

    def register(self, uri: str) -> None:
        """Register one redirect address in place of what was there."""
        self.sandbox.idp.save_client(replace(self.client, redirect_uris=(uri.strip(),)))

    def behave(self, scenario: Scenario | str) -> None:
        """Let the account behave otherwise."""
        self.sandbox.idp.add_person(self.mailbox, self.vendor, scenario)

    def click(self, address: str) -> str:
        """What a person does at the sign-in pages: the address the browser is sent back to."""
        return click_through(self.sandbox.idp, address, self.mailbox)

    def _kept(self) -> dict[str, Any]:
        path = self.folder / "practice.json"
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return kept
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            kept = {"port": probe.getsockname()[1]}
        self._keep(kept)
        return kept

    def _keep(self, kept: dict[str, Any]) -> None:
        (self.folder / "practice.json").write_text(json.dumps(kept), "utf-8")


def walk(practice: Practice) -> list[str]:
    """Walk the guide from its first card to the last as a person would; a line for each step."""
    guided, lines = practice.guided(), []
    given = answers(practice)
    for step in guided.run.guide.steps:
        view = guided.run.step(step.id)
        if view.state.value == "skipped":
            continue
        if step.check == "connect":
            opened = guided.begin()
            guided.came_back(practice.click(opened.address))
        else:
            wanted = {i.input.name for i in view.inputs}
            guided.submit(step.id, {n: v for n, v in given.items() if n in wanted and v})
        done = guided.run.step(step.id)
        lines.append(f"{done.state.icon} {done.title}" + (f": {done.note}" if step.check and done.note else ""))
    return lines


def answers(practice: Practice) -> dict[str, Any]:
    """What a person answers in practice, by input name."""
    personal = "custom" if practice.vendor == "outlook" else "personal"
    return {
        "account_kind": personal,
        "mailbox": practice.mailbox,
        "user_type": "external",
        "base_url": practice.base_url,
        "client_id": practice.client_id,
        "client_secret": practice.client.secret,
        "secret_ends": f"{practice.ops.clock.now().year + 1}-06-30" if practice.vendor == "outlook" else "",
    }


class _Console:
    """The page of the application's registration, on loopback, behind a path nobody can guess."""

    def __init__(self, practice: Practice) -> None:
        self.practice = practice
        self._path = "/" + randomness.token_urlsafe(16)
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}" if self._server else ""

    def start(self) -> None:
        console = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                self._show(console.page() if self._ours() else None)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not self._ours() or not length.isdigit() or int(length) > 8192:
                    self._show(None)
                    return
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace")).items()}
                self._show(console.page(console.change(form)))

            def _ours(self) -> bool:
                host = self.headers.get("Host", "").rsplit(":", 1)[0]
                return host == "127.0.0.1" and urlsplit(self.path).path == console._path

            def _show(self, page: str | None) -> None:
                data = (page or "Not found").encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """The page shows a secret of the practice: nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="practice", daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def change(self, form: dict[str, str]) -> str:
        """Carry a form out; what was done."""
        if form.get("redirect_uri"):
            self.practice.register(form["redirect_uri"])
            return "Redirect address saved."
        if form.get("scenario") in [s.value for s in Scenario]:
            self.practice.behave(form["scenario"])
            return "The account behaves so from now on."
        return "Nothing was changed."

    def page(self, said: str = "") -> str:
        """The registration as HTML."""
        client, esc = self.practice.client, html.escape
        person = self.practice.sandbox.idp.person(self.practice.mailbox)
        rows = [("Client ID", client.client_id)]
        if client.vendor == "outlook":
            rows += [("Secret ID", client.secret_id), ("Value", client.secret)]
        else:
            rows += [("Client Secret", client.secret)]
        table = "".join(f"<dt>{esc(k)}</dt><dd><code>{esc(v)}</code></dd>" for k, v in rows)
        options = "".join(
            f"<option{' selected' if person and person.scenario is s else ''}>{esc(s.value)}</option>" for s in Scenario
        )
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Practice console</title>'
            f'<body style="{_STYLE}">'
            f"<h1>Practice console</h1><p>Stands for the provider's console; nothing here is real.</p>"
            f'<p role="status">{esc(said)}</p><dl>{table}</dl>'
            '<form method="post"><label>Redirect URI <input name="redirect_uri" size="60" '
            f'value="{esc(client.redirect_uris[0])}"></label> <button>Save redirect URI</button></form>'
            f'<form method="post"><label>{esc(self.practice.mailbox)} behaves as <select name="scenario">{options}'
            "</select></label> <button>Save behaviour</button></form></body></html>"
        )
