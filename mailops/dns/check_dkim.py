"""The DKIM keys of a sending domain: the selectors and targets its services expect, against what is published.

Where a service needs only one of its selectors, one valid key is enough and the others are notes. A key that works is
never "wrong": a copy of the service's key gets a warning, and a change that takes a valid key away says so. The keys
that mailops signs with itself are known to the letter: each is looked for as receivers will look for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model.verdict import VerdictState as S
from ..providers.records import DkimExpectation
from .check_common import CONSEQUENCE, profiles_of, readable, standing
from .dkim import KeyLookup, lookup_key
from .dkim_key import KeyStatus, mended_key, parse_key
from .dkim_own import look_at
from .domain_model import CheckResult, SendingSetup, SigningKey, verdict
from .records import Change, ZoneRecord
from .resolver import Asker, together

_NOTE = "The service works with one of its selectors; this one is not used now."


async def check_dkim(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """The selectors of the sending services, any given ones, and mailops' own keys, at the sending domain."""
    own = {key.selector for key in setup.own_keys}
    groups: list[tuple[list[DkimExpectation], bool, str]] = []
    for profile in profiles_of(setup):
        known = [one for one in profile.dkim if "*" not in one.selector]
        if known:
            groups.append((known, profile.essential, profile.dkim_need))
    if given := [DkimExpectation(selector) for selector in setup.selectors if selector.lower() not in own]:
        groups.append((given, not profiles_of(setup), "all"))
    if not groups and not own:
        title = "no selector is known; take one from a sent message (s= in its DKIM-Signature) and name it"
        return [verdict("dkim", setup.name, S.SKIPPED, "dkim.no_selector", title)]
    parts = await together(_group(resolver, setup, *group) for group in groups)
    ours = await together(_own(resolver, setup.name, key) for key in setup.own_keys)
    return [*(result for part in parts for result in part), *ours]


async def _own(resolver: Asker, domain: str, key: SigningKey) -> CheckResult:
    """One of mailops' own keys: whether receivers find this very key, and what follows of it in the key's state."""
    seen = await look_at(resolver, key.selector, domain, key.public_key)
    found = readable(seen.lookup.record.text)
    activate = f"mailops dkim activate {domain} {key.selector}"

    def say(state: S, code: str, title: str, fix: str = "") -> CheckResult:
        change = seen.change if state is not S.SKIPPED else None
        return verdict("dkim", seen.name, state, code, title, found=found, expected=seen.value, fix=fix,
                       evidence=seen.lookup.as_dict(), change=change)  # fmt: skip

    if seen.lookup.status is KeyStatus.TEMPERROR:
        return say(S.UNKNOWN, "dkim.unknown", seen.trouble)
    if key.state == "former":
        title = "the key before stays published for the mail that is under way"
        gone = f"the key before is not signed with any more, and its record is not there ({seen.trouble})"
        return say(S.PASSED, "dkim.own_former", title) if seen.published else say(S.SKIPPED, "dkim.own_gone", gone)
    if key.state == "next":
        if seen.published:
            title = f"the key {key.selector} is published and waits to be signed with: {activate}"
            return say(S.PASSED, "dkim.own_ready", title)
        title = f"the key {key.selector} waits for its record, and nothing is signed with it: {seen.trouble}"
        return say(S.WARNING, "dkim.own_waiting", title, f"Publish {seen.name}, then: {activate}")
    if seen.published:
        return say(S.PASSED, "dkim.own_ok", f"mailops signs with the key {key.selector}, and receivers find it")
    other = seen.lookup.status is KeyStatus.VALID
    title = f"mailops signs with the key {key.selector}, and receivers do not find it: {seen.trouble}"
    fix = f"Publish {seen.name}; until then every signature of it fails."
    return say(S.FAILED, "dkim.own_other" if other else "dkim.own_missing", title, fix)


