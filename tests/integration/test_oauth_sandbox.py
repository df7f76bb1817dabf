"""The sandbox end to end: connect by the pages, send, read, and the doctor's ladder for every scenario."""

from __future__ import annotations

import imaplib
import poplib
import re
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from imapclient import IMAPClient

from mailops.clock import SystemClock
from mailops.errors import AuthError
from mailops.model.setup import Server
from mailops.model.verdict import Verdict, VerdictState
from mailops.oauth import Account, Doctor, FlowKind, SignIn, TokenService, imap_sign_in, pop_sign_in
from mailops.oauth.doctor import RUNGS, Reading
from mailops.oauth.redirects import redirect_uri
from mailops.ports import Outbound
from mailops.providers import Host
from mailops.secrets import SecretStore
from mailops.smtp import SmtpTransport
from mailops.testing.identity_pages import click_through
from mailops.testing.identity_provider import Scenario
from mailops.testing.sandbox import Sandbox

ANN, SHARED, GOOGLE = "ann@example.com", "info@example.com", "g@example.com"
BASE = "https://mail.acme.example"


class World:
    """A sandbox, a workspace, and connected mailboxes in it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.secrets = SecretStore(folder)
        self.signin = SignIn(self.secrets, http=sandbox.idp.session)
        self.tokens = TokenService(self.secrets, http=sandbox.idp.session)
        self.clients = {
            vendor: sandbox.idp.add_client(vendor, "web", redirect_uri(vendor, BASE)) for vendor in ("outlook", "gmail")
        }
        for vendor, client in self.clients.items():
            self.secrets.vault.put(f"{vendor}-secret", client.secret)

    def account(self, user: str, vendor: str = "outlook", **fields: object) -> Account:
        values: dict[str, object] = {
            "key": user,
            "client_id": self.clients[vendor].client_id,
            "client_secret": f"vault:{vendor}-secret",
            "pop": True,
            **self.sandbox.idp.overrides(vendor),
            **fields,
        }
        return Account(provider=vendor, flow=FlowKind.WEB, user=user, **values)  # type: ignore[arg-type]  # a bag

    def connect(self, user: str, vendor: str = "outlook", scenario: str = "healthy", **fields: object) -> None:
        self.sandbox.idp.add_person(user, vendor, may_open=(SHARED,))
        account = self.account(user, vendor, **fields)
        begun = self.signin.begin(account, redirect_uri(vendor, BASE))
        self.signin.store(self.signin.redeem(click_through(self.sandbox.idp, begun.address, user)))
        self.sandbox.idp.add_person(user, vendor, scenario, may_open=(SHARED,))

    def doctor(
        self, server: Server, *, wait: float = 5.0, protocol: str = "imap", **options: object
    ) -> dict[str, Verdict]:
        reading = Reading(self.sandbox.hosts()[protocol], protocol)
        doctor = Doctor(self.tokens, timeout=5, wait=wait)
        verdicts = doctor.examine(server, reading=reading, **options)  # type: ignore[arg-type]
        assert [v.check for v in verdicts] == [f"doctor.{rung}" for rung in RUNGS]
        return {v.check.removeprefix("doctor."): v for v in verdicts}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield World(sandbox, tmp_path / "workspace")


# --- the doctor -------------------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-29", "GO-27")
@pytest.mark.parametrize(("user", "vendor"), [(ANN, "outlook"), (GOOGLE, "gmail")])
@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_a_healthy_mailbox_climbs_the_whole_ladder(world: World, user: str, vendor: str, protocol: str) -> None:
    world.connect(user, vendor)
    verdicts = world.doctor(world.sandbox.server(user), protocol=protocol)
    assert {rung: v.state for rung, v in verdicts.items() if not v.passed} == {}
    assert verdicts["mail"].found == "A test mail went out and was found again."
    assert verdicts["tls"].evidence["issuer"] == "mailops test authority"
    assert verdicts["tls"].evidence["ca_file"] == world.sandbox.ca_file
    assert len(world.sandbox.mailboxes.mails(user)) == 1


@pytest.mark.parametrize(
    ("vendor", "scenario", "rung", "row", "who"),
    [
        ("outlook", "smtp-auth-off", "sasl", "auth.ms-smtp-disabled-tenant", "admin"),
        ("outlook", "wrong-mailbox", "mailbox", "auth.ms-imap-connected", "admin"),
        ("outlook", "send-as-denied", "mail", "auth.ms-smtp-send-as", "admin"),
        ("outlook", "throttled", "sender", "auth.ms-smtp-connections", "you"),
        ("outlook", "revoked", "sasl", "auth.ms-50173", "person"),
        ("gmail", "revoked", "sasl", "auth.google-expired", "person"),
        ("gmail", "wrong-mailbox", "mailbox", "auth.google-imap-refused", "you"),
        ("gmail", "throttled", "sender", "auth.google-smtp-rate", "nobody (wait)"),
        ("gmail", "smtp-auth-off", "sasl", "auth.google-smtp-challenge", "person"),
    ],
)
def test_each_scenario_fails_at_its_rung_with_its_row(
    world: World, vendor: str, scenario: str, rung: str, row: str, who: str
) -> None:
    user = ANN if vendor == "outlook" else GOOGLE
    world.connect(user, vendor, scenario)
    verdicts = world.doctor(world.sandbox.server(user), wait=0.5)
    failed = verdicts[rung]
    assert failed.state is VerdictState.FAILED
    assert failed.code == row
    assert failed.fix
    assert who == failed.evidence["who"]
    before = RUNGS[: RUNGS.index(rung)]
    sending_only = [r for r in before if r != "mailbox"]
    assert all(verdicts[r].passed for r in sending_only)


@pytest.mark.parametrize("scenario", [Scenario.MFA, Scenario.SECRET_EXPIRED, Scenario.NO_CONSENT])
def test_scenarios_of_the_sign_in_page_and_token_endpoint(world: World, scenario: Scenario) -> None:
    if scenario is Scenario.MFA:
        world.connect(ANN, scenario="mfa")
        world.sandbox.idp.revoke_access(world.tokens.token_for(ANN))
        verdicts = world.doctor(world.sandbox.server(ANN), wait=0.5)
        assert verdicts["sasl"].code == "auth.ms-50076"
        return
    world.sandbox.idp.add_person(ANN, "outlook", scenario)
    begun = world.signin.begin(world.account(ANN), redirect_uri("outlook", BASE))
    with pytest.raises(AuthError) as caught:
        world.signin.redeem(click_through(world.sandbox.idp, begun.address, ANN))
    expected = {Scenario.SECRET_EXPIRED: "auth.ms-7000222", Scenario.NO_CONSENT: "auth.ms-90094"}
    assert caught.value.code == expected[scenario]


def test_rungs_that_are_not_reached_wait(world: World) -> None:
    world.connect(ANN)
    server = world.sandbox.server(ANN)
    verdicts = world.doctor(replace(server, host="no-such-host.invalid"), wait=0.5)
    assert verdicts["dns"].state in (VerdictState.FAILED, VerdictState.UNKNOWN)
    assert [verdicts[r].state for r in ("tcp", "tls", "sasl", "sender", "mail")] == [VerdictState.WAITING] * 5
    assert verdicts["token"].passed  # the token does not need the server
    assert verdicts["mailbox"].passed
    closed = world.doctor(replace(server, port=1), wait=0.5)
    assert closed["tcp"].code == "smtp.no_response"
    untrusted = world.doctor(replace(server, ca_file=None), wait=0.5)
    assert untrusted["tls"].code == "smtp.tls_untrusted"
    assert untrusted["tls"].evidence["ca_file"]
    unknown = world.doctor(replace(server, login="nobody@example.com"), wait=0.5)
    assert unknown["token"].code == "auth.not_connected"


def test_the_doctor_says_what_is_wrong_with_the_token(world: World) -> None:
    world.connect(ANN)
    client = world.clients["outlook"]
    world.sandbox.idp.save_client(replace(client, permissions=("SMTP.Send", "User.Read")))
    world.sandbox.idp.revoke_access(world.tokens.token_for(ANN))
    world.tokens.token_for(ANN, refused=True)
    verdicts = world.doctor(world.sandbox.server(ANN), wait=0.5)
    assert verdicts["claims"].code == "oauth.claims_scope"
    assert "IMAP.AccessAsUser.All" in verdicts["claims"].found


def test_without_a_test_mail_nothing_is_sent(world: World) -> None:
    world.connect(ANN)
    seen: list[Verdict] = []
    verdicts = world.doctor(world.sandbox.server(ANN), test_mail=False, progress=seen.append)
    assert verdicts["mail"].state is VerdictState.SKIPPED
    assert len(seen) == len(RUNGS)
    assert world.sandbox.smtp.accepted == 0


def test_no_verdict_holds_a_secret(world: World) -> None:
    world.connect(ANN, scenario="smtp-auth-off")
    token = world.tokens.token_for(ANN)
    text = (
        repr(world.doctor(world.sandbox.server(ANN), wait=0.5))
        + repr(world.sandbox.smtp.log)
        + repr(world.sandbox.imap.log)
    )
    assert token not in text
    assert token[:40] not in text


# --- shared mailbox, send-as ------------------------------------------------------------------------------------------


def test_a_shared_mailbox_is_opened_with_a_members_token(world: World) -> None:
    world.connect(ANN, key="shared", mailbox=SHARED)
    world.sandbox.idp.add_person(SHARED)
    verdicts = world.doctor(world.sandbox.server(SHARED, key="shared"))
    assert {r: v.found for r, v in verdicts.items() if not v.passed} == {}
    assert len(world.sandbox.mailboxes.mails(SHARED)) == 1
    stranger = world.doctor(world.sandbox.server("ceo@example.com", key="shared"), wait=0.5)
    assert stranger["sasl"].code == "auth.ms-smtp-5.7.3"


# --- clients ----------------------------------------------------------------------------------------------------------


def test_a_refused_token_is_renewed_once_on_the_way(world: World) -> None:
    world.connect(ANN)
    world.sandbox.idp.revoke_access(world.tokens.token_for(ANN))
    transport = SmtpTransport(world.secrets, SystemClock(), tokens=world.tokens)
    session = transport.connect(world.sandbox.server(ANN))
    result = session.send(Outbound(ANN, (ANN,), b"Subject: x\r\n\r\nbody\r\n"))
    session.close()
    assert result.replies[0].accepted
    world.sandbox.idp.revoke_access(world.tokens.token_for(ANN))
    host = world.sandbox.hosts()["imap"]
    context = ssl.create_default_context(cafile=world.sandbox.ca_file)
    with imaplib.IMAP4_SSL(host.name, host.port, ssl_context=context, timeout=10) as imap:
        assert imap_sign_in(imap, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused)) == "XOAUTH2"
    world.sandbox.idp.revoke_access(world.tokens.token_for(ANN))
    pop = poplib.POP3_SSL("localhost", world.sandbox.pop.port, context=context, timeout=10)
    assert pop_sign_in(pop, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused)) == "XOAUTH2"
    pop.quit()


def test_other_clients_sign_in_and_read(world: World) -> None:
    world.connect(ANN)
    token = world.tokens.token_for(ANN)
    context = ssl.create_default_context(cafile=world.sandbox.ca_file)
    blob = f"user={ANN}\x01auth=Bearer {token}\x01\x01"
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANN, ANN, "by smtplib"
    message.set_content("hello\n.\n.dots\n")
    with smtplib.SMTP("localhost", world.sandbox.smtp.port, timeout=10) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo()
        smtp.auth("XOAUTH2", lambda challenge=None: blob if challenge is None else "")
        smtp.send_message(message)
    with IMAPClient("localhost", world.sandbox.imap.port, ssl=True, ssl_context=context, timeout=10) as imap:
        imap.oauth2_login(ANN, token)
        assert imap.select_folder("INBOX")[b"EXISTS"] == 1
        uids = imap.search(["SUBJECT", "smtplib"])
        data = imap.fetch(uids, ["RFC822", "FLAGS"])[uids[0]]
        assert b".dots" in data[b"RFC822"]
        imap.add_flags(uids, [b"\\Deleted"])
        imap.expunge()
        assert imap.search() == []


def test_with_tokens_as_long_as_the_vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    with Sandbox(tmp_path / "s", pad=2500) as sandbox:
        long = World(sandbox, tmp_path / "w")
        long.connect(ANN)
        verdicts = long.doctor(sandbox.server(ANN))
        assert {r: v.found for r, v in verdicts.items() if not v.passed} == {}
        assert verdicts["token"].evidence["length"] > 2500
        assert "some relays stop at 2048" in verdicts["token"].found


# --- the pages, as a browser walks them -------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "vendor", "accept"), [(ANN, "outlook", "Yes"), (GOOGLE, "gmail", "Continue")])
def test_the_sign_in_pages_by_http(world: World, user: str, vendor: str, accept: str) -> None:
    world.sandbox.idp.add_person(user, vendor)
    begun = world.signin.begin(world.account(user, vendor), redirect_uri(vendor, BASE))
    assert urlsplit(begun.address).hostname == "127.0.0.1"
    browser = requests.Session()
    browser.trust_env = False
    page = browser.get(begun.address, timeout=10).text
    assert user in page
    page = browser.post(begun.address, data={"step": "account", "account": user}, timeout=10).text
    assert f">{accept}</button>" in page
    landed = browser.post(begun.address, data={"account": user, "answer": "accept"}, timeout=10, allow_redirects=False)
    assert landed.status_code == 302
    tag = world.signin.store(world.signin.redeem(landed.headers["Location"]))
    assert tag == ("Outlook Token Valid" if vendor == "outlook" else "Gmail Token Valid")


def test_the_device_page_by_http(world: World) -> None:
    world.sandbox.idp.add_person(ANN)
    client = world.sandbox.idp.add_client("outlook", "public")
    account = Account(ANN, "outlook", FlowKind.DEVICE, ANN, client.client_id)
    flow = world.signin.begin_device(account)
    page = requests.get(flow["verification_uri"], timeout=10).text
    assert re.search(r'name="user_code"', page)
    form = {"user_code": flow["user_code"].lower(), "account": ANN, "answer": "accept"}
    assert "Done" in requests.post(flow["verification_uri"], data=form, timeout=10).text
    flow["interval"] = 0.01
    assert world.signin.finish_device(account, flow).answer.user == ANN
    assert "Wrong code" in requests.post(flow["verification_uri"], data={**form, "user_code": "NO"}, timeout=10).text


def test_the_sandbox_keeps_its_state_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    with Sandbox(tmp_path / "s", keep=True) as first:
        world = World(first, tmp_path / "w")
        world.connect(ANN)
        begun = world.signin.begin(world.account(ANN), redirect_uri("outlook", BASE))
    with Sandbox(tmp_path / "s", keep=True) as second:  # a kernel that was restarted in the middle
        signin = SignIn(SecretStore(tmp_path / "w"), http=second.idp.session)
        redeemed = signin.redeem(click_through(second.idp, begun.address, ANN))
        assert signin.store(redeemed) == "Outlook Token Valid"


# --- the peers by themselves ------------------------------------------------------------------------------------------


def test_imap_and_pop_with_starttls_and_passwords(tmp_path: Path) -> None:
    from mailops.testing import Authority
    from mailops.testing.imap_server import ImapServer
    from mailops.testing.mailboxes import Mailboxes
    from mailops.testing.pop_server import PopServer

    authority = Authority(tmp_path)
    boxes = Mailboxes(ANN)
    boxes.deliver(ANN, b"Subject: one\nMessage-ID: <1@x>\n\nbody\n.dot\n")
    boxes.deliver(ANN, b"Subject: two\n\nother\n")
    context = ssl.create_default_context(cafile=authority.ca_file)
    tls = authority.server_tls("starttls")
    with ImapServer(boxes, {ANN: "pw"}, tls=tls) as server, imaplib.IMAP4("localhost", server.port, timeout=10) as imap:
        assert "LOGINDISABLED" in imap.capabilities
        imap.starttls(context)
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATE failed"):
            imap.login(ANN, "wrong")
        imap.login(ANN, "pw")
        assert imap.select("INBOX")[1] == [b"2"]
        assert imap.search(None, "HEADER", "Message-ID", "<1@x>")[1] == [b"1"]
        assert imap.search(None, "NOT", "SEEN")[1] == [b"1 2"]
        head = imap.fetch("1", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0]
        assert isinstance(head, tuple)
        assert head[1] == b"Subject: one\r\n\r\n"
        imap.fetch("2", "(RFC822)")
        assert imap.search(None, "UNSEEN")[1] == [b"1"]
        assert imap.append("INBOX", None, None, b"Subject: three\r\n\r\nx")[0] == "OK"  # type: ignore[arg-type]
        assert imap.uid("SEARCH", "ALL")[1] == [b"1 2 3"]
        imap.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        assert imap.expunge()[1] == [b"1"]
    with PopServer(boxes, {ANN: "pw"}, tls=tls) as server:
        pop = poplib.POP3("localhost", server.port, timeout=10)
        pop.stls(context)
        pop.user(ANN)
        with pytest.raises(poplib.error_proto):
            pop.pass_("wrong")
        pop.user(ANN)
        pop.pass_("pw")
        assert pop.stat()[0] == 2
        assert b"Subject: two" in pop.retr(1)[1]
        assert [line.split()[0] for line in pop.uidl()[1]] == [b"1", b"2"]
        pop.dele(1)
        pop.quit()
        assert [m.uid for m in boxes.mails(ANN)] == [3]


def test_idle_tells_of_new_mail(tmp_path: Path) -> None:
    from mailops.testing.imap_server import ImapServer
    from mailops.testing.mailboxes import Mailboxes

    boxes = Mailboxes(ANN)
    with ImapServer(boxes, {ANN: "pw"}) as server, IMAPClient("localhost", server.port, ssl=False, timeout=20) as imap:
        imap.login(ANN, "pw")
        imap.select_folder("INBOX")
        imap.idle()
        boxes.deliver(ANN, b"Subject: new\n\nx")
        assert (1, b"EXISTS") in imap.idle_check(timeout=20)
        imap.idle_done()
        assert imap.search() == [1]


def test_a_mail_server_that_cannot_check_tokens_is_not_a_refusal(world: World) -> None:
    from mailops.testing.imap_server import ImapServer
    from mailops.testing.mailboxes import Denied

    busy = Denied("[UNAVAILABLE] Temporary authentication failure.", challenge="")
    asked: list[bool] = []
    with (
        ImapServer(world.sandbox.mailboxes, lambda attempt: busy) as server,
        imaplib.IMAP4("localhost", server.port, timeout=10) as imap,
        pytest.raises(AuthError) as caught,
    ):
        imap_sign_in(imap, ANN, lambda refused: asked.append(refused) or "token")  # type: ignore[func-returns-value]
    assert caught.value.code == "auth.unavailable"
    assert asked == [False]  # no renewal for the server's own trouble


def test_hosts_are_the_shape_providers_have(world: World) -> None:
    assert isinstance(world.sandbox.hosts()["imap"], Host)
