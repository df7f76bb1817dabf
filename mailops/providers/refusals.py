"""The error catalogue: from what a provider said to cause, fix, and who must act.

Branch order, as the providers themselves advise: the OAuth ``error`` value with Microsoft's numeric ``error_codes``
first, words last; an unknown number falls back to the meaning of ``error``. The rows are data (``catalogue.toml``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ..errors import AuthError
from ..secrets import redact

WHO = {
    "config": "whoever looks after the settings in mailops or the console",
    "admin": "an administrator of the tenant, Workspace or DNS",
    "user": "the person at the sign-in page",
    "reauth": "the owner of the mailbox (sign in again)",
    "code": "the same person again; if it persists, mailops' developers",
    "limit": "the sender: slow down or take another way",
    "retry": "nobody: wait",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``kind`` says what mailops may do by itself (see :data:`WHO`)."""

    id: str
    provider: str
    at: str
    cause: str
    fix: str
    kind: str
    codes: tuple[int, ...] = ()
    errors: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None

    @property
    def who(self) -> str:
        return WHO[self.kind]


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """All rows, in the order of matching."""
    raw = tomllib.loads(files(__package__).joinpath("refusals.toml").read_text("utf-8"))
    return tuple(_row(r) for r in raw["row"])


def _row(raw: Mapping[str, Any]) -> Row:
    error = raw.get("error", ())
    return Row(
        id=raw["id"],
        provider=raw["provider"],
        at=raw["at"],
        cause=raw["cause"],
        fix=raw["fix"],
        kind=raw["class"],
        codes=tuple(raw.get("codes", ())),
        errors=(error,) if isinstance(error, str) else tuple(error),
        text=re.compile(raw["text"], re.IGNORECASE | re.DOTALL) if "text" in raw else None,
    )


def row(row_id: str) -> Row:
    """The row of this id. Raises KeyError."""
    for one in rows():
        if one.id == row_id:
            return one
    raise KeyError(row_id)


# What an OAuth "error" means by itself (RFC 6749 section 5.2, RFC 8628 section 3.5, OpenID Connect Core 3.1.2.6).
_MEANING: dict[str, tuple[str, str, str]] = {
    "invalid_client": (
        "The provider does not accept the application's id or proof.",
        "Copy client id and secret anew.",
        "config",
    ),
    "invalid_grant": (
        "The sign-in or its refresh token is no longer valid.",
        "Connect the mailbox again.",
        "reauth",
    ),
    "unauthorized_client": (
        "The application may not sign in this way.",
        "Compare the client's type with the guide.",
        "config",
    ),
    "unsupported_grant_type": (
        "The provider does not offer this way of signing in.",
        "Choose another flow.",
        "config",
    ),
    "invalid_scope": (
        "The provider does not know or grant this permission.",
        "Compare the permissions with the guide.",
        "config",
    ),
    "invalid_request": (
        "The provider finds the request malformed.",
        "Start the sign-in again; compare the settings.",
        "code",
    ),
    "invalid_resource": (
        "The provider does not know the resource.",
        "Compare scopes and licence.",
        "config",
    ),
    "access_denied": (
        "The sign-in was refused or cancelled.",
        "Sign in again and accept.",
        "user",
    ),
    "consent_required": (
        "Nobody has consented yet.",
        "An administrator consents, or the person signs in.",
        "admin",
    ),
    "interaction_required": (
        "The provider wants to see the person.",
        "Connect the mailbox again.",
        "reauth",
    ),
    "login_required": (
        "The provider wants the person to sign in.",
        "Connect the mailbox again.",
        "reauth",
    ),
    "authorization_pending": (
        "The sign-in has not been finished yet.",
        "Finish it in the browser.",
        "retry",
    ),
    "slow_down": (
        "mailops asked too often.",
        "Nothing to do; it asks less often now.",
        "retry",
    ),
    "expired_token": (
        "The code has run out.",
        "Ask for a new code.",
        "user",
    ),
    "server_error": (
        "The provider has trouble.",
        "Wait and try again.",
        "retry",
    ),
    "temporarily_unavailable": (
        "The provider is busy.",
        "Wait and try again.",
        "retry",
    ),
}


def explain_token(provider: str, error: str | None, *, codes: Iterable[int | str] = (), text: str = "") -> Row:
    """The row for an error of the sign-in page or the token endpoint. Always gives one, the general one at worst."""
    numbers = {int(c) for c in codes if str(c).isdigit()}
    numbers |= {int(n) for n in re.findall(r"AADSTS(\d+)", text)}
    said = clean(text)
    here = [r for r in rows() if r.provider == provider and r.at == "token"]
    for one in here:
        if numbers & set(one.codes):
            return one
    for one in here:
        if one.codes:
            continue
        if error in one.errors and (one.text is None or one.text.search(said)):
            return one
    for one in here:
        if not one.codes and one.text is not None and not error and one.text.search(said):
            return one
    cause, fix, kind = _MEANING.get(
        error or "",
        ("The provider refused, in words that mailops does not know.", "Read the provider's words below.", "config"),
    )
    return Row(f"{error or 'unknown'}", provider, "token", cause, fix, kind)


def explain_reply(provider: str | None, at: str, text: str) -> Row | None:
    """The row for a mail server's or API's reply (``535 5.7.139 …``), or None when no row fits."""
    said = clean(text)
    for one in rows():
        if one.at == at and one.text is not None and provider in (None, one.provider) and one.text.search(said):
            return one
    return None


_BRACKETS = re.compile(r"\s{0,20}\[[^\]\r\n]{0,20}[A-Za-z0-9-]{1,63}\.[^\]\r\n]{0,500}\]")
_TRACE = re.compile(r"(?i)\b(trace id|correlation id|timestamp):\s*\S+(?:\s\d\d:\d\d:\d\dZ)?")


def clean(text: str) -> str:
    """A reply without server names and times in brackets, trace ids and doubled blanks."""
    return re.sub(r"\s+", " ", _TRACE.sub("", _BRACKETS.sub("", text[:8000]))).strip()


def refusal(provider: str, answer: Mapping[str, Any], *, doing: str = "") -> AuthError:
    """The error for a provider's refusal: our words and fix, its own words and ids as facts. Never the request."""
    error = str(answer.get("error") or "")
    said = str(answer.get("error_description") or answer.get("error_subtype") or "")
    codes = answer.get("error_codes") or ()
    found = explain_token(provider, error, codes=codes if isinstance(codes, (list, tuple)) else (), text=said)
    facts: dict[str, Any] = {
        "row": found.id,
        "class": found.kind,
        "who": found.who,
        "error": error,
        "said": redact(clean(said))[:500],
    }
    facts |= {k: str(answer[k]) for k in ("trace_id", "correlation_id", "timestamp") if answer.get(k)}
    if codes:
        facts["error_codes"] = list(codes)
    if doing:
        facts["doing"] = doing
    return AuthError(found.cause, code=f"auth.{found.id}", facts=facts, fix=found.fix)
