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
family. A refusal is kept beside the grant, so nobody hammers the provider (AADSTS50196): for good where only a person
can sign in again, with growing pauses where a setting, a secret or an administrator is the matter, until one of these
changes. A new sign-in clears it. Trouble on the way keeps everything as it was.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..clock import SystemClock
from ..errors import AuthError, MailopsError
from ..model.filters import read_filter
from ..model.setup import Server
from ..ports import Clock
from ..secrets import Secret, SecretStore
from .account import Account, AccountStore, Connected, Grant, renewed

if TYPE_CHECKING:
    import requests

    from .flow import TokenAnswer
    from .google import Google
    from .microsoft import Microsoft

MARGIN = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAUSES = {
    "config": (timedelta(hours=1), timedelta(hours=24)),
    "admin": (timedelta(minutes=15), timedelta(hours=6)),
    "code": (timedelta(minutes=15), timedelta(hours=6)),
    "limit": (timedelta(minutes=5), timedelta(hours=1)),
    "retry": (timedelta(seconds=30), timedelta(minutes=15)),
}
"""How long a refusal of each class is not asked for again: the first time, and at most (it doubles)."""


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
        """The account of a server: one under the server's own key, else the one of its login; else one that opens the
        login as a shared mailbox, or (sending as the member) a shared mailbox in the server's FROM filter that the
        login is a member of."""
        login = (server.login or server.key).strip().lower()
        for key in (server.key, login):
            if self.accounts.find(key) is not None:
                return key
        accounts = [connected.account for connected in self.accounts]
        wanted = read_filter(server.from_filter).addresses
        fitting = [a for a in accounts if (a.mailbox or "").lower() == login]
        of_member = [a for a in accounts if a.user.lower() == login]
        fitting += [a for a in of_member if a.sasl_user.lower() in wanted] + of_member
        return fitting[0].key if fitting else login

    def reading_as(self, server: Server) -> str:
        """The mailbox that is read for this server: the shared one, where the account names one (also where the server
        itself signs in as the member), else the server's login."""
        login = (server.login or "").strip()
        wanted = read_filter(server.from_filter).addresses
        for connected in self.accounts:
            account = connected.account
            if account.shared and account.user.lower() == login.lower() and account.sasl_user.lower() in wanted:
                return account.sasl_user
        connected_as = self.accounts.find(self.key_of(server))
        shared = connected_as is not None and connected_as.account.shared
        return connected_as.account.sasl_user if connected_as is not None and shared else login

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
        if grant is not None and grant.dead and self._holds(connected):
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
            self._remember(connected, error)
            error.facts.setdefault("key", account.key)
            raise
        fresh = renewed(grant, self.grant_of(answer))
        self.accounts.save(Connected(account, fresh))
        return fresh.access_token.reveal()

    def _remember(self, connected: Connected, error: AuthError) -> None:
        """Keep a refusal: for good where only a person can sign in again, else with growing pauses, until account or
        secret change."""
        kind, row = error.facts.get("class"), error.facts.get("row")
        grant = connected.grant
        if kind in ("reauth", "user"):
            if grant is not None:
                self.accounts.save(replace(connected, grant=replace(grant, dead=_told(error))))
            return
        if kind not in PAUSES or not row:
            return
        before = grant.dead if grant is not None else None
        times = int((before or {}).get("times", 0)) + 1
        first, most = PAUSES[kind]
        until = self.clock.now() + min(first * 2 ** min(times - 1, 16), most)
        dead = {**_told(error), "until": until.isoformat(), "times": times, "print": self._print(connected.account)}
        empty = Grant(Secret(""), EPOCH)
        self.accounts.save(replace(connected, grant=replace(grant or empty, dead=dead)))

    def _holds(self, connected: Connected) -> bool:
        dead = (connected.grant.dead if connected.grant else None) or {}
        if "until" not in dead:
            return bool(dead)
        changed = dead.get("print") != self._print(connected.account)
        return not changed and self.clock.now() < datetime.fromisoformat(dead["until"])

    def _print(self, account: Account) -> str:
        """A fingerprint of what the account proves itself with; no secret can be read from it."""
        parts = [repr(replace(account, signed_in=None))]
        for reference in (account.client_secret, account.certificate, account.passphrase, account.service_account):
            try:
                parts.append(self.secrets.reveal(reference) if reference else "")
            except MailopsError as error:
                parts.append(error.code)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

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


def _told(error: AuthError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "fix": error.fix, "facts": error.facts}


def _still_dead(account: Account, grant: Grant) -> AuthError:
    told = grant.dead or {}
    again = {"asked_again_at": told["until"]} if "until" in told else {}
    return AuthError(
        told.get("message", "The sign-in has ended."),
        code=told.get("code", "auth.reauth"),
        facts={**told.get("facts", {}), "key": account.key, "asked_again": False, **again},
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
