"""Google's grants, through google-auth-oauthlib and google-auth: web client, desktop client, service account.

``access_type=offline`` and ``prompt=consent`` go with every sign-in, or Google sends no refresh token the second time.
A desktop client has a secret as well (it is no secret in the strict sense); an empty one makes the redemption fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests

from ..errors import ConfigError
from ..ports import Secrets
from ..providers.refusals import refusal
from .account import Account, FlowKind
from .flow import TokenAnswer, new_state, read_answer
from .microsoft import unreachable

MAIL_SCOPE = "https://mail.google.com/"


class Google:
    """The grants of one account."""

    def __init__(self, account: Account, secrets: Secrets, http: requests.Session) -> None:
        self.account = account
        self._secrets = secrets
        self._http = http

    def begin(self, redirect_uri: str) -> tuple[str, str, dict[str, Any]]:
        """Start the code flow: address to open, state, and what to keep for :meth:`finish`."""
        flow = self._flow(redirect_uri, None)
        address, state = flow.authorization_url(
            access_type="offline", prompt="consent", login_hint=self.account.user, state=new_state()
        )
        if self._on_loopback:
            address = str(address).replace("https://", "http://", 1)
        return str(address), str(state), {"redirect_uri": redirect_uri, "code_verifier": flow.code_verifier}

    def finish(self, kept: Mapping[str, Any], answer: Mapping[str, str]) -> TokenAnswer:
        """Redeem the code. The state was checked by the caller."""
        from oauthlib.oauth2.rfc6749.errors import OAuth2Error  # type: ignore[import-untyped]  # ships no types

        if answer.get("error"):
            raise refusal("gmail", _sign_in_error(self.account, answer), grant="code")
        flow = self._flow(str(kept["redirect_uri"]), str(kept["code_verifier"]))
        try:
            got = dict(flow.fetch_token(code=answer["code"], timeout=20, verify=self._http.verify))
        except OAuth2Error as error:
            told = {"error": error.error, "error_description": error.description}
            raise refusal("gmail", told, grant="code") from error
        except Warning as changed:  # oauthlib's word for: fewer scopes were granted than asked for
            got = dict(getattr(changed, "token", None) or {})
        except requests.RequestException as error:
            raise unreachable(self.account, error) from error
        scope = got.get("scope") or ""
        granted = scope if isinstance(scope, list) else str(scope).split()
        if got.get("access_token") and scope and MAIL_SCOPE not in granted:
            raise refusal(
                "gmail", {"error": "access_denied", "error_description": "the box for mail was left unticked"}
            )
        if got.get("access_token") and not got.get("refresh_token"):
            raise refusal("gmail", {"error": "no_refresh_token", "error_description": "no refresh_token in the answer"})
        return read_answer(self.account, got)

    def app_only(self) -> TokenAnswer:
        """A token of a service account that acts for the mailbox (domain-wide delegation)."""
        from google.oauth2 import service_account

        if not self.account.service_account:
            raise ConfigError(
                "The service account's JSON key is missing.",
                code="auth.not_configured",
                facts={"key": self.account.key},
                fix="Make a key of the service account and store its JSON as a secret.",
            )
        try:
            info = json.loads(self._secrets.reveal(self.account.service_account))
            if self.account.token_url:
                info["token_uri"] = self.account.token_url
            kind: Any = service_account.Credentials  # google-auth is typed in part only
            credentials = kind.from_service_account_info(
                info, scopes=list(self.account.scopes), subject=self.account.sasl_user
            )
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                "This is not the JSON key of a service account.",
                code="auth.service_account",
                facts={"key": self.account.key},
                fix="Download the key as JSON and store the whole file as the secret.",
            ) from error
        return self._refreshed(credentials, "assertion")

    def refresh(self, refresh_token: str) -> TokenAnswer:
        """Redeem a refresh token; the answer rarely holds a new one."""
        from google.oauth2.credentials import Credentials

        kind: Any = Credentials  # google-auth is typed in part only
        credentials = kind(
            token=None,
            refresh_token=refresh_token,
            token_uri=self.account.endpoints.token,
            client_id=self.account.client_id,
            client_secret=self._secret(),
        )
        return self._refreshed(credentials, "refresh")

    # --- inside -------------------------------------------------------------------------------------------------------

    def _refreshed(self, credentials: Any, grant: str) -> TokenAnswer:
        from google.auth.exceptions import RefreshError, TransportError
        from google.auth.transport.requests import Request

        try:
            credentials.refresh(Request(self._http))
        except RefreshError as error:
            raise refusal("gmail", _refresh_error(error), grant=grant) from error
        except TransportError as error:
            raise unreachable(self.account, error) from error
        expires = 3600
        if credentials.expiry is not None:
            from datetime import UTC, datetime

            expires = round((credentials.expiry - datetime.now(UTC).replace(tzinfo=None)).total_seconds())
        return read_answer(
            self.account,
            {
                "access_token": credentials.token,
                "refresh_token": getattr(credentials, "refresh_token", None),
                "expires_in": expires,
                "scope": getattr(credentials, "granted_scopes", None) or "",
            },
        )

    @property
    def _on_loopback(self) -> bool:
        """A sandbox's sign-in page. oauthlib takes https only, even for a page on loopback that nobody can overhear."""
        return self.account.endpoints.authorize.startswith(("http://127.0.0.1:", "http://localhost:"))

    def _flow(self, redirect_uri: str, verifier: str | None) -> Any:
        from google_auth_oauthlib.flow import Flow

        account = self.account
        if not account.client_id:
            raise ConfigError(
                account.about.not_configured,
                code="auth.not_configured",
                facts={"key": account.key, "missing": "client id"},
                fix="Enter Client ID and Client Secret first.",
            )
        authorize = account.endpoints.authorize
        client = {
            "client_id": account.client_id,
            "client_secret": self._secret(),
            "auth_uri": ("https" + authorize[4:]) if self._on_loopback else authorize,
            "token_uri": account.endpoints.token,
            "redirect_uris": [redirect_uri],
        }
        kind = "web" if account.flow is FlowKind.WEB else "installed"
        flow = Flow.from_client_config(
            {kind: client},
            scopes=list(account.scopes),
            redirect_uri=redirect_uri,
            code_verifier=verifier,
            autogenerate_code_verifier=verifier is None,
        )
        for prefix, adapter in self._http.adapters.items():
            flow.oauth2session.mount(prefix, adapter)
        flow.oauth2session.trust_env = self._http.trust_env
        return flow

    def _secret(self) -> str:
        if not self.account.client_secret:
            raise ConfigError(
                self.account.about.not_configured,
                code="auth.not_configured",
                facts={"key": self.account.key, "missing": "client secret"},
                fix="Enter Client ID and Client Secret first; a Desktop app client has a secret as well.",
            )
        return self._secrets.reveal(self.account.client_secret)


def _sign_in_error(account: Account, answer: Mapping[str, str]) -> dict[str, str]:
    """The error of the redirect. ``access_denied`` while the consent screen is in Testing means: not a test user
    (GO-29), unless the provider says otherwise."""
    described = answer.get("error_description") or ""
    if answer["error"] == "access_denied" and account.testing and not described:
        described = "403 access denied: the consent screen is in Testing and this account is not a test user"
    return {"error": answer["error"], "error_description": described}


def _refresh_error(error: Exception) -> dict[str, Any]:
    """``RefreshError`` holds a sentence and, usually, the endpoint's JSON."""
    for part in error.args[1:]:
        if isinstance(part, Mapping) and part.get("error"):
            return {
                **part,
                "error_description": f"{part.get('error_description', '')} {part.get('error_subtype', '')}".strip(),
            }
    said = str(error.args[0] if error.args else error)
    if "Reauth" in type(error).__name__:  # google-auth's own words name its command line, which helps nobody here
        return {"error": "invalid_grant", "error_description": "reauth related error (invalid_rapt)"}
    name, _, rest = said.partition(":")
    known = name.replace("_", "").isalpha() and name.islower()
    return {"error": name if known else "", "error_description": rest.strip() if known else said}
