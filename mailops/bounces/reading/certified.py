"""Certified mail (RFC 6109, Posta Elettronica Certificata): receipts whose fields and data are prescribed.

The field ``X-Ricevuta`` says what a receipt is, the part ``daticert.xml`` whom it is about and why: nothing of it is
prose. Receipts of acceptance and delivery report no failure and are left to the readers of prose.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .classify import Classification, classify, classify_as, find_enhanced
from .dsn import address_of
from .judging import settled
from .opening import Letter
from .report import Kind, RecipientResult, Report

FIELD = "x-ricevuta"
_KINDS: dict[str, Kind] = {
    "errore-consegna": "bounce",
    "non-accettazione": "bounce",
    "rilevazione-virus": "bounce",
    "preavviso-errore-consegna": "delayed",
}
_ERRORS = {"no-dest": "userunknown", "no-dominio": "hostunknown", "virus": "virusdetected"}
_PERSON = re.compile(r"<(consegna|destinatari)\b[^>]{0,100}>([^<>]{3,320})</")
_ERROR = re.compile(r"<postacert\b[^>]{0,200}?\berrore=\"([a-z-]{1,40})\"")
_WORDS = re.compile(r"<errore-esteso>([^<>]{1,1000})</errore-esteso>")


def read_certified(letter: Letter) -> Report | None:
    """The report in a receipt of certified mail that tells of a failure or a delay, or None."""
    kind = _KINDS.get(letter.fields.first(FIELD).strip().lower()) if FIELD in letter.fields else None
    if kind is None:
        return None
    data = next((xml for part in letter.parts if "<postacert" in (xml := part.text())), "")
    people: dict[str, list[str]] = {"consegna": [], "destinatari": []}
    for found in _PERSON.finditer(data[:40_000]):
        people[found[1]].append(address_of(found[2]))
    named = [one for one in people["consegna"] or people["destinatari"] if "@" in one]
    if not named:
        return None
    error, words = _ERROR.search(data[:4_000]), _WORDS.search(data[:40_000])
    said = " ".join(words[1].split()) if words else ""
    answer = _reason(error[1] if error else "", said, kind)
    action = "failed" if kind == "bounce" else "delayed"
    results = [_result(one, answer, said or " ".join(letter.report.split())[:1000], action) for one in named[:200]]
    return letter.answer(kind, results, "certified", letter.fields.first(FIELD)[:80])


def _reason(error: str, said: str, kind: Kind) -> Classification:
    if error in _ERRORS:
        return classify_as(_ERRORS[error], "certified", error, sure=True)
    answer = (
        classify(text=said) if said else classify_as("expired" if kind == "delayed" else "onhold", "certified", error)
    )
    return classify_as("onhold", "certified", said[:80]) if answer.reason in ("undefined", "delivered") else answer


def _result(recipient: str, answer: Classification, said: str, action: str) -> RecipientResult:
    result = RecipientResult(recipient, None, answer.reason, answer.hard, find_enhanced(said), action, said)
    rule = "certified:" + answer.rule
    return settled(replace(result, rule=rule, evidence=answer.matched_text or action, unconfirmed=answer.unconfirmed))