async def _group(
    resolver: Asker, setup: SendingSetup, wanted: list[DkimExpectation], essential: bool, need: str
) -> list[CheckResult]:
    """The selectors of one service."""
    lookups = await together(lookup_key(resolver, one.selector, setup.name) for one in wanted)
    copies = await together(_is_copy(resolver, setup, one, f) for one, f in zip(wanted, lookups, strict=True))
    results = [
        _dkim(setup, one, found, essential, copied)
        for one, found, copied in zip(wanted, lookups, copies, strict=True)
    ]  # fmt: skip
    if need != "any" or len(results) == 1:
        return results
    working = [result for result in results if result.state in (S.PASSED, S.WARNING) and _works(result)]
    if working:
        return [result if result in working else _as_note(result) for result in results if _stands(result)]
    standing_ones = [result for result in results if _stands(result)]
    return standing_ones or [_none_of(setup, wanted, results[0])]


def _works(result: CheckResult) -> bool:
    return result.code in ("dkim.ok", "dkim.weak", "dkim.copied")


def _stands(result: CheckResult) -> bool:
    """Whether there is something at the selector, or it cannot be known."""
    return result.code != "dkim.no_record"


def _as_note(result: CheckResult) -> CheckResult:
    """A selector that is not needed now."""
    one = result.verdict
    title = f"{one.subject} is not in use ({one.evidence.get('message', one.code)})"
    return verdict("dkim", one.subject, S.SKIPPED, "dkim.inactive", title, found=one.found, fix=_NOTE,
                   evidence=one.evidence)  # fmt: skip


def _none_of(setup: SendingSetup, wanted: Sequence[DkimExpectation], first: CheckResult) -> CheckResult:
    names = ", ".join(one.selector for one in wanted)
    title = f"no key under any of the selectors {names}. {CONSEQUENCE}"
    fix = (
        f"Publish the DKIM record the service shows you (one of these selectors at {setup.name}), or name its selector."
    )
    one = first.verdict
    return verdict("dkim", one.subject, first.state, "dkim.no_record", title, found=one.found, expected=one.expected,
                   fix=fix, evidence=one.evidence, change=first.change)  # fmt: skip


async def _is_copy(resolver: Asker, setup: SendingSetup, wanted: DkimExpectation, found: KeyLookup) -> bool:
    """Whether the key at the selector is the very key of one of the service's targets."""
    if found.cname_target is not None or not found.record.key:
        return False
    fixed = [target for target in wanted.filled(setup.name, setup.database) if "*" not in target]
    answers = await together(resolver.ask(target, "TXT") for target in fixed)
    return any(parse_key(text).key == found.record.key for one in answers if one.found for text in one.texts)


def _change(wanted: DkimExpectation, found: KeyLookup, fixed: list[str]) -> Change | None:
    """The key in its place: as the service's CNAME where its target is known, else as the key that is there, mended."""
    subject = found.name
    loses: tuple[str, ...] = ()
    gone: list[ZoneRecord] = []
    own = found.answers[0].texts if found.answers and found.answers[0].found and not found.cname_target else ()
    misplaced = found.answers[1] if found.found_at and len(found.answers) > 1 else None
    if misplaced is not None and found.found_at:
        texts = misplaced.texts if misplaced.found and not misplaced.chain else ()
        gone += [ZoneRecord(found.found_at, "CNAME", misplaced.chain[0])] if misplaced.chain else []
        gone += [standing(found.found_at, text) for text in texts]
        if not fixed and misplaced.chain and wanted.targets:
            return Change(
                "the DKIM record, at its name", (ZoneRecord(subject, "CNAME", misplaced.chain[0]),), tuple(gone)
            )
        if not fixed and len(texts) == 1:
            key = mended_key(texts[0])
            return Change("the DKIM key, at its name", (ZoneRecord(subject, "TXT", key),), tuple(gone)) if key else None
    if fixed:
        if found.cname_target:
            gone.append(ZoneRecord(subject, "CNAME", found.cname_target))
        gone += [standing(subject, text) for text in own]
        if found.status is KeyStatus.VALID and not found.wildcard:
            loses = (f"the key at {subject}: who signs with it (selector {wanted.selector}) fails from then on",)
        return Change("the DKIM key of the service", (ZoneRecord(subject, "CNAME", fixed[0]),), tuple(gone), loses)
    keys = [key for text in own if (key := mended_key(text))]
    if len(set(keys)) == 1 and (len(own) > 1 or keys[0] != own[0]):
        return Change("the DKIM key, mended", (ZoneRecord(subject, "TXT", keys[0]),),
                      tuple(standing(subject, text) for text in own))  # fmt: skip
    return None


