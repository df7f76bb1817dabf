"""SPF of a sending domain, held against what its sending service needs.

A reading of the looked-up tree: it returns verdicts with evidence and, where a record would mend them, the change.
Whether a change is offered is decided afterwards by proof (:mod:`mailops.dns.fix`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from ..model.verdict import VerdictState as S
from .check_common import CONSEQUENCE, profiles_of, readable, standing
from .domain_model import CheckResult, SendingSetup, verdict
from .names import askable
from .records import Change, ZoneRecord
from .resolver import Asker
from .spf import MAX_LOOKUPS
from .spf_mend import is_terms_only, looks_like_spf, mend_spf
from .spf_merge import Merged, merge
from .spf_parse import parse_term
from .spf_permits import lets_everybody, permission
from .spf_plan import plan
from .spf_static import SpfTree, analyse


def wanted_terms(setup: SendingSetup) -> tuple[str, ...]:
    """The SPF terms that have to be in the bounce domain's record."""
    own_path = setup.bounce != setup.name
    at = ("bounce", "return_path") if own_path else ("bounce",)
    includes = [f"include:{one.spf_include}" for one in profiles_of(setup) if one.spf_include and one.spf_at in at]
    own = () if setup.services else tuple(_term_of(ip) for ip in setup.sample_ips)
    return tuple(dict.fromkeys((*includes, *setup.spf_terms, *own)))


def _term_of(host: str) -> str:
    """The term that permits one address, or the addresses of a name."""
    try:
        return f"ip{ip_address(host).version}:{host}"
    except ValueError:
        return f"a:{host}"


def _own_advice(setup: SendingSetup) -> tuple[str, str]:
    """A record for servers of one's own, and when it is right: which addresses they send from, no DNS tells."""
    ask = f"name its addresses: mailops domain check {setup.name} --ip ADDRESS"
    terms = dict.fromkeys(_term_of(host) for host in setup.own_hosts if not _loops(host))
    if not terms:
        return "", f"mailops does not know from which addresses your server sends; {ask}"
    text = f"v=spf1 {' '.join(terms)} ~all"
    return text, f"Publish: {text} where that is what your server sends from; where it sends from elsewhere, {ask}"


