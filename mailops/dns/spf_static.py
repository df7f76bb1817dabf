"""The whole lookup tree of an SPF record, counted per branch and past the limit.

Evaluation stops at the eleventh lookup; an admin needs to see the fourteen there are and which branch costs them. The
tree is fetched concurrently through the shared resolver, so that an evaluation afterwards finds everything in memory.
Loops end where a name repeats on its own path; the number of branches is bounded.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field
from typing import Any

from ..model.text import counted
from .answer import Answer
from .names import askable, normalise
from .resolver import Asker, together
from .spf import MAX_LOOKUPS, MAX_NAMES, MAX_VOID
from .spf_parse import MECHANISMS, Network, SpfRecord, Term, parse_record, select

MAX_BRANCHES = 200


@dataclass(frozen=True, slots=True)
class SpfProblem:
    """One thing to say about a record; ``code`` is stable, ``error`` False = advice only."""

    code: str
    domain: str
    message: str
    term: str = ""
    error: bool = True


@dataclass(frozen=True, slots=True)
class Branch:
    """One record of the tree. ``lookups`` counts its own terms and everything below; ``via`` is the term that led here.

    ``unknown`` = the record could not be read, so the counts are lower bounds.
    """

    domain: str
    via: str
    record: SpfRecord | None
    texts: tuple[str, ...]
    own_lookups: int
    lookups: int
    void_lookups: int
    children: tuple[Branch, ...] = ()
    networks: tuple[Network, ...] = ()
    unknown: bool = False
    answer: Answer | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready tree."""
        return {
            "domain": self.domain,
            "via": self.via,
            "record": self.record.text if self.record else None,
            "own_lookups": self.own_lookups,
            "lookups": self.lookups,
            "void_lookups": self.void_lookups,
            "unknown": self.unknown,
            "children": [child.as_dict() for child in self.children],
        }

    def lines(self, indent: int = 0) -> list[str]:
        """The tree as text, a branch a line: ``include:_spf.example.com  3 lookups``."""
        head = self.via or self.domain
        note = " (could not be read)" if self.unknown else "" if self.record else " (no SPF record)"
        out = [f"{'  ' * indent}{head}  {counted(self.lookups, 'lookup')}{note}"]
        for child in self.children:
            out += child.lines(indent + 1)
        return out


@dataclass(frozen=True, slots=True)
class SpfTree:
    """A domain's tree with its totals and problems. ``networks`` are what the tree lets pass, as far as it is fixed."""

    domain: str
    root: Branch
    problems: tuple[SpfProblem, ...]

    @property
    def lookups(self) -> int:
        return self.root.lookups

    @property
    def void_lookups(self) -> int:
        return self.root.void_lookups

    @property
    def record(self) -> SpfRecord | None:
        return self.root.record

    @property
    def unknown(self) -> bool:
        return any(branch.unknown for branch in self.branches())

    @property
    def valid(self) -> bool:
        """A record is there and nothing in the tree is an error."""
        return self.root.record is not None and not any(problem.error for problem in self.problems)

    def branches(self) -> list[Branch]:
        """All branches, the root first."""
        out, line = [], [self.root]
        while line:
            branch = line.pop(0)
            out.append(branch)
            line += branch.children
        return out


@dataclass(slots=True)
class _Walk:
    resolver: Asker
    problems: list[SpfProblem] = field(default_factory=list)
    branches: int = 0

    def say(self, code: str, domain: str, message: str, term: str = "", *, error: bool = True) -> None:
        self.problems.append(SpfProblem(code, domain, message, term, error))


async def analyse(resolver: Asker, domain: str) -> SpfTree:
    """Fetch and count the whole tree of a domain."""
    domain = normalise(domain)
    walk = _Walk(resolver)
    root = await _branch(walk, domain, "", ())
    if root.lookups > MAX_LOOKUPS:
        message = f"{root.lookups} lookups, {MAX_LOOKUPS} are allowed: receivers answer permerror"
        walk.say("spf.too_many_lookups", domain, message)
    if root.void_lookups > MAX_VOID:
        message = f"{root.void_lookups} lookups find nothing, {MAX_VOID} are allowed"
        walk.say("spf.too_many_void", domain, message)
    return SpfTree(domain, root, tuple(walk.problems))


async def _branch(walk: _Walk, domain: str, via: str, path: tuple[str, ...]) -> Branch:
    walk.branches += 1
    if domain in path or walk.branches > MAX_BRANCHES:
        walk.say("spf.loop", domain, f"{' → '.join([*path, domain])}: the record leads back to itself", via)
        return Branch(domain, via, None, (), 0, 0, 0)
    answer = await walk.resolver.ask(domain, "TXT")
    if answer.unknown:
        walk.say("spf.unknown", domain, f"the TXT records of {domain} could not be read ({answer.status})", via)
        return Branch(domain, via, None, (), 0, 0, 0, unknown=True, answer=answer)
    # several records come in any order; sorted, a proposal made from them is the same each time
    texts = tuple(sorted(select(answer.texts))) if answer.found else ()
    if len(texts) != 1:
        await _without_record(walk, domain, via, texts, answer)
        return Branch(domain, via, None, texts, 0, 0, 0, answer=answer)
    record = parse_record(texts[0])
    for mistake in record.mistakes:
        hint = f"; {mistake.hint}" if mistake.hint else ""
        walk.say("spf.syntax", domain, f"{mistake.term}: {mistake.message} ({mistake.rfc}){hint}", mistake.term)
    live = _live_terms(walk, record, domain, root=not path)
    parts = await together(_term(walk, term, domain, (*path, domain)) for term in live if term.costs_lookup)
    children = tuple(part.child for part in parts if part.child is not None)
    own = len(parts)
    fixed = [term.network for term in live if term.network is not None and term.qualifier == "+"]
    networks = fixed + [network for part in parts for network in part.networks]
    return Branch(
        domain,
        via,
        record,
        texts,
        own,
        own + sum(child.lookups for child in children),
        sum(part.void for part in parts) + sum(child.void_lookups for child in children),
        children,
        tuple(networks),
        answer=answer,
    )


