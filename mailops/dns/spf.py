"""SPF evaluation, RFC 7208: the result for one (address, HELO, reverse-path), with everything that led to it.

``check_host`` follows section 4 to the letter and asks through the resolver it is given; it opens nothing itself. Every
step is kept: which domain's record was read, which term was looked at, what was asked of whom, what came back, whether
it matched, and the paragraph that says so. The domain tested is that of the reverse-path (the bounce address), not that
of the visible From; an empty reverse-path falls back to ``postmaster@`` the HELO name (section 2.4).

Limits (section 4.6.4): ten terms that look something up, two void lookups, ten addresses behind one ``mx``, ten names
behind one ``ptr``. They bound the work, so no record can hang the evaluation or send it round in circles.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..errors import InputRefused
from .answer import Answer, Status
from .names import askable, is_below, normalise, reverse_name
from .resolver import Asker
from .spf_macros import IPAddress, MacroProblem, MacroValues, expand, target_name, uses
from .spf_parse import SpfRecord, Term, parse_record, select

MAX_LOOKUPS = 10
MAX_VOID = 2
MAX_NAMES = 10


class SpfResult(StrEnum):
    """The seven results of section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105  # a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_BY_QUALIFIER = {"+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an evaluation. ``lookups`` is the count after it; ``answer`` what DNS said, where it was asked."""

    depth: int
    domain: str
    term: str
    outcome: str
    rfc: str
    lookups: int
    answer: Answer | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready evidence."""
        out: dict[str, Any] = {
            "depth": self.depth,
            "domain": self.domain,
            "term": self.term,
            "outcome": self.outcome,
            "rfc": self.rfc,
            "lookups": self.lookups,
        }
        if self.answer is not None:
            out["dns"] = self.answer.as_dict()
        return out


@dataclass(frozen=True, slots=True)
class SpfOutcome:
    """The result and why. ``term`` decided it, in the record of ``term_domain``; ``reason`` is one plain sentence."""

    result: SpfResult
    domain: str
    reason: str
    term: str = ""
    term_domain: str = ""
    explanation: str = ""
    lookups: int = 0
    void_lookups: int = 0
    record: str = ""
    steps: tuple[Step, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, the whole trace included."""
        return {
            "result": str(self.result),
            "domain": self.domain,
            "reason": self.reason,
            "term": self.term,
            "term_domain": self.term_domain,
            "explanation": self.explanation,
            "lookups": self.lookups,
            "void_lookups": self.void_lookups,
            "record": self.record,
            "steps": [step.as_dict() for step in self.steps],
        }


class _Stop(Exception):
    """The evaluation ends here, whatever include it is in."""

    def __init__(self, result: SpfResult, reason: str, term: str = "", domain: str = "") -> None:
        super().__init__(reason)
        self.result, self.reason, self.term, self.domain = result, reason, term, domain


@dataclass(slots=True)
class _Verdict:
    """The result of one record; ``exp`` is the explanation modifier that goes with it."""

    result: SpfResult
    reason: str
    term: str = ""
    domain: str = ""
    exp: Term | None = None
    exp_domain: str = ""
    record: str = ""


async def check_host(
    resolver: Asker,
    ip: str,
    mail_from: str,
    helo: str,
    *,
    default_explanation: str = "",
    receiver: str = "unknown",
    timestamp: int = 0,
) -> SpfOutcome:
    """Evaluate SPF for a client at ``ip`` that says ``HELO helo`` and ``MAIL FROM:<mail_from>``.

    ``ip`` is IPv4 or IPv6 text (an IPv4-mapped address counts as IPv4); a wrong one raises ``ValueError``.
    ``default_explanation`` is the receiver's own text for a fail without a usable ``exp``; ``receiver`` and
    ``timestamp`` (Unix seconds) fill ``%{r}`` and ``%{t}``.
    """
    address: IPAddress = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    local, at, domain = mail_from.rpartition("@")
    if not at:
        domain, local = mail_from, ""
    if not domain:
        domain = helo
    run = _Evaluation(resolver, address, local or "postmaster", domain, helo, receiver, timestamp)
    return await run.outcome(default_explanation)


