"""Every grant against the in-process provider: msal and google-auth in earnest, no socket."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mailops.errors import AuthError, ConfigError, NotFound
from mailops.model.setup import Authentication, Server
from mailops.oauth import Account, FlowKind, SignIn, TokenService, read_claims, read_redirect
from mailops.oauth.redirects import redirect_uri
from mailops.secrets import Secret, SecretStore
from mailops.testing import ManualClock
from mailops.testing.identity_pages import Page, click_through
from mailops.testing.identity_provider import Client, IdentityProvider, Scenario

ANN = "ann@example.com"
BACK = redirect_uri("outlook", "https://mail.acme.example")
GOOGLE_BACK = redirect_uri("gmail", "https://mail.acme.example")


class World:
    """A provider, a vault, and the sign-in service on one manual clock."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MAILOPS_VAULT_KEY", raising=False)
        self.clock = ManualClock(datetime.now(UTC).replace(microsecond=0))
        self.idp = IdentityProvider(clock=self.clock)
        self.secrets = SecretStore(folder, clock=self.clock)
        self.signin = SignIn(self.secrets, clock=self.clock, http=self.idp.session)
        self.tokens = TokenService(self.secrets, clock=self.clock, http=self.idp.session)
        self.idp.add_person(ANN)
        self.idp.add_person("bob@example.com")
        self.idp.add_person("gmail@example.com", "gmail")

    def account(self, client: Client, flow: FlowKind = FlowKind.WEB, user: str = ANN, **more: object) -> Account:
        if client.secret:
            self.secrets.vault.put("client-secret", client.secret)
        kept = "vault:client-secret" if client.secret else None
        return Account(
            key=user,
            provider=client.vendor,
            flow=flow,
            user=user,
            client_id=client.client_id,
            client_secret=kept,
            **more,
        )  # type: ignore[arg-type]  # a bag of optional fields

    def outlook(self, **fields: object) -> tuple[Client, Account]:
        client = self.idp.add_client("outlook", "web", BACK, **fields)
        return client, self.account(client)

    def gmail(self) -> tuple[Client, Account]:
        client = self.idp.add_client("gmail", "web", GOOGLE_BACK)
        return client, self.account(client, user="gmail@example.com")

    def connect(self, account: Account, *, as_user: str | None = None, accept: bool = True) -> str:
        begun = self.signin.begin(account, GOOGLE_BACK if account.provider == "gmail" else BACK)
        landed = click_through(self.idp, begun.address, as_user or account.user, accept=accept)
        return self.signin.store(self.signin.redeem(landed))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def server(login: str = ANN, key: str = "main") -> Server:
    return Server(key=key, name="Main", authentication=Authentication.OAUTH, login=login)


# --- code flow --------------------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-28", "AZ-06")
def test_microsoft_code_flow_stores_tokens_and_shows_the_tag(world: World) -> None:
    _, account = world.outlook()
    begun = world.signin.begin(account, BACK)
    sent = {k: v[0] for k, v in parse_qs(urlsplit(begun.address).query).items()}
    assert urlsplit(begun.address).path == "/common/oauth2/v2.0/authorize"
    assert (sent["response_type"], sent["response_mode"], sent["redirect_uri"]) == ("code", "query", BACK)
    assert {"offline_access", "https://outlook.office.com/SMTP.Send"} <= set(sent["scope"].split())
    assert sent["code_challenge_method"] == "S256"
    redeemed = world.signin.redeem(click_through(world.idp, begun.address, ANN))
    assert redeemed.warnings == ()
    assert world.signin.accounts.keys() == []  # nothing stored before the person saw the warnings
    assert world.signin.store(redeemed) == "Outlook Token Valid"
    token = world.tokens.access_token(server())
    claims = read_claims(token)
    assert claims is not None
    assert (claims.audience, claims.user) == ("https://outlook.office.com", ANN)
    assert world.idp.judge(token, ANN, "smtp") is None


