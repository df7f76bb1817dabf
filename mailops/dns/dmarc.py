"""DMARC: where the policy is, what it asks for, and whether a mail passes; RFC 9989 beside RFC 7489.

RFC 9989 (2026) finds the organizational domain by walking up the DNS tree; RFC 7489 (2015) took it from the public
suffix list. Receivers of both kinds will exist for years and they disagree in places an admin cannot see, so both
answers can be had and :func:`compare` says where they part.

A mail passes when SPF *or* DKIM passed **and** the domain that passed is aligned with the visible From: equal (strict),
or of the same organizational domain (relaxed). Evaluation asks DNS through the resolver it is given and keeps every
name it asked, in order.
"""

from __future__ import annotations

from collections.abc import Sequence

from .answer import Status
from .dmarc_model import (
    Alignment,
    Discovery,
    DmarcOutcome,
    DmarcResult,
    Identity,
    Impact,
    Look,
    Method,
    ReportDestination,
    Walk,
)
from .dmarc_record import Policy, ReportUri, parse_dmarc, parse_uri, select_dmarc
from .names import label_count, normalise, parent
from .psl import PublicSuffixes
from .resolver import Asker

__all__ = [
    "Alignment",
    "Discovery",
    "DmarcOutcome",
    "DmarcResult",
    "Identity",
    "Impact",
    "Look",
    "Method",
    "ReportDestination",
    "Walk",
    "align",
    "compare",
    "discover",
    "evaluate",
    "look_at",
    "report_destination",
    "simulate",
    "walk",
]

_WALK_LABELS = 7  # after the name itself the walk goes on at seven labels (RFC 9989 section 4.10 step 4)


async def look_at(resolver: Asker, domain: str) -> Look:
    """Ask ``_dmarc`` below a domain. Several DMARC records are all discarded (RFC 9989 section 4.10 step 2)."""
    answer = await resolver.ask(f"_dmarc.{domain}", "TXT")
    texts = select_dmarc(answer.texts) if answer.found else ()
    return Look(domain, answer, parse_dmarc(texts[0]) if len(texts) == 1 else None, len(texts))


async def walk(resolver: Asker, domain: str) -> Walk:
    """The tree walk of RFC 9989 section 4.10 and the organizational domain of section 4.10.2."""
    looks: list[Look] = []
    name = domain
    while name:
        look = await look_at(resolver, name)
        looks.append(look)
        if look.record is not None and look.record.psd in ("y", "n"):
            break
        if label_count(name) > _WALK_LABELS:
            name = ".".join(name.split(".")[-_WALK_LABELS:])
        else:
            name = parent(name)
    unknown = any(look.answer.unknown for look in looks)
    found = [look for look in looks if look.record is not None]
    for look in found:
        assert look.record is not None
        if look.record.psd == "n":
            return Walk(domain, tuple(looks), look.domain, f"{look.domain} says psd=n", unknown)
        if look.record.psd == "y" and look.domain != domain:
            below = domain[: -len(look.domain) - 1].rpartition(".")[2]
            reason = f"{look.domain} says psd=y: the name one label below it"
            return Walk(domain, tuple(looks), f"{below}.{look.domain}", reason, unknown)
    if found:
        top = found[-1].domain
        return Walk(domain, tuple(looks), top, f"{top} is the highest name with a record", unknown)
    return Walk(domain, tuple(looks), domain, "no record on the way up: the name stands for itself", unknown)


async def discover(
    resolver: Asker, from_domain: str, method: Method = Method.TREEWALK, suffixes: PublicSuffixes | None = None
) -> Discovery:
    """The policy record for a From domain. ``suffixes`` is needed for :attr:`Method.PSL`."""
    domain = normalise(from_domain)
    if method is Method.PSL:
        if suffixes is None:
            raise ValueError("the method psl needs a list of public suffixes")
        return await _discover_psl(resolver, domain, suffixes)
    tree = await walk(resolver, domain)
    own, org = tree.looks[0], next((look for look in tree.looks if look.domain == tree.org_domain), None)
    above = next((look for look in tree.looks if look.record is not None and look.record.psd == "y"), None)
    candidates = [look for look in (own, org, above) if look is not None]
    for look in candidates:
        if look.answer.unknown:
            return _unknown(domain, Method.TREEWALK, tree.org_domain, look, tree.looks)
        if look.record is not None:
            return await _applied(resolver, domain, Method.TREEWALK, look, tree.org_domain, tree.looks)
    lost = next((look for look in tree.looks if look.answer.unknown), None)
    if lost is not None:
        return _unknown(domain, Method.TREEWALK, tree.org_domain, lost, tree.looks)
    return _no_record(domain, Method.TREEWALK, tree.org_domain, "no DMARC record on the way up", tree.looks)


