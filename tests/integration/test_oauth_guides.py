"""The guides walked to the end against the sandbox, Mailjet's checks against a double of its five endpoints."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from mailops.clock import SystemClock
from mailops.dns.resolver import DnsRun, Resolver
from mailops.errors import AuthError, ConfigError
from mailops.guides import GuideAnswers, GuideRun, guide
from mailops.guides.checks import Services, account_of, checks_for, server_of
from mailops.model.setup import Profile, Server, Setup
from mailops.model.verdict import VerdictState
from mailops.oauth import SignIn, TokenService
from mailops.oauth.doctor import Reading
from mailops.providers.mailjet import MailjetApi, Sender, covered
from mailops.secrets import Secret, SecretStore
from mailops.smtp import SmtpTransport, test_connection
from mailops.testing import Authority, DnsServer, SmtpServer
from mailops.testing.identity_pages import Page, click_through
from mailops.testing.sandbox import Sandbox

BASE = "https://mail.acme.com"
ANN = "ann@acme.com"


class Walk:
    """A guide over a sandbox, as the cards drive it."""

    def __init__(self, name: str, sandbox: Sandbox, engine: Engine, folder: Path) -> None:
        self.sandbox = sandbox
        self.secrets = SecretStore(folder)
        self.signin = SignIn(self.secrets, http=sandbox.idp.session)
        self.tokens = TokenService(self.secrets, http=sandbox.idp.session)
        transport = SmtpTransport(self.secrets, SystemClock(), tokens=self.tokens)
        pointing = {"host": "localhost", "port": sandbox.smtp.port, "ca_file": sandbox.ca_file}
        services = Services(
            tokens=self.tokens,
            test=lambda server: test_connection(server, transport, sender=server.login or "", recipient=ANN),
            server_overrides=pointing,
            reading=Reading(sandbox.hosts()["imap"]),
        )
        answers = GuideAnswers(engine, name, ANN, SystemClock())
        self.run = GuideRun(
            guide(name), answers, self.secrets, profile=Profile(web_base_url=BASE), checks=checks_for(services)
        )

    def to(self, last: str, given: dict[str, dict[str, Any]]) -> None:
        """Answer every step before ``last``."""
        for step in self.run.guide.steps:
            if step.id == last:
                return
            if self.run.step(step.id).state in (VerdictState.SKIPPED, VerdictState.PASSED):
                continue
            self.run.answer(step.id, given.get(step.id))
            if step.check:
                assert self.run.run_check(step.id).passed

    def press_connect(self, accept: bool = True) -> str:
        account = account_of(self.run, **self.sandbox.idp.overrides(self.run.guide.provider))
        begun = self.signin.begin(account, self.run.values()["redirect_uri"])
        return self.signin.store(self.signin.redeem(click_through(self.sandbox.idp, begun.address, ANN, accept=accept)))


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    with Sandbox(tmp_path / "sandbox") as running:
        yield running


def _ends() -> str:
    return (datetime.now(UTC) + timedelta(days=600)).date().isoformat()


@pytest.mark.req("AZ-25", "AZ-28", "AZ-29", "AZ-39")
def test_the_azure_guide_from_the_first_card_to_the_confirmed_server(
    sandbox: Sandbox, sqlite_engine: Engine, tmp_path: Path
) -> None:
    sandbox.idp.add_person(ANN)
    walk = Walk("azure", sandbox, sqlite_engine, tmp_path / "w")
    client = sandbox.idp.add_client("outlook", "web", walk.run.values()["redirect_uri"])
    given: dict[str, dict[str, Any]] = {
        "account": {"account_kind": "custom", "mailbox": ANN},
        "client_id": {"client_id": client.client_id},
        "client_secret": {"client_secret": client.secret, "secret_ends": _ends()},
    }
    walk.to("connect", given)
    assert walk.run.run_check("connect").code == "auth.not_connected"  # nothing is connected yet
    assert walk.run.step("incoming").state is VerdictState.WAITING

    sandbox.idp.save_client(replace(client, secret_expired=True))  # a planted error that the guide explains
    with pytest.raises(AuthError) as caught:
        walk.press_connect()
    assert caught.value.code == "auth.ms-7000222"
    assert [t.rows for _, t in walk.run.explain(caught.value.code)]
    assert walk.tokens.accounts.keys() == []
    sandbox.idp.save_client(client)  # mended

    restarted = Walk("azure", sandbox, sqlite_engine, tmp_path / "w")  # the kernel was restarted meanwhile
    assert restarted.press_connect() == "Outlook Token Valid"
    assert restarted.run.run_check("connect").found == "Outlook Token Valid"
    tested = restarted.run.run_check("test")
    assert (tested.state, tested.found) == (VerdictState.PASSED, "Connection Test Successful!")

    sandbox.idp.add_person(ANN, "outlook", "wrong-mailbox")
    draft = restarted.run.run_check("incoming")
    assert draft.state is VerdictState.FAILED
    assert draft.evidence["row"] == "ms-imap-connected"
    sandbox.idp.add_person(ANN, "outlook", "healthy")
    confirmed = restarted.run.run_check("incoming")
    assert confirmed.state is VerdictState.PASSED
    assert confirmed.evidence["server_state"] == "confirmed"
    assert restarted.run.run_check("first_mail").found == "A test mail went out and was found again."
    assert restarted.run.done


@pytest.mark.req("AZ-39")
def test_the_incoming_server_stays_a_draft_until_the_login_is_good(
    sandbox: Sandbox, sqlite_engine: Engine, tmp_path: Path
) -> None:
    sandbox.idp.add_person(ANN, "outlook")
    walk = Walk("azure", sandbox, sqlite_engine, tmp_path / "w")
    client = sandbox.idp.add_client("outlook", "web", walk.run.values()["redirect_uri"])
    walk.to("connect", {
        "account": {"account_kind": "custom", "mailbox": ANN},
        "client_id": {"client_id": client.client_id},
        "client_secret": {"client_secret": client.secret, "secret_ends": _ends()},
    })  # fmt: skip
    walk.press_connect()
    walk.run.run_check("connect")
    sandbox.idp.add_person(ANN, "outlook", "wrong-mailbox")
    assert walk.run.run_check("incoming").evidence["server_state"] == "draft"
    assert walk.run.step("incoming").state is VerdictState.FAILED


@pytest.mark.req("GO-26", "GO-27", "GO-31")
def test_the_google_guide_with_a_redirect_that_does_not_match(
    sandbox: Sandbox, sqlite_engine: Engine, tmp_path: Path
) -> None:
    sandbox.idp.add_person(ANN, "gmail")
    walk = Walk("google", sandbox, sqlite_engine, tmp_path / "w")
    back = walk.run.values()["redirect_uri"]
    client = sandbox.idp.add_client("gmail", "web", back + "/")  # planted: a slash too many
    walk.to("connect", {
        "account": {"account_kind": "workspace", "mailbox": ANN},
        "user_type": {"user_type": "external"},
        "client_id": {"client_id": client.client_id, "client_secret": client.secret},
    })  # fmt: skip
    with pytest.raises(Page) as shown:
        walk.press_connect()
    assert "redirect_uri_mismatch" in shown.value.body
    assert walk.run.explain(shown.value.body)[0][1].rows == ("GO-31",)
    sandbox.idp.save_client(replace(client, redirect_uris=(back,)))
    assert walk.press_connect() == "Gmail Token Valid"
    assert account_of(walk.run).testing
    assert walk.run.run_check("connect").found == "Gmail Token Valid"
    assert walk.run.run_check("test").found == "Connection Test Successful!"
    assert walk.run.run_check("first_mail").found == "A test mail went out and was found again."
    assert walk.run.done


@pytest.mark.req("AZ-25")
def test_a_server_without_username_cannot_be_connected(sandbox: Sandbox, sqlite_engine: Engine, tmp_path: Path) -> None:
    walk = Walk("azure", sandbox, sqlite_engine, tmp_path / "w")
    with pytest.raises(ConfigError, match=r"Please configure your Outlook credentials\."):
        account_of(walk.run)
    assert (
        checks_for(Services(tokens=walk.tokens))["connect"](walk.run, guide("azure").step("connect")).code
        == "guide.username"
    )


# --- Mailjet ----------------------------------------------------------------------------------------------------------


class MailjetDouble:
    """Mailjet's five endpoints on loopback; flags and ids partly as texts, as the real one gives them."""

    def __init__(self, key: str, secret: str) -> None:
        self.auth = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()
        self.senders: list[dict[str, Any]] = [
            {"ID": "1", "Email": ANN, "Status": "Active", "EmailType": "unknown", "DNSID": "7"}
        ]
        self.dkim, self.spf, self.status = "OK", "Error", 0
        self.events: list[dict[str, Any]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer("GET", {})

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self._answer("POST", json.loads(self.rfile.read(length) or b"{}"))

            def _answer(self, method: str, body: dict[str, Any]) -> None:
                status, content = double.answer(
                    method, self.path.partition("?")[0], body, self.headers.get("Authorization", "")
                )
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method: str, path: str, body: dict[str, Any], auth: str) -> tuple[int, Any]:
        if auth != self.auth:
            return 401, {"ErrorMessage": "API key authentication/authorization failure."}
        if self.status:
            return self.status, b"not json" if self.status == 200 else {"ErrorMessage": "no"}
        rows: list[dict[str, Any]] = []
        if (method, path) == ("GET", "/v3/REST/sender"):
            rows = self.senders
        elif (method, path) == ("POST", "/v3/REST/sender"):
            rows = [
                {
                    "ID": len(self.senders) + 1,
                    "Email": body["Email"],
                    "Status": "Inactive",
                    "EmailType": body["EmailType"],
                }
            ]
            self.senders += rows
        elif path.endswith("/validate"):
            return 200, {"ValidationMethod": "ActivationEmail", "GlobalError": ""}
        elif path.startswith("/v3/REST/dns/") and path.endswith("/check"):
            rows = [
                {
                    "DKIMStatus": self.dkim,
                    "SPFStatus": self.spf,
                    "SPFErrors": ["no record"],
                    "DKIMErrors": [],
                    "DKIMRecordCurrentValue": "k=rsa",
                    "SPFRecordsCurrentValues": ["v=spf1 -all"],
                }
            ]
        elif path.startswith("/v3/REST/dns/"):
            rows = [
                {
                    "ID": "7",
                    "Domain": "acme.com",
                    "OwnerShipTokenRecordName": "mailjet._1a.acme.com.",
                    "OwnerShipToken": "1a",
                    "DKIMRecordName": "mailjet._domainkey.acme.com.",
                    "DKIMRecordValue": "k=rsa; p=x",
                    "DKIMStatus": "Not checked",
                    "SPFRecordValue": "v=spf1 include:spf.mailjet.com ?all",
                    "SPFStatus": "Not checked",
                    "IsCheckInProgress": "false",
                }
            ]
        elif path == "/v3/REST/eventcallbackurl":
            self.events.append(body)
            rows = [{"ID": 5}]
        return 200, {"Count": len(rows), "Data": rows, "Total": len(rows)}  # fmt: skip


