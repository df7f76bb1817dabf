"""One explanation for whatever a server, a sign-in page or a report said: cause, who must act, what helps.

::

    explain(text)  ─►  catalogue of the providers' own refusals (row)      the server that *we* sign in to
                   ─►  what the OAuth error means by itself                (row None)
                   ─►  reading of bounces: reason and advice               the other side
                   ─►  class "unknown"

Queue, ``mailops bounces why``, doctor, the guides' box and ``mailops explain error`` ask here. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..model.reasons import REASONS, plain, who_acts
from ..providers import CATALOGUED, provider_of_host
from ..providers.refusals import (
    KINDS,
    NAMES,
    PLACES,
    WHO,
    Row,
    Who,
    explain_reply,
    meaning_in,
    provider_named_in,
    recognise,
    row,
)
from .reading.advice import advise
from .reading.classify import classify

_ACTOR: dict[str, Who] = {
    "nobody": "nobody (wait)",
    "sender": "you",
    "recipient": "recipient",
    "sender's administrator": "admin",
    "recipient's administrator": "their admin",
}
_CLASS: dict[Who, str] = {
    "you": "config",
    "admin": "admin",
    "person": "user",
    "recipient": "recipient",
    "their admin": "recipient",
    "provider": "retry",
    "nobody (wait)": "retry",
}
_GRANTS = ("code", "refresh", "assertion")


@dataclass(frozen=True, slots=True)
class Explanation:
    """``kind`` is the class (see :data:`mailops.providers.refusals.KINDS`; ``recipient`` and ``unknown`` beside them),
    ``row`` the catalogue's row, None when none fits; ``reason`` the word of a bounce; ``source`` where it was read."""

    kind: str
    cause: str
    who: Who
    fix: str
    row: str | None = None
    reason: str | None = None
    source: str = ""
    own: bool = False  # it speaks of our own sign-in or provider, not of the other side

    @property
    def known(self) -> bool:
        return self.kind != "unknown"

    @property
    def acts(self) -> str:
        """Who must act, in a phrase."""
        return WHO[self.who]

    def as_dict(self) -> dict[str, Any]:
        """``class``, ``cause``, ``who``, ``fix``, ``row``, ``reason``, ``source``."""
        return {
            "class": self.kind,
            "cause": self.cause,
            "who": self.who,
            "fix": self.fix,
            "row": self.row,
            "reason": self.reason,
            "source": self.source,
        }


def explain(
    text: str, *, provider: str | None = None, protocol: str | None = None, grant: str | None = None
) -> Explanation:
    """Explain a text. ``provider``: microsoft, google, mailjet; ``protocol``: smtp, imap, pop, token, page; ``grant``:
    what was redeemed (code, refresh, assertion; without one, a running system's renewal is meant).

    Raises :class:`mailops.errors.ConfigError` ``explain.option`` for another word, ``explain.empty`` for no text.
    """
    vendor = _one_of(provider, NAMES, "provider")
    at = _one_of(protocol, {p: p for p in PLACES}, "protocol")
    redeemed = _one_of(grant, {g: g for g in _GRANTS}, "grant") or _grant_in(text)
    said = text.strip()[:16_000]
    if not said:
        raise ConfigError(
            "There is no text to explain.", code="explain.empty", fix="Paste the whole text of the error."
        )
    own = re.search(r"\bauth\.((?:ms|google|mailjet)-[\w.-]*\w)", said)
    if own and (found := _row_or_none(own[1])):
        return _of_row(found)
    found = recognise(said, vendor, at, redeemed)
    if found is not None:
        return _of_row(found)
    general = meaning_in(said, vendor) if at in (None, "token", "page") else None
    if general is not None:
        return Explanation(general.kind, general.cause, general.who, general.fix)
    number = re.search(r"\bAADSTS(\d{4,9})\b", said)
    if number:  # a refusal of the sign-in, whatever words it shares with those of a mail
        cause = f"Microsoft refused the sign-in with its number {number[1]}, which is in no row of the catalogue."
        fix = f"Enter {number[1]} at https://login.microsoftonline.com/error and read what Microsoft says of it."
        return Explanation("unknown", cause, "you", fix, own=True)
    return _of_bounce(said)