async def _discover_psl(resolver: Asker, domain: str, suffixes: PublicSuffixes) -> Discovery:
    """RFC 7489 section 6.6.3: the name, then its organizational domain; several records end the search."""
    org = suffixes.organizational(domain)
    looks: list[Look] = []
    for name in dict.fromkeys((domain, org)):
        look = await look_at(resolver, name)
        looks.append(look)
        if look.answer.unknown:
            return _unknown(domain, Method.PSL, org, look, tuple(looks))
        if look.records > 1:
            reason = f"{look.records} DMARC records at {name}: no policy applies"
            return _no_record(domain, Method.PSL, org, reason, tuple(looks))
        if look.record is not None:
            return await _applied(resolver, domain, Method.PSL, look, org, tuple(looks))
    return _no_record(domain, Method.PSL, org, f"no DMARC record at {domain} or {org}", tuple(looks))


def _unknown(domain: str, method: Method, org: str, look: Look, looks: tuple[Look, ...]) -> Discovery:
    reason = f"{look.query} could not be read ({look.answer.status})"
    return Discovery(domain, method, None, None, org, None, "", None, None, True, reason, looks)


def _no_record(domain: str, method: Method, org: str, reason: str, looks: tuple[Look, ...]) -> Discovery:
    return Discovery(domain, method, None, None, org, None, "", None, None, False, reason, looks)


async def _applied(
    resolver: Asker, domain: str, method: Method, look: Look, org: str, looks: tuple[Look, ...]
) -> Discovery:
    record = look.record
    assert record is not None
    if not record.usable:
        reason = f"the record at {look.query} has no valid policy and nobody to report to: it does not apply"
        return _no_record(domain, method, org, reason, looks)
    own = look.domain == domain
    exists: bool | None = True if own else None
    if not own:
        probe = await resolver.ask(domain, "A")
        # a name that is an alias exists, even when the alias leads nowhere
        gone = probe.status in (Status.NXDOMAIN, Status.INVALID) and not probe.chain
        exists = None if probe.unknown else not gone
    walked = method is Method.TREEWALK
    policy, tag = record.effective(own=own, exists=exists is not False, np_known=walked)
    applied = policy.one_lower if record.testing and walked else policy
    reason = f"{tag}={policy} of the record at {look.query}" if tag in record.tags else f"the record at {look.query}"
    if applied is not policy:
        reason += f", one level lower ({applied}) because of t=y"
    return Discovery(domain, method, record, look.domain, org, policy, tag, applied, exists, False, reason, looks)


async def align(
    resolver: Asker,
    mechanism: str,
    identity: Identity,
    found: Discovery,
    suffixes: PublicSuffixes | None = None,
) -> Alignment:
    """Hold one identifier against the From domain (RFC 9989 section 4.4)."""
    record = found.record
    strict = record is not None and (record.strict_spf if mechanism == "spf" else record.strict_dkim)
    mode, domain, author = "strict" if strict else "relaxed", normalise(identity.domain), found.from_domain
    base = (mechanism, domain, identity.result, mode)
    if not identity.passed:
        return Alignment(*base, False, f"{mechanism.upper()} did not pass ({identity.result}), so it cannot count")
    if domain == author:
        return Alignment(*base, True, f"{domain} is the From domain")
    if strict:
        return Alignment(*base, False, f"{domain} is not exactly {author}, and the record asks for that")
    if found.method is Method.PSL:
        assert suffixes is not None
        other, unknown = suffixes.organizational(domain), False
    else:
        tree = await walk(resolver, domain)
        other, unknown = tree.org_domain, tree.unknown
    if other == found.org_domain:
        return Alignment(*base, True, f"{domain} and {author} belong to the same organization ({other})")
    reason = f"{domain} belongs to {other}, the From domain {author} to {found.org_domain}"
    return Alignment(*base, False, reason, unknown)