@pytest.fixture
def mailjet() -> Iterator[MailjetDouble]:
    double = MailjetDouble("a" * 32, "b" * 32)
    thread = threading.Thread(target=double.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield double
    double.server.shutdown()
    double.server.server_close()


def _mailjet_run(engine: Engine, folder: Path, services: Services, way: str = "domain") -> GuideRun:
    run = GuideRun(
        guide("mailjet"),
        GuideAnswers(engine, "mailjet", "acme.com", SystemClock()),
        SecretStore(folder),
        checks=checks_for(services),
    )
    run.answer("settings", {})
    run.answer("keys", {"api_key": "a" * 32, "secret_key": "b" * 32})
    run.answer("senders", {"sender_way": way, "domain": "acme.com", "account_address": "boss@acme.com"})
    return run


def test_the_calls(mailjet: MailjetDouble) -> None:
    with MailjetApi("a" * 32, Secret("b" * 32), base=mailjet.url) as api:
        assert api.senders() == [Sender(1, ANN, True, "unknown", 7)]
        assert api.validate(2)
        records = api.dns("acme.com")
        assert (records.id, records.ownership_name, records.checking) == (7, "mailjet._1a.acme.com", False)
        checked = api.check_dns(records.id)
        assert (checked.dkim_status, checked.spf_status, checked.spf_current) == ("OK", "Error", ("v=spf1 -all",))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "auth.mailjet-401"),
        (403, "auth.mailjet-sender"),
        (429, "auth.mailjet-429"),
        (500, "auth.mailjet"),
        (200, "auth.mailjet-answer"),
    ],
)
def test_mailjets_refusals_are_explained(mailjet: MailjetDouble, status: int, code: str) -> None:
    mailjet.status = 0 if status == 401 else status
    with (
        MailjetApi("a" * 32, Secret("wrong" if status == 401 else "b" * 32), base=mailjet.url) as api,
        pytest.raises(AuthError) as caught,
    ):
        api.senders()
    assert caught.value.code == code
    assert "b" * 32 not in json.dumps(caught.value.as_dict())


