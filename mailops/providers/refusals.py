"""The error catalogue: from what a provider said to cause, fix, and who must act.

Branch order, as the providers themselves advise: the OAuth ``error`` value with Microsoft's numeric ``error_codes``
first, words last; an unknown number falls back to the meaning of ``error``. What was redeemed (``grant``) decides where
the words do not: ``invalid_grant: Bad Request`` is a used code in a sign-in and an ended token in a renewal. The rows
are data with sources (a file a provider in ``data/refusals/``).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from ..errors import AuthError
from ..secrets import redact
from .model import limits_said
from .rules import CATALOGUED, PROVIDERS

Who = Literal["you", "admin", "person", "recipient", "their admin", "provider", "nobody (wait)"]
KINDS: dict[str, Who] = {
    "config": "you",
    "admin": "admin",
    "user": "person",
    "reauth": "person",
    "code": "you",
    "limit": "you",
    "retry": "nobody (wait)",
}
"""The classes of rows, with who must act. ``user`` and ``reauth`` are dead until the person signs in; ``config`` and
``admin`` hold until the account or its secret changes; ``limit`` and ``retry`` back off."""
WHO: dict[Who, str] = {
    "you": "you: a setting here or in the console",
    "admin": "an administrator of the tenant, Workspace or DNS",
    "person": "the person who owns the mailbox",
    "recipient": "the recipient",
    "their admin": "the recipient's administrator",
    "provider": "the provider",
    "nobody (wait)": "nobody: wait",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``kind`` says what mailops may do by itself (see :data:`KINDS`), ``grants`` what must have been redeemed
    (empty: anything), ``actor`` who must act where the class alone does not say it."""

    id: str
    provider: str
    at: str
    cause: str
    fix: str
    kind: str
    codes: tuple[int, ...] = ()
    errors: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None
    grants: tuple[str, ...] = ()
    actor: Who | None = None
    also: tuple[str, ...] = ()
    source: str = ""

    @property
    def who(self) -> Who:
        return self.actor or KINDS[self.kind]

    def stands_for(self, provider: str | None, at: str) -> bool:
        return provider in (None, self.provider) and (at == self.at or at in self.also)


@lru_cache(maxsize=1)
def rows() -> tuple[Row, ...]:
    """All rows, in the order of matching."""
    out: list[Row] = []
    for known in CATALOGUED:
        name = f"{PROVIDERS[known].dns.key}.toml"
        raw = tomllib.loads(files(__package__).joinpath("data", "refusals", name).read_text("utf-8"))
        out += (_row(known, one, raw["sources"], raw["usual"]) for one in raw["row"])
    return tuple(out)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else () if value is None else (value,)


_FIGURES = re.compile(r"\{(\w+) (\w+)(?: an? (\w+))?\}")


def _figures(found: re.Match[str]) -> str:
    """``{gmail messages a day}`` as the limits the provider's file gives."""
    known, of, per = found.groups(default="")
    fitting = [one for one in PROVIDERS[known].limits if (one.of, one.per) == (of, per)]
    if not fitting:
        raise KeyError(found[0])
    return limits_said(fitting)


def _row(known: str, raw: Mapping[str, Any], sources: Mapping[str, str], usual: Mapping[str, str]) -> Row:
    at, *also = _several(raw["at"])
    return Row(
        id=raw["id"],
        provider=known,
        at=at,
        cause=_FIGURES.sub(_figures, raw["cause"]),
        fix=raw["fix"],
        kind=raw["class"],
        codes=tuple(raw.get("codes", ())),
        errors=_several(raw.get("error")),
        text=re.compile(raw["text"], re.IGNORECASE | re.DOTALL) if "text" in raw else None,
        grants=_several(raw.get("grant")),
        actor=raw.get("who"),
        also=tuple(also),
        source=sources[raw.get("source") or usual[at]],
    )


def row(row_id: str) -> Row:
    """The row of this id. Raises KeyError."""
    for one in rows():
        if one.id == row_id:
            return one
    raise KeyError(row_id)


_SIGNED = (
    "The provider does not take what the application signed.",
    "Compare the application's key or certificate, its tenant and this machine's clock.",
    "config",
)
_CODE = (
    "The authorization code is not taken: it was used before, ran out, or was cut or changed on its way.",
    "Start the sign-in again.",
    "code",
)
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


