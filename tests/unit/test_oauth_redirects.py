"""Redirect addresses, claims, the flow chooser and the callback listener."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from mailops.errors import AuthError, ConfigError
from mailops.model.verdict import VerdictState
from mailops.oauth import (
    Account,
    CallbackListener,
    FlowKind,
    Where,
    Who,
    check_base_url,
    choose_flow,
    compare_uris,
    judge_claims,
    read_claims,
    redirect_uri,
)
from mailops.oauth.redirects import authorized_domain

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ANN = "ann@example.com"


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.req("AZ-07")
@pytest.mark.parametrize("base", ["https://mail.acme.com", "https://mail.acme.com/", " https://mail.acme.com "])
def test_microsofts_redirect_is_base_and_path(base: str) -> None:
    assert redirect_uri("outlook", base) == "https://mail.acme.com/microsoft_outlook/confirm"


@pytest.mark.req("GO-19")
def test_googles_redirect_of_a_database() -> None:
    assert redirect_uri("gmail", "https://acme.odoo.com") == "https://acme.odoo.com/google_gmail/confirm"
    with pytest.raises(ConfigError, match="placeholder"):
        redirect_uri("gmail", "https://YourDBname.odoo.com")
    with pytest.raises(ConfigError, match="placeholder"):
        redirect_uri("gmail", "https://yourdbname.odoo.com")


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("http://mail.acme.com", "loopback only"),
        ("mail.acme.com", "Scheme or host"),
        ("https://", "Scheme or host"),
        ("https://mail.acme.com/?x=1", "more than"),
        ("https://ann:pw@mail.acme.com", "more than"),
        ("https://mail.acme.com:99999", "not an address"),
        ("https://<web base url>/", "placeholder"),
    ],
)
def test_bases_that_cannot_be_registered(base: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        redirect_uri("outlook", base)
    assert caught.value.code == "auth.base_url"


def test_loopback_may_be_http() -> None:
    assert redirect_uri("gmail", "http://localhost:8069") == "http://localhost:8069/google_gmail/confirm"


@pytest.mark.req("AZ-08")
def test_a_changed_base_url_gives_both_addresses_and_two_fixes() -> None:
    finding = check_base_url("outlook", "https://mail.acme.com", "https://acme.odoo.com")
    assert finding is not None
    assert finding.facts["registered"] == "https://mail.acme.com/microsoft_outlook/confirm"
    assert finding.facts["sent"] == "https://acme.odoo.com/microsoft_outlook/confirm"
    assert "freeze" in finding.fix
    assert "register https://acme.odoo.com/microsoft_outlook/confirm as a second" in finding.fix
    assert check_base_url("outlook", "https://mail.acme.com/", "https://mail.acme.com") is None


@pytest.mark.req("GO-11")
@pytest.mark.parametrize(
    ("base", "domain"),
    [
        ("https://acme.odoo.com", "odoo.com"),
        ("https://mail.acme.com", "acme.com"),
        ("https://acme.com", "acme.com"),
        ("https://a.b.acme.co.uk", "acme.co.uk"),
        ("https://mail.acme.example:8443/", "acme.example"),
    ],
)
def test_googles_authorized_domain(base: str, domain: str) -> None:
    assert authorized_domain(base) == domain


@pytest.mark.req("GO-31")
@pytest.mark.parametrize(
    ("registered", "sent", "word"),
    [
        ("https://a.example/x/confirm", "http://a.example/x/confirm", "https against http"),
        ("https://a.example/x/confirm/", "https://a.example/x/confirm", "slash at the end"),
        ("https://a.example/X/confirm", "https://a.example/x/confirm", "upper and lower case"),
        ("https://www.a.example/x", "https://a.example/x", "www."),
        ("https://a.example:8443/x", "https://a.example/x", "port 8443 against none"),
        ("https://a.example/x", "https://b.example/x", "host a.example against b.example"),
        ("https://a.example/x ", "https://a.example/x", "blank"),
    ],
)
def test_the_character_diff_names_the_slip(registered: str, sent: str, word: str) -> None:
    diff = compare_uris(registered, sent)
    assert not diff.equal
    assert any(word in w for w in diff.words)
    assert "".join(p.text for p in diff.pieces if p.kind != "extra") == registered
    assert "".join(p.text for p in diff.pieces if p.kind != "missing") == sent


@pytest.mark.req("GO-31")
def test_the_character_diff_marks_single_characters() -> None:
    diff = compare_uris("https://acme.odoo.com/google_gmail/confirm", "http://acme.odoo.com/google_gmail/confirm")
    assert diff.marked.splitlines() == [
        "registered  https://acme.odoo.com/google_gmail/confirm",
        "sent        http ://acme.odoo.com/google_gmail/confirm",
        "                ^",
    ]
    assert compare_uris("x", "x").equal


# --- claims -----------------------------------------------------------------------------------------------------------


def _jwt(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2ln"


def _account(**fields: object) -> Account:
    return Account(ANN, "outlook", FlowKind.WEB, ANN, "id", "vault:s", **fields)  # type: ignore[arg-type]


_GOOD = {
    "aud": "https://outlook.office.com", "scp": "SMTP.Send IMAP.AccessAsUser.All", "upn": ANN,
    "exp": int((NOW + timedelta(hours=1)).timestamp()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "oauth.claims"),
        ({"aud": "https://graph.microsoft.com"}, "oauth.claims_graph"),
        ({"aud": "00000003-0000-0000-c000-000000000000"}, "oauth.claims_graph"),
        ({"aud": "https://elsewhere.example"}, "oauth.claims_audience"),
        ({"exp": int(NOW.timestamp())}, "oauth.claims_expired"),
        ({"scp": "SMTP.Send User.Read"}, "oauth.claims_scope"),
        ({"upn": "bob@example.com"}, "oauth.claims_user"),
        ({"upn": "ANN@example.com", "scp": "User.Read SMTP.Send IMAP.AccessAsUser.All"}, "oauth.claims"),
    ],
)
def test_claims_are_judged_in_order(change: dict[str, object], code: str) -> None:
    claims = read_claims(_jwt(**{**_GOOD, **change}))
    verdict = judge_claims(claims, _account(), NOW)
    assert verdict.code == code
    assert verdict.passed is (code in ("oauth.claims", "oauth.claims_user"))  # another name may be the same mailbox
    if not verdict.passed:
        assert verdict.fix
    assert "without verifying" in verdict.evidence["note"]


def test_app_only_claims_are_roles() -> None:
    account = Account("a", "outlook", FlowKind.APP_SECRET, ANN, "id", "vault:s", tenant="t")
    good = {"aud": "https://outlook.office365.com", "roles": ["SMTP.SendAsApp", "IMAP.AccessAsApp"]}
    assert judge_claims(read_claims(_jwt(**good)), account, NOW).code == "oauth.claims"
    bad = judge_claims(read_claims(_jwt(**{**good, "roles": ["SMTP.SendAsApp"]})), account, NOW)
    assert "IMAP.AccessAsApp" in bad.found


@pytest.mark.parametrize("token", ["ya29.opaque", "a.b.c", "x.WzFd.y", "." * 2, "a" * 70_000])
def test_opaque_and_broken_tokens_have_no_claims(token: str) -> None:
    assert read_claims(token) is None
    assert judge_claims(None, _account(), NOW).state is VerdictState.SKIPPED


# --- the first question -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "where", "who", "options", "flow", "client"),
    [
        ("outlook", Where.THIS_MACHINE, Who.MAILBOX_OWNER, {}, FlowKind.LOOPBACK, "Mobile and desktop applications"),
        ("outlook", Where.WEB_SERVICE, Who.MAILBOX_OWNER, {}, FlowKind.WEB, "Web"),
        ("outlook", Where.REMOTE, Who.MEMBER, {}, FlowKind.DEVICE, "Mobile and desktop applications"),
        (
            "outlook",
            Where.REMOTE,
            Who.MEMBER,
            {"device_allowed": False},
            FlowKind.PASTE_BACK,
            "Mobile and desktop applications",
        ),
        ("outlook", Where.NO_SCREEN, Who.APPLICATION, {}, FlowKind.APP_SECRET, "App registration"),
        (
            "outlook",
            Where.NO_SCREEN,
            Who.APPLICATION,
            {"certificate": True},
            FlowKind.APP_CERTIFICATE,
            "App registration",
        ),
        ("gmail", Where.THIS_MACHINE, Who.MAILBOX_OWNER, {}, FlowKind.LOOPBACK, "Desktop app"),
        ("gmail", Where.WEB_SERVICE, Who.MAILBOX_OWNER, {}, FlowKind.WEB, "Web application"),
        ("gmail", Where.REMOTE, Who.MAILBOX_OWNER, {}, FlowKind.PASTE_BACK, "Desktop app"),
        ("gmail", Where.NO_SCREEN, Who.MAILBOX_OWNER, {}, FlowKind.PASTE_BACK, "Desktop app"),
        ("gmail", Where.REMOTE, Who.APPLICATION, {}, FlowKind.SERVICE_ACCOUNT, "Service account"),
    ],
)
def test_where_and_who_pick_the_flow(
    provider: str, where: Where, who: Who, options: dict[str, bool], flow: FlowKind, client: str
) -> None:
    choice = choose_flow(provider, where, who, **options)
    assert (choice.flow, choice.client_type) == (flow, client)
    assert choice.reason
    assert flow not in [over for over, _ in choice.passed_over]
    if provider == "gmail" and flow is FlowKind.PASTE_BACK:
        assert (FlowKind.DEVICE, "Google does not allow the mail scope in the device flow.") in choice.passed_over


# --- the callback listener --------------------------------------------------------------------------------------------


def _ask(
    port: int, target: str, *, method: str = "GET", body: str | None = None, host: str = "localhost"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Host": f"{host}:{port}"}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_the_listener_takes_one_answer_for_its_state() -> None:
    with CallbackListener() as listener:
        assert listener.redirect_uri == f"http://localhost:{listener.port}"
        right = "/?" + urlencode({"code": "abcdef", "state": "the-state"})
        assert _ask(listener.port, right)[0] == 400  # nothing is expected yet
        listener.expect("the-state")
        assert _ask(listener.port, "/other")[0] == 404
        assert _ask(listener.port, "/?code=abcdef&state=wrong")[0] == 400
        assert _ask(listener.port, "/?state=the-state")[0] == 400
        assert _ask(listener.port, "/?code=a&code=b&state=the-state")[0] == 400
        assert _ask(listener.port, right, host="evil.example")[0] == 400
        status, page = _ask(listener.port, right)
        assert status == 200
        assert "abcdef" not in page
        assert _ask(listener.port, right)[0] == 409
        assert listener.wait(5) == {"code": "abcdef", "state": "the-state"}
        port = listener.port
    with pytest.raises(ConnectionError):
        _ask(port, "/")  # gone with the sign-in


def test_the_listener_takes_a_form_post_and_a_refusal() -> None:
    with CallbackListener(path="/done") as listener:
        listener.expect("s")
        body = urlencode({"error": "access_denied", "error_description": "<script>x</script>", "state": "s"})
        status, page = _ask(listener.port, "/done", method="POST", body=body)
        assert status == 200
        assert "<script>" not in page
        assert listener.wait(5)["error"] == "access_denied"
        assert listener.redirect_uri.endswith("/done")


def test_the_listener_refuses_large_bodies_and_does_not_wait_forever() -> None:
    with CallbackListener() as listener:
        listener.expect("s")
        connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", "9999999")
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()
        with pytest.raises(AuthError) as caught:
            listener.wait(0.01)
        assert caught.value.code == "auth.no_answer"


def test_the_listeners_thread_ends_with_it() -> None:
    with CallbackListener():
        assert [t for t in threading.enumerate() if t.name == "oauth-callback"]
    for thread in [t for t in threading.enumerate() if t.name == "oauth-callback"]:
        thread.join(timeout=10)
    assert not [t for t in threading.enumerate() if t.name == "oauth-callback"]
