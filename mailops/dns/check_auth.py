"""SPF, DKIM and DMARC of a sending domain, held against what its sending service needs.

Each check is a pure reading of looked-up values: it returns the verdict with its evidence and, where a record would
mend it, the change. Whether the change is offered is decided afterwards by proof (:mod:`mailops.dns.fix`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..model.verdict import VerdictState as S
from .answer import Answer
from .dkim import KeyLookup, lookup_key
from .dkim_key import KeyStatus
from .dmarc import Discovery, discover, look_at
from .dmarc_record import decoded_quotes, is_dmarc, parse_dmarc
from .domain_model import CheckResult, SendingSetup, verdict
from .providers_data import SENDERS, DkimExpectation, SendingProfile
from .records import Change, ZoneRecord
from .resolver import Asker
from .spf_merge import merge
from .spf_parse import parse_term
from .spf_static import SpfTree, analyse

CONSEQUENCE = "Without it mail may be quarantined or not delivered at all."


def profile_of(setup: SendingSetup) -> SendingProfile | None:
    """The service's profile; None for an own server."""
    return SENDERS.get(setup.service_key) if setup.service_key else None


def wanted_terms(setup: SendingSetup) -> tuple[str, ...]:
    """The SPF terms that have to be in the bounce domain's record."""
    profile = profile_of(setup)
    include = (f"include:{profile.spf_include}",) if profile is not None and profile.spf_include else ()
    return (*include, *setup.spf_terms)


