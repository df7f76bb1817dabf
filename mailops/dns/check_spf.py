"""SPF of a sending domain, held against what its sending service needs.

A reading of the looked-up tree: it returns verdicts with evidence and, where a record would mend them, the change.
Whether a change is offered is decided afterwards by proof (:mod:`mailops.dns.fix`).
"""

from __future__ import annotations

from ..model.verdict import VerdictState as S
from .check_common import CONSEQUENCE, profile_of, standing
from .domain_model import CheckResult, SendingSetup, verdict
from .records import Change, ZoneRecord
from .resolver import Asker
from .spf_merge import merge
from .spf_parse import parse_term
from .spf_static import SpfTree, analyse


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
    # a service that bounces to its own domain needs no term here, so there is nothing to start a record with
    useful = merged.changed and not merged.refused and (wanted or tree.root.texts)
    change = spf_change(domain, tree.root.texts, merged.text) if useful else None
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
    remove = tuple(standing(domain, old) for old in published)
    why = (
        "one SPF record"
        if not published
        else "the SPF record, extended"
        if len(published) == 1
        else "one merged SPF record"
    )
    return Change(why, (ZoneRecord(domain, "TXT", text),), remove)


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
