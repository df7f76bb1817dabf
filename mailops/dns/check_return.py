"""The return path of one's own a service offers: the sub-domain its bounces go to, where a service wants one.

Without it mail bounces to the service's own domain: SPF passes there and does not align, and DKIM alone carries DMARC
(RFC 9989 section 4.4). So a missing one is a note, a half-done one a warning.
"""

from __future__ import annotations

import fnmatch

from ..model.verdict import VerdictState as S
from ..providers.records import ReturnPathRecord, SendingProfile
from .answer import Answer
from .check_common import profiles_of
from .domain_model import CheckResult, SendingSetup, verdict
from .records import Change, ZoneRecord
from .resolver import Asker, together


async def check_return_path(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """One result for each service that wants records at a return path of one's own."""
    profiles = [profile for profile in profiles_of(setup) if profile.return_records]
    return await together(_of_service(resolver, setup, profile) for profile in profiles)


async def _of_service(resolver: Asker, setup: SendingSetup, profile: SendingProfile) -> CheckResult:
    wanted = profile.return_records
    names = [one.name.format(domain=setup.name) for one in wanted]
    answers = await together(resolver.ask(name, one.type) for name, one in zip(names, wanted, strict=True))
    evidence = {"asked": [answer.as_dict() for answer in answers]}
    subject = names[0]
    expected = "; ".join(f"{name} {one.type} {one.value}" for name, one in zip(names, wanted, strict=True))
    if any(answer.unknown for answer in answers):
        title = f"{subject} could not be read"
        return verdict("return_path", subject, S.UNKNOWN, "return_path.unknown", title, evidence=evidence)
    right = [_fits(one, answer) for one, answer in zip(wanted, answers, strict=True)]
    if all(right):
        title = f"bounces of {profile.title} come to {subject}: SPF aligns"
        return verdict("return_path", subject, S.PASSED, "return_path.ok", title, expected=expected, evidence=evidence)
    there = [answer for answer in answers if answer.found or answer.chain]
    change = _change(wanted, names, right)
    if not there:
        title = f"{profile.title} bounces to a domain of its own: SPF does not align, DKIM alone carries DMARC"
        return verdict("return_path", subject, S.SKIPPED, "return_path.not_set", title, expected=expected,
                       evidence=evidence)  # fmt: skip
    title = f"the return path of {profile.title} at {subject} is not complete"
    fix = f"Publish {expected} as the service shows it."
    found = " | ".join(line for answer in there for line in answer.lines)
    return verdict("return_path", subject, S.WARNING, "return_path.incomplete", title, found=found, expected=expected,
                   fix=fix, evidence=evidence, change=change)  # fmt: skip


def _fits(wanted: ReturnPathRecord, answer: Answer) -> bool:
    if wanted.type == "CNAME":
        held: tuple[str, ...] = answer.names if answer.found else answer.chain[:1]
        return any(fnmatch.fnmatchcase(one.lower(), wanted.value) for one in held)
    if wanted.type == "MX":
        return answer.found and any(fnmatch.fnmatchcase(host.lower(), wanted.value) for _, host in answer.exchanges)
    return answer.found and any(
        text.lower().startswith("v=spf1") and wanted.value in text.lower() for text in answer.texts
    )


def _change(wanted: tuple[ReturnPathRecord, ...], names: list[str], right: list[bool]) -> Change | None:
    """What can be published without the account: an SPF record beside a right MX."""
    lacking = [(name, one) for name, one, good in zip(names, wanted, right, strict=True) if not good]
    if len(lacking) != 1 or lacking[0][1].type != "TXT":
        return None
    name, one = lacking[0]
    return Change("SPF at the return path", (ZoneRecord(name, "TXT", f"v=spf1 {one.value} ~all"),))
