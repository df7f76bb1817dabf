"""The DMARC policy of a sending domain: the record, who gets its reports, and whether both generations see the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from ..errors import MissingExtra
from ..model.verdict import VerdictState as S
from .answer import Answer
from .check_common import readable, standing
from .dmarc import Discovery, Method, discover, look_at, report_destination
from .dmarc_mend import MendedDmarc, is_meant_as_dmarc, looks_like_dmarc, mend
from .dmarc_record import POLICIES, decoded_quotes, harmless, is_dmarc, parse_dmarc
from .domain_model import CheckResult, SendingSetup, verdict
from .names import askable
from .psl import installed
from .records import Change, ZoneRecord
from .resolver import Asker, together


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
    results = await _dmarc_record(resolver, setup, own.answer, found, evidence)
    results += await _reports(resolver, found)
    results += await _generations(resolver, found)
    signs = ("dkim.ok", "dkim.own_ok", "dkim.weak", "dkim.copied")  # not a key that waits, or is signed with no more
    dkim_ok = any(result.code in signs for result in dkim)
    spf_ok = any(result.code == "spf.ok" for result in spf)
    if (
        setup.hosting == "online"
        and not setup.managed
        and spf_ok
        and not dkim_ok
        and not any(r.state in (S.UNKNOWN, S.SKIPPED) for r in dkim)
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
    for place in await together(report_destination(resolver, domain, uri) for uri in uris):
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


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands at ``_dmarc.`` of a domain, and where else a DMARC record was put by mistake."""

    name: str
    answer: Answer
    elsewhere: Answer | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return self.answer.texts if self.answer.found else ()

    def change(self, why: str, texts: tuple[str, ...], report_to: str = "") -> tuple[Change, MendedDmarc]:
        """The record these values were meant to be, in their place."""
        mended = mend(texts, report_to)
        aliased = self.answer.chain
        loses = mended.loses
        if aliased:
            loses += (f"the alias to {aliased[0]}: who keeps the record there decides about it no more",)
        gone: tuple[ZoneRecord, ...] = (ZoneRecord(self.name, "CNAME", aliased[0]),) if aliased else ()
        if not aliased:
            gone = tuple(standing(self.name, text) for text in texts if text in self.texts)
        if self.elsewhere is not None:
            gone += tuple(standing(self.elsewhere.name, text) for text in texts if text not in self.texts)
        choices = mended.choices
        return Change(why, (ZoneRecord(self.name, "TXT", mended.text),), gone, loses, choices), mended


async def _misplaced(resolver: Asker, domain: str) -> Answer | None:
    """Where a DMARC record is put by mistake: the domain itself, the name without underscore, the domain twice."""
    names = (domain, f"dmarc.{domain}", f"_dmarc.{domain}.{domain}", f"_dmarc._dmarc.{domain}")
    for answer in await asyncio.gather(*(resolver.ask(name, "TXT") for name in names if askable(name))):
        if answer.found and not answer.chain and any(looks_like_dmarc(text) for text in answer.texts):
            return answer
    return None


async def _dmarc_record(
    resolver: Asker, setup: SendingSetup, answer: Answer, found: Discovery, evidence: dict[str, Any]
) -> list[CheckResult]:
    domain = setup.name
    place = _Place(f"_dmarc.{domain}", answer)
    if answer.unknown:
        title = f"{place.name} could not be read ({answer.status})"
        return [verdict("dmarc", domain, S.UNKNOWN, "dmarc.unknown", title, evidence=evidence)]
    candidates = tuple(text for text in place.texts if is_dmarc(text))
    meant = tuple(text for text in place.texts if is_meant_as_dmarc(text))
    if len(candidates) > 1:
        change, mended = place.change("one DMARC record", meant)
        title = f"{len(candidates)} DMARC records: receivers ignore them all"
        return [_wrong(domain, "dmarc.multiple", title, " | ".join(candidates), change, mended, evidence)]
    if not candidates and meant:
        change, mended = place.change("a record receivers recognise", meant)
        curly = any(decoded_quotes(text) for text in meant)
        code = "dmarc.curly_quotes" if curly else "dmarc.not_recognised"
        title = f"{place.name} has a record nobody takes for DMARC: {'; '.join(mended.causes)}"
        if curly:
            title = "curly quotation marks were pasted from a text document; receivers do not see a DMARC record"
        return [_wrong(domain, code, title, readable(meant[0]), change, mended, evidence)]
    if not candidates:
        return await _without_own(resolver, setup, place, found, evidence)
    return _judged(setup, place, candidates[0], found, evidence)