@pytest.mark.req("GO-26")
def test_google_code_flow_stores_tokens_and_shows_the_tag(world: World) -> None:
    _, account = world.gmail()
    begun = world.signin.begin(account, GOOGLE_BACK)
    sent = {k: v[0] for k, v in parse_qs(urlsplit(begun.address).query).items()}
    assert begun.address.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert (sent["access_type"], sent["prompt"], sent["scope"]) == ("offline", "consent", "https://mail.google.com/")
    assert sent["code_challenge_method"] == "S256"
    assert (
        world.signin.store(world.signin.redeem(click_through(world.idp, begun.address, account.user)))
        == "Gmail Token Valid"
    )
    token = world.tokens.access_token(server("gmail@example.com"))
    assert token.startswith("ya29.")
    assert read_claims(token) is None  # opaque


@pytest.mark.req("AZ-28")
@pytest.mark.parametrize("vendor", ["outlook", "gmail"])
def test_a_bad_code_stores_nothing_and_shows_the_providers_reason(world: World, vendor: str) -> None:
    _, account = world.outlook() if vendor == "outlook" else world.gmail()
    begun = world.signin.begin(account, BACK if vendor == "outlook" else GOOGLE_BACK)
    with pytest.raises(AuthError) as caught:
        world.signin.redeem({"code": "not-a-code", "state": begun.state})
    assert caught.value.facts["said"]
    assert caught.value.facts["error"] == "invalid_grant"
    assert world.signin.accounts.keys() == []


@pytest.mark.req("AZ-27")
def test_another_account_is_told_before_anything_is_saved(world: World) -> None:
    _, account = world.outlook()
    begun = world.signin.begin(account, BACK)
    redeemed = world.signin.redeem(click_through(world.idp, begun.address, "bob@example.com"))
    assert [w.code for w in redeemed.warnings] == ["auth.other_account"]
    assert redeemed.warnings[0].facts == {"signed_in": "bob@example.com", "configured": ANN}
    assert world.signin.accounts.keys() == []


@pytest.mark.parametrize(("vendor", "row"), [("outlook", "auth.ms-65004"), ("gmail", "auth.google-cancelled")])
def test_a_cancelled_sign_in_is_explained(world: World, vendor: str, row: str) -> None:
    _, account = world.outlook() if vendor == "outlook" else world.gmail()
    with pytest.raises(AuthError) as caught:
        world.connect(account, accept=False)
    assert caught.value.code == row


@pytest.mark.req("GO-29")
def test_access_denied_in_testing_means_the_test_user_is_missing(world: World) -> None:
    _, account = world.gmail()
    begun = world.signin.begin(replace(account, testing=True), GOOGLE_BACK)
    with pytest.raises(AuthError) as caught:
        world.signin.redeem({"error": "access_denied", "state": begun.state})
    assert caught.value.code == "auth.google-unverified-tester"
    assert "Test users" in caught.value.fix
    assert "OAuth consent screen" in caught.value.fix


def test_state_is_for_one_sign_in_and_one_use(world: World) -> None:
    _, account = world.outlook()
    begun = world.signin.begin(account, BACK)
    landed = click_through(world.idp, begun.address, ANN)
    with pytest.raises(AuthError) as caught:
        world.signin.redeem({"code": "x", "state": begun.state[:-1] + ("a" if begun.state[-1] != "a" else "b")})
    assert caught.value.code == "auth.state"
    world.signin.redeem(landed)
    with pytest.raises(AuthError) as caught:  # a reload of the page after sign-in
        world.signin.redeem(landed)
    assert caught.value.code == "auth.state"


