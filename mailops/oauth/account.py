"""A connected mailbox: how it signs in (:class:`Account`), what it holds (:class:`Grant`), and where both are kept.

Both stand in one vault entry, ``oauth/<key>``, so that a renewal needs nothing else and a rotated refresh token and its
client can never drift apart. The key is the mailbox's address, or a server's key where one address has several
applications. Nothing of it is in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from ..errors import ConfigError, NotFound
from ..providers import Endpoints, Provider, provider
from ..secrets import Secret, Vault, parse_reference, register

PREFIX = "oauth/"


class FlowKind(StrEnum):
    """How tokens are got."""

    WEB = "web"  # code flow, redirect to a public https address
    LOOPBACK = "loopback"  # code flow, redirect to a listener on this machine
    PASTE_BACK = "paste_back"  # code flow, a person copies the address of the failed loopback page
    DEVICE = "device"  # a code typed on another device
    APP_SECRET = "app_secret"  # noqa: S105 - app-only, client secret
    APP_CERTIFICATE = "app_certificate"  # app-only, certificate
    SERVICE_ACCOUNT = "service_account"  # Google, domain-wide delegation

    @property
    def public(self) -> bool:
        """Whether the client is a public one, that must not send a secret (Microsoft's desktop platform)."""
        return self in (FlowKind.LOOPBACK, FlowKind.PASTE_BACK, FlowKind.DEVICE)

    @property
    def app_only(self) -> bool:
        return self in (FlowKind.APP_SECRET, FlowKind.APP_CERTIFICATE, FlowKind.SERVICE_ACCOUNT)


@dataclass(frozen=True, slots=True)
class Account:
    """How one mailbox signs in. Secrets are references.

    ``user`` is whose token it is; ``mailbox`` the SASL user where that differs (a shared mailbox: token of a member,
    ``user=`` the shared address). ``key`` of a shared mailbox is its own address, so one member may open several.
    ``authority``, ``authorize_url`` and ``token_url`` override the provider's (other clouds, sandbox). ``testing``
    marks Google's External + Testing, where refresh tokens end after 7 days.
    """

    key: str
    provider: str
    flow: FlowKind
    user: str
    client_id: str = ""
    client_secret: str | None = None
    certificate: str | None = None  # reference to the PEM private key
    certificate_public: str | None = None  # path of or reference to the PEM certificate
    passphrase: str | None = None
    service_account: str | None = None  # reference to the JSON key
    tenant: str = "common"
    mailbox: str | None = None
    send: bool = True
    receive: bool = True
    pop: bool = False
    authority: str | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    testing: bool = False
    secret_ends: date | None = None
    signed_in: str | None = None  # the name the token bears (UPN), where it differs and somebody confirmed it

    def __post_init__(self) -> None:
        if not provider(self.provider).oauth:
            raise ConfigError(f"{self.provider} has no OAuth sign-in.", code="auth.provider", facts={"key": self.key})
        for name in ("client_secret", "certificate", "passphrase", "service_account"):
            value = getattr(self, name)
            if value is not None:
                parse_reference(value)

    @property
    def sasl_user(self) -> str:
        """The address that goes into the SASL string."""
        return self.mailbox or self.user

    @property
    def shared(self) -> bool:
        """Whether it opens another mailbox than the one that signs in."""
        return self.mailbox is not None and self.mailbox.lower() != self.user.lower()

    def is_of(self, name: str) -> bool:
        """Whether a token that bears this name is the one expected: the user, or the name confirmed for them."""
        return name.strip().lower() in {self.user.strip().lower(), (self.signed_in or self.user).strip().lower()}

    @property
    def about(self) -> Provider:
        return provider(self.provider)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes to ask for: one resource, full addresses, without ``offline_access`` (msal adds it itself)."""
        of = self.about
        if self.flow.app_only:
            return of.scopes_app
        wanted = (of.scopes_send if self.send else ()) + (of.scopes_receive if self.receive else ())
        wanted += of.scopes_pop if self.pop else ()
        return tuple(dict.fromkeys(wanted))

    @property
    def endpoints(self) -> Endpoints:
        """The provider's endpoints with this account's overrides and tenant."""
        of = self.about.endpoints
        authority = self.authority or of.authority.replace("{tenant}", self.tenant)
        return Endpoints(authority, self.authorize_url or of.authorize, self.token_url or of.token, of.revoke)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the provider gave. ``dead`` holds the refusal that ended it: for good, or with ``until`` (ISO) and ``print``
    (of account and secret) when it is asked for again."""

    access_token: Secret
    expires_at: datetime
    refresh_token: Secret | None = None
    granted_at: datetime | None = None  # the person's sign-in
    renewed_at: datetime | None = None  # the last time the refresh token was used or replaced
    scope: str = ""
    dead: dict[str, Any] | None = None

    @property
    def lost(self) -> bool:
        """Whether only a new sign-in helps. (What somebody else can mend is asked for again after a pause.)"""
        return self.dead is not None and "until" not in self.dead

    def fresh(self, now: datetime, margin: timedelta) -> bool:
        """Whether the access token lasts for ``margin`` more."""
        return bool(self.access_token) and now + margin < self.expires_at


@dataclass(frozen=True, slots=True)
class Connected:
    """An account with its grant (None before the first sign-in)."""

    account: Account
    grant: Grant | None = None


@dataclass(frozen=True)
class AccountStore:
    """The accounts in a vault."""

    vault: Vault
    prefix: str = field(default=PREFIX)

    def name(self, key: str) -> str:
        return self.prefix + key.strip().lower()

    def load(self, key: str) -> Connected:
        """Raises :class:`NotFound` ``auth.not_connected``."""
        found = self.find(key)
        if found is None:
            raise NotFound(
                f"No mailbox is connected as {key!r}.",
                code="auth.not_connected",
                facts={"key": key, "connected": self.keys()},
                fix=f"Connect it: mailops connect microsoft {key} (at Google: mailops connect google {key}), or the "
                "notebook for it.",
            )
        return found

    def find(self, key: str) -> Connected | None:
        text = self.vault.find(self.name(key))
        return _read(text.reveal()) if text is not None else None

    def save(self, connected: Connected) -> None:
        self.vault.put(self.name(connected.account.key), _write(connected))

    def remove(self, key: str) -> bool:
        return self.vault.delete(self.name(key))

    def keys(self) -> list[str]:
        return [e.name.removeprefix(self.prefix) for e in self.vault.entries() if e.name.startswith(self.prefix)]

    def __iter__(self) -> Iterator[Connected]:
        for key in self.keys():
            found = self.find(key)
            if found is not None:
                yield found


def _write(connected: Connected) -> str:
    account = {k: v for k, v in asdict(connected.account).items() if v is not None}
    if connected.account.secret_ends:
        account["secret_ends"] = connected.account.secret_ends.isoformat()
    grant = connected.grant
    held = None
    if grant is not None:
        held = {
            "access_token": grant.access_token.reveal(),
            "expires_at": grant.expires_at.isoformat(),
            "refresh_token": grant.refresh_token.reveal() if grant.refresh_token else None,
            "granted_at": grant.granted_at.isoformat() if grant.granted_at else None,
            "renewed_at": grant.renewed_at.isoformat() if grant.renewed_at else None,
            "scope": grant.scope,
            "dead": grant.dead,
        }
    return json.dumps({"account": account, "grant": held})


def _read(text: str) -> Connected:
    raw = json.loads(text)
    values = dict(raw["account"])
    values["flow"] = FlowKind(values["flow"])
    if values.get("secret_ends"):
        values["secret_ends"] = date.fromisoformat(values["secret_ends"])
    account = Account(**values)
    held = raw.get("grant")
    if held is None:
        return Connected(account)
    for name in ("access_token", "refresh_token"):
        if held.get(name):
            register(held[name])
    return Connected(
        account,
        Grant(
            access_token=Secret(held["access_token"]),
            expires_at=_moment(held["expires_at"]) or datetime(1970, 1, 1, tzinfo=UTC),
            refresh_token=Secret(held["refresh_token"]) if held.get("refresh_token") else None,
            granted_at=_moment(held.get("granted_at")),
            renewed_at=_moment(held.get("renewed_at")),
            scope=held.get("scope") or "",
            dead=held.get("dead"),
        ),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def renewed(before: Grant | None, after: Grant) -> Grant:
    """The new grant, keeping what the answer leaves out: Google's refresh token, the day of the sign-in."""
    if before is None:
        return after
    return replace(
        after,
        refresh_token=after.refresh_token or before.refresh_token,
        granted_at=after.granted_at or before.granted_at,
        scope=after.scope or before.scope,
    )


def account_for(
    accounts: AccountStore, provider_id: str, user: str, flow: FlowKind | None, given: Mapping[str, Any]
) -> Account:
    """The account to sign in with: what was connected before, with the fields that are given (empty ones stay).

    Its key is the mailbox that it opens: the shared one, else the user's. Without ``mailbox`` a member of one shared
    mailbox is taken to mean that. Raises :class:`ConfigError` ``auth.which_mailbox``, ``auth.not_configured``.
    """
    shared = str(given.get("mailbox") or "").strip().lower()
    before = _before(accounts, provider_id, user.strip().lower(), shared)
    changes = {name: value for name, value in given.items() if value not in (None, "")}
    if before is None:
        changes.setdefault("tenant", "common")
        account = Account(shared or user.lower(), provider_id, flow or FlowKind.WEB, user, **changes)
    else:
        account = replace(before, **changes, flow=flow or before.flow)
    if account.flow.public and account.provider == "outlook":  # a public client must send no secret (AADSTS700025)
        account = replace(account, client_secret=None)
    if not account.client_id and account.flow is not FlowKind.SERVICE_ACCOUNT:
        raise ConfigError(
            "The Client ID is missing.",
            code="auth.not_configured",
            facts={"mailbox": user},
            fix="Give --client-id, or walk the guide: mailops connect guide " + provider_id,
        )
    return account


def _before(accounts: AccountStore, provider_id: str, user: str, shared: str) -> Account | None:
    found = accounts.find(shared or user)
    if found is not None and found.account.provider == provider_id:
        return found.account
    mine = [c.account for c in accounts if c.account.user.lower() == user and c.account.provider == provider_id]
    if shared:  # another shared mailbox of a member that is connected: the same application
        return replace(mine[0], key=shared, mailbox=shared) if mine else None
    if len(mine) > 1:
        raise ConfigError(
            f"{user} opens several shared mailboxes.",
            code="auth.which_mailbox",
            facts={"connected": [a.key for a in mine]},
            fix="Name the one to connect: --shared ADDRESS",
        )
    return mine[0] if mine else None