def test_mailjet_that_is_not_there() -> None:
    with MailjetApi("k", Secret("s"), base="http://127.0.0.1:9", timeout=2) as api, pytest.raises(AuthError) as caught:
        api.senders()
    assert caught.value.code == "auth.unreachable"


@pytest.mark.req("MJ-08", "MJ-09", "MJ-14")
def test_senders_are_covered_by_themselves_their_domain_or_the_account() -> None:
    senders = [Sender(1, "*@x.com", True), Sender(2, "one@z.com", True), Sender(3, "*@waiting.com", False)]
    assert covered("a@x.com", senders)
    assert not covered("b@y.com", senders)
    assert covered("ONE@z.com", senders)
    assert not covered("two@z.com", senders)
    assert not covered("a@waiting.com", senders)
    assert covered("boss@acme.com", [], account_address="Boss@acme.com")


@pytest.mark.req("MJ-08", "MJ-09", "MJ-10", "MJ-14", "MJ-19", "MJ-12", "MJ-05")
def test_the_mailjet_guides_checks(mailjet: MailjetDouble, sqlite_engine: Engine, tmp_path: Path) -> None:
    secrets = SecretStore(tmp_path)
    services = Services(mailjet=lambda key, reference: MailjetApi(key, secrets.get(reference), base=mailjet.url))
    run = _mailjet_run(sqlite_engine, tmp_path, services, way="address")
    assert run.run_check("keys").state is VerdictState.PASSED
    run.answer("addresses", {"sending_type": "mass"})
    failed = run.run_check("addresses")
    assert failed.evidence["missing"] == ["notifications@acme.com", "bounce@acme.com", "catchall@acme.com"]
    mailjet.senders.append({"ID": 2, "Email": "*@acme.com", "Status": "Active"})
    assert run.run_check("addresses").state is VerdictState.PASSED
    run.answer("senders", {"sender_way": "domain", "domain": "acme.com"})
    warning = run.run_check("authenticate")
    assert (warning.state, warning.found) == (VerdictState.WARNING, "Mailjet does not see SPF of acme.com yet.")
    mailjet.spf = "OK"
    assert run.run_check("authenticate").state is VerdictState.PASSED


