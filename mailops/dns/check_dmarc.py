"""The DMARC policy of a sending domain: the record, who gets its reports, and whether both generations see the same."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import MissingExtra
from ..model.verdict import VerdictState as S
from .answer import Answer
from .check_common import readable
from .dmarc import Discovery, Method, discover, look_at, report_destination
from .dmarc_record import decoded_quotes, is_dmarc, parse_dmarc
from .domain_model import CheckResult, SendingSetup, verdict
from .psl import installed
from .records import Change, ZoneRecord
from .resolver import Asker


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
    results += await _reports(resolver, found)
    results += await _generations(resolver, found)
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


async def _reports(resolver: Asker, found: Discovery) -> list[CheckResult]:
    """Outside addresses that never agreed to take reports get none (RFC 9990 section 4)."""
    if found.record is None or found.policy_domain != found.from_domain:
        return []
    domain = found.from_domain
    uris = [*found.record.rua, *found.record.ruf]
    out = []
    for place in await asyncio.gather(*(report_destination(resolver, domain, uri) for uri in uris)):
        if place.unknown:
            out.append(verdict("dmarc", domain, S.UNKNOWN, "dmarc.report_unknown", place.reason, found=place.uri))
        elif not place.authorized:
            fix = f'The owner of {place.host} publishes: {place.query} TXT "v=DMARC1"'
            title = f"no reports reach {place.uri}: {place.reason}"
            out.append(
                verdict("dmarc", domain, S.WARNING, "dmarc.report_not_permitted", title, found=place.uri, fix=fix)
            )
    return out


async def _generations(resolver: Asker, found: Discovery) -> list[CheckResult]:
    """A warning where receivers by RFC 7489 (suffix list) find another policy than those by RFC 9989 (tree walk)."""
    try:
        suffixes = installed()
    except MissingExtra:
        return []
    old = await discover(resolver, found.from_domain, Method.PSL, suffixes)
    if found.unknown or old.unknown:
        return []
    new_view = (found.policy_domain, found.policy_applied)
    old_view = (old.policy_domain, old.policy_applied)
    if new_view == old_view:
        return []
    shown = [f"{policy or 'no policy'} of {domain or 'nobody'}" for domain, policy in (new_view, old_view)]
    title = f"receivers disagree: {shown[0]} by RFC 9989 (tree walk), {shown[1]} by RFC 7489 ({suffixes.source})"
    fix = f"Publish a record at _dmarc.{found.from_domain}, which both read."
    domain = found.from_domain
    return [verdict("dmarc", domain, S.WARNING, "dmarc.generations_disagree", title, fix=fix)]


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
            tuple(ZoneRecord(name, "TXT", readable(text)) for text in candidates),
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
                (ZoneRecord(name, "TXT", readable(text)),),
            )
            title = "curly quotation marks were pasted from a text document; receivers do not see a DMARC record"
            return [
                verdict(
                    "dmarc",
                    domain,
                    S.FAILED,
                    "dmarc.curly_quotes",
                    title,
                    found=readable(text),
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
                (ZoneRecord(name, "TXT", readable(candidates[0])),),
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
        change = Change("a record receivers recognise", publish, (ZoneRecord(name, "TXT", readable(near)),))
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
