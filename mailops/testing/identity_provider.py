"""An identity provider inside the process, with Microsoft's and Google's own answers and a scenario per account.

msal and google-auth talk to it through the ``requests`` session of :meth:`IdentityProvider.session`, without a socket.
For a person (or a browser in a test) the same provider serves its sign-in pages on loopback while it is started::

    session() ─► identity_vendors (AADSTS JSON, Google JSON) ─┐
    browser   ─► identity_pages  (pick an account, consent)  ─┴─► IdentityProvider: clients, people, codes, tokens
    mail servers ─► judge(token, user, protocol)              ─┘

Refresh tokens rotate and a second use of one revokes its family; codes work once; PKCE and secrets are compared in
constant time. ``state_file`` keeps everything over a restart of the kernel. Nothing here is meant for real accounts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets as randomness
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mailops.clock import SystemClock
from mailops.errors import ConfigError
from mailops.ports import Clock

if TYPE_CHECKING:
    import requests

    from .identity_pages import Pages


PASSWORDS_END = datetime(2027, 1, 1, tzinfo=UTC)


class Scenario(StrEnum):
    """How an account behaves."""

    HEALTHY = "healthy"
    SECRET_EXPIRED = "secret-expired"
    MFA = "mfa"
    NO_CONSENT = "no-consent"
    SMTP_AUTH_OFF = "smtp-auth-off"
    WRONG_MAILBOX = "wrong-mailbox"
    TESTING_7_DAYS = "testing-7-days"
    REVOKED = "revoked"
    SEND_AS_DENIED = "send-as-denied"
    THROTTLED = "throttled"
    SHARED = "shared"  # a shared mailbox without a licence: read by its own address, no SMTP sign-in as it
    APP_ONLY_NO_PERMISSION = "app-only-no-permission"  # the application was never granted this mailbox
    CONSENT_POLICY = "consent-policy"  # only an administrator may consent to reading by IMAP or POP
    UPN_DIFFERS = "upn-differs"  # the token bears another name than the mailbox
    SA_KEY_DELETED = "sa-key-deleted"  # Google: the service account's key is gone
    APP_BLOCKED = "app-blocked"  # Google blocks the app for this account
    LIMIT = "limit-reached"  # what it may send in a day is used up: told when a message is handed over
    BASIC_ENDS = "basic-ends"  # passwords for sending work until PASSWORDS_END


@dataclass(frozen=True, slots=True)
class Person:
    """An account that can sign in. ``may_open`` are other mailboxes it has rights on (shared ones)."""

    address: str
    vendor: str  # outlook or gmail
    scenario: Scenario = Scenario.HEALTHY
    may_open: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name that tokens bear (UPN)."""
        local, _, domain = self.address.partition("@")
        return f"{local}.upn@corp.{domain}" if self.scenario is Scenario.UPN_DIFFERS else self.address


@dataclass(frozen=True, slots=True)
class Client:
    """An application of the console. ``kind``: web, public (Microsoft desktop), installed (Google desktop), app."""

    client_id: str
    vendor: str
    kind: str = "web"
    secret: str = field(default="", repr=False)
    secret_id: str = ""
    secret_expired: bool = False
    redirect_uris: tuple[str, ...] = ()
    certificate: str = ""  # PEM, for signed assertions
    delegated: tuple[str, ...] = ()  # scopes a service account may ask for
    permissions: tuple[str, ...] = ("SMTP.Send", "IMAP.AccessAsUser.All", "POP.AccessAsUser.All", "User.Read")


class Refused(Exception):
    """A refusal in OAuth's terms; ``aadsts`` is Microsoft's number, ``subtype`` Google's."""

    def __init__(self, error: str, said: str, *, aadsts: int = 0, status: int = 400, subtype: str = "") -> None:
        super().__init__(said)
        self.error, self.said, self.aadsts, self.status, self.subtype = error, said, aadsts, status, subtype


_EMPTY: dict[str, Any] = {"people": {}, "clients": {}, "codes": {}, "refresh": {}, "access": {}, "devices": {}}


