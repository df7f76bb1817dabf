"""Checks of bounce rates: weigh the interval, never the bare point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..model.text import counted
from ..model.verdict import Verdict, VerdictState


def bounce_rate(rate: Any, *, since: str, limit: float, now: datetime) -> Verdict:
    """The share of addresses that sent mail back (:class:`mailops.analysis.share.Rate`) stays below your own ``limit``,
    a share of 1. *Bounce rate* alone means sendings everywhere, so the title says addresses.

    Failed only when it is surely above the limit; a rate above it that chance may explain is a warning.
    """
    above = rate.addressed > 0 and rate.rate > limit
    sure = rate.surely_above(limit)
    state = VerdictState.FAILED if sure else VerdictState.WARNING if above else VerdictState.PASSED
    if rate.addressed == 0:
        state = VerdictState.SKIPPED
    return Verdict(
        check="bounce_rate",
        subject=f"everything sent since {since}",
        state=state,
        title=f"{rate.rate:.2%} of the addresses sent mail back" if rate.addressed else "Nothing was sent in this time",
        found=str(rate),
        expected=f"Below {limit:.1%} of the addresses, your own limit; sending services count hard bounces alone.",
        fix="Open the table by domain and by cause: take out addresses that do not exist, "
        "and stop sending to old lists.",
        code="bounce_rate.high" if sure else "",
        evidence={"addressed": rate.addressed, "returned": rate.returned, "low": rate.low, "high": rate.high},
        at=now,
    )


def hard_bounces(rate: Any, *, since: str, now: datetime) -> Verdict:
    """Of the addresses mailed few are dead (:class:`mailops.analysis.share.Rate`): sending services review an account
    at 5 % and pause it at 10 %, counting hard bounces alone."""
    verdict = rate.verdict
    states = {"critical": VerdictState.FAILED, "warning": VerdictState.WARNING, "watch": VerdictState.WARNING}
    state = states.get(verdict, VerdictState.PASSED) if rate.addressed else VerdictState.SKIPPED
    return Verdict(
        check="bounce_rate.hard",
        subject=f"addresses mailed since {since}",
        state=state,
        title=f"{rate.rate:.2%} of the addresses are dead" if rate.addressed else "Nothing was sent in this time",
        found=str(rate),
        expected="Below 5 %, where Amazon SES reviews an account; it pauses one at 10 %. Others ask for less.",
        fix="Take out addresses that do not exist, and ask where the list is from.",
        code=f"bounce_rate.hard_{verdict}" if verdict in states else "",
        evidence={"addresses": rate.addressed, "dead": rate.returned, "low": rate.low, "high": rate.high},
        at=now,
    )


def limits(found: Sequence[Any], *, now: datetime) -> Verdict:
    """No metric (:class:`mailops.analysis.metrics.Metric`) is above the limit that its source names."""
    held = [one for one in found if one.state]
    bad = [one for one in held if one.state != "ok"]
    state = VerdictState.PASSED if held else VerdictState.SKIPPED
    if bad:
        state = VerdictState.FAILED if any(one.state == "critical" for one in bad) else VerdictState.WARNING
    return Verdict(
        check="metrics.limits",
        subject="what sending services and receivers set limits for",
        state=state,
        title=f"{counted(len(bad), 'figure')} above its limit" if bad else "Every figure keeps its limit",
        found="\n".join(f"{one.name}: {one.words}, {one.state}" for one in bad),
        expected="\n".join(
            f"{one.name}: below {one.definition.limits[0]:.1%} ({one.definition.source})" for one in held
        ),
        fix="Dead addresses: clean the list. Complaints: mail only who asked for it, and make leaving easy.",
        code="metrics.limit" if bad else "",
        evidence={one.name: one.value for one in held},
        at=now,
    )


def jump(found: Any, *, since: str, now: datetime) -> Verdict:
    """No jump (:class:`mailops.analysis.jump.Jump`) is going on. One that is over is told and passes."""
    going_on = found.found and not found.over
    return Verdict(
        check="bounce_rate.jump",
        subject=f"the days since {since}" if since else "all days",
        state=VerdictState.WARNING if going_on else VerdictState.PASSED if found.enough else VerdictState.SKIPPED,
        title=f"The bounce rate jumped on {found.first}" if found.found else "The bounce rate has no jump",
        found=found.sentence,
        expected="Days that differ no more than chance lets them",
        fix="Open the group and its causes below; look at what changed on that day: a list, a server, a DNS record.",
        code="bounce_rate.jump" if going_on else "",
        evidence={"why": found.why, "first": found.first, "reason": found.reason, "domain": found.domain},
        at=now,
    )


def incidents(found: list[Any], *, since: str, now: datetime, enough: bool = True) -> Verdict:
    """No single domain, server or sender has a jump (:class:`mailops.analysis.trend.Incident`) that is going on;
    skipped without ``enough`` days to tell."""
    first = found[0] if found else None
    return Verdict(
        check="bounce_rate.groups",
        subject="each recipient domain, server and sender domain",
        state=VerdictState.WARNING if found else VerdictState.PASSED if enough else VerdictState.SKIPPED,
        title=f"The bounce rate of {first.group} jumped on {first.jump.first}" if first else "No group has a jump",
        found="\n".join(one.sentence for one in found[:10]),
        expected="Each group's days differ no more than chance lets them",
        fix="Open the group and its causes: one domain is a matter for its postmaster, one server or sender is yours.",
        code="bounce_rate.group" if found else "",
        evidence={"groups": [f"{one.by} {one.group} since {one.jump.first}" for one in found]},
        at=now,
    )


def unexplained(
    suggestions: list[str], senders: list[tuple[str, int]], dns: list[str], *, failed: int, now: datetime
) -> Verdict:
    """No failure stays without a reason. ``suggestions`` name what is a matter for support, ``senders`` the From
    domains with their unexplained failures, ``dns`` is their DNS report: SPF and DKIM are the most common causes."""
    number = sum(count for _, count in senders)
    some = bool(suggestions or number)
    lines = suggestions or [f"{counted(number, 'failure')} without a reason ({', '.join(d for d, _ in senders)})"]
    return Verdict(
        check="bounces.unexplained",
        subject="failures of the last 7 days without a reason",
        state=VerdictState.WARNING if some else VerdictState.PASSED if failed else VerdictState.SKIPPED,
        title="Some failures have no reason (no error)" if some else "Every failure has a reason",
        found="\n".join([*lines, *dns]) if some else "",
        expected="A reason for every failure; some providers give none, by their own policy",
        fix="Put the sender's SPF and DKIM right where the DNS report says so. If it recurs, contact support.",
        code="bounces.unexplained" if some else "",
        evidence={"dns": dns} if dns else {},
        at=now,
    )