def test_a_sign_in_survives_a_restart_and_ends_after_a_quarter_of_an_hour(world: World, tmp_path: Path) -> None:
    _, account = world.outlook()
    begun = world.signin.begin(account, BACK)
    again = SignIn(SecretStore(tmp_path), clock=world.clock, http=world.idp.session)
    assert again.redeem(click_through(world.idp, begun.address, ANN)).answer.user == ANN
    late = world.signin.begin(account, BACK)
    world.clock.advance(16 * 60)
    with pytest.raises(AuthError) as caught:
        world.signin.redeem({"code": "x", "state": late.state})
    assert caught.value.code == "auth.state_expired"
    world.signin.begin(account, BACK)
    left = world.signin.begin(account, BACK)
    world.clock.advance(20 * 60)
    assert world.signin._pending.sweep() == 2
    with pytest.raises(AuthError):
        world.signin.redeem({"code": "x", "state": left.state})


def test_pkce_of_another_sign_in_is_refused_by_the_provider(world: World) -> None:
    _, account = world.outlook()
    one, two = world.signin.begin(account, BACK), world.signin.begin(account, BACK)
    code = parse_qs(urlsplit(click_through(world.idp, one.address, ANN)).query)["code"][0]
    with pytest.raises(AuthError) as caught:  # a code injected into another's sign-in
        world.signin.redeem({"code": code, "state": two.state})
    assert caught.value.code == "auth.ms-501481"


def test_an_unregistered_redirect_is_an_error_page_at_the_provider(world: World) -> None:
    _, account = world.outlook()
    begun = world.signin.begin(account, BACK + "/")
    with pytest.raises(Page) as shown:
        click_through(world.idp, begun.address, ANN)
    assert "AADSTS50011" in shown.value.body
    _, google_account = world.gmail()
    begun = world.signin.begin(google_account, GOOGLE_BACK.replace("https", "http"))
    with pytest.raises(Page) as shown:
        click_through(world.idp, begun.address, google_account.user)
    assert "Error 400: redirect_uri_mismatch" in shown.value.body


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://x.example/cb#access_token=abc", "implicit"),
        ("https://x.example/cb?code=a&code=b&state=s", "twice"),
        ("https://login.example/authorize?client_id=1&response_type=code&state=s&code=x", "sign-in link"),
        ("https://x.example/cb?code=a", "no code and state"),
        ("hello", "no code and state"),
        ("x" * 20_000, "too long"),
        ("https://x.example/cb?" + urlencode({str(n): n for n in range(50)}), "too many parts"),
    ],
)
def test_what_is_pasted_wrongly_says_what_to_copy(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        read_redirect(text)
    assert "address bar" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:1/?code=abc123&state=s",
        " <http://localhost/?state=s&code=abc123> ",
        "?code=abc123&state=s",
        "code=abc123&state=s",
    ],
)
def test_what_is_pasted_rightly_is_read(text: str) -> None:
    assert read_redirect(text) == {"code": "abc123", "state": "s"}


def test_paste_back_with_a_public_client_sends_no_secret(world: World) -> None:
    client = world.idp.add_client("outlook", "public")
    account = world.account(client, FlowKind.PASTE_BACK)
    begun = world.signin.begin(account, "http://localhost:8400")
    landed = click_through(world.idp, begun.address, ANN)
    assert landed.startswith("http://localhost:8400?")
    world.signin.store(world.signin.redeem(f"  {landed}\n"))
    world.clock.advance(3600)
    assert world.tokens.token_for(ANN)  # the renewal sends no secret either: AADSTS700025 otherwise


def test_google_desktop_client_over_loopback(world: World) -> None:
    client = world.idp.add_client("gmail", "installed")
    account = world.account(client, FlowKind.LOOPBACK, "gmail@example.com")
    import requests

    def browser(address: str) -> None:
        landed = click_through(world.idp, address, account.user)
        threading.Thread(target=requests.get, args=(landed,), kwargs={"timeout": 10}).start()

    assert (
        world.signin.store(world.signin.by_loopback(account, browser, wait=20, host="127.0.0.1")) == "Gmail Token Valid"
    )


# --- device code ------------------------------------------------------------------------------------------------------