def explain_token(
    provider: str, error: str | None, *, codes: Iterable[int | str] = (), text: str = "", grant: str = ""
) -> Row:
    """The row for an error of the sign-in page or the token endpoint. ``grant`` is what was redeemed: ``code``,
    ``refresh``, ``assertion`` ("" where nobody knows). Always gives one, the general one at worst."""
    return known_refusal(provider, error, codes=codes, text=text, grant=grant) or _meaning(provider, error, grant)


def known_refusal(
    provider: str, error: str | None, *, codes: Iterable[int | str] = (), text: str = "", grant: str = ""
) -> Row | None:
    """As :func:`explain_token`, but None where only the meaning of ``error`` is known."""
    numbers = {int(c) for c in codes if str(c).isdigit()}
    numbers |= {int(n) for n in re.findall(r"AADSTS(\d+)", text)}
    said = clean(text)
    here = [r for r in rows() if r.stands_for(provider, "token") and (not r.grants or grant in r.grants)]
    for one in here:
        if numbers & set(one.codes) and (one.text is None or one.text.search(said)):
            return one
    for one in here:
        if one.codes or error not in one.errors:
            continue
        if one.text is None or error not in _MEANING or one.text.search(said):  # a word of its own needs no text
            return one
    for one in here:
        if one.codes or one.grants or one.text is None or not said or (error in _MEANING and one.errors):
            continue
        if one.text.search(said):
            return one
    return None


def _meaning(provider: str, error: str | None, grant: str = "") -> Row:
    # neither an application that signs for itself nor a sign-in's code has a refresh token that could have ended
    own = {"assertion": _SIGNED, "code": _CODE}.get(grant) if error == "invalid_grant" else None
    cause, fix, kind = own or _MEANING.get(
        error or "",
        ("The provider refused, in words that mailops does not know.", "Read the provider's words below.", "config"),
    )
    return Row(f"{error or 'unknown'}", provider, "token", cause, fix, kind)


def explain_reply(provider: str | None, at: str, text: str) -> Row | None:
    """The row for a mail server's or API's reply (``535 5.7.139 …``), or None when no row fits."""
    said = clean(text)
    for one in rows():
        if one.stands_for(provider, at) and one.text is not None and one.text.search(said):
            return one
    return None


_BRACKETS = re.compile(r"\s{0,20}\[[^\]\r\n]{0,20}[A-Za-z0-9-]{1,63}\.[^\]\r\n]{0,500}\]")
_TRACE = re.compile(r"(?i)\b(trace id|correlation id|timestamp):\s*\S+(?:\s\d\d:\d\d:\d\dZ)?")


def clean(text: str) -> str:
    """A reply without server names and times in brackets, trace ids and doubled blanks."""
    return re.sub(r"\s+", " ", _TRACE.sub("", _BRACKETS.sub("", text[:8000]))).strip()


# --- a text that somebody pasted --------------------------------------------------------------------------------------

NAMES = {"microsoft": "outlook", "google": "gmail", "outlook": "outlook", "gmail": "gmail", "mailjet": "mailjet"}
"""What a provider may be called, and its id."""
PLACES = ("smtp", "imap", "pop", "token", "page")
_VENDOR = (
    ("mailjet", re.compile(r"mailjet", re.I)),
    (
        "gmail",
        re.compile(
            r"gsmtp|gcdp|google|gmail|\[(WEB)?ALERT\b|\[SYS/(PERM|TEMP)\]|rapt|admin_policy_enforced|org_internal"
            r"|redirect_uri_mismatch|\d{3}-[245]\.\d|Username and Password not accepted|Mail relay denied"
            r"|credentials for relay|SMTP relay|Too many login attempts|Application-specific password"
            r"|user sending limit",
            re.I,
        ),
    ),
    (
        "outlook",
        re.compile(
            r"AADSTS|outlook|office ?365|microsoft|exchange|STOREDRV|SmtpClientAuthentication|SendAsDenied"
            r"|authenticated but not connected|AUTHENTICATE failed|Conditional Access",
            re.I,
        ),
    ),
)
_SEEN = (
    ("pop", re.compile(r"^\s*(?:[<S]:?\s*)?-ERR\b|\bpop3?\b", re.I)),
    (
        "imap",
        re.compile(
            r"^\s{0,9}(?:[<S]:?\s{0,9})?(?:\*|[A-Za-z]{0,4}\d{1,9})?\s{0,9}(?:NO|BAD|BYE)\b"
            r"|\bimap4?\b|authenticated but not connected"
            r"|AUTHENTICATE failed|AccessTokenExpired",
            re.I,
        ),
    ),
    ("smtp", re.compile(r"(?<![\w.])[245]\d\d[ -]|(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.])|\bsmtp\b", re.I)),
)
_OAUTH_WORD = re.compile(r"\b(?:[a-z]+(?:_[a-z]+)+|internal_failure|backendError)\b")