_SERIOUS = ("dmarc.bad_policy", "dmarc.version", "dmarc.duplicate_tag")


def _judged(
    setup: SendingSetup, place: _Place, text: str, found: Discovery, evidence: dict[str, Any]
) -> list[CheckResult]:
    """The one record there is: its mistakes, and the same record without them."""
    domain, record = setup.name, parse_dmarc(text)
    change, mended = place.change("the DMARC record, mended", (text,))
    results: list[CheckResult] = []
    notes = []
    for mistake in record.mistakes:
        if mistake.code == "dmarc.removed_tag" and harmless(record, mistake.tag):
            notes.append(mistake.message)
            continue
        useful = mistake.code not in ("dmarc.removed_tag", "dmarc.removed_size", "dmarc.unknown_tag")
        if mistake.code in _SERIOUS:
            results.append(_wrong(domain, mistake.code, mistake.message, record.text, change, mended, evidence))
        elif useful and mended.text != text:
            results.append(
                _wrong(domain, mistake.code, mistake.message, record.text, change, mended, evidence, S.WARNING)
            )
        else:
            results.append(
                verdict("dmarc", domain, S.WARNING, mistake.code, mistake.message, found=text, evidence=evidence)
            )
    if not any(result.state is S.FAILED for result in results):
        applied = f"policy {found.policy_applied} for {domain} ({found.reason})"
        applied += "".join(f"; {note}" for note in notes)
        results.insert(0, verdict("dmarc", domain, S.PASSED, "dmarc.ok", applied, found=record.text, evidence=evidence))
    return results


def _wrong(
    domain: str, code: str, title: str, found: str, change: Change, mended: MendedDmarc, evidence: dict[str, Any],
    state: S = S.FAILED,
) -> CheckResult:  # fmt: skip
    """A finding with the mended record, its causes and the choices only the owner can make."""
    fix = f"Publish {change.publish[0].name}: {mended.text}"
    if mended.choices:
        fix += f" (the policy is your choice: {', '.join(POLICIES)})"
    shown = {**evidence, "causes": list(mended.causes)}
    return verdict("dmarc", domain, state, code, title, found=found, expected=mended.text, fix=fix, evidence=shown,
                   change=change)  # fmt: skip


async def _without_own(
    resolver: Asker, setup: SendingSetup, place: _Place, found: Discovery, evidence: dict[str, Any]
) -> list[CheckResult]:
    domain = setup.name
    elsewhere = await _misplaced(resolver, domain)
    if elsewhere is not None:
        texts = tuple(text for text in elsewhere.texts if looks_like_dmarc(text))
        change, mended = replace(place, elsewhere=elsewhere).change("the DMARC record, at its name", texts)
        title = f"a DMARC record stands at {elsewhere.name}, where nobody looks; its place is {place.name}"
        return [_wrong(domain, "dmarc.misplaced", title, readable(texts[0]), change, mended, evidence)]
    if found.record is not None:
        title = f"the policy {found.policy_applied} of {found.policy_domain} applies to {domain}"
        return [
            verdict("dmarc", domain, S.PASSED, "dmarc.inherited", title, found=found.record.text, evidence=evidence)
        ]
    if found.unknown:
        return [verdict("dmarc", domain, S.UNKNOWN, "dmarc.unknown", found.reason, evidence=evidence)]
    change, mended = place.change(
        "a DMARC record that only asks for reports", (), setup.report_to or f"postmaster@{domain}"
    )
    title = "no DMARC record: receivers decide alone what to do with forged mail"
    if place.answer.chain:
        title = f"{place.name} points to {place.answer.chain[-1]}, and nothing is there: no DMARC record"
    return [
        verdict(
            "dmarc",
            domain,
            S.WARNING,
            "dmarc.missing",
            title,
            expected=mended.text,
            fix=f"Publish {place.name}: {mended.text}",
            evidence=evidence,
            change=change,
        )
    ]
