"""What the code flow of both providers shares: state, the pending sign-in, and the answer that comes back.

A pending sign-in (state, PKCE verifier, redirect address) is kept in the vault for a quarter of an hour, so that a
kernel restarted between the two steps loses nothing, and is taken out when it is redeemed: a code is redeemed once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as randomness
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import AuthError, ConfigError
from ..ports import Clock
from ..providers.refusals import refusal
from ..secrets import Secret, Vault, register
from .account import Account, FlowKind

PENDING = "oauth-pending/"
LIFETIME = timedelta(minutes=15)


def new_state() -> str:
    """A state that nobody can guess (256 bits)."""
    return randomness.token_urlsafe(32)


def same(one: str, other: str) -> bool:
    """Equal, compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What a token endpoint gave. ``user`` is the signed-in address where the provider says it."""

    access_token: Secret
    expires_in: int
    refresh_token: Secret | None = None
    scope: str = ""
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in under way: open ``address`` in a browser. ``state`` names it; it ends at ``until``."""

    address: str = field(repr=False)
    state: str = field(repr=False)
    redirect_uri: str
    until: datetime


def read_answer(account: Account, answer: Mapping[str, Any], grant: str = "") -> TokenAnswer:
    """The token answer as a value; an error answer raises :class:`AuthError` from the catalogue. ``grant`` is what was
    redeemed: ``code``, ``refresh``, ``assertion``."""
    if answer.get("error") or not answer.get("access_token"):
        raise refusal(account.provider, answer, grant=grant)
    access, refresh = str(answer["access_token"]), answer.get("refresh_token")
    register(access)
    if refresh:
        register(str(refresh))
    claims = answer.get("id_token_claims") or {}
    user = claims.get("preferred_username") or claims.get("email") if isinstance(claims, dict) else None
    try:
        seconds = int(float(answer.get("expires_in") or 3600))
    except (TypeError, ValueError):
        seconds = 3600
    scope = answer.get("scope") or ""
    return TokenAnswer(
        Secret(access),
        max(0, seconds),
        Secret(str(refresh)) if refresh else None,
        " ".join(scope) if isinstance(scope, list) else str(scope),
        str(user) if user else None,
    )


def read_redirect(text: str) -> dict[str, str]:
    """The parameters of the address a browser was sent back to, as pasted by a person or met by the listener.

    Takes the whole address or its query; raises :class:`ConfigError` with what to copy instead. Repeated parameters
    and fragments (the implicit flow) are refused.
    """
    text = text.strip().strip("<>\"'")
    if len(text) > 16_384 or any(ord(c) < 32 for c in text):
        raise _unreadable("It is too long or holds control characters.")
    split = urlsplit(text)
    query = split.query if split.query or "://" in text or text.startswith("/") else text.lstrip("?")
    if not query and split.fragment:
        raise _unreadable("The answer stands behind # (the implicit flow), which is not safe.")
    try:
        fields = parse_qs(query, max_num_fields=30)
    except ValueError as error:
        raise _unreadable("It has too many parts.") from error
    if any(len(values) > 1 for values in fields.values()):
        raise _unreadable("A part stands in it twice.")
    found = {name: values[0] for name, values in fields.items()}
    if "response_type" in found or "client_id" in found:
        raise _unreadable("This is the sign-in link itself, not the address after it.")
    if "state" not in found or not ("code" in found or "error" in found):
        raise _unreadable("It holds no code and state.")
    if "code" in found:
        register(found["code"])
    return found


def _unreadable(why: str) -> ConfigError:
    return ConfigError(
        f"This is not the address the browser was sent back to. {why}",
        code="auth.paste",
        facts={"why": why},
        fix="After the sign-in the browser shows a page that cannot be opened; copy the whole address from its "
        "address bar (it begins with the redirect address and holds code= and state=) and paste it here.",
    )


class PendingStore:
    """The sign-ins under way, in the vault, by a hash of their state."""

    def __init__(self, vault: Vault, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock

    def keep(self, state: str, account: Account, kept: Mapping[str, Any]) -> datetime:
        """Keep a sign-in; gives the moment it ends. Old ones are swept out."""
        self.sweep()
        until = self._clock.now() + LIFETIME
        entry = {"state": state, "key": account.key, "until": until.isoformat(), "kept": dict(kept)}
        entry["account"] = {
            k: str(v) if k in ("flow", "secret_ends") else v for k, v in asdict(account).items() if v is not None
        }
        self._vault.put(_name(state), json.dumps(entry))
        return until

    def take(self, state: str) -> tuple[Account, dict[str, Any]]:
        """The kept parts of this state, once. Raises :class:`AuthError` ``auth.state`` for any other state."""
        found: dict[str, Any] = {}

        def remove(before: str | None) -> None:
            found.update(json.loads(before) if before else {})

        self._vault.update(_name(state), remove)
        if not found or not same(found["state"], state):
            raise AuthError(
                "This answer belongs to no sign-in that was started here.",
                code="auth.state",
                fix="Start the sign-in again and finish it in the same browser tab; each link works once.",
            )
        if datetime.fromisoformat(found["until"]) < self._clock.now():
            raise AuthError(
                "The sign-in took longer than 15 minutes.",
                code="auth.state_expired",
                facts={"key": found["key"]},
                fix="Start the sign-in again.",
            )
        return _account(found["account"]), found["kept"]

    def sweep(self) -> int:
        """Remove the sign-ins nobody finished; how many."""
        gone = 0
        for entry in self._vault.entries():
            if entry.name.startswith(PENDING) and entry.changed_at + LIFETIME < self._clock.now():
                gone += self._vault.delete(entry.name)
        return gone


def _name(state: str) -> str:
    return PENDING + hashlib.sha256(state.encode()).hexdigest()


def _account(values: Mapping[str, Any]) -> Account:
    from datetime import date

    fields = dict(values)
    fields["flow"] = FlowKind(fields["flow"])
    if fields.get("secret_ends"):
        fields["secret_ends"] = date.fromisoformat(fields["secret_ends"])
    return Account(**fields)