def provider_named_in(text: str) -> str | None:
    """The provider whose words these are, or None."""
    return next((name for name, words in _VENDOR if words.search(text)), None)


def places_of(text: str) -> tuple[str, ...]:
    """Where a text was most likely said: ``token``, ``smtp``, ``imap``, ``pop``; the likeliest first."""
    seen = [at for at, words in _SEEN if words.search(text)]
    token = bool(re.search(r"AADSTS\d|\berror(_description)?\b.{0,4}[:=]|Error 40\d|\boauth", text, re.I))
    token = token or any(word in _known_errors() for word in _OAUTH_WORD.findall(text))
    order = (["token"] if token else []) + seen
    return tuple(dict.fromkeys([*order, "token", "imap", "pop", "smtp", "tls", "api"]))


def recognise(text: str, provider: str | None = None, at: str | None = None, grant: str = "") -> Row | None:
    """The row for a text as a person pastes it: a log's line, a page's words, an endpoint's JSON. None: no row fits.

    Without ``at`` the places are tried in the order of their likelihood; without ``provider`` the one whose words it
    uses, else all.
    """
    error, said, codes = _oauth_parts(text)
    named = provider or provider_named_in(text)
    for place in (("token",) if at == "page" else (at,)) if at else places_of(text):
        # Gmail's rows for SMTP go by codes that every server uses: they need Gmail's own words, or to be asked for.
        every = ("outlook",) if at is None and place in ("smtp", "tls", "api") else ("outlook", "gmail")
        for vendor in (named,) if named else every:
            if place == "token":
                found = known_refusal(vendor, error, codes=codes, text=said, grant="code" if at == "page" else grant)
            else:
                found = explain_reply(vendor, place, text)
            if found is not None:
                return found
    return None


def meaning_in(text: str, provider: str | None = None) -> Row | None:
    """What an OAuth ``error`` in a pasted text means by itself, where no row of a provider fits."""
    error, _, _ = _oauth_parts(text)
    return _meaning(provider or provider_named_in(text) or "outlook", error) if error in _MEANING else None


def _oauth_parts(text: str) -> tuple[str | None, str, tuple[int, ...]]:
    """The OAuth ``error``, its description and Microsoft's numbers, out of an endpoint's JSON or out of prose."""
    start = text.find("{")
    if start >= 0:
        try:
            answer, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            numbers = answer.get("error_codes")
            codes = tuple(c for c in numbers if isinstance(c, int)) if isinstance(numbers, list) else ()
            described = str(answer.get("error_description") or answer.get("error_subtype") or "")
            return answer["error"], described, codes
    error = next((word for word in _OAUTH_WORD.findall(text) if word in _known_errors()), None)
    said = text
    if error:  # "(invalid_grant) Bad Request", "invalid_grant: Bad Request", "error=invalid_grant&error_description=…"
        said = re.sub(rf"^.*?\b{error}\b[\s)\]:;,'\"&+-]*(?:error_description[=:]\s*)?", "", text, count=1, flags=re.S)
        said = said.strip(" '\")}].")
    return error, said, ()


@lru_cache(maxsize=1)
def _known_errors() -> frozenset[str]:
    return frozenset(_MEANING) | {e for r in rows() for e in r.errors}


def refusal(provider: str, answer: Mapping[str, Any], *, doing: str = "", grant: str = "") -> AuthError:
    """The error for a provider's refusal: our words and fix, its own words and ids as facts. Never the request.

    ``grant`` is what was redeemed: ``code``, ``refresh`` or ``assertion``.
    """
    error = str(answer.get("error") or "")
    said = str(answer.get("error_description") or answer.get("error_subtype") or "")
    codes = answer.get("error_codes") or ()
    listed = codes if isinstance(codes, (list, tuple)) else ()
    found = explain_token(provider, error, codes=listed, text=said, grant=grant)
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
    if grant:
        facts["grant"] = grant
    if doing:
        facts["doing"] = doing
    return AuthError(found.cause, code=f"auth.{found.id}", facts=facts, fix=found.fix)
