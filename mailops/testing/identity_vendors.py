"""The vendors' token endpoints over :class:`IdentityProvider`: addresses, JSON shapes and words of refusals.

Microsoft's answers carry ``error_codes``, ``trace_id`` and so on, Google's only ``error`` and ``error_description``.
Access tokens of Microsoft are JSON web tokens (their signature is random: nobody but a mail server checks it, and the
sandbox's mail servers ask the provider), Google's are opaque.
"""

from __future__ import annotations

import base64
import json
import secrets as randomness
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from .identity_provider import Client, IdentityProvider, Refused, Scenario, same_text

MICROSOFT = "https://login.microsoftonline.com"
GOOGLE_SIGN_IN = "https://accounts.google.com"
GOOGLE = "https://oauth2.googleapis.com"
TENANT = "11111111-2222-4333-8444-555555555555"
AUDIENCE = "https://outlook.office.com"


class _Adapter(BaseAdapter):
    """Answers ``requests`` in the process."""

    def __init__(self, answer: Callable[[str, str, dict[str, str]], tuple[int, Any]]) -> None:
        super().__init__()
        self._answer = answer

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        body = request.body or b""
        text = body.decode() if isinstance(body, bytes) else str(body)
        form = dict(parse_qsl(text, keep_blank_values=True))
        basic = str(request.headers.get("Authorization", "")) if request.headers else ""
        if basic.startswith("Basic "):
            name, _, secret = base64.b64decode(basic[6:]).decode().partition(":")
            form.setdefault("client_id", name)
            form.setdefault("client_secret", secret)
        status, content = self._answer(request.method or "GET", request.url or "", form)
        response = requests.Response()
        response.status_code = status
        response._content = json.dumps(content).encode()
        response.headers = CaseInsensitiveDict({"Content-Type": "application/json"})
        response.encoding = "utf-8"
        response.url = request.url or ""
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


class _Nowhere(BaseAdapter):
    """Everything else: the sandbox never leaves the machine."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        raise requests.ConnectionError(f"the sandbox does not reach {urlsplit(request.url or '').hostname}")

    def close(self) -> None:
        """Nothing is open."""


def session_for(provider: IdentityProvider) -> requests.Session:
    """A session whose https addresses are answered by the provider, or by nobody."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", _Nowhere())
    session.mount("http://", _Nowhere())
    session.mount(MICROSOFT + "/", _Adapter(lambda m, u, f: microsoft(provider, m, u, f)))
    session.mount(GOOGLE + "/", _Adapter(lambda m, u, f: google(provider, m, u, f)))
    return session


# --- Microsoft --------------------------------------------------------------------------------------------------------