async def check_spf(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """SPF of the bounce address's domain (RFC 7208 section 2.4), never of the visible From's."""
    domain, profile = setup.bounce, profile_of(setup)
    wanted = wanted_terms(setup)
    serious = S.FAILED if profile is None or profile.essential else S.WARNING
    tree = await analyse(resolver, domain)
    evidence = {
        "tree": tree.root.as_dict(),
        "lookups": tree.lookups,
        "void_lookups": tree.void_lookups,
        "problems": [f"{problem.code}: {problem.message}" for problem in tree.problems],
        "answer": tree.root.answer.as_dict() if tree.root.answer else None,
    }
    merged = merge(tree.root.texts, wanted)
    change = spf_change(domain, tree.root.texts, merged.text) if merged.changed and not merged.refused else None
    expected = merged.text or f"one record with {' '.join(wanted)}"
    found = " | ".join(tree.root.texts)
    fix = "" if merged.text else f"No record is proposed: {merged.reason}."
    if tree.root.unknown:
        title = "SPF could not be read; it may well be there"
        return [verdict("spf", domain, S.UNKNOWN, "spf.unknown", title, expected=expected, evidence=evidence)]
    results = []
    for problem in tree.problems:
        if problem.code == "spf.unknown":
            state = S.UNKNOWN
        elif problem.code in ("spf.missing", "spf.old_type_only", "spf.not_recognised"):
            state = serious
        else:
            state = S.FAILED if problem.error else S.WARNING
        usable = (
            change
            if problem.code in ("spf.missing", "spf.multiple", "spf.old_type_only", "spf.not_recognised")
            else None
        )
        title = f"{problem.message}. {CONSEQUENCE}" if problem.error else problem.message
        results.append(
            verdict(
                "spf",
                domain,
                state,
                problem.code,
                title,
                found=found,
                expected=expected,
                evidence=evidence,
                fix=f"Publish: {merged.text}" if usable else fix,
                change=usable,
            )
        )
    if tree.record is not None:
        lacking = [term for term in wanted if not permits(tree, term)]
        if lacking:
            title = f"{setup.service_key or 'your server'} is not permitted to send for {domain}. {CONSEQUENCE}"
            results.insert(
                0,
                verdict(
                    "spf",
                    domain,
                    serious,
                    "spf.service_not_permitted",
                    title,
                    found=found,
                    expected=expected,
                    evidence=evidence,
                    change=change,
                    fix=f"Replace the record by: {merged.text}" if merged.text else fix,
                ),
            )
            foreign = hosted_only(setup, tree)
            if foreign is not None:
                results.insert(0, foreign)
    if not any(result.state in (S.FAILED, S.UNKNOWN) for result in results) and tree.record is not None:
        title = f"SPF permits {setup.service_key or 'your server'}; {tree.lookups} of 10 lookups"
        if not any(result.code == "spf.service_not_permitted" for result in results):
            results.insert(0, verdict("spf", domain, S.PASSED, "spf.ok", title, found=found, evidence=evidence))
    return results


def spf_change(domain: str, published: tuple[str, ...], text: str) -> Change:
    """One record in place of those there are."""
    remove = tuple(ZoneRecord(domain, "TXT", _readable(old)) for old in published)
    why = (
        "one SPF record"
        if not published
        else "the SPF record, extended"
        if len(published) == 1
        else "one merged SPF record"
    )
    return Change(why, (ZoneRecord(domain, "TXT", text),), remove)


def _readable(text: str) -> str:
    """Octets shown in Latin-1 as the UTF-8 text they were, so that the record is recognised when taken away."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def permits(tree: SpfTree, term: str) -> bool:
    """Whether a wanted term stands anywhere in the tree with a passing qualifier (satisfied another way counts)."""
    wanted = parse_term(term)
    for branch in tree.branches():
        if branch.record is None:
            continue
        for one in branch.record.mechanisms:
            if one.name == "all":
                break
            same = (one.name, (one.domain or "").rstrip(".").lower(), one.network, one.cidr4, one.cidr6) == (
                wanted.name,
                (wanted.domain or "").rstrip(".").lower(),
                wanted.network,
                wanted.cidr4,
                wanted.cidr6,
            )
            if same and one.qualifier == "+":
                return True
    return False


def hosted_only(setup: SendingSetup, tree: SpfTree) -> CheckResult | None:
    """With an external server the hosted records have no effect."""
    if setup.service_key == "odoo" or not permits(tree, "include:_spf.odoo.com"):
        return None
    title = f"include:_spf.odoo.com has no effect: mail leaves through {setup.service_key or 'your own server'}"
    return verdict(
        "spf",
        setup.bounce,
        S.WARNING,
        "spf.hosted_without_effect",
        title,
        found=str(tree.record),
        expected=" ".join(wanted_terms(setup)),
        fix="Publish the records of the service that sends.",
    )


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
            ZoneRecord(subject, "TXT", _readable(text))
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


async def check_dmarc(
    resolver: Asker, setup: SendingSetup, dkim: list[CheckResult], spf: list[CheckResult]
) -> list[CheckResult]:
    """The policy of the visible From's domain, and whether this set-up can pass it."""
    domain = setup.name
    own, found = await asyncio.gather(look_at(resolver, domain), discover(resolver, domain))
    evidence = {
        "asked": [look.answer.as_dict() for look in found.looks],
        "policy_domain": found.policy_domain,
        "org_domain": found.org_domain,
        "reason": found.reason,
    }
    results = _dmarc_record(setup, own.answer, found, evidence)
    dkim_ok = any(result.state is S.PASSED or result.code == "dkim.weak" for result in dkim)
    spf_ok = any(result.code == "spf.ok" for result in spf)
    if (
        setup.hosting == "online"
        and not setup.managed
        and spf_ok
        and not dkim_ok
        and not any(r.state is S.UNKNOWN for r in dkim)
    ):
        title = f"mail from {domain} needs DKIM on {domain} to pass DMARC; SPF alone is not enough here"
        results.append(
            verdict(
                "dmarc",
                domain,
                S.FAILED,
                "dmarc.needs_dkim",
                title,
                evidence=evidence,
                fix="Publish the DKIM record first.",
            )
        )
    return results


def _dmarc_record(setup: SendingSetup, answer: Answer, found: Discovery, evidence: dict[str, Any]) -> list[CheckResult]:
    domain = setup.name
    name = f"_dmarc.{domain}"
    rua = setup.report_to or f"postmaster@{domain}"
    starter = f"v=DMARC1; p=none; rua=mailto:{rua}"
    texts = answer.texts if answer.found else ()
    candidates = [text for text in texts if is_dmarc(text)]
    if answer.unknown:
        return [
            verdict(
                "dmarc",
                domain,
                S.UNKNOWN,
                "dmarc.unknown",
                f"{name} could not be read ({answer.status})",
                evidence=evidence,
            )
        ]
    if len(candidates) > 1:
        change = Change(
            "one DMARC record",
            (ZoneRecord(name, "TXT", candidates[0]),),
            tuple(ZoneRecord(name, "TXT", _readable(text)) for text in candidates),
        )
        title = f"{len(candidates)} DMARC records: receivers ignore them all"
        return [
            verdict(
                "dmarc",
                domain,
                S.FAILED,
                "dmarc.multiple",
                title,
                found=" | ".join(candidates),
                expected=candidates[0],
                fix=f"Keep one: {candidates[0]}",
                evidence=evidence,
                change=change,
            )
        ]
    for text in texts:
        cleaned = decoded_quotes(text)
        if cleaned and "dmarc1" in cleaned.lower():
            change = Change(
                "the record without curly quotation marks",
                (ZoneRecord(name, "TXT", cleaned),),
                (ZoneRecord(name, "TXT", _readable(text)),),
            )
            title = "curly quotation marks were pasted from a text document; receivers do not see a DMARC record"
            return [
                verdict(
                    "dmarc",
                    domain,
                    S.FAILED,
                    "dmarc.curly_quotes",
                    title,
                    found=_readable(text),
                    expected=cleaned,
                    fix=f"Publish: {cleaned}",
                    evidence=evidence,
                    change=change,
                )
            ]
    if not candidates:
        return _without_own(setup, texts, found, evidence, starter)
    record = parse_dmarc(candidates[0])
    results: list[CheckResult] = []
    for mistake in record.mistakes:
        serious = mistake.code in ("dmarc.bad_policy", "dmarc.missing_p", "dmarc.version")
        mend: Change | None = None
        if serious:
            mend = Change(
                "a DMARC record with a valid policy",
                (ZoneRecord(name, "TXT", starter),),
                (ZoneRecord(name, "TXT", _readable(candidates[0])),),
            )
        results.append(
            verdict(
                "dmarc",
                domain,
                S.FAILED if serious else S.WARNING,
                mistake.code,
                mistake.message,
                found=record.text,
                expected=starter if serious else "",
                evidence=evidence,
                fix=f"Publish: {starter}" if serious else "",
                change=mend,
            )
        )
    if not any(result.state is S.FAILED for result in results):
        applied = f"policy {found.policy_applied} for {domain} ({found.reason})"
        results.insert(0, verdict("dmarc", domain, S.PASSED, "dmarc.ok", applied, found=record.text, evidence=evidence))
    return results


def _without_own(
    setup: SendingSetup, texts: tuple[str, ...], found: Discovery, evidence: dict[str, Any], starter: str
) -> list[CheckResult]:
    domain, name = setup.name, f"_dmarc.{setup.name}"
    near = next((text for text in texts if "dmarc1" in text.lower()), None)
    publish = (ZoneRecord(name, "TXT", starter),)
    if near is not None:
        change = Change("a record receivers recognise", publish, (ZoneRecord(name, "TXT", _readable(near)),))
        return [
            verdict(
                "dmarc",
                domain,
                S.FAILED,
                "dmarc.not_recognised",
                f"{name} has a record nobody takes for DMARC",
                found=near,
                expected=starter,
                fix=f"Publish: {starter}",
                evidence=evidence,
                change=change,
            )
        ]
    if found.record is not None:
        title = f"the policy {found.policy_applied} of {found.policy_domain} applies to {domain}"
        return [
            verdict("dmarc", domain, S.PASSED, "dmarc.inherited", title, found=found.record.text, evidence=evidence)
        ]
    if found.unknown:
        return [verdict("dmarc", domain, S.UNKNOWN, "dmarc.unknown", found.reason, evidence=evidence)]
    title = "no DMARC record: receivers decide alone what to do with forged mail"
    return [
        verdict(
            "dmarc",
            domain,
            S.WARNING,
            "dmarc.missing",
            title,
            expected=starter,
            fix=f"Publish {name}: {starter}",
            evidence=evidence,
            change=Change("a DMARC record that only asks for reports", publish),
        )
    ]