class IdentityProvider:
    """The provider. ``access_seconds`` is the life of access tokens, ``clock`` rules all ends."""

    def __init__(
        self, *, clock: Clock | None = None, access_seconds: int = 3600, state_file: Path | None = None, pad: int = 0
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.access_seconds = access_seconds
        self.pad = pad
        self.requests: list[str] = []  # what was asked, by kind; no secret in it
        self._file = state_file
        self._lock = threading.RLock()
        self._state: dict[str, dict[str, Any]] = json.loads(json.dumps(_EMPTY))
        self._pages: Pages | None = None
        if state_file is not None and state_file.exists():
            self._state.update(json.loads(state_file.read_text("utf-8")))

    # --- set-up -------------------------------------------------------------------------------------------------------

    def add_person(
        self,
        address: str,
        vendor: str = "outlook",
        scenario: Scenario | str = Scenario.HEALTHY,
        may_open: tuple[str, ...] = (),
    ) -> Person:
        """Add an account, or change its scenario."""
        person = Person(address.lower(), vendor, Scenario(scenario), may_open)
        with self._lock:
            self._state["people"][person.address] = asdict(person)
            self.save()
        return person

    def person(self, address: str) -> Person | None:
        raw = self._state["people"].get(address.lower())
        return Person(raw["address"], raw["vendor"], Scenario(raw["scenario"]), tuple(raw["may_open"])) if raw else None

    def people(self, vendor: str) -> list[Person]:
        found = [self.person(address) for address in self._state["people"]]
        return [p for p in found if p is not None and p.vendor == vendor]

    def add_client(self, vendor: str = "outlook", kind: str = "web", *redirect_uris: str, **fields: Any) -> Client:
        """Register an application, as the console would: makes client id, secret (Value) and Secret ID."""
        ident = (
            _guid()
            if vendor == "outlook"
            else f"{randomness.randbelow(10**12):012d}-sandbox.apps.googleusercontent.com"
        )
        secret = ""
        if kind in ("web", "installed"):
            word = randomness.token_urlsafe(32).replace("-", "a")
            secret = f"abc8Q~{word[:34]}" if vendor == "outlook" else f"GOCSPX-{word[:28]}"
        values: dict[str, Any] = {"client_id": ident, "secret": secret, "secret_id": _guid(), **fields}
        return self.save_client(Client(vendor=vendor, kind=kind, redirect_uris=redirect_uris, **values))

    def save_client(self, client: Client) -> Client:
        """Add or change an application."""
        with self._lock:
            self._state["clients"][client.client_id] = asdict(client)
            self.save()
        return client

    def client(self, client_id: str) -> Client | None:
        raw: dict[str, Any] | None = self._state["clients"].get(client_id)
        if raw is None:
            return None
        lists = ("redirect_uris", "delegated", "permissions")
        values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in raw.items()}
        return Client(**values)

    def save(self) -> None:
        """Write the state file, where there is one."""
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(json.dumps(self._state), "utf-8")
            new.replace(self._file)

    # --- sockets ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> IdentityProvider:
        from .identity_pages import Pages

        self._pages = Pages(self)
        self._pages.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._pages is not None:
            self._pages.close()
            self._pages = None

    @property
    def pages_url(self) -> str | None:
        """Where the sign-in pages are served, while started."""
        return self._pages.url if self._pages else None

    def session(self) -> requests.Session:
        """A ``requests`` session that reaches this provider at the vendors' own addresses, in the process."""
        from .identity_vendors import session_for

        return session_for(self)

    def overrides(self, vendor: str) -> dict[str, str]:
        """What an ``Account`` needs to use the pages: nothing for Microsoft (discovery tells), Google's address."""
        if vendor == "gmail" and self.pages_url:
            return {"authorize_url": f"{self.pages_url}/google/o/oauth2/v2/auth"}
        return {}

    # --- codes and tokens ---------------------------------------------------------------------------------------------

    def check_authorize(self, query: dict[str, str], vendor: str) -> Client:
        """The application of an authorization request; raises :class:`Refused` for the error *page* (no redirect)."""
        client = self.client(query.get("client_id", ""))
        if client is None or client.vendor != vendor:
            raise Refused(
                "unauthorized_client" if vendor == "outlook" else "invalid_client",
                f"Application with identifier '{query.get('client_id', '')}' was not found in the directory.",
                aadsts=700016,
                status=400 if vendor == "outlook" else 401,
            )
        sent = query.get("redirect_uri", "")
        if not redirect_allowed(client, sent):
            raise Refused(
                "invalid_request" if vendor == "outlook" else "redirect_uri_mismatch",
                f"The redirect URI '{sent}' specified in the request does not match the redirect URIs configured "
                f"for the application '{client.client_id}'.",
                aadsts=50011,
            )
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            raise Refused("invalid_request", "Proof Key for Code Exchange is required.", aadsts=9002325)
        return client

    def issue_code(self, query: dict[str, str], address: str) -> str:
        """A code for a person who accepted; raises :class:`Refused` where their scenario does."""
        person = self.person(address)
        if person is None:
            raise Refused("access_denied", "The account does not exist in the tenant.", aadsts=50034)
        if person.scenario is Scenario.NO_CONSENT:
            if person.vendor == "gmail":
                raise Refused("access_denied", "The app has not completed the Google verification process.", status=403)
            raise Refused("access_denied", "Admin consent is required for the permissions requested.", aadsts=90094)
        reading = "IMAP." in query.get("scope", "") or "POP." in query.get("scope", "")
        if person.scenario is Scenario.CONSENT_POLICY and reading:
            raise Refused("access_denied", "Admin consent is required for the permissions requested.", aadsts=90094)
        if person.scenario is Scenario.APP_BLOCKED:
            raise Refused("access_denied", "This app is blocked.", status=403)
        code = f"{'0.AX' if person.vendor == 'outlook' else '4/0A'}{randomness.token_urlsafe(24)}"
        with self._lock:
            self._state["codes"][_digest(code)] = {
                "client_id": query["client_id"],
                "redirect_uri": query["redirect_uri"],
                "challenge": query["code_challenge"],
                "scope": query.get("scope", ""),
                "nonce": query.get("nonce", ""),
                "address": person.address,
                "until": (self.clock.now() + timedelta(minutes=10)).isoformat(),
                "used": False,
            }
            self.save()
        return code

    def redeem_code(self, form: dict[str, str], client: Client) -> dict[str, Any]:
        """The kept request of a code, once; raises :class:`Refused`."""
        with self._lock:
            kept = self._state["codes"].get(_digest(form.get("code", "")))
            if kept is None or kept["client_id"] != client.client_id:
                raise Refused(
                    "invalid_grant", "The provided authorization code is malformed or unknown.", aadsts=9002313
                )
            if kept["used"]:
                raise Refused("invalid_grant", "OAuth2 Authorization code was already redeemed.", aadsts=54005)
            kept["used"] = True
            self.save()
        if self.clock.now() > datetime.fromisoformat(kept["until"]):
            raise Refused(
                "invalid_grant", "The provided authorization code or refresh token has expired.", aadsts=70008
            )
        if kept["redirect_uri"] != form.get("redirect_uri", ""):
            raise Refused("invalid_grant", "Bad Request: redirect_uri differs from the first request.", aadsts=50011)
        if not same_text(s256(form.get("code_verifier", "")), kept["challenge"]):
            raise Refused("invalid_grant", "The Code_Verifier does not match the code_challenge.", aadsts=501481)
        return dict(kept)

    def issue(
        self, client: Client, address: str, scope: str, *, family: str = "", refresh: bool = True
    ) -> dict[str, Any]:
        """Tokens for a person or an application: ``access_token``, ``expires_in``, ``scope``, ``refresh_token``."""
        from .identity_vendors import mint

        now = self.clock.now()
        access = mint(self, client, address, scope, now)
        family = family or _guid()
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": self.access_seconds,
            "scope": scope,
            "access_token": access,
        }
        with self._lock:
            self._state["access"][_digest(access)] = {
                "address": address, "scope": scope, "family": family, "client_id": client.client_id,
                "until": (now + timedelta(seconds=self.access_seconds)).isoformat(), "revoked": False,
            }  # fmt: skip
            if refresh:
                token = ("0.AX" if client.vendor == "outlook" else "1//0") + randomness.token_urlsafe(48)
                self._state["refresh"][_digest(token)] = {
                    "address": address, "scope": scope, "family": family, "client_id": client.client_id,
                    "granted": now.isoformat(), "issued": now.isoformat(), "used": False, "revoked": False,
                }  # fmt: skip
                answer["refresh_token"] = token
            self.save()
        return answer

    def redeem_refresh(self, token: str, client: Client) -> dict[str, Any]:
        """Redeem a refresh token: with Microsoft it is replaced, and a second use revokes its family."""
        with self._lock:
            kept = self._state["refresh"].get(_digest(token))
            if kept is None or kept["client_id"] != client.client_id:
                raise Refused("invalid_grant", "The refresh token is malformed.", aadsts=9002313)
            self._check_refresh(kept)
            if client.vendor == "gmail":
                return self.issue(client, kept["address"], kept["scope"], family=kept["family"], refresh=False)
            if kept["used"]:
                self.revoke_family(kept["family"])
                raise Refused(
                    "invalid_grant",
                    "The provided grant has expired due to it being revoked: a refresh token was used twice.",
                    aadsts=50173,
                )
            kept["used"] = True
            answer = self.issue(client, kept["address"], kept["scope"], family=kept["family"])
            self._state["refresh"][_digest(answer["refresh_token"])]["granted"] = kept["granted"]
            self.save()
            return answer

    def _check_refresh(self, kept: dict[str, Any]) -> None:
        person = self.person(kept["address"])
        now = self.clock.now()
        scenario = person.scenario if person else Scenario.REVOKED
        vendor = person.vendor if person else "outlook"
        if kept["revoked"] or scenario is Scenario.REVOKED:
            if vendor == "gmail":
                raise Refused("invalid_grant", "Token has been expired or revoked.")
            raise Refused(
                "invalid_grant",
                "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
                aadsts=50173,
            )
        if scenario is Scenario.MFA:
            if vendor == "gmail":
                raise Refused("invalid_grant", "reauth related error (invalid_rapt)", subtype="invalid_rapt")
            raise Refused(
                "interaction_required",
                "Because of a change made by your administrator, or a new location, "
                "you must use multi-factor authentication.",
                aadsts=50076,
            )
        if scenario is Scenario.TESTING_7_DAYS and now >= datetime.fromisoformat(kept["granted"]) + timedelta(days=7):
            raise Refused("invalid_grant", "Token has been expired or revoked.", aadsts=700082)
        if vendor == "outlook" and now >= datetime.fromisoformat(kept["issued"]) + timedelta(days=90):
            raise Refused("invalid_grant", "The refresh token has expired due to inactivity.", aadsts=700082)

    def revoke_family(self, family: str) -> None:
        """Revoke every token that came from one sign-in."""
        with self._lock:
            for kind in ("access", "refresh"):
                for kept in self._state[kind].values():
                    if kept["family"] == family:
                        kept["revoked"] = True
            self.save()

    def revoke(self, address: str) -> None:
        """Revoke all tokens of an account, as a new password does."""
        with self._lock:
            for kind in ("access", "refresh"):
                for kept in self._state[kind].values():
                    if kept["address"] == address.lower():
                        kept["revoked"] = True
            self.save()

    def revoke_access(self, token: str) -> None:
        """Revoke one access token; its refresh token stays good."""
        with self._lock:
            kept = self._state["access"].get(_digest(token))
            if kept is None:
                raise ConfigError("This provider did not issue that token.")
            kept["revoked"] = True
            self.save()

    # --- device codes -------------------------------------------------------------------------------------------------

    def new_device(self, client: Client, scope: str) -> dict[str, Any]:
        """A device code and what the person types."""
        device, user = (
            randomness.token_urlsafe(32),
            "".join(randomness.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(8)),
        )
        with self._lock:
            self._state["devices"][user] = {
                "device": _digest(device), "client_id": client.client_id, "scope": scope, "address": None,
                "refused": False, "until": (self.clock.now() + timedelta(minutes=15)).isoformat(),
            }  # fmt: skip
            self.save()
        where = f"{self.pages_url}/device" if self.pages_url else "https://microsoft.com/devicelogin"
        return {
            "user_code": user,
            "device_code": device,
            "verification_uri": where,
            "expires_in": 900,
            "interval": 1,
            "message": f"To sign in, open {where} and enter the code {user}.",
        }

    def approve_device(self, user_code: str, address: str | None) -> bool:
        """A person typed the code and accepted (an address) or refused (None); False for an unknown code."""
        with self._lock:
            kept = self._state["devices"].get(user_code.strip().upper())
            if kept is None:
                return False
            kept["address"], kept["refused"] = (address.lower() if address else None), address is None
            self.save()
            return True

    def poll_device(self, device_code: str, client: Client) -> dict[str, Any]:
        """The answer to one poll; raises :class:`Refused` while it is pending."""
        for kept in self._state["devices"].values():
            if kept["device"] != _digest(device_code) or kept["client_id"] != client.client_id:
                continue
            if kept["refused"]:
                raise Refused("authorization_declined", "The end user denied the authorization request.", aadsts=65004)
            if self.clock.now() > datetime.fromisoformat(kept["until"]):
                raise Refused("expired_token", "The device code has expired.", aadsts=70019)
            if kept["address"] is None:
                raise Refused("authorization_pending", "The end user has not finished authenticating.", aadsts=70016)
            return dict(kept)
        raise Refused("bad_verification_code", "The device code is not known.", aadsts=70018)

    # --- what mail servers ask ----------------------------------------------------------------------------------------

    def judge(self, token: str, user: str, protocol: str) -> str | None:
        """Whether this token opens ``user``'s mailbox over ``smtp``, ``imap`` or ``pop``: None for yes, else a word.

        Words: ``unknown``, ``expired``, ``revoked``, ``scope``, ``other_user``, ``off`` (SMTP sign-in switched off),
        ``not_connected``, ``throttled``, ``unlicensed``.
        """
        kept = self._state["access"].get(_digest(token))
        if kept is None:
            return "unknown"
        if kept["revoked"]:
            return "revoked"
        if self.clock.now() >= datetime.fromisoformat(kept["until"]):
            return "expired"
        client = self.client(kept["client_id"])
        person = self.person(kept["address"])
        scenario = person.scenario if person else Scenario.HEALTHY
        wanted = {"smtp": ("SMTP.Send",), "imap": ("IMAP.AccessAsUser.All",), "pop": ("POP.AccessAsUser.All",)}[
            protocol
        ]
        scopes = {s.rsplit("/", 1)[-1] for s in kept["scope"].split()}
        if client is not None and client.vendor == "outlook" and ".default" not in scopes and not scopes & set(wanted):
            return "scope"
        if scenario is Scenario.REVOKED:
            return "revoked"
        if scenario is Scenario.SMTP_AUTH_OFF and protocol == "smtp":
            return "off"
        if scenario is Scenario.WRONG_MAILBOX and protocol in ("imap", "pop"):
            return "not_connected"
        if scenario is Scenario.THROTTLED and protocol == "smtp":
            return "throttled"
        allowed = {kept["address"], *(person.may_open if person else ())}
        app_only = person is None
        opened = self.person(user)
        behaves = opened.scenario if opened else Scenario.HEALTHY
        if behaves is Scenario.SHARED and protocol == "smtp":
            return "unlicensed"
        if app_only and behaves is Scenario.APP_ONLY_NO_PERMISSION and protocol in ("imap", "pop"):
            return "not_connected"
        return None if app_only or user.lower() in allowed else "other_user"

    def may_send_as(self, login: str, sender: str) -> bool:
        """Whether a signed-in mailbox may send as this address."""
        person = self.person(login)
        if person is None:
            return True
        shared = self.person(sender)
        if shared is not None and shared.scenario is Scenario.SHARED:  # Send As goes with membership here
            return shared.address in person.may_open
        if person.scenario is Scenario.SEND_AS_DENIED:
            return False
        return sender.lower() in {person.address, *person.may_open, ""}


# --- helpers ----------------------------------------------------------------------------------------------------------


def redirect_allowed(client: Client, sent: str) -> bool:
    """Letter for letter; for desktop clients any port of a loopback address (RFC 8252 section 7.3)."""
    if sent in client.redirect_uris:
        return True
    if client.kind in ("public", "installed"):
        from urllib.parse import urlsplit

        split = urlsplit(sent)
        return split.scheme == "http" and split.hostname in ("localhost", "127.0.0.1", "::1")
    return False


def same_text(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def s256(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _guid() -> str:
    raw = randomness.token_hex(16)
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"