async def evaluate(
    resolver: Asker,
    from_domain: str,
    spf: Identity | None,
    dkim: Sequence[Identity],
    *,
    method: Method = Method.TREEWALK,
    suffixes: PublicSuffixes | None = None,
) -> DmarcOutcome:
    """What a receiver makes of a mail: ``spf`` is the result for the bounce domain, ``dkim`` one per signature (d=)."""
    found = await discover(resolver, from_domain, method, suffixes)
    pairs: list[tuple[str, Identity]] = [("spf", spf)] if spf is not None else []
    pairs += [("dkim", one) for one in dkim]
    alignments = tuple([await align(resolver, kind, one, found, suffixes) for kind, one in pairs])
    if found.unknown:
        return DmarcOutcome(DmarcResult.TEMPERROR, found, alignments, found.reason)
    if found.record is None:
        return DmarcOutcome(DmarcResult.NONE, found, alignments, found.reason)
    good = next((a for a in alignments if a.aligned), None)
    if good is not None:
        return DmarcOutcome(DmarcResult.PASS, found, alignments, f"{good.mechanism.upper()} passed and {good.reason}")
    lost = next((a for a in alignments if a.unknown), None)
    if lost is not None:
        return DmarcOutcome(DmarcResult.TEMPERROR, found, alignments, f"{lost.domain}: alignment could not be decided")
    reason = "; ".join(a.reason for a in alignments) or "neither SPF nor DKIM gave a passing domain"
    return DmarcOutcome(DmarcResult.FAIL, found, alignments, reason)


async def compare(
    resolver: Asker, from_domain: str, spf: Identity | None, dkim: Sequence[Identity], suffixes: PublicSuffixes
) -> tuple[DmarcOutcome, DmarcOutcome, tuple[str, ...]]:
    """Both generations side by side: RFC 9989, RFC 7489, and one sentence for each point where they disagree."""
    new = await evaluate(resolver, from_domain, spf, dkim)
    old = await evaluate(resolver, from_domain, spf, dkim, method=Method.PSL, suffixes=suffixes)
    notes: list[str] = []
    pairs = (
        ("result", new.result, old.result),
        ("organizational domain", new.discovery.org_domain, old.discovery.org_domain),
        ("policy record", new.discovery.policy_domain, old.discovery.policy_domain),
        ("policy", new.discovery.policy_applied, old.discovery.policy_applied),
    )
    for label, left, right in pairs:
        if left != right:
            notes.append(
                f"{label}: {left or 'none'} by RFC 9989 (tree walk), {right or 'none'} by RFC 7489 (suffix list)"
            )
    return new, old, tuple(notes)


def simulate(outcome: DmarcOutcome, policy: Policy | None = None) -> Impact:
    """What the policy does to the mail; ``policy`` asks "what if it were this one". Filters may still do more."""
    chosen = policy if policy is not None else outcome.discovery.policy_applied
    reported = outcome.discovery.record is not None and bool(outcome.discovery.record.rua)
    if outcome.result is DmarcResult.TEMPERROR:
        return Impact("delivered", False, "the policy could not be read; receivers usually defer or deliver")
    if outcome.result is DmarcResult.PASS:
        return Impact("delivered", reported, "DMARC passes; the receiver's own filters still apply")
    if chosen is None:
        return Impact("delivered", False, "no policy: DMARC asks for nothing")
    if chosen is Policy.REJECT:
        return Impact("refused", reported, "DMARC fails and the policy is reject")
    if chosen is Policy.QUARANTINE:
        return Impact("quarantined", reported, "DMARC fails and the policy is quarantine")
    return Impact("delivered", reported, "DMARC fails, and the policy none only asks for reports")


async def report_destination(resolver: Asker, policy_domain: str, uri: str | ReportUri) -> ReportDestination:
    """Whether the owner of a report address agreed to receive them (RFC 9990 section 4)."""
    parsed = parse_uri(uri) if isinstance(uri, str) else uri
    text = uri if isinstance(uri, str) else uri.text
    if parsed is None:
        return ReportDestination(text, "", None, False, False, f"{text!r} is no report address")
    domain, host = normalise(policy_domain), normalise(parsed.host)
    if host == domain or (await walk(resolver, host)).org_domain == (await walk(resolver, domain)).org_domain:
        return ReportDestination(text, host, None, True, False, "the address is of the same organization")
    query = f"{domain}._report._dmarc.{host}"
    answer = await resolver.ask(query, "TXT")
    if answer.unknown:
        return ReportDestination(text, host, query, False, True, f"{query} could not be read ({answer.status})")
    if answer.found and select_dmarc(answer.texts):
        return ReportDestination(text, host, query, True, False, f"{query} gives permission")
    reason = f"{query} has no record v=DMARC1: receivers send no reports to {host}"
    return ReportDestination(text, host, query, False, False, reason)
