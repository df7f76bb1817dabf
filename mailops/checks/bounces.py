"""Checks of what came back: reports that fit no mail of ours, and a list that today's rules would change."""

from __future__ import annotations

from datetime import datetime

from ..bounces.return_path import ReturnPathState
from ..model.verdict import Verdict, VerdictState


def unmatched(reports: int, tied: int, *, now: datetime, limit: float = 0.5) -> Verdict:
    """No more than ``limit`` (a share of 1) of the reports fit no mail of ours."""
    left = reports - tied
    many = reports >= 10 and left / reports > limit
    return Verdict(
        check="bounces.unmatched",
        subject="reports that came back",
        state=VerdictState.SKIPPED if not reports else VerdictState.WARNING if many else VerdictState.PASSED,
        title="Reports are tied to the mails they speak of" if reports else "No report has come back",
        found=f"{tied} of {reports} reports are tied to a mail",
        expected=f"At most {limit:.0%} fit no mail of ours",
        fix="Look at the reports that fit nothing: forged senders (backscatter) are stopped by SPF and DMARC.",
        code="bounces.unmatched" if many else "",
        at=now,
    )


def rules(changes: int, coming_off: int, *, now: datetime) -> Verdict:
    """Nobody is suppressed whom today's rules would not suppress."""
    return Verdict(
        check="bounces.rules",
        subject="the suppression list",
        state=VerdictState.WARNING if coming_off else VerdictState.PASSED,
        title="Addresses are suppressed that today's rules would spare"
        if coming_off
        else "The list fits today's rules",
        found=f"{changes} stored reports are judged otherwise today; {coming_off} would take an address off the list",
        expected="No address on the list that today's rules would spare",
        fix="Read the differences, then press Apply Today's Rules (or: mailops suppress apply).",
        code="bounces.rules_changed" if coming_off else "",
        at=now,
    )


def return_paths(state: ReturnPathState, *, now: datetime) -> Verdict:
    """Signed return paths come back: reports about signed mail carry the tag."""
    lost = state.signed and state.unproven > 0 and state.proven == 0
    bad = bool(state.trouble) or lost
    title = (
        "The key of signed return paths cannot be read"
        if state.trouble
        else "Reports come back without the tag of the signed return path"
        if lost
        else "Return paths are signed"
        if state.signed
        else "Return paths are plain: a made-up report can mark a mail as come back"
    )
    fix = (
        "Make the key readable again, or go back: mailops return-path plain."
        if state.trouble
        else "Let the domain's mail system take mail for bounce+anything@, or go back: mailops return-path plain."
        if lost
        else "Sign them when the domain takes mail for bounce+anything@: mailops return-path sign."
    )
    return Verdict(
        check="bounces.return_paths",
        subject="return paths",
        state=VerdictState.WARNING if bad else VerdictState.PASSED if state.signed else VerdictState.SKIPPED,
        title=title,
        found=state.trouble or f"{state.proven} reports of 30 days proven by their tag, {state.unproven} lacked it",
        expected="Reports about signed mail carry its tag",
        fix=fix,
        code="bounces.return_paths" if bad else "",
        at=now,
    )