def test_device_code_from_asking_to_renewal(world: World) -> None:
    client = world.idp.add_client("outlook", "public")
    account = world.account(client, FlowKind.DEVICE)
    flow = world.signin.begin_device(account)
    assert flow["message"].endswith(flow["user_code"] + ".")
    flow["interval"] = 0.01
    world.idp.approve_device(flow["user_code"], ANN)
    redeemed = world.signin.finish_device(account, flow)
    assert redeemed.answer.user == ANN
    world.signin.store(redeemed)
    world.clock.advance(3600)
    assert world.tokens.token_for(ANN)


def test_device_code_refused_wrong_and_stopped(world: World) -> None:
    client = world.idp.add_client("outlook", "public")
    account = world.account(client, FlowKind.DEVICE)
    flow = world.signin.begin_device(account)
    world.idp.approve_device(flow["user_code"], None)
    with pytest.raises(AuthError) as caught:
        world.signin.finish_device(account, flow)
    assert caught.value.code == "auth.ms-65004"
    stop = threading.Event()
    stop.set()
    with pytest.raises(AuthError) as caught:
        world.signin.finish_device(account, world.signin.begin_device(account), stop)
    assert caught.value.code == "auth.ms-70016"
    _, google_account = world.gmail()
    with pytest.raises(ConfigError, match="mail scope in the device flow"):
        world.signin.begin_device(google_account)


# --- application sign-in ----------------------------------------------------------------------------------------------


