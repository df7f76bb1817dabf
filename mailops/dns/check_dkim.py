"""The DKIM keys of a sending domain: the selectors and targets its service expects, against what is published."""

from __future__ import annotations

import asyncio

from ..model.verdict import VerdictState as S
from ..providers.records import DkimExpectation
from .check_common import CONSEQUENCE, profile_of, standing
from .dkim import KeyLookup, lookup_key
from .dkim_key import KeyStatus
from .domain_model import CheckResult, SendingSetup, verdict
from .records import Change, ZoneRecord
from .resolver import Asker


async def check_dkim(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """The selectors of the sending service, and any given ones, at the sending domain."""
    profile = profile_of(setup)
    wanted = list(profile.dkim) if profile is not None else []
    wanted = [one for one in wanted if "*" not in one.selector]
    wanted += [DkimExpectation(selector) for selector in setup.selectors]
    essential = profile is None or profile.essential
    if not wanted:
        title = "no selector is known; take one from a sent message (s= in its DKIM-Signature)"
        return [verdict("dkim", setup.name, S.SKIPPED, "dkim.no_selector", title)]
    lookups = await asyncio.gather(*(lookup_key(resolver, one.selector, setup.name) for one in wanted))
    return [_dkim(setup, one, found, essential) for one, found in zip(wanted, lookups, strict=True)]


def _dkim(setup: SendingSetup, wanted: DkimExpectation, found: KeyLookup, essential: bool) -> CheckResult:
    subject, record, evidence = found.name, found.record, found.as_dict()
    targets = wanted.filled(setup.name, setup.database)
    fixed = [target for target in targets if "*" not in target]
    expected = " or ".join(f"CNAME {target}." for target in targets) or "a TXT record with the key the service shows"
    change = None
    if fixed:
        stale = tuple(ZoneRecord(subject, "CNAME", found.cname_target) for _ in (0,) if found.cname_target)
        misplaced = (ZoneRecord(found.found_at, "CNAME", fixed[0]),) if found.found_at else ()
        texts = tuple(
            standing(subject, text)
            for text in (found.answers[0].texts if found.answers and found.answers[0].found else ())
            if not found.cname_target
        )
        change = Change(
            "the DKIM key of the service", (ZoneRecord(subject, "CNAME", fixed[0]),), (*stale, *misplaced, *texts)
        )
    bad = S.FAILED if essential else S.WARNING
    found_text = f"CNAME {found.cname_target}." if found.cname_target else record.text
    if record.status is KeyStatus.TEMPERROR:
        return verdict("dkim", subject, S.UNKNOWN, "dkim.unknown", record.message, expected=expected, evidence=evidence)
    if record.status is KeyStatus.MISSING:
        title = f"{record.message}. {CONSEQUENCE}"
        fix = f"Publish {subject}: {expected}"
        if found.found_at:
            fix = f"The panel appends the domain: type only the short name. {fix}"
        return verdict(
            "dkim",
            subject,
            bad,
            f"dkim.{record.reason}",
            title,
            found=found.found_at or found_text,
            expected=expected,
            fix=fix,
            evidence=evidence,
            change=change,
        )
    if targets and (
        found.cname_target is None or not wanted.accepts(found.cname_target, domain=setup.name, database=setup.database)
    ):
        where = f"points elsewhere ({found.cname_target})" if found.cname_target else "holds a key of its own"
        return verdict(
            "dkim",
            subject,
            bad,
            "dkim.points_elsewhere",
            f"{subject} {where}",
            found=found_text,
            expected=expected,
            fix=f"Publish {subject}: {expected}",
            evidence=evidence,
            change=change,
        )
    if record.status is not KeyStatus.VALID:
        code = f"dkim.{record.reason or record.status}"
        return verdict(
            "dkim",
            subject,
            S.FAILED,
            code,
            record.message,
            found=found_text,
            expected=expected,
            evidence=evidence,
            change=change if not targets else None,
        )
    if record.warnings:
        title = f"the key works ({record.message}), but: {', '.join(record.warnings)}"
        return verdict("dkim", subject, S.WARNING, "dkim.weak", title, found=found_text, evidence=evidence)
    return verdict(
        "dkim",
        subject,
        S.PASSED,
        "dkim.ok",
        f"the key is valid ({record.message})",
        found=found_text,
        evidence=evidence,
    )