async def _without_record(walk: _Walk, domain: str, via: str, texts: tuple[str, ...], answer: Answer) -> None:
    if texts:
        walk.say("spf.multiple", domain, f"{len(texts)} SPF records; one is allowed: {' | '.join(texts)}", via)
        return
    if via:
        walk.say("spf.target_without_record", domain, f"{via}: {domain} has no SPF record", via)
        return
    near = next((text for text in answer.texts if "v=spf1" in text.lower()), None) if answer.found else None
    old = await walk.resolver.ask(domain, "SPF")
    if near is not None:
        walk.say("spf.not_recognised", domain, f"a TXT record that nobody takes for SPF: {near!r}")
    elif old.found:
        walk.say("spf.old_type_only", domain, "only a record of the withdrawn type SPF (99); publish it as TXT")
    else:
        walk.say("spf.missing", domain, "no SPF record")


def _live_terms(walk: _Walk, record: SpfRecord, domain: str, *, root: bool) -> list[Term]:
    """The terms that are ever looked at, with advice on the others."""
    live: list[Term] = []
    stop = record.all_term
    mechanisms = list(record.mechanisms)
    if stop is not None:
        at = mechanisms.index(stop)
        for term in mechanisms[at + 1 :]:
            walk.say("spf.after_all", domain, f"{term.text} stands after {stop.text} and is never looked at", term.text)
        mechanisms = mechanisms[: at + 1]
        if stop.qualifier == "+":
            walk.say("spf.pass_all", domain, f"{stop.text} lets everybody send as {domain}", stop.text)
        elif stop.qualifier == "?" and root:
            walk.say("spf.neutral_all", domain, f"{stop.text} says nothing about other senders", error=False)
        if record.redirect is not None:
            walk.say("spf.redirect_ignored", domain, f"{record.redirect.text} is ignored because of {stop.text}",
                     record.redirect.text, error=False)  # fmt: skip
    elif record.redirect is None and root:
        walk.say(
            "spf.no_all", domain, "the record ends without all or redirect: everybody else is neutral", error=False
        )
    live += mechanisms
    if stop is None and record.redirect is not None:
        live.append(record.redirect)
    for term in record.terms:
        if term.modifier and term.name in MECHANISMS:
            walk.say("spf.modifier_for_mechanism", domain, f"{term.text} is no mechanism and is ignored: write a colon",
                     term.text, error=False)  # fmt: skip
    for term in live:
        if term.name == "ptr":
            walk.say("spf.ptr", domain, "ptr is slow and unreliable (RFC 7208 section 5.5)", term.text, error=False)
    if len(record.text) > 450 and root:
        walk.say("spf.long", domain, f"the record has {len(record.text)} octets; beyond 450 some paths lose it",
                 error=False)  # fmt: skip
    return live


@dataclass(frozen=True, slots=True)
class _Part:
    child: Branch | None = None
    void: int = 0
    networks: tuple[Network, ...] = ()


async def _term(walk: _Walk, term: Term, domain: str, path: tuple[str, ...]) -> _Part:
    target = domain if term.domain is None else term.domain.removesuffix(".").lower()
    if term.has_macros or term.name == "ptr":
        return _Part()
    if not askable(target):
        return _Part()
    if term.name in ("include", "redirect"):
        return _Part(await _branch(walk, target, term.text, path))
    if term.name == "mx":
        return await _mx(walk, term, domain, target)
    if term.name == "exists":
        answer = await walk.resolver.ask(target, "A")
        _note_void(walk, term, domain, answer)
        return _Part(void=int(answer.absent))
    four, six = await asyncio.gather(walk.resolver.ask(target, "A"), walk.resolver.ask(target, "AAAA"))
    void = int(four.absent and six.absent)
    if void:
        _note_void(walk, term, domain, four)
    return _Part(void=void, networks=_networks(term, four, six))


async def _mx(walk: _Walk, term: Term, domain: str, target: str) -> _Part:
    answer = await walk.resolver.ask(target, "MX")
    if not answer.found:
        _note_void(walk, term, domain, answer)
        return _Part(void=int(answer.absent))
    hosts = [name for _, name in answer.exchanges if name]
    if len(hosts) > MAX_NAMES:
        walk.say("spf.too_many_mx", domain, f"{term.text}: {len(hosts)} MX hosts, {MAX_NAMES} are allowed", term.text)
    pairs = await asyncio.gather(
        *(asyncio.gather(walk.resolver.ask(host, "A"), walk.resolver.ask(host, "AAAA")) for host in hosts[:MAX_NAMES])
    )
    networks = [network for four, six in pairs for network in _networks(term, four, six)]
    return _Part(void=sum(four.absent and six.absent for four, six in pairs), networks=tuple(networks))


def _note_void(walk: _Walk, term: Term, domain: str, answer: Answer) -> None:
    if answer.absent:
        walk.say("spf.void", domain, f"{term.text} finds nothing at {answer.name}", term.text, error=False)


def _networks(term: Term, *answers: Answer) -> tuple[Network, ...]:
    if term.qualifier != "+":
        return ()
    out: list[Network] = []
    for answer in answers:
        if not answer.found:
            continue
        for text in answer.names:
            address = ipaddress.ip_address(text)
            length = term.cidr4 if address.version == 4 else term.cidr6
            prefix = address.max_prefixlen if length is None else length
            out.append(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
    return tuple(out)