def explain_answer(
    text: str,
    *,
    host: str | None = None,
    provider: str | None = None,
    code: int | None = None,
    enhanced: str | None = None,
    stage: str = "",
    reason: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Explanation:
    """What a server that we sent to answered. The provider of our own server goes first; ``facts`` of an error that
    mailops raised itself (``row``, ``fix``) are taken as they are; ``reason`` is the word of a bounce, where known."""
    told = facts or {}
    named = str(told.get("row") or "")
    if named and (found := _row_or_none(named)):
        return _of_row(found)
    if str(told.get("code") or "").startswith("auth."):  # our own error, without a row: what OAuth's word means
        kind = str(told.get("class") or "config")
        who: Who = KINDS.get(kind, "you")
        return Explanation(kind, text, who, str(told.get("fix") or ""), own=True)
    about = provider_of_host(host)
    vendor = next((one for one in (provider, about.id if about else None) if one in CATALOGUED), None)
    whole = " ".join([*(str(p) for p in (code, enhanced) if p and not text.startswith(str(p))), text])
    found = explain_reply(vendor, "smtp", whole) if vendor else recognise(whole, None, "smtp")
    return _of_row(found) if found else _of_bounce(text, code, enhanced, stage, reason)


def explain_report(text: str, reason: str | None = None) -> Explanation:
    """What a report that came back says: the other side's words, so a provider's rows count only in its own words."""
    named = provider_named_in(text)
    found = explain_reply(named, "smtp", text) if named else None
    return _of_row(found) if found else _of_bounce(text.strip(), reason=reason)


def stored(data: Mapping[str, Any] | None) -> Explanation | None:
    """The explanation that was kept with an event, or None."""
    kept = (data or {}).get("explained")
    if not isinstance(kept, Mapping) or kept.get("who") not in WHO:
        return None
    return Explanation(
        str(kept.get("class")), str(kept.get("cause")), kept["who"], str(kept.get("fix")),
        kept.get("row"), kept.get("reason"), str(kept.get("source") or ""), own=True,
    )  # fmt: skip


def _row_or_none(name: str) -> Row | None:
    try:
        return row(name)
    except KeyError:
        return None


def _of_row(found: Row) -> Explanation:
    return Explanation(found.kind, found.cause, found.who, found.fix, found.id, source=found.source, own=True)


def _of_bounce(
    text: str, code: int | None = None, enhanced: str | None = None, stage: str = "", reason: str | None = None
) -> Explanation:
    word = reason or (
        classify(code or None, enhanced, text, stage).reason if code or enhanced else classify(text=text).reason
    )
    if word in REASONS and word != "undefined":
        advice, who = advise(text, word), _ACTOR[who_acts(word)]
        return Explanation(_CLASS[who], advice.diagnosis or plain(word), who, " ".join(advice.tasks), reason=word)
    if reason is not None:
        return Explanation(
            "unknown", plain("undefined"), "you", " ".join(advise(text, reason).tasks), reason="undefined"
        )
    return Explanation(
        "unknown",
        "These words are in no row of the catalogue, and no reason of a bounce is in them.",
        "you",
        "Read the whole answer. If a provider said it, name which and where: "
        "`mailops explain error TEXT --provider microsoft --protocol imap`",
    )


def _grant_in(text: str) -> str:
    """What was redeemed, as far as the words say; else a renewal, which is what a running system does all day."""
    if re.search(r"JWT|assertion|service.account|client.credentials", text, re.I):
        return "assertion"
    return "code" if re.search(r"authori[sz]ation code|auth code|code_verifier|redirect", text, re.I) else "refresh"


def _one_of(word: str | None, known: Mapping[str, str], what: str) -> str | None:
    if not word:
        return None
    found = known.get(word.strip().lower())
    if found is None:
        raise ConfigError(
            f"{word!r} is no {what} that mailops explains.",
            code="explain.option",
            facts={what: word, "known": sorted(known)},
            fix="Use one of: " + ", ".join(sorted(known)) + ".",
        )
    return found
