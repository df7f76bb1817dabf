"""What people on call meet: each fault that was found, from the command line, the guide or Ops, on the sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailops import Ops
from mailops.errors import MailopsError
from mailops.model.setup import AliasDomain
from mailops.oauth import Doctor, SignIn, TokenService
from mailops.oauth.account import Account, AccountStore, Connected, FlowKind
from mailops.oauth.doctor import Reading
from mailops.testing.identity_pages import Page, click_through
from mailops.testing.identity_provider import Client, Scenario
from mailops.testing.sandbox import Sandbox

ANN, BOB, INFO, SALES, GOOGLE = (f"{name}@example.com" for name in ("ann", "bob", "info", "sales", "g"))
BACK = "https://mail.example.com/back"


class OnCall:
    """A workspace whose providers are the sandbox's."""

    def __init__(self, ops: Ops, sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
        self.ops, self.sandbox, self.idp, self.patch = ops, sandbox, sandbox.idp, patch
        self.web = self.idp.add_client("outlook", "web", BACK)
        self.google = self.idp.add_client("gmail", "web", BACK)
        patch.setenv("CLIENT_SECRET", self.web.secret)
        patch.setenv("GOOGLE_SECRET", self.google.secret)
        for kind in (SignIn, TokenService):
            patch.setitem(kind.__init__.__kwdefaults__, "http", self.idp.session)
        reading, examine = Reading(sandbox.hosts()["imap"]), Doctor.examine
        patch.setattr(Doctor, "examine", lambda self, server, **o: examine(self, server, **{"reading": reading, **o}))

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit status (2 for our own errors, as the real command line gives), output, error code."""
        from mailops.cli import commands  # noqa: F401  (registers the commands)
        from mailops.cli.app import app

        done = CliRunner().invoke(app, ["-w", str(self.ops.workspace.path), *arguments], input=stdin)
        if done.exception is not None and not isinstance(done.exception, (SystemExit, MailopsError)):
            raise done.exception
        code = str(getattr(done.exception, "code", "")) if done.exception is not None else ""
        told = str(getattr(done.exception, "fix", "")) if done.exception is not None else ""
        return (
            (2 if code.partition(".")[0] in ("auth", "config", "not_found") else done.exit_code),
            done.output + told,
            code,
        )

    def connect(self, *arguments: str, as_: str, vendor: str = "outlook") -> tuple[int, str, str]:
        """``mailops connect``, where ``as_`` signs in at the provider's page."""
        command = "microsoft" if vendor == "outlook" else "google"
        begin, opened = SignIn.begin, []

        def watched(signin: SignIn, account: Account, uri: str) -> Any:
            begun = begin(signin, account, uri)
            opened.append(click_through(self.idp, begun.address, as_))
            return begun

        with self.patch.context() as patch:
            patch.setattr(SignIn, "begin", watched)
            patch.setattr("mailops.cli.connect._pasted", lambda: opened[-1])
            return self.run("connect", command, *arguments, "--redirect", BACK)

    @property
    def given(self) -> tuple[str, ...]:
        return ("--client-id", self.web.client_id, "--client-secret", "env:CLIENT_SECRET")

    def account(self, key: str) -> Account:
        found = AccountStore(self.ops.secrets.vault).find(key)
        assert found is not None, key
        return found.account

    def serve(self, login: str, **fields: object) -> None:
        self.ops.save_server(self.sandbox.server(login, **{"key": "o365", "from_filter": login, **fields}))


@pytest.fixture
def desk(sqlite_file_ops: Ops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnCall]:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    with Sandbox(tmp_path / "world") as sandbox:
        for address in (ANN, BOB):
            sandbox.idp.add_person(address, "outlook")
        sandbox.idp.add_person(GOOGLE, "gmail")
        yield OnCall(sqlite_file_ops, sandbox, monkeypatch)


# --- F1: the sender that mail really gets ----------------------------------------------------------------------------


@pytest.mark.req("OUT-30")
def test_a_domain_as_filter_at_outlook_is_said_before_the_first_mail(desk: OnCall) -> None:
    desk.connect(ANN, *desk.given, as_=ANN)
    desk.ops.save_alias_domain(AliasDomain("example.com"))
    desk.serve(ANN, from_filter="example.com", provider="outlook")
    tried = desk.ops.test_connection("o365")
    assert "bounce@example.com" in f"{tried.message} {tried.note}"
    _, text, _ = desk.run("server", "test", "o365")
    assert "bounce@example.com" in text
    _, text, _ = desk.run("explain", "send", "--from", ANN)
    assert "Send As" in text
    _, text, _ = desk.run("doctor", "connection", "o365", "--json")
    rung = next(v for v in json.loads(text) if v["check"] == "doctor.sender")
    assert rung["state"] != "passed"
    assert "bounce@example.com" in rung["found"]


def test_the_provider_follows_from_the_host(desk: OnCall) -> None:
    for host in ("smtp.office365.com", "smtp.partner.outlook.cn", "smtp.office365.us"):
        desk.run(
            "server", "add", "m", "--host", host, "--authentication", "oauth", "--login", ANN, "--filter", "example.com"
        )
        _, text, _ = desk.run("server", "check", "--json")
        assert "plan.filter_not_mailbox" in text, host


def test_the_mailbox_as_filter_is_right(desk: OnCall) -> None:
    desk.connect(ANN, *desk.given, as_=ANN)
    desk.ops.save_alias_domain(AliasDomain("example.com"))
    desk.serve(ANN)
    _, text, _ = desk.run("server", "check", "--json")
    assert "filter_not_mailbox" not in text
    status, text, _ = desk.run("doctor", "connection", "o365")
    assert (status, "may send as itself only" in text) == (0, False)


# --- F3: shared mailboxes --------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-39")
def test_a_shared_mailbox_opens_by_its_own_address(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", may_open=(INFO, SALES))
    status, text, _ = desk.connect(ANN, *desk.given, "--shared", INFO, as_=ANN)
    assert status == 0, text
    desk.serve(INFO)
    status, text, code = desk.run("doctor", "connection", "o365", "--json")
    assert status == 0, (text, code)
    mailbox = next(v for v in json.loads(text) if v["check"] == "doctor.mailbox")
    assert INFO in mailbox["found"]
    assert ANN in mailbox["found"]  # whose token it is


def test_one_member_may_open_several_shared_mailboxes(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", may_open=(INFO, SALES))
    for shared in (INFO, SALES):
        desk.connect(ANN, *desk.given, "--shared", shared, as_=ANN)
    _, text, _ = desk.run("connect", "status", "--json")
    assert {a["key"] for a in json.loads(text)["accounts"]} == {INFO, SALES}


def test_sending_as_the_member_reads_the_shared_mailbox_of_the_filter(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", may_open=(INFO,))
    desk.connect(ANN, *desk.given, "--shared", INFO, as_=ANN)
    desk.serve(ANN, from_filter=INFO)
    _, text, _ = desk.run("doctor", "connection", "o365", "--json")
    mailbox = next(v for v in json.loads(text) if v["check"] == "doctor.mailbox")
    assert (mailbox["state"], INFO in mailbox["found"]) == ("passed", True)


# --- F4: secrets of many lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["a\nb", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", '{\n "type": "x"\n}']
)
def test_a_secret_of_many_lines_is_kept_whole(desk: OnCall, value: str) -> None:
    status, text, _ = desk.run("secrets", "set", "key", stdin=value + "\n")
    assert status == 0, text
    assert desk.ops.secrets.reveal("vault:key") == value


# --- F6, F7, F20, F29, F30: connecting again -------------------------------------------------------------------------


def test_connecting_again_keeps_what_was(desk: OnCall) -> None:
    desk.connect(ANN, *desk.given, as_=ANN)
    store = AccountStore(desk.ops.secrets.vault)
    found = store.load(ANN)
    kept = replace(found.account, tenant="contoso.example", secret_ends=date(2027, 3, 1))
    store.save(Connected(kept, found.grant))
    status, text, _ = desk.connect(ANN, as_=ANN)
    assert status == 0, text
    assert (desk.account(ANN).tenant, desk.account(ANN).secret_ends) == ("contoso.example", date(2027, 3, 1))


def test_connecting_again_keeps_the_shared_mailbox(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", may_open=(INFO,))
    desk.connect(ANN, *desk.given, "--shared", INFO, as_=ANN)
    desk.connect(ANN, as_=ANN)
    mailboxes = {c.account.sasl_user for c in AccountStore(desk.ops.secrets.vault)}
    assert mailboxes == {INFO}


@pytest.mark.req("AZ-27")
def test_somebody_elses_sign_in_is_refused_where_nobody_can_be_asked(desk: OnCall) -> None:
    status, _, code = desk.connect(ANN, *desk.given, as_=BOB)
    assert (status, code) == (2, "auth.other_account")
    assert AccountStore(desk.ops.secrets.vault).find(ANN) is None


def test_another_name_of_the_same_mailbox_is_accepted_once(desk: OnCall) -> None:
    desk.idp.add_person("jdoe@corp.onmicrosoft.example", "outlook", may_open=(ANN,))
    status, _, _ = desk.connect(ANN, *desk.given, "--accept-other", as_="jdoe@corp.onmicrosoft.example")
    assert status == 0
    desk.serve(ANN)
    status, text, _ = desk.run("doctor", "connection", "o365", "--json")
    claims = next(v for v in json.loads(text) if v["check"] == "doctor.claims")
    assert (status, claims["state"]) == (0, "passed")
    assert desk.connect(ANN, as_="jdoe@corp.onmicrosoft.example")[0] == 0  # and is not asked about again


def test_another_name_in_the_token_is_no_failure_where_the_mailbox_opens(desk: OnCall) -> None:
    upn = "jdoe@corp.onmicrosoft.example"
    desk.idp.add_person(upn, "outlook", may_open=(ANN,))
    account = Account(ANN, "outlook", FlowKind.WEB, ANN, desk.web.client_id, "env:CLIENT_SECRET")
    begun = desk.ops.sign_in.begin(account, BACK)
    desk.ops.sign_in.store(desk.ops.sign_in.redeem(click_through(desk.idp, begun.address, upn)))
    desk.serve(ANN)
    status, text, _ = desk.run("doctor", "connection", "o365", "--json")
    assert status == 0, text


def test_sending_only_asks_for_sending_only(desk: OnCall) -> None:
    status, text, _ = desk.connect(ANN, *desk.given, "--send-only", as_=ANN)
    assert status == 0, text
    assert [s.rsplit("/", 1)[-1] for s in desk.account(ANN).scopes] == ["SMTP.Send"]


# --- F5: nobody signs in ---------------------------------------------------------------------------------------------


def test_the_application_connects_by_its_secret(desk: OnCall) -> None:
    arguments = ("connect", "microsoft", ANN, *desk.given, "--app-secret")
    status, _, code = desk.run(*arguments)
    assert (status, code) == (2, "auth.ms-9001023")  # without a tenant of its own
    status, text, _ = desk.run(*arguments, "--tenant", "contoso.example")
    assert status == 0, text
    assert desk.account(ANN).flow is FlowKind.APP_SECRET


@pytest.mark.parametrize("how", ["path", "reference", "relative"])
def test_the_application_connects_by_certificate(
    desk: OnCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    public, private = _pair(tmp_path)
    client = desk.idp.save_client(replace(desk.idp.add_client("outlook", "app"), certificate=public.read_text()))
    desk.run("secrets", "set", "app-key", stdin=private.read_text())
    desk.run("secrets", "set", "app-cert", stdin=public.read_text())
    monkeypatch.chdir(public.parent)
    where = {"path": str(public), "reference": "vault:app-cert", "relative": f"file:{public.name}"}[how]
    given = ("--client-id", client.client_id, "--tenant", "contoso.example", "--app-certificate", where)
    status, text, code = desk.run("connect", "microsoft", ANN, *given, "--key", "vault:app-key")
    assert status == 0, (text, code)
    status, text, _ = desk.run("calendar", "--json")
    assert [e["evidence"]["kind"] for e in json.loads(text)["ends"]] == ["certificate"]


@pytest.mark.parametrize("wrong", ["missing", "key"])
def test_a_certificate_that_is_none_says_so(desk: OnCall, tmp_path: Path, wrong: str) -> None:
    _, private = _pair(tmp_path)
    desk.run("secrets", "set", "app-key", stdin=private.read_text())
    where = str(tmp_path / "nowhere.pem") if wrong == "missing" else str(private)
    given = ("--client-id", "x", "--tenant", "contoso.example", "--app-certificate", where, "--key", "vault:app-key")
    status, text, code = desk.run("connect", "microsoft", ANN, *given)
    assert (status, code) == (2, "auth.certificate")
    assert "secrets set NAME < key.pem" in text


def _pair(folder: Path) -> tuple[Path, Path]:
    """An RSA certificate and its key, as files."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.example.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(90))
    public, private = folder / "app.pem", folder / "app.key"
    public.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*plain))
    return public, private


# --- F8, F21, F23: what a refusal means ------------------------------------------------------------------------------


def _google(desk: OnCall) -> None:
    given = ("--client-id", desk.google.client_id, "--client-secret", "env:GOOGLE_SECRET")
    status, text, _ = desk.connect(GOOGLE, *given, as_=GOOGLE, vendor="gmail")
    assert status == 0, text


@pytest.mark.parametrize(
    ("said", "row", "kind"),
    [("Bad Request", "google-refresh-ended", "reauth"), ("", "google-refresh-ended", "reauth")],
)
def test_an_ended_refresh_token_of_google_is_dead_and_asked_once(desk: OnCall, said: str, row: str, kind: str) -> None:
    from mailops.errors import AuthError
    from mailops.testing.identity_provider import Refused

    _google(desk)
    asked: list[str] = []

    def refuse(token: str, client: Client) -> dict[str, Any]:
        asked.append("refresh")
        raise Refused("invalid_grant", said)

    desk.patch.setattr(desk.idp, "redeem_refresh", refuse)
    tokens = TokenService(desk.ops.secrets, clock=desk.ops.clock)
    tokens._given[GOOGLE] = ""
    store = AccountStore(desk.ops.secrets.vault)
    held = store.load(GOOGLE)
    assert held.grant is not None
    store.save(Connected(held.account, replace(held.grant, expires_at=desk.ops.clock.now())))
    for _ in range(3):
        with pytest.raises(AuthError) as caught:
            tokens.token_for(GOOGLE)
        assert caught.value.facts["class"] == kind
        assert caught.value.code == f"auth.{row}"
    assert asked == ["refresh"]


def test_a_wrong_secret_is_asked_once_until_it_changes(desk: OnCall) -> None:
    from mailops.errors import AuthError

    desk.connect(ANN, *desk.given, as_=ANN)
    store = AccountStore(desk.ops.secrets.vault)
    held = store.load(ANN)
    assert held.grant is not None
    store.save(Connected(held.account, replace(held.grant, expires_at=desk.ops.clock.now())))
    desk.patch.setenv("CLIENT_SECRET", "wrong-wrong-wrong-wrong")
    tokens = TokenService(desk.ops.secrets, clock=desk.ops.clock)
    before = len(desk.idp.requests)
    for _ in range(3):
        with pytest.raises(AuthError, match="secret is wrong"):
            tokens.token_for(ANN)
    assert len(desk.idp.requests) - before == 1
    desk.patch.setenv("CLIENT_SECRET", desk.web.secret)
    assert tokens.token_for(ANN)


# --- F9, F10: the calendar -------------------------------------------------------------------------------------------


def test_a_dead_sign_in_is_over_in_the_calendar(desk: OnCall) -> None:
    from mailops.errors import AuthError

    desk.connect(ANN, *desk.given, as_=ANN)
    desk.idp.add_person(ANN, "outlook", Scenario.REVOKED)
    store = AccountStore(desk.ops.secrets.vault)
    held = store.load(ANN)
    assert held.grant is not None
    store.save(Connected(held.account, replace(held.grant, expires_at=desk.ops.clock.now())))
    with pytest.raises(AuthError):
        TokenService(desk.ops.secrets, clock=desk.ops.clock).token_for(ANN)
    status, text, _ = desk.run("calendar", "--json")
    assert (status, json.loads(text)["ends"][0]["state"]) == (1, "failed")


def test_ends_that_move_with_each_use_ring_in_no_calendar(desk: OnCall, tmp_path: Path) -> None:
    desk.connect(ANN, *desk.given, as_=ANN)
    desk.run("calendar", "--ics", str(tmp_path / "ends.ics"))
    assert b"BEGIN:VEVENT" not in (tmp_path / "ends.ics").read_bytes()
    _, text, _ = desk.run("calendar", "--json")
    (end,) = json.loads(text)["ends"]
    assert end["state"] == "passed"


# --- the sandbox's new scenarios -------------------------------------------------------------------------------------


def test_a_shared_mailbox_without_licence_is_sent_from_as_the_member(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", may_open=(INFO,))
    desk.idp.add_person(INFO, "outlook", Scenario.SHARED)
    desk.connect(ANN, *desk.given, "--shared", INFO, as_=ANN)
    desk.serve(INFO)
    status, text, _ = desk.run("doctor", "connection", "o365", "--json")
    rungs = {v["check"]: v for v in json.loads(text)}
    assert (status, rungs["doctor.sasl"]["code"]) == (1, "auth.ms-smtp-5.7.3")
    assert rungs["doctor.mailbox"]["state"] == "passed"
    desk.serve(ANN, from_filter=INFO)
    sent = Doctor(TokenService(desk.ops.secrets)).examine(desk.ops.setup.servers[0], sender=INFO, test_mail=True)
    assert {v.check: v.state.value for v in sent}["doctor.mail"] == "passed"


def test_an_application_without_rights_on_the_mailbox_is_found_before_and_at_the_first_mail(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", Scenario.APP_ONLY_NO_PERMISSION)
    desk.run("connect", "microsoft", ANN, *desk.given, "--app-secret", "--tenant", "contoso.example")
    desk.serve(ANN)
    status, text, _ = desk.run("doctor", "connection", "o365", "--json")
    rungs = {v["check"]: v for v in json.loads(text)}
    assert (status, rungs["doctor.mailbox"]["code"]) == (1, "auth.ms-imap-connected")
    desk.ops.save_alias_domain(AliasDomain("example.com"))
    mail = desk.ops.send(sender=ANN, to=BOB, subject="Hi", text="Hi")
    desk.patch.setattr(type(desk.ops), "tokens", property(lambda ops: TokenService(ops.secrets, clock=ops.clock)))
    desk.ops.queue.run()
    _, text, _ = desk.run("bounces", "why", str(mail), "--no-dns", "--json")
    (told,) = json.loads(text)["failures"]
    assert (told["row"], told["who"]) == ("ms-smtp-logon", "admin")


def test_the_consent_policy_lets_sending_alone_through(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", Scenario.CONSENT_POLICY)
    status, _, code = desk.connect(ANN, *desk.given, as_=ANN)
    assert (status, code) == (2, "auth.ms-90094")
    assert desk.connect(ANN, *desk.given, "--send-only", as_=ANN)[0] == 0


def test_another_upn_than_the_mailbox_is_confirmed_once(desk: OnCall) -> None:
    desk.idp.add_person(ANN, "outlook", Scenario.UPN_DIFFERS)
    assert desk.connect(ANN, *desk.given, as_=ANN)[2] == "auth.other_account"
    assert desk.connect(ANN, *desk.given, "--accept-other", as_=ANN)[0] == 0
    desk.serve(ANN)
    status, text, _ = desk.run("doctor", "connection", "o365")
    assert status == 0, text


def test_a_deleted_key_of_a_service_account_says_so(desk: OnCall, tmp_path: Path) -> None:
    public, private = _pair(tmp_path)
    client = desk.idp.save_client(
        replace(
            desk.idp.add_client("gmail", "app"), certificate=public.read_text(), delegated=("https://mail.google.com/",)
        )
    )
    key = {
        "type": "service_account", "client_email": client.client_id, "client_id": "1", "private_key": private.read_text(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    desk.run("secrets", "set", "sa", stdin=json.dumps(key, indent=1) + "\n")
    status, text, code = desk.run("connect", "google", GOOGLE, "--service-account", "vault:sa")
    assert status == 0, (text, code)
    desk.idp.add_person(GOOGLE, "gmail", Scenario.SA_KEY_DELETED)
    status, text, code = desk.run("connect", "google", GOOGLE, "--service-account", "vault:sa")
    assert (status, code) == (2, "auth.google-key-deleted")


def test_an_app_that_google_blocks_says_so(desk: OnCall) -> None:
    desk.idp.add_person(GOOGLE, "gmail", Scenario.APP_BLOCKED)
    given = ("--client-id", desk.google.client_id, "--client-secret", "env:GOOGLE_SECRET")
    with pytest.raises(Page) as shown:  # the provider's page; nobody comes back from it
        desk.connect(GOOGLE, *given, as_=GOOGLE, vendor="gmail")
    words = re.sub(r"<[^>]+>", " ", str(vars(shown.value)))
    _, text, _ = desk.run("explain", "error", words, "--provider", "google", "--protocol", "page", "--json")
    assert (json.loads(text)["row"], json.loads(text)["who"]) == ("google-app-blocked", "admin")


@pytest.mark.parametrize(("days", "row"), [(-1, None), (1, "auth.ms-smtp-5.7.30")])
def test_passwords_for_sending_end_on_their_date(tmp_path: Path, days: int, row: str | None) -> None:
    from datetime import timedelta

    from mailops.bounces.explainer import explain
    from mailops.model.setup import Authentication
    from mailops.secrets import SecretStore
    from mailops.smtp import SmtpTransport, test_connection
    from mailops.testing import ManualClock
    from mailops.testing.identity_provider import PASSWORDS_END

    clock = ManualClock(PASSWORDS_END + timedelta(days=days))
    secrets = SecretStore(tmp_path)
    secrets.vault.put("smtp", "a-password")
    with Sandbox(tmp_path / "world", clock=clock) as sandbox:
        sandbox.idp.add_person(ANN, "outlook", Scenario.BASIC_ENDS)
        server = sandbox.server(ANN, authentication=Authentication.LOGIN, password="vault:smtp")
        found = test_connection(server, SmtpTransport(secrets, clock), sender=ANN, recipient=ANN)
    assert found.ok is (row is None), found.message
    if row:
        assert f"auth.{explain(found.message).row}" == row


# --- F28, F31 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [
    "smtp.partner.outlook.cn", "smtp.office365.us", "imap-mail.outlook.com", "acme-com.mail.protection.outlook.com",
    "smtp.googlemail.com",
])  # fmt: skip
def test_the_hosts_of_other_clouds_are_known(host: str) -> None:
    from mailops.providers import provider_of_host

    found = provider_of_host(host)
    assert found is not None
    assert found.id == ("gmail" if "google" in host else "outlook")


def test_the_vault_gets_a_new_key_from_the_command_line(desk: OnCall) -> None:
    desk.run("secrets", "set", "smtp", stdin="a-word\n")
    key = desk.ops.secrets.vault.folder / "key"
    before = key.read_bytes()
    status, text, _ = desk.run("secrets", "rotate-key")
    assert status == 0, text
    assert key.read_bytes() != before
    assert desk.ops.secrets.reveal("vault:smtp") == "a-word"


# --- the calendar of truth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_the_certificates_of_own_servers_are_in_the_calendar(
    sqlite_file_ops: Ops, tmp_path: Path, encryption: str
) -> None:
    from mailops.model.setup import Encryption, Server
    from mailops.testing import Authority, SmtpServer

    authority = Authority(tmp_path / "pki")
    with SmtpServer(tls=authority.server_tls(encryption)) as smtp:
        sqlite_file_ops.save_server(Server("own", "Own", "localhost", smtp.port, Encryption(encryption)))
        (end,) = sqlite_file_ops.ends()
        assert (end.kind, end.affects, end.days(sqlite_file_ops.clock.now())) == ("server_certificate", ("own",), 0)
        assert sqlite_file_ops.ends(network=False) == []
        from mailops.cli.app import app

        arguments = ["-w", str(sqlite_file_ops.workspace.path), "calendar"]
        assert CliRunner().invoke(app, arguments).exit_code == 1
        assert CliRunner().invoke(app, [*arguments, "--no-network"]).exit_code == 0
    assert sqlite_file_ops.ends() == []  # nobody answers: nothing is known


def test_a_providers_date_names_the_servers_that_stop(desk: OnCall) -> None:
    for n, host in enumerate(("smtp.office365.com", "smtp.office365.com", "mail.example.com", "smtp.gmail.com")):
        arguments = ("--host", host, "--authentication", "login", "--login", ANN, "--password", "env:CLIENT_SECRET")
        desk.run("server", "add", f"s{n}", *arguments)
    _, text, _ = desk.run("calendar", "--no-network", "--json")
    (one,) = json.loads(text)["deadlines"]
    assert re.match(r"2 of 4 servers stop(ped)? on 2027-01-01: s0, s1\.", one["message"])
    assert "mailops connect guide azure" in one["fix"]