async def check_domain(resolver: Asker, ip: str, domain: str) -> SpfOutcome:
    """Evaluate SPF for mail with a reverse-path in ``domain`` from a client at ``ip``."""
    return await check_host(resolver, ip, f"postmaster@{domain}", domain)


@dataclass(slots=True)
class _Evaluation:
    resolver: Asker
    ip: IPAddress
    local: str
    domain: str
    helo: str
    receiver: str
    timestamp: int
    lookups: int = 0
    void: int = 0
    steps: list[Step] = field(default_factory=list)

    async def outcome(self, default_explanation: str) -> SpfOutcome:
        try:
            domain = normalise(self.domain)
        except InputRefused as problem:
            return SpfOutcome(SpfResult.NONE, self.domain, str(problem))
        if not askable(domain) or "." not in domain:
            self.note(0, domain, "", "not a full domain name: none", "4.3")
            return SpfOutcome(SpfResult.NONE, domain, f"{domain!r} is no full domain name", steps=tuple(self.steps))
        try:
            verdict = await self.record(domain, 0)
        except _Stop as stop:
            verdict = _Verdict(stop.result, stop.reason, stop.term, stop.domain)
        explanation = ""
        if verdict.result is SpfResult.FAIL:
            explanation = await self.explain(verdict) or default_explanation
        return SpfOutcome(
            verdict.result,
            domain,
            verdict.reason,
            verdict.term,
            verdict.domain,
            explanation,
            self.lookups,
            self.void,
            verdict.record,
            tuple(self.steps),
        )

    def note(self, depth: int, domain: str, term: str, outcome: str, rfc: str, answer: Answer | None = None) -> None:
        self.steps.append(Step(depth, domain, term, outcome, f"RFC 7208 section {rfc}", self.lookups, answer))

    # -- one record ------------------------------------------------------------------------------------------------

    async def record(self, domain: str, depth: int) -> _Verdict:
        """check_host() for one domain (section 4)."""
        if not askable(domain) or "." not in domain:
            self.note(depth, domain, "", "not a full domain name: none", "4.3")
            return _Verdict(SpfResult.NONE, f"{domain!r} is no full domain name", domain=domain)
        answer = await self.resolver.ask(domain, "TXT")
        if answer.unknown:
            self.note(depth, domain, "", f"no usable answer ({answer.status}): temperror", "4.4", answer)
            reason = f"the TXT records of {domain} could not be read ({answer.status})"
            return _Verdict(SpfResult.TEMPERROR, reason, domain=domain)
        found = select(answer.texts) if answer.found else ()
        if not found:
            self.note(depth, domain, "", "no SPF record: none", "4.5", answer)
            return _Verdict(SpfResult.NONE, f"{domain} has no SPF record", domain=domain)
        if len(found) > 1:
            self.note(depth, domain, "", f"{len(found)} SPF records: permerror", "4.5", answer)
            return _Verdict(
                SpfResult.PERMERROR, f"{domain} has {len(found)} SPF records; one is allowed", domain=domain
            )
        record = parse_record(found[0])
        if record.mistakes:
            bad = record.mistakes[0]
            self.note(depth, domain, bad.term, f"{bad.message}: permerror", "4.6", answer)
            reason = f"the record of {domain} is not valid: {bad.message}"
            return _Verdict(SpfResult.PERMERROR, reason, bad.term, domain, record=record.text)
        self.note(depth, domain, "", f"record: {record.text}", "4.5", answer)
        verdict = await self.terms(record, domain, depth)
        verdict.record = verdict.record or record.text
        return verdict

    async def terms(self, record: SpfRecord, domain: str, depth: int) -> _Verdict:
        """The directives from left to right, then redirect, then neutral (sections 4.6.2, 4.7, 6.1)."""
        for term in record.mechanisms:
            if await self.matches(term, domain, depth):
                result = _BY_QUALIFIER[term.qualifier]
                self.note(depth, domain, term.text, f"matches: {result}", "4.6.2")
                reason = f"{self.ip} matches {term.text} in the record of {domain}"
                return _Verdict(result, reason, term.text, domain, record.exp, domain, record.text)
        redirect = record.redirect
        if redirect is None:
            self.note(depth, domain, "", "nothing matches: neutral", "4.7")
            reason = f"no term in the record of {domain} matches {self.ip}"
            return _Verdict(SpfResult.NEUTRAL, reason, domain=domain, record=record.text)
        self.count(redirect, domain)
        target = await self.target(redirect, domain)
        self.note(depth, domain, redirect.text, f"nothing matches: go on at {target}", "6.1")
        verdict = await self.record(target, depth + 1)
        if verdict.result is SpfResult.NONE:
            self.note(depth, domain, redirect.text, "the target has no SPF record: permerror", "6.1")
            reason = f"{redirect.text} in the record of {domain} leads to no SPF record"
            return _Verdict(SpfResult.PERMERROR, reason, redirect.text, domain, record=record.text)
        return verdict

    def count(self, term: Term, domain: str) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            self.note(0, domain, term.text, "the eleventh lookup: permerror", "4.6.4")
            reason = f"more than {MAX_LOOKUPS} lookups: the limit is passed at {term.text} in the record of {domain}"
            raise _Stop(SpfResult.PERMERROR, reason, term.text, domain)

    def count_void(self, term: Term, domain: str) -> None:
        self.void += 1
        if self.void > MAX_VOID:
            self.note(0, domain, term.text, "the third void lookup: permerror", "4.6.4")
            reason = f"more than {MAX_VOID} void lookups: the limit is passed at {term.text} in the record of {domain}"
            raise _Stop(SpfResult.PERMERROR, reason, term.text, domain)

    # -- one mechanism ---------------------------------------------------------------------------------------------

    async def matches(self, term: Term, domain: str, depth: int) -> bool:
        if term.name == "all":
            return True
        if term.network is not None:
            inside = term.network.version == self.ip.version and self.ip in term.network
            if not inside:
                self.note(depth, domain, term.text, "no match", "5.6")
            return inside
        self.count(term, domain)
        target = await self.target(term, domain)
        match term.name:
            case "include":
                return await self.include(term, domain, target, depth)
            case "a":
                return await self.address(term, domain, target, depth)
            case "mx":
                return await self.exchanges(term, domain, target, depth)
            case "ptr":
                self.note(depth, domain, term.text, "ptr is slow and unreliable; do not publish it", "5.5")
                names = await self.validated(depth, domain, term)
                return any(is_below(name, target) for name in names)
            case _:
                answer = await self.ask(term, domain, target, "A", depth, "5.7")
                return answer.found

    async def include(self, term: Term, domain: str, target: str, depth: int) -> bool:
        """Section 5.2: the included record's pass is a match, its errors are ours, none is a permerror."""
        self.note(depth, domain, term.text, f"look at {target}", "5.2")
        verdict = await self.record(target, depth + 1)
        match verdict.result:
            case SpfResult.PASS:
                return True
            case SpfResult.FAIL | SpfResult.SOFTFAIL | SpfResult.NEUTRAL:
                self.note(depth, domain, term.text, f"{target} gives {verdict.result}: no match", "5.2")
                return False
            case SpfResult.TEMPERROR:
                raise _Stop(SpfResult.TEMPERROR, verdict.reason, term.text, domain)
            case SpfResult.NONE:
                reason = f"{term.text} in the record of {domain}: {target} has no SPF record"
                self.note(depth, domain, term.text, "the target has no SPF record: permerror", "5.2")
                raise _Stop(SpfResult.PERMERROR, reason, term.text, domain)
            case _:
                raise _Stop(SpfResult.PERMERROR, verdict.reason, verdict.term or term.text, verdict.domain or domain)

    async def address(self, term: Term, domain: str, target: str, depth: int) -> bool:
        answer = await self.ask(term, domain, target, self.family, depth, "5.3")
        return self.among(answer, term)

    async def exchanges(self, term: Term, domain: str, target: str, depth: int) -> bool:
        answer = await self.ask(term, domain, target, "MX", depth, "5.4")
        if not answer.found:
            return False
        hosts = [name for _, name in answer.exchanges if name]
        # hosts beyond the tenth are a permerror once they would be asked for (section 4.6.4)
        await asyncio.gather(*(self.resolver.ask(host, self.family) for host in hosts[:MAX_NAMES]))
        for number, host in enumerate(hosts):
            if number >= MAX_NAMES:
                self.note(depth, domain, term.text, "more than ten MX hosts: permerror", "4.6.4", answer)
                reason = f"{target} has more than {MAX_NAMES} MX hosts ({term.text} in the record of {domain})"
                raise _Stop(SpfResult.PERMERROR, reason, term.text, domain)
            if self.among(await self.ask(term, domain, host, self.family, depth, "5.4"), term):
                return True
        return False

    async def ask(self, term: Term, domain: str, name: str, rdtype: str, depth: int, rfc: str) -> Answer:
        answer = await self.resolver.ask(name, rdtype)
        self.note(depth, domain, term.text, f"{name} {rdtype}: {answer.status}", rfc, answer)
        if answer.unknown:
            reason = f"{name} {rdtype} could not be read ({answer.status}), for {term.text} in the record of {domain}"
            raise _Stop(SpfResult.TEMPERROR, reason, term.text, domain)
        if answer.absent and answer.status is not Status.INVALID:
            self.count_void(term, domain)
        return answer

    @property
    def family(self) -> str:
        return "A" if self.ip.version == 4 else "AAAA"

    def among(self, answer: Answer, term: Term) -> bool:
        if not answer.found:
            return False
        longest = self.ip.max_prefixlen
        length = term.cidr4 if self.ip.version == 4 else term.cidr6
        shift = longest - (longest if length is None else length)
        mine = int(self.ip) >> shift
        return any(int(ipaddress.ip_address(text)) >> shift == mine for text in answer.names)

    async def validated(self, depth: int, domain: str, term: Term | None) -> list[str]:
        """The client's names that lead back to it (section 5.5); errors only leave names out."""
        pointers = await self.resolver.ask(reverse_name(str(self.ip)), "PTR")
        self.note(depth, domain, term.text if term else "%{p}", f"PTR of {self.ip}: {pointers.status}", "5.5", pointers)
        if not pointers.found:
            if term is not None and pointers.absent:
                self.count_void(term, domain)
            return []
        names = [name for name in pointers.names[:MAX_NAMES] if name]
        answers = await asyncio.gather(*(self.resolver.ask(name, self.family) for name in names))
        good = []
        for name, answer in zip(names, answers, strict=True):
            forward = answer.found and any(ipaddress.ip_address(text) == self.ip for text in answer.names)
            if forward:
                good.append(name)
            shown = "leads back" if forward else f"does not lead back ({answer.status})"
            self.note(depth, domain, term.text if term else "%{p}", f"{name} {shown}", "5.5", answer)
        return good

    # -- macros and explanations -----------------------------------------------------------------------------------

    async def values(self, domain: str, text: str) -> MacroValues:
        validated = "unknown"
        if "%" in text and uses(text, "p"):
            names = await self.validated(0, domain, None)
            validated = next(
                (name for name in names if name == domain),
                next((name for name in names if is_below(name, domain)), names[0] if names else "unknown"),
            )
        return MacroValues(
            self.ip,
            self.local,
            self.domain,
            domain,
            self.helo or "unknown",
            self.receiver,
            validated,
            self.timestamp,
        )

    async def target(self, term: Term, domain: str) -> str:
        """The <target-name> of a term (section 4.8): its domain-spec expanded, or the domain itself."""
        if term.domain is None:
            return domain
        return target_name(term.domain, await self.values(domain, term.domain))

    async def explain(self, verdict: _Verdict) -> str:
        """The domain owner's explanation (section 6.2), or nothing when anything about it is wrong."""
        if verdict.exp is None or verdict.exp.domain is None:
            return ""
        name = await self.target(verdict.exp, verdict.exp_domain)
        answer = await self.resolver.ask(name, "TXT")
        self.note(0, verdict.exp_domain, verdict.exp.text, f"{name} TXT: {answer.status}", "6.2", answer)
        if not answer.found or len(answer.values) != 1:
            return ""
        text = answer.texts[0]
        if not text.isascii():
            return ""
        try:
            return expand(text, await self.values(verdict.exp_domain, text), explanation=True)
        except MacroProblem:
            return ""
