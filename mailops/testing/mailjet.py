"""A stand-in for Mailjet on loopback: its endpoints, with keys, senders and DNS checks that can be changed.

Flags and ids come partly as texts, as the real one gives them. ``GET /`` is a small account page for a person or a
browser test: the keys, and the record to publish.
"""

from __future__ import annotations

import base64
import html
import json
import secrets as randomness
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

from .identity_provider import same_text


class MailjetServer:
    """The service, started by ``with``; ``domain`` is the one it knows records for. ``verified`` lists the addresses
    (``*@domain`` for a whole domain) it sends for; ``dkim`` and ``spf`` are what its DNS check says."""

    def __init__(self, domain: str, *, verified: tuple[str, ...] = (), dkim: str = "OK", spf: str = "OK") -> None:
        self.domain = domain
        self.key, self.secret = randomness.token_hex(16), randomness.token_hex(16)
        self.verified = list(verified)
        self.dkim, self.spf = dkim, spf
        self.token = randomness.token_hex(8)
        self.messages: list[dict[str, Any]] = []
        """What it sent, as ``/message`` gives it, each with its ``history`` and its ``status`` (a number)."""
        self.requests: list[str] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def record(self) -> tuple[str, str]:
        """Name and value of the TXT record that proves the domain."""
        return f"mailjet._{self.token[:6]}.{self.domain}", self.token

    def __enter__(self) -> MailjetServer:
        service = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                self._answer("GET", {})

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "0")
                body = self.rfile.read(int(length)) if length.isdigit() and int(length) < 65_536 else b""
                try:
                    self._answer("POST", json.loads(body or b"{}"))
                except ValueError:
                    self._answer("POST", {})

            def _answer(self, method: str, body: dict[str, Any]) -> None:
                path = self.path.partition("?")[0]
                if (method, path) == ("GET", "/"):
                    status, kind, data = 200, "text/html; charset=utf-8", service.page().encode()
                else:
                    asked = dict(parse_qsl(self.path.partition("?")[2]))
                    status, content = service.answer(method, path, body | asked, self.headers.get("Authorization", ""))
                    kind, data = "application/json", json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests hold keys: nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mailjet", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, path: str, body: dict[str, Any], auth: str) -> tuple[int, Any]:
        """One request: status and JSON."""
        self.requests.append(f"{method} {path}")
        wanted = "Basic " + base64.b64encode(f"{self.key}:{self.secret}".encode()).decode()
        if not same_text(auth, wanted):
            return 401, {"ErrorMessage": "API key authentication/authorization failure."}
        rows: list[dict[str, Any]] = []
        if (method, path) == ("GET", "/v3/REST/sender"):
            rows = [
                {"ID": str(n), "Email": one, "Status": "Active", "EmailType": "unknown", "DNSID": "7"}
                for n, one in enumerate(self.verified, start=1)
            ]
        elif (method, path) == ("POST", "/v3/REST/sender"):
            rows = [{"ID": 99, "Email": str(body.get("Email")), "Status": "Inactive", "EmailType": "bulk"}]
        elif path == "/v3/REST/message":
            fits = [m for m in self.messages if str(m["status"]) == body.get("MessageStatus")]
            first = int(body.get("Offset", 0))
            rows = [{k: v for k, v in m.items() if k not in ("status", "history")} for m in fits]
            rows = rows[first : first + int(body.get("Limit", 10))]
        elif path.startswith("/v3/REST/messagehistory/"):
            number = path.rpartition("/")[2]
            rows = next((m["history"] for m in self.messages if str(m["ID"]) == number), [])
        elif path.endswith("/check"):
            rows = [{"DKIMStatus": self.dkim, "SPFStatus": self.spf, "DKIMErrors": [], "SPFErrors": []}]
        elif path.startswith("/v3/REST/dns/"):
            name, value = self.record
            rows = [{"ID": "7", "Domain": self.domain, "OwnerShipTokenRecordName": name + ".", "OwnerShipToken": value}]
        else:
            return 404, {"ErrorMessage": "Object not found"}
        return 200, {"Count": len(rows), "Data": rows, "Total": len(rows)}

    def page(self) -> str:
        """The account page."""
        rows = (("API key", self.key), ("Secret Key", self.secret), ("Host", self.record[0]), ("Value", self.record[1]))
        told = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
        return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Practice account</title><dl>{told}</dl>'
