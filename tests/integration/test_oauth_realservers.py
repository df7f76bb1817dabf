"""Real parts on loopback: a certified OpenID provider (npm ``oidc-provider``) and Dovecot, our code in between.

The provider is looked for in ``MAILOPS_TEST_OIDC`` (a folder where ``npm install`` was run with
``tests/fixtures/oauth/package.json``) or beside the fixture. Without node, provider or Dovecot the tests skip with the
reason, or fail where ``MAILOPS_TEST_REQUIRE`` names ``oidc`` or ``dovecot``.
"""

from __future__ import annotations

import base64
import grp
import imaplib
import json
import multiprocessing
import os
import poplib
import pwd
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from peers import missing
from realservers_kit import START_SECONDS, fill, free_ports, wait_port

from mailops.errors import AuthError, ConfigError
from mailops.model.setup import Authentication, Encryption, Server
from mailops.oauth import Account, Doctor, FlowKind, SignIn, TokenService, imap_sign_in, pop_sign_in, read_claims
from mailops.oauth.doctor import Reading
from mailops.oauth.http import HttpSession
from mailops.providers import Host
from mailops.secrets import Secret, SecretStore
from mailops.testing import Authority, SmtpServer

FIXTURES = Path(__file__).parent.parent / "fixtures" / "oauth"
ANN, BOB = "ann@acme.example", "bob@acme.example"
SERVICE = "mailer@mail.iam.gserviceaccount.example"
BACK = "https://mail.acme.example/microsoft_outlook/confirm"


# --- the provider -----------------------------------------------------------------------------------------------------


@dataclass
class Oidc:
    """The running provider."""

    tls: int
    http: int
    ca_file: str
    pem: str
    format: str
    keys: dict[str, str]  # of the application with a certificate, and of the service account; PEM

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.tls}/tenant/v2.0"

    def session(self) -> HttpSession:
        return HttpSession(self.ca_file)

    def browse(self, address: str) -> str:
        """Follow the sign-in like a browser, to the address outside the provider."""
        with self.session() as browser:
            for _ in range(15):
                response = browser.get(address, allow_redirects=False)
                assert response.status_code in (302, 303), response.text[:500]
                address = urljoin(address, response.headers["location"])
                if not address.startswith(self.issuer):
                    return address
        raise AssertionError("the redirects do not end")

    def approve_device(self, address: str, code: str) -> None:
        with self.session() as browser:
            page = browser.get(address).text
            form = {"xsrf": re.search(r'name="xsrf" value="([^"]+)"', page)[1], "user_code": code}  # type: ignore[index]
            page = browser.post(address, data=form).text
            fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page))
            browser.post(address, data={**fields, "confirm": "yes"})


def _node_modules() -> Path:
    given = os.environ.get("MAILOPS_TEST_OIDC")
    for folder in (Path(given) if given else FIXTURES, FIXTURES):
        if (folder / "node_modules" / "oidc-provider").is_dir():
            return (folder / "node_modules").resolve()
    missing("oidc", f"npm install has not been run in {FIXTURES} (or MAILOPS_TEST_OIDC)")
    raise AssertionError