def _dkim(
    setup: SendingSetup, wanted: DkimExpectation, found: KeyLookup, essential: bool, copied: bool
) -> CheckResult:  # fmt: skip
    subject, record, evidence = found.name, found.record, found.as_dict()
    targets = wanted.filled(setup.name, setup.database)
    fixed = [target for target in targets if "*" not in target]
    expected = " or ".join(f"CNAME {target}." for target in targets) or "a TXT record with the key the service shows"
    change = _change(wanted, found, fixed)
    bad = S.FAILED if essential else S.WARNING
    found_text = f"CNAME {found.cname_target}." if found.cname_target else readable(record.text)

    def say(state: S, code: str, title: str, *, fix: str = "", change: Change | None = None) -> CheckResult:
        return verdict("dkim", subject, state, code, title, found=found_text, expected=expected, fix=fix,
                       evidence=evidence, change=change)  # fmt: skip

    if record.status is KeyStatus.TEMPERROR:
        return say(S.UNKNOWN, "dkim.unknown", record.message)
    if record.status is KeyStatus.MISSING:
        fix = f"Publish {subject}: {expected}"
        if found.found_at:
            found_text = found.found_at
            fix = f"The panel appends the domain: type only the short name. {fix}"
        title = f"{record.message}. {CONSEQUENCE}"
        if found.wildcard:
            title = f"a wildcard record answers at {subject}, and it is no key of this service. {CONSEQUENCE}"
        return say(bad, f"dkim.{record.reason}", title, fix=fix, change=change)
    accepted = found.cname_target is not None and wanted.accepts(
        found.cname_target, domain=setup.name, database=setup.database
    )
    works = record.status is KeyStatus.VALID
    if found.wildcard and not (works and (accepted or not targets)):
        title = f"a wildcard record answers at {subject}, and it is no key of this service. {CONSEQUENCE}"
        return say(bad, "dkim.wildcard", title, fix=f"Publish {subject}: {expected}", change=change)
    if copied and works:
        title = f"{subject} holds a copy of the service's key: it works until the service changes its key"
        keeps = Change(change.why, change.publish, change.remove) if change is not None else None
        return say(S.WARNING, "dkim.copied", title, fix=f"Publish the alias instead: {expected}", change=keeps)
    if targets and not accepted:
        where = f"points elsewhere ({found.cname_target})" if found.cname_target else "holds a key of its own"
        return say(bad, "dkim.points_elsewhere", f"{subject} {where}", fix=f"Publish {subject}: {expected}",
                   change=change)  # fmt: skip
    if record.status is not KeyStatus.VALID:
        fix = f"Publish {subject}: {change.publish[0].value}" if change is not None and not targets else ""
        return say(S.FAILED, f"dkim.{record.reason or record.status}", record.message, fix=fix,
                   change=change if not targets else None)  # fmt: skip
    if record.warnings:
        title = f"the key works ({record.message}), but: {', '.join(record.warnings)}"
        return verdict("dkim", subject, S.WARNING, "dkim.weak", title, found=found_text, evidence=evidence)
    title = f"the key is valid ({record.message})"
    return verdict("dkim", subject, S.PASSED, "dkim.ok", title, found=found_text, evidence=evidence)
