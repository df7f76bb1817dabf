"""What an access token says of itself: audience, permissions, user, end.

The signature is **not** verified: mailops is not the one who has to trust the token, it only reads what stands in it to
explain a refusal. Tokens are shown as claims, never as the string. Google's access tokens are opaque and have none.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..model.verdict import Verdict, VerdictState
from .account import Account

NOT_VERIFIED = "Read without verifying the signature."
AUDIENCES = ("https://outlook.office.com", "https://outlook.office365.com", "00000002-0000-0ff1-ce00-000000000000")
GRAPH = ("https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000")
_APP_ROLES = {"send": "SMTP.SendAsApp", "receive": "IMAP.AccessAsApp", "pop": "POP.AccessAsApp"}


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that matter for mail; ``length`` is the token's, for long tokens break some servers."""

    audience: str
    scopes: frozenset[str]
    roles: frozenset[str]
    user: str | None
    expires: datetime | None
    tenant: str | None
    application: str | None
    length: int

    def as_dict(self) -> dict[str, Any]:
        """The claims as JSON-ready values, without the token."""
        return {
            "aud": self.audience,
            "scp": sorted(self.scopes),
            "roles": sorted(self.roles),
            "user": self.user,
            "exp": self.expires.isoformat() if self.expires else None,
            "tid": self.tenant,
            "appid": self.application,
            "length": self.length,
            "note": NOT_VERIFIED,
        }


def read_claims(token: str) -> Claims | None:
    """The claims of a JSON web token (RFC 7519), or None for an opaque one."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 65_536:
        return None
    try:
        raw = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(raw, dict):
        return None
    audience = raw.get("aud") or ""
    user = next((raw[k] for k in ("upn", "preferred_username", "unique_name", "email") if raw.get(k)), None)
    expires = raw.get("exp")
    try:
        end = datetime.fromtimestamp(float(expires), UTC) if expires is not None else None
    except (TypeError, ValueError, OverflowError, OSError):
        end = None
    return Claims(
        audience=str(audience[0] if isinstance(audience, list) and audience else audience),
        scopes=frozenset(_words(raw.get("scp") or raw.get("scope"))),
        roles=frozenset(_words(raw.get("roles"))),
        user=str(user) if user else None,
        expires=end,
        tenant=str(raw["tid"]) if raw.get("tid") else None,
        application=str(raw.get("appid") or raw.get("azp") or "") or None,
        length=len(token),
    )


def _words(value: object) -> list[str]:
    """``scp`` is one string; short names and full addresses both occur."""
    items = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(item).rsplit("/", 1)[-1] or str(item) for item in items]


def judge_claims(claims: Claims | None, account: Account, now: datetime) -> Verdict:
    """Whether the token can open this account's mailbox, judged by its claims (the doctor's fifth rung)."""
    subject = account.sasl_user
    if claims is None:
        return Verdict(
            "oauth.claims", subject, VerdictState.SKIPPED, "Claims", found="The token is opaque, as Google's are.",
            code="oauth.claims_opaque", at=now,
        )  # fmt: skip

    def verdict(state: VerdictState, code: str, found: str, expected: str = "", fix: str = "") -> Verdict:
        return Verdict(
            "oauth.claims", subject, state, "Claims", found, expected, fix, f"oauth.{code}", claims.as_dict(), now
        )

    failed = VerdictState.FAILED
    audience = claims.audience.rstrip("/").lower()
    if audience in GRAPH:
        return verdict(
            failed, "claims_graph", "The token is for Microsoft Graph.", "A token for https://outlook.office.com.",
            "Ask for the Outlook scopes (https://outlook.office.com/SMTP.Send …) and not for Graph's; connect again.",
        )  # fmt: skip
    if account.provider == "outlook" and audience not in AUDIENCES:
        return verdict(
            failed, "claims_audience", f"The token is for {claims.audience or 'nobody'}.",
            "A token for https://outlook.office.com.", "Compare the scopes with the guide, then connect again.",
        )  # fmt: skip
    if claims.expires is not None and claims.expires <= now:
        return verdict(
            failed, "claims_expired", f"The token ended at {claims.expires:%Y-%m-%d %H:%M} UTC.", "A token in force.",
            "Renew it; if the renewed one has ended as well, this machine's clock is wrong.",
        )  # fmt: skip
    missing = _missing(claims, account)
    if missing:
        where = "Application permissions" if account.flow.app_only else "API permissions"
        return verdict(
            failed, "claims_scope", f"The permission {', '.join(missing)} is missing.",
            f"{', '.join(sorted(missing))} in the token.", f"{where}: add it, consent, and connect again.",
        )  # fmt: skip
    if claims.user and not account.flow.app_only and not account.is_of(claims.user):
        return verdict(
            VerdictState.WARNING, "claims_user",
            f"The token bears the name {claims.user}, the mailbox is {subject}; the next rungs show if both are one.",
            f"A token of {account.user}.",
            f"Nothing, where sign-in and mailbox hold ({claims.user} may be the sign-in name of {account.user}): "
            f"`mailops connect {account.about.command} {account.user} --accept-other` keeps it. Else connect again and "
            f"pick {account.user}.",
        )  # fmt: skip
    end = f" until {claims.expires:%H:%M} UTC" if claims.expires else ""
    return verdict(VerdictState.PASSED, "claims", f"For Outlook, with the permissions asked for{end}. {NOT_VERIFIED}")


def _missing(claims: Claims, account: Account) -> list[str]:
    if account.provider != "outlook":
        return []
    if account.flow.app_only:
        wanted = [_APP_ROLES[d] for d in ("send", "receive", "pop") if getattr(account, d)]
        return [role for role in wanted if role not in claims.roles]
    return [scope.rsplit("/", 1)[-1] for scope in account.scopes if scope.rsplit("/", 1)[-1] not in claims.scopes]