@pytest.mark.req("MJ-16", "MJ-18")
def test_the_ownership_record_is_looked_up_before_the_button_is_pressed(sqlite_engine: Engine, tmp_path: Path) -> None:
    base = {"acme.com": ["SOA ns.acme.com. h.acme.com. 1 3600 600 86400 120", "NS ns.acme.com."]}
    records: dict[str, list[str]] = {"absent": [], "different": ["TXT something else"], "present": ["TXT 1a2b3c"]}
    for presence, texts in records.items():
        zone = {**base, **({"mailjet._1a.acme.com": texts} if texts else {})}
        with DnsServer(zone) as server, DnsRun(Resolver([server.address])) as dns:
            services = Services(ask_txt=lambda name, dns=dns: dns.ask(name, "TXT"))  # type: ignore[misc]  # bound now
            run = _mailjet_run(sqlite_engine, tmp_path, services)
            if run.step("add_domain").state is VerdictState.READY:
                run.answer("add_domain")
            run.answer("txt", {"dns_host": "mailjet._1a", "dns_value": "1a2b3c"})
            verdict = run.run_check("txt")
            assert verdict.evidence["presence"] == presence
            assert verdict.code == f"dns.{presence}"
            assert verdict.passed is (presence == "present")
            if presence != "present":
                assert "do not press Check Now yet" in verdict.found
                assert "seconds more" in verdict.found
                assert run.step("check_now").state is VerdictState.WAITING
            else:
                assert run.step("check_now").state is VerdictState.READY


@pytest.mark.req("MJ-23", "MJ-21")
def test_the_priority_is_above_every_other_server(sqlite_engine: Engine, tmp_path: Path) -> None:
    others = [Server("main", "Main", priority=1)]
    services = Services(setup=lambda: Setup(servers=tuple(others)))
    run = _mailjet_run(sqlite_engine, tmp_path, services)
    run.answer("server", {"priority": "1"})
    verdict = run.run_check("server")
    assert verdict.code == "guide.priority"
    assert "Main (1)" in verdict.found
    run.answer("server", {"priority": "2"})
    assert run.run_check("server").state is VerdictState.PASSED


@pytest.mark.req("MJ-24")
def test_mailjets_test_connection(sqlite_engine: Engine, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with SmtpServer(tls=authority.server_tls("starttls"), auth={"a" * 32: "b" * 32}) as smtp:
        secrets = SecretStore(tmp_path)
        transport = SmtpTransport(secrets, SystemClock())
        services = Services(
            test=lambda server: test_connection(server, transport, sender=ANN, recipient=ANN),
            server_overrides={"host": "localhost", "port": smtp.port, "ca_file": authority.ca_file},
        )
        run = _mailjet_run(sqlite_engine, tmp_path, services)
        run.answer("server", {})
        run.run_check("server")
        assert server_of(run).host == "in-v3.mailjet.com"
        assert run.run_check("test").found == "Connection Test Successful!"
