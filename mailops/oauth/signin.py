"""Signing a person in: begin, come back, look, store.

``begin`` gives the address to open; ``redeem`` takes what came back (from the listener, a web route, or pasted) and
gives a :class:`Redeemed` with tag and warnings; ``store`` keeps it. Between the last two a person can still say no:
signed in as another account than configured is told *before* anything is saved (AZ-27).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from ..clock import SystemClock
from ..errors import ConfigError
from ..model.verdict import Finding, Severity
from ..ports import Clock
from ..secrets import SecretStore
from .account import Account, AccountStore, Connected, FlowKind
from .flow import Begun, PendingStore, TokenAnswer, read_redirect
from .google import Google
from .loopback import CallbackListener
from .microsoft import Microsoft
from .tokens import TokenService, default_http, grants_of


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A sign-in that came to its end and is not stored yet."""

    account: Account
    answer: TokenAnswer = field(repr=False)
    warnings: tuple[Finding, ...] = ()


class SignIn:
    """The sign-ins of one workspace."""

    def __init__(
        self,
        secrets: SecretStore,
        *,
        clock: Clock | None = None,
        http: Callable[[], requests.Session] = default_http,
    ) -> None:
        self.secrets = secrets
        self.clock: Clock = clock or SystemClock()
        self.accounts = AccountStore(secrets.vault)
        self.tokens = TokenService(secrets, clock=self.clock, http=http)
        self._http = http
        self._pending = PendingStore(secrets.vault, self.clock)

    # --- code flow ----------------------------------------------------------------------------------------------------

    def begin(self, account: Account, redirect_uri: str) -> Begun:
        """Start the code flow. Nothing is stored but the pending sign-in. Raises ConfigError, AuthError."""
        if account.flow.app_only or account.flow is FlowKind.DEVICE:
            raise ConfigError(
                f"The flow {account.flow} has no sign-in page to come back from.", code="auth.flow", facts={}
            )
        address, state, kept = self._grants(account).begin(redirect_uri)
        until = self._pending.keep(state, account, kept)
        return Begun(address, state, redirect_uri, until)

    def redeem(self, came_back: str | Mapping[str, str]) -> Redeemed:
        """Redeem what came back: the redirected address as text, or its parameters.

        Raises :class:`AuthError`: ``auth.state`` for a foreign or used state, or the catalogue's row for the
        provider's refusal. Nothing is stored.
        """
        answer = read_redirect(came_back) if isinstance(came_back, str) else dict(came_back)
        account, kept = self._pending.take(answer.get("state", ""))
        return self._looked_at(account, self._grants(account).finish(kept, answer))

    def store(self, redeemed: Redeemed) -> str:
        """Keep the grant; gives the text of the green tag. A mark of an ended sign-in is gone with it."""
        grant = self.tokens.grant_of(redeemed.answer, signed_in=True)
        account = redeemed.account
        if redeemed.answer.user and not account.is_of(redeemed.answer.user):  # kept all the same: confirmed
            account = replace(account, signed_in=redeemed.answer.user)
        with self.secrets.vault.hold(self.accounts.name(account.key)):
            self.accounts.save(Connected(account, grant))
        return redeemed.account.about.token_tag

    def by_loopback(
        self, account: Account, open_browser: Callable[[str], object], *, wait: float = 300.0, host: str = "localhost"
    ) -> Redeemed:
        """The code flow with a listener on loopback that lives only until the answer came (or ``wait`` seconds)."""
        with CallbackListener(host=host) as listener:
            begun = self.begin(account, listener.redirect_uri)
            listener.expect(begun.state)
            open_browser(begun.address)
            return self.redeem(listener.wait(wait))

    # --- other flows --------------------------------------------------------------------------------------------------

    def begin_device(self, account: Account) -> dict[str, Any]:
        """Ask for a device code (Microsoft). Show ``user_code`` and ``verification_uri``."""
        grants = self._grants(account)
        if isinstance(grants, Google):
            raise ConfigError(
                "Google does not allow the mail scope in the device flow.",
                code="auth.flow",
                facts={"key": account.key},
                fix="Use the loopback flow, or paste the redirected address back.",
            )
        return grants.begin_device()

    def finish_device(self, account: Account, flow: Mapping[str, Any], stop: threading.Event | None = None) -> Redeemed:
        """Wait for the approval of a device code."""
        grants = self._grants(account)
        assert isinstance(grants, Microsoft)
        return self._looked_at(account, grants.finish_device(flow, stop))

    def app_only(self, account: Account) -> Redeemed:
        """Get a first token for an application (client credentials, service account)."""
        return Redeemed(account, self._grants(account).app_only())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _grants(self, account: Account) -> Microsoft | Google:
        return grants_of(account, self.secrets, self._http())

    def _looked_at(self, account: Account, answer: TokenAnswer) -> Redeemed:
        warnings: list[Finding] = []
        if answer.user and not account.is_of(answer.user):
            warnings.append(
                Finding(
                    "auth.other_account",
                    Severity.WARNING,
                    f"Signed in as {answer.user}, but the server is set up for {account.user}.",
                    fix=f"Connect again and pick {account.user}, or change the user name of the server.",
                    facts={"signed_in": answer.user, "configured": account.user},
                )
            )
        if answer.refresh_token is None and not account.flow.app_only:
            warnings.append(
                Finding(
                    "auth.no_refresh_token",
                    Severity.WARNING,
                    "The provider gave no refresh token, so the connection ends within the hour.",
                    fix="Connect again and grant lasting access.",
                )
            )
        granted = {_short(scope) for scope in answer.scope.split()}
        for scope in account.scopes if granted else ():
            if _short(scope) not in granted and not scope.endswith("/.default"):
                warnings.append(
                    Finding(
                        "auth.scope_missing",
                        Severity.WARNING,
                        f"The permission {scope} was not granted.",
                        fix="Add it to the registration, and connect again.",
                        facts={"scope": scope},
                    )
                )
        return Redeemed(account, answer, tuple(warnings))


def _short(scope: str) -> str:
    """``https://outlook.office.com/SMTP.Send`` and ``SMTP.Send`` are one: Microsoft answers with either."""
    return scope.rstrip("/").rsplit("/", 1)[-1].lower()