def _short_folder() -> Path:
    """A folder that Dovecot's users may enter, with a short path for its sockets."""
    folder = Path(tempfile.mkdtemp(prefix="mo-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module", params=["opaque", "jwt"])
def oidc(request: pytest.FixtureRequest) -> Iterator[Oidc]:
    if shutil.which("node") is None:
        missing("oidc", "node is not installed")
    modules = _node_modules()
    folder = _short_folder()
    authority = Authority(folder / "ca")
    pair = authority.server()
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(FIXTURES / "idp.mjs", folder / "idp.mjs")
    keys, jwks = _app_keys()
    config = {
        "certificate": jwks["certificate"],
        "service": {"email": SERVICE, "key": jwks["service"], "delegated": [ANN], "scopes": ["https://mail.google.com/"]},
        "cert": pair.certfile, "key": pair.keyfile, "users": [ANN, BOB], "accessSeconds": 3600, "format": request.param,
        "pad": 1500 if request.param == "jwt" else 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    process = subprocess.Popen(
        ["node", str(folder / "idp.mjs"), str(folder / "config.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    assert process.stdout is not None
    ports = {}
    for line in process.stdout:
        if line.startswith("{"):
            ports = json.loads(line)
            break
    watchdog.cancel()
    try:
        assert ports, "the provider did not start"
        yield Oidc(ports["tls"], ports["http"], authority.ca_file, ports["pem"], request.param, keys)
    finally:
        process.terminate()
        process.communicate(timeout=20)  # closes both ends of the line to it too
        shutil.rmtree(folder, ignore_errors=True)


def _app_keys() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """New key pairs for the certificate and the service account: PEM by name, and the public halves as JWK."""
    pems, jwks = {}, {}
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.acme.example")])
    for what in ("certificate", "service", "stranger"):
        key = rsa.generate_private_key(65537, 2048)
        numbers = key.public_key().public_numbers()
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pems[what] = key.private_bytes(*plain).decode()
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(7).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(30))
        pems[f"{what}.pem"] = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        jwks[what] = {"kty": "RSA", "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)}
    return pems, jwks


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode().rstrip("=")


class World:
    """A vault and the services against the provider."""

    def __init__(self, oidc: Oidc, folder: Path) -> None:
        self.oidc = oidc
        self.folder = folder
        self.secrets = SecretStore(folder)
        self.secrets.vault.put("web", "web-secret")
        self.signin = SignIn(self.secrets, http=oidc.session)
        self.tokens = TokenService(self.secrets, http=oidc.session)

    def account(self, user: str = ANN, flow: FlowKind = FlowKind.WEB, **fields: object) -> Account:
        public = flow.public
        values: dict[str, object] = {
            "key": user,
            "client_id": "desktop" if public else "web",
            "client_secret": None if public else "vault:web",
            "authority": self.oidc.issuer,
            "pop": True,
            **fields,
        }
        return Account(provider="outlook", flow=flow, user=user, **values)  # type: ignore[arg-type]  # a bag

    def connect(self, user: str = ANN, **fields: object) -> None:
        begun = self.signin.begin(self.account(user, **fields), BACK)  # type: ignore[arg-type]  # a bag
        redeemed = self.signin.redeem(self.oidc.browse(begun.address))
        assert redeemed.answer.user == user
        self.signin.store(redeemed)

    def age(self, key: str = ANN) -> None:
        """Make the stored access token look old, so that the next call renews it."""
        held = self.tokens.accounts.load(key)
        assert held.grant is not None
        self.tokens.accounts.save(replace(held, grant=replace(held.grant, expires_at=self.tokens.clock.now())))

    def valid(self, token: str) -> bool:
        """Whether the provider stands by this token; JSON web tokens speak for themselves."""
        claims = read_claims(token)
        if claims is not None:
            return claims.expires is not None and claims.expires > self.tokens.clock.now()
        form = {"token": token, "client_id": "mail-server", "client_secret": "mail-server-secret"}
        response = requests.post(
            f"http://127.0.0.1:{self.oidc.http}/tenant/v2.0/token/introspection", data=form, timeout=10
        )
        return response.json()["active"] is True

    def revoke(self, token: str) -> None:
        form = {"token": token, "client_id": "web", "client_secret": "web-secret"}
        assert self.oidc.session().post(f"{self.oidc.issuer}/token/revocation", data=form).status_code == 200


@pytest.fixture
def world(oidc: Oidc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
    return World(oidc, tmp_path / "workspace")


# --- grants -----------------------------------------------------------------------------------------------------------


def test_code_flow_refresh_and_rotation(world: World) -> None:
    world.connect()
    first = world.tokens.token_for(ANN)
    assert world.valid(first)
    held = world.tokens.accounts.load(ANN).grant
    world.age()
    second = world.tokens.token_for(ANN)
    after = world.tokens.accounts.load(ANN).grant
    assert second != first
    assert held is not None
    assert after is not None
    assert held.refresh_token != after.refresh_token  # the rotated one was stored
    claims = read_claims(second)
    if claims is not None:
        assert (claims.audience, claims.user) == ("https://outlook.office.com", ANN)
        assert claims.length > 2000


def test_a_refresh_token_used_twice_kills_the_family_and_is_explained(world: World) -> None:
    world.connect()
    held = world.tokens.accounts.load(ANN)
    assert held.grant is not None
    world.age()
    world.tokens.token_for(ANN)
    world.tokens.accounts.save(held)  # a backup put back: the old refresh token again
    world.age()
    with pytest.raises(AuthError) as caught:
        world.tokens.token_for(ANN)
    assert caught.value.facts["error"] == "invalid_grant"
    assert caught.value.facts["class"] == "reauth"


def test_consent_refused_wrong_secret_revoked(world: World) -> None:
    begun = world.signin.begin(world.account("refuse@acme.example"), BACK)
    with pytest.raises(AuthError) as caught:
        world.signin.redeem(world.oidc.browse(begun.address))
    assert caught.value.facts["error"] == "access_denied"
    world.secrets.vault.put("web", "wrong")
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(world.account(flow=FlowKind.APP_SECRET))
    assert caught.value.facts["error"] == "invalid_client"
    world.secrets.vault.put("web", "web-secret")
    world.connect()
    held = world.tokens.accounts.load(ANN).grant
    assert held is not None
    assert held.refresh_token is not None
    world.revoke(held.refresh_token.reveal())
    world.age()
    with pytest.raises(AuthError) as caught:
        world.tokens.token_for(ANN)
    assert caught.value.facts["error"] == "invalid_grant"


def test_client_credentials(world: World) -> None:
    redeemed = world.signin.app_only(world.account(flow=FlowKind.APP_SECRET))
    assert world.valid(redeemed.answer.access_token.reveal())


def by_certificate(world: World, private: str, public: str, **fields: object) -> Account:
    """The account of an application that proves itself by this certificate."""
    world.secrets.vault.put("app-key", private)
    world.secrets.vault.put("app-cert", public)
    return world.account(
        flow=FlowKind.APP_CERTIFICATE, client_id="certificate", client_secret=None, certificate="vault:app-key",
        certificate_public="vault:app-cert", **fields,
    )  # fmt: skip


def test_client_credentials_by_certificate(world: World) -> None:
    keys = world.oidc.keys
    account = by_certificate(world, keys["certificate"], keys["certificate.pem"])
    redeemed = world.signin.app_only(account)
    assert world.valid(redeemed.answer.access_token.reveal())
    assert redeemed.answer.refresh_token is None
    world.signin.store(redeemed)
    first = world.tokens.token_for(ANN)
    world.age()
    second = world.tokens.token_for(ANN)  # renewed by a new assertion
    assert second != first
    assert world.valid(second)


def test_a_certificate_the_provider_does_not_know_is_refused(world: World) -> None:
    keys = world.oidc.keys
    account = by_certificate(world, keys["stranger"], keys["stranger.pem"])
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(account)
    assert caught.value.facts["error"] == "invalid_client"
    assert caught.value.facts["class"] == "config"
    with pytest.raises(ConfigError, match="belongs to another certificate"):  # said before anybody is asked
        world.signin.app_only(by_certificate(world, keys["stranger"], keys["certificate.pem"]))


def service_account(world: World, mailbox: str = ANN, *, key: str = "service", email: str = SERVICE) -> Account:
    """A Google account whose JSON key is the service account's, as the console hands it out."""
    made = {
        "type": "service_account", "project_id": "mail", "private_key_id": "one", "private_key": world.oidc.keys[key],
        "client_email": email, "client_id": "1234", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    world.secrets.vault.put("service", json.dumps(made))
    return Account(
        "g", "gmail", FlowKind.SERVICE_ACCOUNT, mailbox, service_account="vault:service",
        token_url=f"{world.oidc.issuer}/token",
    )  # fmt: skip


def test_a_service_account_acts_for_a_mailbox(world: World) -> None:
    redeemed = world.signin.app_only(service_account(world))
    token = redeemed.answer.access_token.reveal()
    assert world.valid(token)
    claims = read_claims(token)
    if claims is not None:
        assert claims.user == ANN
    world.signin.store(redeemed)
    world.age("g")
    assert world.tokens.token_for("g") != token


@pytest.mark.parametrize(
    ("change", "error", "row"),
    [
        ({"key": "stranger"}, "invalid_grant", "auth.google-key-deleted"),
        ({"email": "gone@mail.iam.gserviceaccount.example"}, "invalid_grant", ""),
        ({"mailbox": "nobody@acme.example"}, "invalid_grant", ""),
        ({"mailbox": BOB}, "unauthorized_client", ""),
    ],
)
def test_a_service_account_that_may_not_is_explained(
    world: World, change: dict[str, str], error: str, row: str
) -> None:
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(service_account(world, **change))
    assert caught.value.facts["error"] == error
    assert caught.value.facts["class"] in ("config", "admin")
    assert not row or caught.value.code == row


def test_device_code(world: World) -> None:
    account = world.account(flow=FlowKind.DEVICE)
    flow = world.signin.begin_device(account)
    flow["interval"] = 1
    world.oidc.approve_device(flow["verification_uri"], flow["user_code"])
    world.signin.store(world.signin.finish_device(account, flow))
    world.age()
    assert world.tokens.token_for(ANN)


def test_loopback_listener_with_a_public_client(world: World) -> None:
    def browser(address: str) -> None:
        def walk() -> None:
            with world.oidc.session() as plain:
                plain.get(world.oidc.browse(address))

        threading.Thread(target=walk, daemon=True).start()

    redeemed = world.signin.by_loopback(world.account(flow=FlowKind.LOOPBACK), browser, wait=30)
    assert world.signin.store(redeemed) == "Outlook Token Valid"


def test_googles_library_against_the_same_provider(world: World) -> None:
    account = Account(
        "g", "gmail", FlowKind.WEB, ANN, "web", "vault:web", authorize_url=f"{world.oidc.issuer}/auth",
        token_url=f"{world.oidc.issuer}/token",
    )  # fmt: skip
    begun = world.signin.begin(account, "https://mail.acme.example/google_gmail/confirm")
    world.signin.store(world.signin.redeem(world.oidc.browse(begun.address)))
    first = world.tokens.token_for("g")
    world.age("g")
    assert world.tokens.token_for("g") != first


def _renewer(folder: str, issuer: str, ca_file: str, times: int, queue: multiprocessing.Queue[str]) -> None:
    tokens = TokenService(SecretStore(folder), http=lambda: HttpSession(ca_file))
    try:
        for _ in range(times):
            token = tokens.token_for(ANN)
            tokens.token_for(ANN, refused=True)
            queue.put(f"ok {len(token)}")
    except Exception as error:
        queue.put(f"failed {error!r}")


def test_two_processes_rotate_without_killing_the_family(world: World) -> None:
    world.connect()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (str(world.folder), world.oidc.issuer, world.oidc.ca_file, 4, queue)
    workers = [context.Process(target=_renewer, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    said = [queue.get(timeout=60) for _ in range(8)]
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert [s for s in said if not s.startswith("ok")] == []
    world.age()
    assert world.valid(world.tokens.token_for(ANN))


# --- Dovecot ----------------------------------------------------------------------------------------------------------


@dataclass
class Dovecot:
    imaps: int
    pop3s: int
    submission: int
    lmtp: int
    relay: SmtpServer
    ca_file: str


@pytest.fixture
def dovecot(oidc: Oidc) -> Iterator[Dovecot]:
    binary = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
    if binary is None:
        missing("dovecot", "dovecot is not installed")
        raise AssertionError
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=20).stdout
    if not version.startswith("2.3"):
        missing("dovecot", f"the configuration is for 2.3, this is {version.strip()}")
    folder = _short_folder()
    authority = Authority(folder / "own")
    pair = authority.server()
    imaps, pop3s, submission, lmtp = free_ports(4)
    root = os.geteuid() == 0
    me, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    with SmtpServer() as relay:
        values = {
            "RUN": folder, "CERT": pair.certfile, "KEY": pair.keyfile, "IMAPS": imaps, "POP3S": pop3s, "LMTP": lmtp,
            "SUBMISSION": submission, "RELAY": relay.port, "IDP_HTTP": oidc.http, "ISSUER": oidc.issuer,
            "INTERNAL": "dovecot" if root else me, "INTERNAL_GROUP": "dovecot" if root else group,
            "LOGIN": "dovenull" if root else me, "MAIL": "dovecot" if root else me,
            "MAIL_GROUP": "dovecot" if root else group,
        }  # fmt: skip
        kind = "oauth2.conf.in" if oidc.format == "opaque" else "oauth2-jwt.conf.in"
        for source, name in (("dovecot.conf.in", "dovecot.conf"), (kind, "oauth2.conf")):
            fill(FIXTURES / source, folder / name, values)
        keys = folder / "keys" / "default" / "RS256"
        keys.mkdir(parents=True)
        (keys / "one").write_text(oidc.pem)
        (folder / "mail").mkdir()
        (folder / "mail").chmod(0o777)
        process = subprocess.Popen(
            [binary, "-F", "-c", str(folder / "dovecot.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for port in (imaps, pop3s, submission, lmtp):
                wait_port(port, process)
            yield Dovecot(imaps, pop3s, submission, lmtp, relay, authority.ca_file)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
            shutil.rmtree(folder, ignore_errors=True)


def _relay_on(dovecot: Dovecot, stop: threading.Event) -> None:
    """What a relay does: take submitted mail and hand it to LMTP."""
    done = 0
    while not stop.is_set():
        messages = dovecot.relay.messages
        for message in messages[done:]:
            with smtplib.LMTP("127.0.0.1", dovecot.lmtp, timeout=10) as lmtp:
                lmtp.sendmail(message.envelope_from, list(message.recipients), message.data)
        done = len(messages)
        stop.wait(0.02)


@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_the_doctor_climbs_the_ladder_at_dovecot(world: World, dovecot: Dovecot, protocol: str) -> None:
    world.connect()
    stop = threading.Event()
    relay = threading.Thread(target=_relay_on, args=(dovecot, stop), daemon=True)
    relay.start()
    server = Server(
        "main", "Main", "localhost", dovecot.submission, Encryption.STARTTLS, Authentication.OAUTH, ANN,
        ca_file=dovecot.ca_file, provider="outlook", timeout=10,
    )  # fmt: skip
    reading = Reading(
        Host("localhost", dovecot.imaps if protocol == "imap" else dovecot.pop3s, Encryption.TLS), protocol
    )
    try:
        verdicts = Doctor(world.tokens, timeout=10, wait=20).examine(server, reading=reading)
    finally:
        stop.set()
        relay.join(timeout=20)
    assert {v.check: (v.found, v.evidence) for v in verdicts if not v.passed} == {}
    assert verdicts[-1].found == "A test mail went out and was found again."


def test_both_mechanisms_for_imap_and_pop_and_their_refusals(
    world: World, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    world.connect(BOB)
    context = ssl.create_default_context(cafile=dovecot.ca_file)
    for wanted in ("XOAUTH2", "OAUTHBEARER"):
        monkeypatch.setattr(
            "mailops.oauth.sasl.pick", lambda offered, wanted=wanted: wanted if wanted in offered else None
        )
        with imaplib.IMAP4_SSL("localhost", dovecot.imaps, ssl_context=context, timeout=20) as imap:
            assert imap_sign_in(imap, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused)) == wanted
            assert imap.select("INBOX")[0] == "OK"
        pop = poplib.POP3_SSL("localhost", dovecot.pop3s, context=context, timeout=20)
        assert pop_sign_in(pop, ANN, lambda refused: world.tokens.token_for(ANN, refused=refused)) == wanted
        pop.quit()
        for token in (world.tokens.token_for(BOB) if wanted == "XOAUTH2" else "junk",):  # another's, or none at all
            with (
                imaplib.IMAP4_SSL("localhost", dovecot.imaps, ssl_context=context, timeout=20) as imap,
                pytest.raises(AuthError),
            ):
                imap_sign_in(imap, ANN, lambda refused, token=token: token)  # type: ignore[misc]  # bound now
            pop = poplib.POP3_SSL("localhost", dovecot.pop3s, context=context, timeout=20)
            with pytest.raises(AuthError):
                pop_sign_in(pop, ANN, lambda refused, token=token: token)  # type: ignore[misc]  # bound now
            pop.close()


def test_a_refused_token_is_renewed_once_at_dovecot(world: World, dovecot: Dovecot) -> None:
    world.connect()
    held = world.tokens.accounts.load(ANN)
    assert held.grant is not None
    world.tokens.accounts.save(replace(held, grant=replace(held.grant, access_token=Secret("no-longer-good"))))
    context = ssl.create_default_context(cafile=dovecot.ca_file)
    asked: list[bool] = []

    def give(refused: bool) -> str:
        asked.append(refused)
        return world.tokens.token_for(ANN, refused=refused)

    with imaplib.IMAP4_SSL("localhost", dovecot.imaps, ssl_context=context, timeout=20) as imap:
        imap_sign_in(imap, ANN, give)
    assert asked == [False, True]