def _loops(host: str) -> bool:
    """Whether a host is this machine, by a name or an address that means nothing to anybody else."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".").rpartition(".")[2] == "localhost"


def _essential(setup: SendingSetup, term: str) -> bool:
    """Whether a wanted term is one without which mail may not arrive."""
    for profile in profiles_of(setup):
        if term == f"include:{profile.spf_include}":
            return profile.essential
    return not profiles_of(setup) or any(profile.essential for profile in profiles_of(setup))


@dataclass(frozen=True, slots=True)
class _Meant:
    """The SPF records there are, as they were meant: mended texts, what to take away, and why there is no text."""

    texts: tuple[str, ...]
    gone: tuple[ZoneRecord, ...]
    causes: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    refusal: str = ""


async def check_spf(resolver: Asker, setup: SendingSetup) -> list[CheckResult]:
    """SPF of the bounce address's domain (RFC 7208 section 2.4), never of the visible From's."""
    domain, profiles = setup.bounce, profiles_of(setup)
    wanted = wanted_terms(setup)
    needed = any(_essential(setup, term) for term in wanted)
    serious = S.FAILED if not profiles or needed else S.WARNING
    tree = await analyse(resolver, domain)
    ways = plan(tree)
    evidence: dict[str, Any] = {
        "tree": tree.root.as_dict(),
        "lookups": tree.lookups,
        "void_lookups": tree.void_lookups,
        "problems": [f"{problem.code}: {problem.message}" for problem in tree.problems],
        "answer": tree.root.answer.as_dict() if tree.root.answer else None,
    }
    if tree.root.unknown:
        title = "SPF could not be read; it may well be there"
        expected = f"one record with {' '.join(wanted)}"
        return [verdict("spf", domain, S.UNKNOWN, "spf.unknown", title, expected=expected, evidence=evidence)]
    meant = await _meant(resolver, domain, tree, ways.free)
    if meant.causes:
        evidence["causes"] = list(meant.causes)
    merged = merge(meant.texts, wanted) if not meant.refusal else Merged("", meant.refusal, False)
    # a service that bounces to its own domain needs no term here, so there is nothing to start a record with
    useful = not merged.refused and (wanted or meant.texts) and (merged.text,) != tree.root.texts
    change = _change(domain, meant, merged) if useful else None
    expected = merged.text or f"one record with {' '.join(wanted)}"
    found = " | ".join(tree.root.texts) or " | ".join(record.value for record in meant.gone)
    fix = f"Publish: {merged.text}" if change else "" if merged.text else f"No record is proposed: {merged.reason}."
    if not setup.services and not wanted and not meant.texts and not meant.refusal:
        own, fix = _own_advice(setup)
        expected = own or "one record with the addresses that your server sends from"
    results = []
    for problem in tree.problems:
        absent = problem.code in ("spf.missing", "spf.old_type_only", "spf.not_recognised")
        state = serious if absent else S.UNKNOWN if problem.code == "spf.unknown" else S.FAILED
        state = state if problem.error else S.WARNING
        mendable = problem.error or problem.code == "spf.modifier_for_mechanism"
        usable = change if mendable and problem.code not in ("spf.unknown", "spf.pass_all") else None
        title = f"{problem.message}. {CONSEQUENCE}" if problem.error else problem.message
        if problem.code == "spf.missing" and setup.services and not (wanted or meant.texts):
            title = f"{problem.message}; {_senders(setup)} needs none here, since bounces go to a name of its own"
        shown, way = evidence, fix if problem.error else ""
        if problem.code in ("spf.too_many_lookups", "spf.too_many_void", "spf.loop", "spf.target_without_record"):
            shown = {**evidence, "plan": list(ways.steps)}
            way = way if usable else "; ".join(ways.steps)
        if absent and meant.causes:
            title = f"{problem.message} ({'; '.join(meant.causes)}). {CONSEQUENCE}"
        results.append(
            verdict(
                "spf", domain, state, problem.code, title,
                found=found, expected=expected, evidence=shown, fix=way, change=usable,
            )
        )  # fmt: skip
    if tree.record is not None:
        results = [*await _sends(resolver, setup, tree, wanted, change, evidence, merged, fix), *results]
        everybody = await lets_everybody(resolver, domain, tree)
        if everybody and not any(result.code == "spf.pass_all" for result in results):
            way = "Name the addresses and services that send, and end with ~all."
            results.append(
                verdict("spf", domain, S.FAILED, "spf.pass_all", everybody, found=found, fix=way, evidence=evidence)
            )
    stray = [record for record in meant.gone if tree.record is not None and record.value != readable(tree.record.text)]
    if stray and change is not None and all(record.type == "TXT" and record.name == domain for record in stray):
        title = f"beside the SPF record stands one that nobody takes for SPF ({'; '.join(meant.causes)})"
        aside = " | ".join(record.value for record in stray)
        results.append(verdict("spf", domain, S.WARNING, "spf.not_recognised", title, found=aside, expected=expected,
                               fix=fix, evidence=evidence, change=change))  # fmt: skip
    if not any(result.state in (S.FAILED, S.UNKNOWN) for result in results) and tree.record is not None:
        title = f"SPF permits {_senders(setup)}; {tree.lookups} of 10 lookups"
        if not any(result.code == "spf.service_not_permitted" for result in results):
            results.insert(0, verdict("spf", domain, S.PASSED, "spf.ok", title, found=found, evidence=evidence))
    return results


def _senders(setup: SendingSetup) -> str:
    return " and ".join(setup.services) or "your server"


def _instead(setup: SendingSetup, term: str) -> tuple[str, ...]:
    """The includes that serve as well as this one."""
    found = next((one for one in profiles_of(setup) if term == f"include:{one.spf_include}"), None)
    return tuple(f"include:{name}" for name in found.spf_alternatives) if found is not None else ()


def _lacking_services(setup: SendingSetup, lacking: list[str]) -> str:
    """Who is meant by the terms that lack: services by name, the rest as it is written."""
    by_term = {f"include:{profile.spf_include}": profile.key for profile in profiles_of(setup)}
    terms = [line.split(": ", 1)[0] for line in lacking]
    return " and ".join(dict.fromkeys(by_term.get(term, "your server") for term in terms))


async def _sends(
    resolver: Asker, setup: SendingSetup, tree: SpfTree, wanted: tuple[str, ...], change: Change | None,
    evidence: dict[str, Any], merged: Merged, fix: str,
) -> list[CheckResult]:  # fmt: skip
    """Whether every wanted sender passes: by evaluation where the record can be evaluated, else by its text."""
    domain, results = setup.bounce, []
    lacking: list[str] = []
    unsure: list[str] = []
    serious = S.WARNING
    broken = any(problem.error for problem in tree.problems)
    for term in wanted:
        if broken:
            if not permits(tree, term) and tree.unknown:
                unsure.append(f"{term}: a part of the record could not be read")
            elif not permits(tree, term):
                lacking.append(term)
                serious = S.FAILED if _essential(setup, term) else serious
            continue
        asked = await permission(resolver, domain, tree, term)
        for other in _instead(setup, term) if asked.allowed is not True else ():
            also = await permission(resolver, domain, tree, other)
            asked = also if also.allowed is True else asked
        if asked.allowed is not True:
            (unsure if asked.allowed is None else lacking).append(f"{term}: {asked.reason}")
            serious = S.FAILED if asked.allowed is False and _essential(setup, term) else serious
    if lacking:
        title = f"{_lacking_services(setup, lacking)} is not permitted to send for {domain}. {CONSEQUENCE}"
        shown = {**evidence, "lacking": lacking}
        results.append(
            verdict(
                "spf", domain, serious, "spf.service_not_permitted", title,
                found=str(tree.record), expected=merged.text, evidence=shown, change=change,
                fix=f"Replace the record by: {merged.text}" if change else fix,
            )
        )  # fmt: skip
    elif unsure:
        title = f"whether {_senders(setup)} may send for {domain} cannot be told from here ({'; '.join(unsure)})"
        results.append(verdict("spf", domain, S.UNKNOWN, "spf.service_unknown", title, found=str(tree.record),
                               fix="Ask the host of your SPF record whether it permits this service.",
                               evidence={**evidence, "unsure": unsure}))  # fmt: skip
    if lacking and (foreign := hosted_only(setup, tree)) is not None:
        results.insert(0, foreign)
    return results


async def _meant(resolver: Asker, domain: str, tree: SpfTree, free: tuple[str, ...]) -> _Meant:
    """The records as they were meant: those receivers see, near misses, the old type, and a doubled name."""
    answer = tree.root.answer
    if answer is not None and answer.chain:
        return _Meant((), (), refusal=f"{domain} is an alias of {answer.chain[0]}; its SPF record is kept there")
    texts = answer.texts if answer is not None and answer.found else ()
    own = [text for text in texts if looks_like_spf(text)]
    gone = [standing(domain, text) for text in own]
    if not own:
        old = await resolver.ask(domain, "SPF")
        own = [text for text in old.texts if looks_like_spf(text)] if old.found and not old.chain else []
        gone = [replace(standing(domain, text), type="SPF") for text in own]
    if not own:
        for name in (f"{domain}.{domain}", f"@.{domain}"):
            other = await resolver.ask(name, "TXT") if askable(name) else None
            if other is not None and other.found and not other.chain:
                own += [text for text in other.texts if looks_like_spf(text)]
                gone += [standing(name, text) for text in other.texts if looks_like_spf(text)]
    # terms of the domain's own record that help nobody go with a word; those another term covers only where it must
    must = tree.lookups > MAX_LOOKUPS
    away = [one for one in free if must or "permit all of its addresses" not in one]
    own = sorted(own)
    halves = [text for text in own if is_terms_only(text)]
    if halves and len(own) - len(halves) == 1:  # one record, cut by hand into several
        head = next(text for text in own if text not in halves)
        read = [mend_spf(" ".join((head, *halves)), away if head in tree.root.texts else ())]
    else:
        read = [mend_spf(text, away if text in tree.root.texts else ()) for text in own]
    unread = [term for one in read for term in one.unread]
    if not own and any(problem.code == "spf.not_recognised" for problem in tree.problems):
        near = next(text for text in texts if "v=spf1" in text.lower())
        return _Meant((), (), refusal=f"nobody can tell what is meant by {readable(near)!r}; mend or remove it first")
    refusal = f"nobody can tell what is meant by {', '.join(unread)}; write it as RFC 7208 wants it" if unread else ""
    if refusal and (hints := [m.hint for m in tree.record.mistakes if m.hint] if tree.record else []):
        refusal += f" ({'; '.join(hints)})"
    texts = tuple(one.text for one in read if one.text)
    causes = tuple(dict.fromkeys(cause for one in read for cause in one.causes))
    return _Meant(texts, tuple(gone), causes, tuple(dict.fromkeys(lost for one in read for lost in one.loses)), refusal)


def _change(domain: str, meant: _Meant, merged: Merged) -> Change:
    """One record in place of those there are."""
    many = len(meant.gone)
    why = "one SPF record" if not many else "the SPF record, mended" if many == 1 else "one merged SPF record"
    return Change(why, (ZoneRecord(domain, "TXT", merged.text),), meant.gone, meant.loses, (), meant.texts)


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
    if "odoo" in setup.services or not permits(tree, "include:_spf.odoo.com"):
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