def microsoft(provider: IdentityProvider, method: str, url: str, form: dict[str, str]) -> tuple[int, Any]:
    """One request to login.microsoftonline.com: status and JSON."""
    path = urlsplit(url).path.strip("/").split("/")
    tenant, rest = path[0], "/".join(path[1:])
    try:
        if rest.endswith(".well-known/openid-configuration"):
            return 200, discovery(provider, tenant)
        if rest == "discovery/instance":
            host = urlsplit(MICROSOFT).hostname
            return 200, {"metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]}
        if tenant in ("nowhere", "nowhere.example"):
            raise Refused("invalid_request", f"Tenant '{tenant}' not found.", aadsts=90002)
        if method == "GET":
            raise Refused(
                "invalid_request", "The endpoint only accepts POST requests. Received a GET request.", aadsts=900561
            )
        if rest == "oauth2/v2.0/devicecode":
            return 200, provider.new_device(_client(provider, form, proof=False), form.get("scope", ""))
        if rest == "oauth2/v2.0/token":
            return 200, _microsoft_token(provider, tenant, form)
        raise Refused("invalid_request", "The request is malformed.", aadsts=900144)
    except Refused as refused:
        return refused.status, microsoft_error(refused)


def microsoft_error(refused: Refused) -> dict[str, Any]:
    """The JSON of a refusal, as the vendor shapes it."""
    trace = "00000000-aaaa-4bbb-8ccc-0123456789ab"
    now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
    return {
        "error": refused.error,
        "error_description": f"AADSTS{refused.aadsts}: {refused.said} Trace ID: {trace} "
        f"Correlation ID: {trace} Timestamp: {now}",
        "error_codes": [refused.aadsts],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": trace,
        "error_uri": f"https://login.microsoftonline.com/error?code={refused.aadsts}",
    }


def discovery(provider: IdentityProvider, tenant: str) -> dict[str, Any]:
    pages = f"{provider.pages_url}/microsoft/{tenant}" if provider.pages_url else f"{MICROSOFT}/{tenant}"
    return {
        "issuer": f"{MICROSOFT}/{TENANT}/v2.0",
        "authorization_endpoint": f"{pages}/oauth2/v2.0/authorize",
        "token_endpoint": f"{MICROSOFT}/{tenant}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"{MICROSOFT}/{tenant}/oauth2/v2.0/devicecode",
        "jwks_uri": f"{MICROSOFT}/{tenant}/discovery/v2.0/keys",
    }


def _client(provider: IdentityProvider, form: dict[str, str], *, proof: bool = True) -> Client:
    """The application, proven by secret or certificate; raises with the number an admin meets."""
    client = provider.client(form.get("client_id", ""))
    if client is None or client.vendor != "outlook":
        raise Refused(
            "unauthorized_client",
            f"Application with identifier '{form.get('client_id')}' was not found in the directory 'Sandbox'.",
            aadsts=700016,
        )
    if client.kind == "public":
        if form.get("client_secret") or form.get("client_assertion"):
            raise Refused(
                "invalid_client",
                "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
                aadsts=700025,
                status=401,
            )
        return client
    if not proof:
        return client
    if form.get("client_assertion"):
        _check_assertion(client, form["client_assertion"])
        return client
    given = form.get("client_secret", "")
    if not given:
        raise Refused(
            "invalid_client",
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            aadsts=7000218,
            status=401,
        )
    if not same_text(given, client.secret):
        raise Refused(
            "invalid_client",
            "Invalid client secret provided. Ensure the secret being sent is "
            "the client secret value, not the client secret ID, for a secret added to app "
            f"'{client.client_id}'.",
            aadsts=7000215,
            status=401,
        )
    if client.secret_expired:
        raise Refused(
            "invalid_client",
            f"The provided client secret keys for app '{client.client_id}' are expired.",
            aadsts=7000222,
            status=401,
        )
    return client


def _check_assertion(client: Client, assertion: str) -> None:
    """A certificate credential (RFC 7523): signature by the uploaded certificate, RS256 or PS256."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    wrong = Refused(
        "invalid_client",
        "Client assertion contains an invalid signature. The key was not found.",
        aadsts=700027,
        status=401,
    )
    if not client.certificate:
        raise wrong
    header, payload, signature = (*assertion.split("."), "", "", "")[:3]
    key = x509.load_pem_x509_certificate(client.certificate.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    algorithm = json.loads(_unpadded(header)).get("alg")
    pad = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if algorithm == "PS256" else padding.PKCS1v15()
    try:
        key.verify(_unpadded(signature), f"{header}.{payload}".encode(), pad, hashes.SHA256())
    except InvalidSignature:
        raise wrong from None
    claims = json.loads(_unpadded(payload))
    if not claims.get("nbf", 0) - 300 <= time.time() <= claims.get("exp", 0):
        raise Refused(
            "invalid_client", "Client assertion is not within its valid time range.", aadsts=500133, status=401
        )


def _microsoft_token(provider: IdentityProvider, tenant: str, form: dict[str, str]) -> dict[str, Any]:
    grant = form.get("grant_type", "")
    provider.requests.append(f"outlook {grant}")
    client = _client(provider, form)
    if grant == "client_credentials":
        if tenant in ("common", "organizations", "consumers"):
            raise Refused(
                "invalid_grant",
                "The grant type is not supported over the /common or /consumers endpoints.",
                aadsts=9001023,
            )
        return provider.issue(client, f"app:{client.client_id}", form.get("scope", ""), refresh=False)
    if grant == "authorization_code":
        kept = provider.redeem_code(form, client)
        _scenario_at_token(provider, kept["address"])
        answer = provider.issue(client, kept["address"], _mail_scopes(kept["scope"]))
        answer["id_token"] = id_token(client, _name(provider, kept["address"]), kept["nonce"])
        return answer
    if grant == "refresh_token":
        answer = provider.redeem_refresh(form.get("refresh_token", ""), client)
        return answer
    if grant in ("device_code", "urn:ietf:params:oauth:grant-type:device_code"):
        kept = provider.poll_device(form.get("device_code", ""), client)
        answer = provider.issue(client, kept["address"], _mail_scopes(kept["scope"]))
        answer["id_token"] = id_token(client, _name(provider, kept["address"]), "")
        return answer
    raise Refused(
        "invalid_request", "The request body must contain the following parameter: 'grant_type'.", aadsts=900144
    )


def _scenario_at_token(provider: IdentityProvider, address: str) -> None:
    person = provider.person(address)
    if person is None:
        return
    if person.scenario is Scenario.SECRET_EXPIRED:
        raise Refused("invalid_client", "The provided client secret keys are expired.", aadsts=7000222, status=401)
    if person.scenario is Scenario.THROTTLED and provider.requests.count("outlook authorization_code") > 3:
        raise Refused("temporarily_unavailable", "The request has been throttled.", aadsts=90055, status=429)


def _name(provider: IdentityProvider, address: str) -> str:
    person = provider.person(address)
    return person.name if person else address


def _mail_scopes(scope: str) -> str:
    return " ".join(s for s in scope.split() if s.startswith("https://"))


def id_token(client: Client, address: str, nonce: str) -> str:
    """Who signed in. Its times are the system's, for msal compares them with the system's clock."""
    now = int(time.time())
    claims = {
        "aud": client.client_id, "iss": f"{MICROSOFT}/{TENANT}/v2.0", "iat": now, "nbf": now, "exp": now + 3600,
        "sub": "sandbox", "oid": "sandbox", "tid": TENANT, "preferred_username": address, "nonce": nonce, "ver": "2.0",
    }  # fmt: skip
    return _jwt(claims)


# --- Google -----------------------------------------------------------------------------------------------------------


def google(provider: IdentityProvider, method: str, url: str, form: dict[str, str]) -> tuple[int, Any]:
    """One request to oauth2.googleapis.com: status and JSON."""
    path = urlsplit(url).path
    try:
        if path == "/token" and method == "POST":
            return 200, _google_token(provider, form)
        if path == "/revoke":
            return 200, {}
        raise Refused("invalid_request", "Not found", status=404)
    except Refused as refused:
        answer = {"error": refused.error, "error_description": refused.said}
        if refused.subtype:
            answer["error_subtype"] = refused.subtype
        return refused.status, answer


def _google_token(provider: IdentityProvider, form: dict[str, str]) -> dict[str, Any]:
    grant = form.get("grant_type", "")
    provider.requests.append(f"gmail {grant.rsplit(':', 1)[-1]}")
    if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
        return _service_account(provider, form.get("assertion", ""))
    client = provider.client(form.get("client_id", ""))
    if client is None or client.vendor != "gmail":
        raise Refused("invalid_client", "The OAuth client was not found.", status=401)
    if not same_text(form.get("client_secret", ""), client.secret):
        raise Refused("invalid_client", "Unauthorized", status=401)
    if client.secret_expired:
        raise Refused("deleted_client", "The OAuth client was deleted.", status=401)
    if grant == "authorization_code":
        kept = provider.redeem_code(form, client)
        person = provider.person(kept["address"])
        if person is not None and person.scenario is Scenario.SECRET_EXPIRED:
            raise Refused("deleted_client", "The OAuth client was deleted.", status=401)
        return provider.issue(client, kept["address"], kept["scope"])
    if grant == "refresh_token":
        return provider.redeem_refresh(form.get("refresh_token", ""), client)
    raise Refused("unsupported_grant_type", f"Invalid grant_type: {grant}")


def _service_account(provider: IdentityProvider, assertion: str) -> dict[str, Any]:
    """Domain-wide delegation: the signed request of a service account (RFC 7523)."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    header, payload, signature = (*assertion.split("."), "", "", "")[:3]
    try:
        claims = json.loads(_unpadded(payload))
    except ValueError:
        raise Refused("invalid_grant", "Invalid JWT.") from None
    client = provider.client(str(claims.get("iss", "")))
    if client is None or not client.certificate:
        raise Refused("invalid_grant", "Invalid grant: account not found")
    key = x509.load_pem_x509_certificate(client.certificate.encode()).public_key()
    assert isinstance(key, RSAPublicKey)
    try:
        key.verify(_unpadded(signature), f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise Refused("invalid_grant", "Invalid JWT Signature.") from None
    scope = str(claims.get("scope", ""))
    person = provider.person(str(claims.get("sub", "")))
    if person is not None and person.scenario is Scenario.SA_KEY_DELETED:
        raise Refused("invalid_grant", "Invalid JWT Signature.")
    if not set(scope.split()) <= set(client.delegated) or person is None:
        raise Refused(
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or "
            "client not authorized for any of the scopes requested.",
            status=401,
        )
    return provider.issue(client, person.address, scope, refresh=False)


# --- tokens -----------------------------------------------------------------------------------------------------------


def mint(provider: IdentityProvider, client: Client, address: str, scope: str, now: datetime) -> str:
    """An access token of the vendor's kind."""
    if client.vendor == "gmail":
        return "ya29." + randomness.token_urlsafe(64 + provider.pad)
    short = [s.rsplit("/", 1)[-1] for s in scope.split()]
    claims: dict[str, Any] = {
        "aud": AUDIENCE, "iss": f"https://sts.windows.net/{TENANT}/", "tid": TENANT, "appid": client.client_id,
        "iat": int(now.timestamp()), "exp": int(now.timestamp()) + provider.access_seconds,
        "jti": randomness.token_hex(8),
    }  # fmt: skip
    if address.startswith("app:"):
        claims["roles"] = ["IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"]
    else:
        person = provider.person(address)
        claims |= {
            "upn": person.name if person else address,
            "scp": " ".join(s for s in short if s in client.permissions),
        }
    if provider.pad:
        claims["pad"] = randomness.token_urlsafe(provider.pad)
    return _jwt(claims)


def _jwt(claims: dict[str, Any]) -> str:
    parts = [json.dumps({"typ": "JWT", "alg": "RS256", "kid": "sandbox"}), json.dumps(claims)]
    encoded = [base64.urlsafe_b64encode(p.encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*encoded, randomness.token_urlsafe(86)])


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
