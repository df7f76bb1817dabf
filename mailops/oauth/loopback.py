"""The callback listener: a socket on loopback that lives while one sign-in is under way, and answers once.

It takes GET (``response_mode=query``) and POST (``form_post``), on one path, for one state, which is compared in
constant time; anything else gets 404 or 400 and the wait goes on, so no other page on the machine can end the sign-in.
The Host header must be loopback's (DNS rebinding). The redirect address says ``localhost`` for Microsoft, which allows
any port there; the socket itself binds 127.0.0.1 (and ::1 where there is one).
"""

from __future__ import annotations

import html
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import AuthError
from ..secrets import register
from .flow import same

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>mailops</title>
<body style="font-family:sans-serif;max-width:32em;margin:4em auto"><h1>{title}</h1><p>{text}</p></body></html>"""
MAX_BODY = 65_536


class CallbackListener:
    """Waits for one redirect. Use it in a ``with`` statement; ``redirect_uri`` is known from then on."""

    def __init__(self, *, host: str = "localhost", path: str = "/", port: int = 0) -> None:
        self.host = host
        self.path = path
        self._port = port
        self._state: str | None = None
        self._answer: dict[str, str] | None = None
        self._came = threading.Event()
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []

    def __enter__(self) -> CallbackListener:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "mailops", ""
            timeout = 10

            def do_GET(self) -> None:
                split = urlsplit(self.path)
                self._take(split.path, split.query)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > MAX_BODY:
                    self._say(413, "Too large", "This is not the answer of a sign-in.")
                    return
                body = self.rfile.read(int(length)).decode("utf-8", "replace")
                self._take(urlsplit(self.path).path, body)

            def _take(self, path: str, query: str) -> None:
                status, title, text = listener._judge(self.headers.get("Host", ""), path, query)
                self._say(status, title, text)
                if status == 200:
                    listener._came.set()

            def _say(self, status: int, title: str, text: str) -> None:
                page = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
                self.send_response(status)
                for name, value in (
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Length", str(len(page))),
                    ("Cache-Control", "no-store"),
                    ("Referrer-Policy", "no-referrer"),
                    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
                    ("Connection", "close"),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests hold codes: nothing is logged."""

        class Server6(ThreadingHTTPServer):
            address_family = socket.AF_INET6

        first = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._servers.append(first)
        try:  # browsers may take ::1 for localhost; where there is no IPv6 they cannot
            self._servers.append(Server6(("::1", first.server_address[1]), Handler))
        except OSError:
            pass
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), name="oauth-callback", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()

    @property
    def port(self) -> int:
        return int(self._servers[0].server_address[1])

    @property
    def redirect_uri(self) -> str:
        """The address to send along; Microsoft and Google ignore the port of a registered loopback address."""
        return f"http://{self.host}:{self.port}{self.path.rstrip('/')}"

    def expect(self, state: str) -> None:
        """Take answers for this state only. Until it is called, none is taken."""
        self._state = state

    def wait(self, seconds: float) -> dict[str, str]:
        """The parameters of the redirect. Raises :class:`AuthError` ``auth.no_answer`` when none came in time."""
        if not self._came.wait(seconds) or self._answer is None:
            raise AuthError(
                "No answer came back from the sign-in page.",
                code="auth.no_answer",
                facts={"waited_seconds": seconds, "redirect_uri": self.redirect_uri},
                fix="Start again. If browser and mailops run on different machines, choose to paste the address back.",
            )
        return self._answer

    def _judge(self, host: str, path: str, query: str) -> tuple[int, str, str]:
        name = host.rsplit(":", 1)[0].strip("[]").lower()
        if name not in ("localhost", "127.0.0.1", "::1"):
            return 400, "Not here", "This address answers for loopback only."
        if path != self.path:
            return 404, "Not found", "There is nothing here."
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=30)
        except ValueError:
            return 400, "Not understood", "This is not the answer of a sign-in."
        fields = dict(pairs)
        if len(fields) != len(pairs) or not ("code" in fields or "error" in fields):
            return 400, "Not understood", "This is not the answer of a sign-in."
        if self._state is None or not same(self._state, fields.get("state", "")):
            return 400, "Not this sign-in", "This answer belongs to another sign-in. Start again from mailops."
        with self._lock:
            if self._answer is not None:
                return 409, "Already done", "This sign-in has had its answer. You can close this window."
            self._answer = fields
        if "code" in fields:
            register(fields["code"])
            return 200, "Signed in", "mailops has the answer. You can close this window and go back."
        return 200, "Not signed in", "The provider refused or the sign-in was cancelled. mailops tells you more."