def _certificate() -> tuple[str, str]:
    """A private key and its certificate, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailops")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=40))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def certificate() -> tuple[str, str]:
    return _certificate()


def test_client_credentials_by_secret(world: World) -> None:
    _, account = world.outlook()
    account = replace(account, flow=FlowKind.APP_SECRET, tenant="contoso.example")
    world.signin.store(world.signin.app_only(account))
    token = world.tokens.token_for(ANN)
    claims = read_claims(token)
    assert claims is not None
    assert "SMTP.SendAsApp" in claims.roles
    world.clock.advance(3600)
    assert world.tokens.token_for(ANN) != token  # asked for anew, there is no refresh token
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(replace(account, tenant="common"))
    assert caught.value.code == "auth.ms-9001023"


def test_client_credentials_by_certificate(world: World, certificate: tuple[str, str], tmp_path: Path) -> None:
    private, public = certificate
    world.secrets.vault.put("key", private)
    (tmp_path / "public.pem").write_text(public)
    client = world.idp.add_client("outlook", "app", certificate=public)
    account = world.account(
        client, FlowKind.APP_CERTIFICATE, tenant="contoso.example", certificate="vault:key",
        certificate_public=str(tmp_path / "public.pem"),
    )  # fmt: skip
    assert world.signin.app_only(account).answer.access_token
    world.idp.save_client(replace(client, certificate=_certificate()[1]))
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(account)
    assert caught.value.code == "auth.ms-700027"


def test_google_service_account_with_delegation(world: World, certificate: tuple[str, str]) -> None:
    private, public = certificate
    client = world.idp.add_client(
        "gmail",
        "app",
        client_id="robot@project.iam.gserviceaccount.com",
        certificate=public,
        delegated=("https://mail.google.com/",),
    )
    info = {
        "type": "service_account", "client_email": client.client_id, "private_key": private, "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token", "client_id": "1",
    }  # fmt: skip
    world.secrets.vault.put("robot", json.dumps(info))
    account = Account(
        "gmail@example.com", "gmail", FlowKind.SERVICE_ACCOUNT, "gmail@example.com", service_account="vault:robot"
    )
    world.signin.store(world.signin.app_only(account))
    assert world.idp.judge(world.tokens.token_for(account.key), account.user, "imap") is None
    world.idp.save_client(replace(client, delegated=()))
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(account)
    assert caught.value.code == "auth.google-delegation"
    world.secrets.vault.put("robot", "{}")
    with pytest.raises(ConfigError) as refused:
        world.signin.app_only(account)
    assert refused.value.code == "auth.service_account"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-20", "AZ-18")
@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("secret_id", "auth.ms-7000215"),
        ("expired", "auth.ms-7000222"),
        ("client", "auth.ms-700016"),
        ("tenant", "auth.ms-90002"),
    ],
)
def test_wrong_settings_are_told_apart(world: World, change: str, row: str) -> None:
    client, account = world.outlook()
    if change == "secret_id":
        world.secrets.vault.put("client-secret", client.secret_id)
    elif change == "expired":
        world.idp.save_client(replace(client, secret_expired=True))
    elif change == "client":
        account = replace(account, client_id="00000000-0000-0000-0000-000000000000")
    else:
        account = replace(account, tenant="nowhere.example")
    with pytest.raises(AuthError) as caught:
        world.signin.app_only(
            replace(account, flow=FlowKind.APP_SECRET, tenant=account.tenant if change == "tenant" else "t")
        )
    assert caught.value.code == row
    assert client.secret not in json.dumps(caught.value.as_dict())


def test_missing_settings_say_the_products_words(world: World) -> None:
    _, account = world.outlook()
    for broken in (replace(account, client_id=""), replace(account, client_secret=None)):
        with pytest.raises(ConfigError, match=r"^Please configure your Outlook credentials\.$"):
            world.signin.begin(broken, BACK)
    _, google_account = world.gmail()
    with pytest.raises(ConfigError, match=r"^Please configure your Gmail credentials\.$"):
        world.signin.begin(replace(google_account, client_id=""), GOOGLE_BACK)
    with pytest.raises(ConfigError, match="not a secret reference"):
        replace(account, client_secret="the value itself")
    with pytest.raises(NotFound) as caught:
        world.tokens.token_for("nobody@example.com")
    assert caught.value.code == "auth.not_connected"


def test_a_network_that_is_down_is_not_a_reason_to_sign_in_again(world: World) -> None:
    import requests

    _, account = world.outlook()
    world.connect(account)
    world.clock.advance(3600)
    down = IdentityProvider()

    def broken() -> requests.Session:
        session = down.session()
        session.adapters.clear()
        from mailops.testing.identity_vendors import _Nowhere

        session.mount("https://", _Nowhere())
        return session

    cut = TokenService(world.secrets, clock=world.clock, http=broken)
    with pytest.raises(AuthError) as caught:
        cut.token_for(ANN)
    assert caught.value.code == "auth.unreachable"
    assert world.tokens.token_for(ANN)  # nothing was spoilt


# --- tokens that stay alive -------------------------------------------------------------------------------------------


def test_a_token_is_kept_until_the_margin_and_every_rotation_is_stored(world: World) -> None:
    _, account = world.outlook()
    world.connect(account)
    first = world.tokens.token_for(ANN)
    world.clock.advance(3600 - 301)
    assert world.tokens.token_for(ANN) == first
    asked = len(world.idp.requests)
    before = world.tokens.accounts.load(ANN).grant
    world.clock.advance(2)
    second = world.tokens.token_for(ANN)
    after = world.tokens.accounts.load(ANN).grant
    assert second != first
    assert len(world.idp.requests) == asked + 1
    assert before is not None
    assert after is not None
    assert before.refresh_token != after.refresh_token
    assert after.granted_at == before.granted_at
    for _ in range(5):  # a long chain: each one redeems the token stored before
        world.clock.advance(3600)
        world.tokens.token_for(ANN)
    assert world.idp.requests.count("outlook refresh_token") == 6


def test_google_keeps_its_refresh_token(world: World) -> None:
    _, account = world.gmail()
    world.connect(account)
    before = world.tokens.accounts.load(account.key).grant
    world.clock.advance(3600)
    world.tokens.token_for(account.key)
    after = world.tokens.accounts.load(account.key).grant
    assert before is not None
    assert after is not None
    assert after.refresh_token == before.refresh_token
    assert after.access_token != before.access_token


def test_a_refused_token_is_renewed_once_unless_another_was_quicker(world: World, tmp_path: Path) -> None:
    _, account = world.outlook()
    world.connect(account)
    first = world.tokens.access_token(server())
    world.idp.revoke_access(first)
    second = world.tokens.access_token(server(), refused=True)
    assert second != first
    assert world.idp.judge(second, ANN, "smtp") is None
    slow = TokenService(SecretStore(tmp_path), clock=world.clock, http=world.idp.session)
    assert slow.access_token(server()) == second
    third = world.tokens.access_token(server(), refused=True)
    asked = len(world.idp.requests)
    assert slow.access_token(server(), refused=True) == third  # taken over without asking the provider
    assert len(world.idp.requests) == asked


def test_a_short_lived_token_is_usable_at_all(world: World) -> None:
    world.idp.access_seconds = 120
    _, account = world.outlook()
    world.connect(account)
    first = world.tokens.token_for(ANN)
    assert world.tokens.token_for(ANN) == first


def test_the_servers_own_key_goes_before_its_login(world: World) -> None:
    _, account = world.outlook()
    world.connect(account)
    world.connect(replace(account, key="second-app"))
    assert world.tokens.key_of(server()) == ANN
    assert world.tokens.key_of(server(key="second-app")) == "second-app"


@pytest.mark.parametrize(
    ("vendor", "scenario", "row"),
    [
        ("outlook", Scenario.MFA, "auth.ms-50076"),
        ("outlook", Scenario.REVOKED, "auth.ms-50173"),
        ("gmail", Scenario.REVOKED, "auth.google-expired"),
        ("gmail", Scenario.MFA, "auth.google-rapt"),
    ],
)
def test_a_dead_sign_in_is_asked_once_and_explained_always(
    world: World, vendor: str, scenario: Scenario, row: str
) -> None:
    _, account = world.outlook() if vendor == "outlook" else world.gmail()
    world.connect(account)
    world.idp.add_person(account.user, vendor, scenario)
    world.clock.advance(3600)
    for _ in range(4):
        with pytest.raises(AuthError) as caught:
            world.tokens.token_for(account.key)
        assert caught.value.code == row
    assert len([r for r in world.idp.requests if r.endswith("refresh_token")]) == 1
    world.idp.add_person(account.user, vendor, Scenario.HEALTHY)
    world.connect(account)
    assert world.tokens.token_for(account.key)


@pytest.mark.req("GO-28")
def test_testing_status_ends_after_seven_days(world: World) -> None:
    world.idp.add_person("gmail@example.com", "gmail", Scenario.TESTING_7_DAYS)
    _, account = world.gmail()
    world.connect(account)
    world.clock.advance(6 * 86_400)
    assert world.tokens.token_for(account.key)
    world.clock.advance(86_400 + 3600)
    with pytest.raises(AuthError) as caught:
        world.tokens.token_for(account.key)
    assert caught.value.code == "auth.google-expired"
    assert "every 7 days" in caught.value.fix


def test_ninety_idle_days_end_a_microsoft_sign_in(world: World) -> None:
    _, account = world.outlook()
    world.connect(account)
    for _ in range(3):
        world.clock.advance(60 * 86_400)
        assert world.tokens.token_for(ANN)  # use keeps it alive, for replacements are stored
    world.clock.advance(91 * 86_400)
    with pytest.raises(AuthError) as caught:
        world.tokens.token_for(ANN)
    assert caught.value.code == "auth.ms-700082"


def test_no_token_or_secret_is_on_disk_in_clear(world: World, tmp_path: Path) -> None:
    client, account = world.outlook()
    world.connect(account)
    token = world.tokens.token_for(ANN)
    grant = world.tokens.accounts.load(ANN).grant
    assert grant is not None
    assert grant.refresh_token is not None
    planted = [token, grant.refresh_token.reveal(), client.secret]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [p for p in planted if p.encode() in data], path
    assert token not in repr(grant)
    assert isinstance(grant.access_token, Secret)


def test_threads_share_one_renewal(world: World) -> None:
    _, account = world.outlook()
    world.connect(account)
    world.clock.advance(3600)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(world.tokens.token_for(ANN))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(got) == 6
    assert len(set(got)) == 1
    assert world.idp.requests.count("outlook refresh_token") == 1
