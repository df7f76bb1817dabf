"""A report in words, for every face: what it is about, what it says, what follows, what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...model.reasons import plain, who_acts
from .advice import advise, consequence
from .report import RecipientResult, Report
from .searchable import searchable


@dataclass(frozen=True, slots=True)
class Explained:
    """What a report says of one recipient, or of nobody. ``about`` is the returned message: its subject and Message-ID.

    ``meaning`` is the reason in words for people, None where nothing failed; a failure that nobody can interpret says
    ``no error``. ``strength`` is hard, "hard, unconfirmed" or soft; "" where nothing failed.
    """

    kind: str
    recipient: str | None
    status: str | None
    reason: str | None
    meaning: str | None
    hard: bool | None
    strength: str
    who_acts: str | None
    diagnosis: str | None
    tasks: tuple[str, ...]
    consequence: str
    subject: str | None
    original_message_id: str | None
    diagnostic: str | None
    search: str | None
    rule: str
    evidence: str


def explain(report: Report) -> tuple[Explained, ...]:
    """One for each recipient the report names; one in all where it names nobody."""
    return tuple(_one(report, result) for result in report.results or (None,))


def _one(report: Report, result: RecipientResult | None) -> Explained:
    failed = report.kind in ("bounce", "delayed") and (result is None or result.reason != "delivered")
    reason = (result.reason if result else "undefined") if failed else ""
    said = result.diagnostic if result else ""
    delayed = report.outcome == "delayed" or (
        result is not None and result.action == "delayed" and len(report.results) > 1
    )
    sender = report.original.headers.get("from", "")
    sender = sender[sender.rfind("<") + 1 :].partition(">")[0] if "@" in sender else ""
    until = result.retry_until if result else ""
    advice = advise(said, reason, sender=sender, delayed=delayed, until=until) if failed else None
    return Explained(
        report.kind,
        result.recipient if result else None,
        result.status if result else None,
        result.reason if result else None,
        plain(result.reason) if result else plain("undefined") if failed else None,
        result.hard if result else None,
        result.strength if result and failed else "",
        who_acts(reason) if failed else None,
        advice.diagnosis if advice else None,
        advice.tasks if advice else (),
        consequence(report, result),
        report.original.subject,
        report.original.message_id,
        said if result else None,
        searchable(said) if result else None,
        (result.rule if result else "") or report.rule,
        (result.evidence if result else "") or report.evidence,
    )
