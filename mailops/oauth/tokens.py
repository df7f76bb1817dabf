"""Tokens for sending and fetching: :class:`TokenService` implements :class:`mailops.ports.TokenSource`.

::

    access_token(server) ── long enough? ── yes ─► hand it out            (no lock, no network)
            │ no, or the server refused it
            ▼
    hold oauth/<key>  (all processes)  ─►  read again: another was quicker? ─► its token
            │ no
            ▼
    refresh over the network ─► write the new refresh token, synced ─► hand out ─► let go

One process at a time redeems a refresh token: with rotation, a second redemption makes the provider revoke the whole
family. A refusal that only a person can mend is kept beside the grant, so nobody hammers the provider with a dead token
(AADSTS50196); a new sign-in clears it. Trouble on the way keeps everything as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from ..clock import SystemClock
from ..errors import AuthError
from ..model.setup import Server
from ..ports import Clock
from ..secrets import SecretStore
from .account import Account, AccountStore, Connected, Grant, renewed

if TYPE_CHECKING:
    import requests

    from .flow import TokenAnswer
    from .google import Google
    from .microsoft import Microsoft

MARGIN = timedelta(minutes=5)


def grants_of(account: Account, secrets: SecretStore, http: requests.Session) -> Microsoft | Google:
    """The provider's grants for this account."""
    if account.provider == "outlook":
        from .microsoft import Microsoft

        return Microsoft(account, secrets, http)
    from .google import Google

    return Google(account, secrets, http)


def default_http() -> requests.Session:
    from .http import HttpSession

    return HttpSession()


class TokenService:
    """Access tokens of the connected mailboxes of one workspace. Safe for threads and processes."""

    def __init__(
        self,
        secrets: SecretStore,
        *,
        clock: Clock | None = None,
        http: Callable[[], requests.Session] = default_http,
        margin: timedelta = MARGIN,
    ) -> None:
        self.secrets = secrets
        self.accounts = AccountStore(secrets.vault)
        self.clock: Clock = clock or SystemClock()
        self._http = http
        self._margin = margin
        self._given: dict[str, str] = {}
        self._guard = threading.Lock()

    # --- the port -----------------------------------------------------------------------------------------------------

    def access_token(self, server: Server, *, refused: bool = False) -> str:
        """A token for the server's mailbox, good for some minutes; ``refused``: the last one was not taken.

        Raises :class:`AuthError` with the catalogue's cause and fix, or :class:`NotFound` ``auth.not_connected``.
        """
        return self.token_for(self.key_of(server), refused=refused)

    def key_of(self, server: Server) -> str:
        """The account of a server: one under the server's own key, else the one of its login."""
        if self.accounts.find(server.key) is not None:
            return server.key
        return (server.login or server.key).strip().lower()

    def token_for(self, key: str, *, refused: bool = False) -> str:
        """As :meth:`access_token`, by the account's key."""
        connected = self.accounts.load(key)
        token = self._usable(connected, refused)
        if token is None:
            with self.secrets.vault.hold(self.accounts.name(key)):
                connected = self.accounts.load(key)  # another process may have been quicker
                token = self._usable(connected, refused)
                if token is None:
                    token = self._renew(connected)
        with self._guard:
            self._given[key] = token
        return token

    def _usable(self, connected: Connected, refused: bool) -> str | None:
        grant = connected.grant
        if grant is None or not grant.fresh(self.clock.now(), self._margin_of(grant)):
            return None
        token = grant.access_token.reveal()
        with self._guard:
            # After a refusal only another token than the one handed out here is worth a try.
            return None if refused and self._given.get(connected.account.key, token) == token else token

    def _margin_of(self, grant: Grant) -> timedelta:
        """The margin, but never more than half the token's life: a token of ten minutes must be usable at all."""
        if grant.renewed_at is None:
            return self._margin
        return min(self._margin, (grant.expires_at - grant.renewed_at) / 2)

    # --- renewal ------------------------------------------------------------------------------------------------------

    def _renew(self, connected: Connected) -> str:
        """Get and store a new token; the caller holds the account's name."""
        account, grant = connected.account, connected.grant
        if grant is not None and grant.dead:
            raise _still_dead(account, grant)
        source = grants_of(account, self.secrets, self._http())
        try:
            if account.flow.app_only:
                answer = source.app_only()
            elif grant is None or grant.refresh_token is None:
                raise _never_signed_in(account)
            else:
                answer = source.refresh(grant.refresh_token.reveal())
        except AuthError as error:
            if grant is not None and error.facts.get("class") in ("reauth", "user"):
                told = {"code": error.code, "message": error.message, "fix": error.fix, "facts": error.facts}
                self.accounts.save(replace(connected, grant=replace(grant, dead=told)))
            error.facts.setdefault("key", account.key)
            raise
        fresh = renewed(grant, self.grant_of(answer))
        self.accounts.save(Connected(account, fresh))
        return fresh.access_token.reveal()

    def grant_of(self, answer: TokenAnswer, *, signed_in: bool = False) -> Grant:
        """An answer as a grant of this moment."""
        now = self.clock.now()
        return Grant(
            access_token=answer.access_token,
            expires_at=now + timedelta(seconds=answer.expires_in),
            refresh_token=answer.refresh_token,
            granted_at=now if signed_in else None,
            renewed_at=now,
            scope=answer.scope,
        )


def _still_dead(account: Account, grant: Grant) -> AuthError:
    told = grant.dead or {}
    return AuthError(
        told.get("message", "The sign-in has ended."),
        code=told.get("code", "auth.reauth"),
        facts={**told.get("facts", {}), "key": account.key, "asked_again": False},
        fix=told.get("fix", "Connect the mailbox again."),
    )


def _never_signed_in(account: Account) -> AuthError:
    return AuthError(
        f"Please connect with your {'Outlook' if account.provider == 'outlook' else 'Gmail'} account before using it.",
        code="auth.not_signed_in",
        facts={"key": account.key, "class": "reauth"},
        fix=f"Press {account.about.connect_label!r} in the guide, or run: "
        f"mailops connect {account.about.command} {account.user}",
    )
