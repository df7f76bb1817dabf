"""Microsoft's grants, through msal: code with PKCE, device code, client credentials by secret and by certificate.

msal keeps no cache here: the grant lives in the vault, and each call builds the application anew, late, for its
constructor already talks to the network. A token that came from a public flow is renewed without the secret
(AADSTS700025 otherwise). msal adds ``openid profile offline_access`` by itself and refuses them in the scopes.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests

from ..errors import AuthError, ConfigError
from ..ports import Secrets
from ..providers.refusals import refusal
from ..secrets.references import SCHEMES
from .account import Account, FlowKind
from .flow import TokenAnswer, new_state, read_answer

_PUBLIC_HOSTS = (
    "https://login.microsoftonline.com/",
    "https://login.microsoftonline.us/",
    "https://login.chinacloudapi.cn/",
)


class Microsoft:
    """The grants of one account. ``http`` is a ``requests`` session (or what looks like one)."""

    def __init__(self, account: Account, secrets: Secrets, http: requests.Session) -> None:
        self.account = account
        self._secrets = secrets
        self._http = http

    # --- code flow ----------------------------------------------------------------------------------------------------

    def begin(self, redirect_uri: str) -> tuple[str, str, dict[str, Any]]:
        """Start the code flow: address to open, state, and what to keep for :meth:`finish`."""
        # The answer has to stand in the address: it may be pasted back, and the product's own route reads a query.
        warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended", category=UserWarning)
        flow: dict[str, Any] = self._call(
            lambda app: app.initiate_auth_code_flow(
                list(self.account.scopes),
                redirect_uri=redirect_uri,
                state=new_state(),
                login_hint=self.account.user,
                response_mode="query",
                prompt="select_account",
            )
        )
        if flow.get("error"):
            read_answer(self.account, flow)
        return str(flow["auth_uri"]), str(flow["state"]), flow

    def finish(self, kept: Mapping[str, Any], answer: Mapping[str, str]) -> TokenAnswer:
        """Redeem the code. The state was checked by the caller; msal checks nonce and its own state again."""
        flow = dict(kept)
        try:
            result = self._call(lambda app: app.acquire_token_by_auth_code_flow(flow, dict(answer)))
        except ValueError as error:  # msal's word for a wrong state or a missing code
            raise AuthError(
                "The answer does not belong to this sign-in.", code="auth.state", fix="Start the sign-in again."
            ) from error
        return read_answer(self.account, result, "code")

    # --- device code --------------------------------------------------------------------------------------------------

    def begin_device(self) -> dict[str, Any]:
        """Ask for a device code: ``user_code``, ``verification_uri``, ``expires_in``, ``interval`` and more."""
        flow: dict[str, Any] = self._call(lambda app: app.initiate_device_flow(list(self.account.scopes)))
        if "user_code" not in flow:
            read_answer(self.account, flow)
        return flow

    def finish_device(self, flow: Mapping[str, Any], stop: threading.Event | None = None) -> TokenAnswer:
        """Wait until the code was approved, refused or ran out; ``stop`` ends the wait early."""
        held = dict(flow)

        def leave(current: Mapping[str, Any]) -> bool:
            return bool(stop and stop.is_set()) or float(current["expires_at"]) < time.time()

        result = self._call(lambda app: app.acquire_token_by_device_flow(held, exit_condition=leave))
        if result.get("error") == "authorization_pending" and float(held["expires_at"]) < time.time():
            result = {"error": "expired_token", "error_codes": [70019], "error_description": "The code has run out."}
        return read_answer(self.account, result, "code")

    # --- the application itself, and renewal --------------------------------------------------------------------------

    def app_only(self) -> TokenAnswer:
        """Client credentials (RFC 6749 section 4.4). Needs the tenant's own address: no request is made without."""
        if self.account.tenant in ("common", "organizations", "consumers") and self.account.authority is None:
            raise refusal("outlook", {"error": "invalid_grant", "error_codes": [9001023]}, doing="before asking")
        return read_answer(
            self.account, self._call(lambda app: app.acquire_token_for_client(list(self.account.scopes))), "assertion"
        )

    def refresh(self, refresh_token: str) -> TokenAnswer:
        """Redeem a refresh token; the answer holds a new one."""
        return read_answer(
            self.account,
            self._call(lambda app: app.acquire_token_by_refresh_token(refresh_token, list(self.account.scopes))),
            "refresh",
        )

    # --- inside -------------------------------------------------------------------------------------------------------

    def _call(self, act: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Build the application and act; network trouble becomes :class:`AuthError` ``auth.unreachable``."""
        import msal

        account = self.account
        authority = account.endpoints.authority.rstrip("/")
        place: dict[str, Any] = {"authority": authority}
        if authority.endswith("/v2.0"):
            place = {"oidc_authority": authority}
        elif not authority.startswith(_PUBLIC_HOSTS):
            place["instance_discovery"] = False
        if not account.client_id:
            raise ConfigError(
                account.about.not_configured,
                code="auth.not_configured",
                facts={"key": account.key, "missing": "client id"},
                fix="Enter Client ID and Client Secret first.",
            )
        try:
            if account.flow.public:
                return act(msal.PublicClientApplication(account.client_id, http_client=self._http, **place))
            return act(
                msal.ConfidentialClientApplication(
                    account.client_id, client_credential=self._credential(), http_client=self._http, **place
                )
            )
        except (requests.RequestException, msal.exceptions.MsalError) as error:
            raise unreachable(account, error) from error
        except ValueError as error:
            if "state" in str(error):
                raise
            raise ConfigError(
                "The authority does not answer as a Microsoft sign-in address does.",
                code="auth.authority",
                facts={"authority": authority, "reason": str(error).splitlines()[0][:200]},
                fix="Check the tenant (id or domain) and, where one was given, the address of the authority.",
            ) from error

    def _credential(self) -> Any:
        account = self.account
        if account.flow is FlowKind.APP_CERTIFICATE:
            if not account.certificate or not account.certificate_public:
                raise ConfigError(
                    "Certificate or private key is missing.",
                    code="auth.not_configured",
                    facts={"key": account.key},
                    fix="Give both: the certificate file and the reference of its private key.",
                )
            private, public = self._secrets.reveal(account.certificate), read_certificate(account, self._secrets)
            passphrase = self._secrets.reveal(account.passphrase) if account.passphrase else None
            _check_pair(account, private, public, passphrase)
            credential = {"private_key": private, "public_certificate": public}
            return {**credential, "passphrase": passphrase} if passphrase else credential
        if not account.client_secret:
            raise ConfigError(
                account.about.not_configured,
                code="auth.not_configured",
                facts={"key": account.key, "missing": "client secret"},
                fix="Enter Client ID and Client Secret first.",
            )
        return self._secrets.reveal(account.client_secret)


def read_certificate(account: Account, secrets: Secrets) -> str:
    """The PEM certificate of an account: a path (also relative), ``file:``, or any reference of a secret.

    Raises :class:`ConfigError` ``auth.certificate`` where there is none to read.
    """
    from cryptography import x509

    where = account.certificate_public or ""
    scheme, colon, rest = where.partition(":")
    path = where if not colon or len(scheme) == 1 or scheme not in SCHEMES else rest if scheme == "file" else ""
    try:
        text = Path(path).expanduser().read_text("utf-8") if path else secrets.reveal(where)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise _no_certificate(account, f"{where} cannot be read ({why})", "certificate_public") from error
    if "PRIVATE KEY" in text and "BEGIN CERTIFICATE" not in text:
        raise _no_certificate(account, f"{where} holds a private key, not a certificate", "certificate_public")
    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise _no_certificate(account, f"{where} holds no PEM certificate", "certificate_public") from error
    return text


def _check_pair(account: Account, private: str, public: str, passphrase: str | None) -> None:
    """The key is one that Microsoft takes (RSA), opens with the passphrase, and belongs to the certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private.encode(), passphrase.encode() if passphrase else None)
    except (ValueError, TypeError) as error:
        why = "what was stored as its private key is no PEM key, or its passphrase is missing or wrong"
        raise _no_certificate(account, why, "certificate") from error
    if not isinstance(key, RSAPrivateKey):
        raise _no_certificate(account, "its private key is no RSA key, and Microsoft takes no other", "certificate")
    if key.public_key() != x509.load_pem_x509_certificate(public.encode()).public_key():
        raise _no_certificate(account, "the private key belongs to another certificate", "certificate")


def _no_certificate(account: Account, why: str, what: str) -> ConfigError:
    return ConfigError(
        f"The application's certificate cannot be used: {why}.",
        code="auth.certificate",
        facts={"key": account.key, "field": what},
        fix="Give both as PEM: the certificate (BEGIN CERTIFICATE) by path or reference, its private key as a secret: "
        "`mailops secrets set NAME < key.pem`",
    )


def unreachable(account: Account, error: Exception) -> AuthError:
    """The provider's sign-in servers could not be reached: worth another try, never a reason to sign in again."""
    return AuthError(
        f"The sign-in servers of {account.about.product} cannot be reached.",
        code="auth.unreachable",
        facts={"key": account.key, "class": "retry", "reason": type(error).__name__},
        fix="Check network, proxy and CA file; mailops tries again later.",
    )
